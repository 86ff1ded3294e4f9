// weft:cflags -O3 -msimd128
// Adds up one reducer's tables of all mappers.
#include "words.h"

WEFT_FUNCTION(reduce) {
	int part = (int)weft_arg_int("part", 0), mappers = (int)weft_arg_int("mappers", 1);
	words_table t;
	words_init(&t);
	for (int m = 0; m < mappers; m++) {
		char slot[64];
		snprintf(slot, sizeof slot, "map[%d]/table-%d", m, part);
		int e = words_merge(&t, slot);
		if (e) return weft_fail("reduce: take %s: %s", slot, weft_error(e));
	}
	int e = words_put(&t, "counts", 0, 1);
	if (e) return weft_fail("reduce: publish counts: %s", weft_error(e));
	weft_return_json("{\"distinct\": %u}", t.used);
	words_free(&t);
	return 0;
}
