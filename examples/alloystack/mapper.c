// weft:cflags -O3 -msimd128
// Counts the words of a part of the input and publishes a table for each reducer in the slots ID-REDUCER.
#include "alloystack.h"

#include "../wordcount/words.h"

WEFT_FUNCTION(mapper) {
	char path[256], slot[96];
	int id = argument("id", 0), reducers = argument("reducer_num", 1);
	words_table t;
	if (!input_file(path, "fake", id)) return weft_fail("mapper: no fake_data_%d.txt or part-%d", id, id);
	words_init(&t);
	int e = words_file(&t, path);
	if (e) return weft_fail("mapper: read %s: %s", path, strerror(e));
	for (int r = 0; r < reducers; r++) {
		snprintf(slot, sizeof slot, "/%d-%d", id, r);
		e = words_put(&t, slot, (uint32_t)r, (uint32_t)reducers);
		if (e) return weft_fail("mapper: publish %s: %s", slot, weft_error(e));
	}
	weft_return_json("{\"mapper\": %d, \"distinct\": %u}", id, t.used);
	words_free(&t);
	return 0;
}
