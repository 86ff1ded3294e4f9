// weft:cflags -O3 -msimd128
// Merges range ID of all sorted parts into the slot merge_result_ID.
#include "alloystack.h"

#include "../sort/numbers.h"

WEFT_FUNCTION(merger) {
	char merged[96];
	int id = argument("id", 0);
	return numbers_merge("/sorter-resp-part-%d", "/splitter-%d-resp", numbers_slot(merged, "/merge_result_%d", id), argument("sorter_num", 1), id);
}
