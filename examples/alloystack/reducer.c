// weft:cflags -O3 -msimd128
// Adds up the tables of all mappers in the slots MAPPER-ID.
#include "alloystack.h"

#include "../wordcount/words.h"

WEFT_FUNCTION(reducer) {
	char slot[96];
	int id = argument("id", 0), mappers = argument("mapper_num", 1);
	uint64_t words = 0;
	words_table t;
	words_init(&t);
	for (int m = 0; m < mappers; m++) {
		snprintf(slot, sizeof slot, "/%d-%d", m, id);
		int e = words_merge(&t, slot);
		if (e) return weft_fail("reducer: take %s: %s", slot, weft_error(e));
	}
	for (uint32_t i = 0; i <= t.mask; i++) words += t.entries[i].count;
	weft_return_json("{\"reducer\": %d, \"words\": %llu, \"distinct\": %u}", id, (unsigned long long)words, t.used);
	words_free(&t);
	return 0;
}
