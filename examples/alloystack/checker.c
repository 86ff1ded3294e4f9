// weft:cflags -O3 -msimd128
// Checks that what the mergers published is sorted and complete. How many there are stands in the samples.
#include "alloystack.h"

#include "../sort/numbers.h"

WEFT_FUNCTION(checker) {
	weft_view sample;
	int e = weft_borrow("/pivots-0", NUMBERS_TYPE, &sample);
	if (e) return weft_fail("checker: borrow /pivots-0: %s", weft_error(e));
	int sorters = (int)((uint32_t *)sample.data)[0], mergers = (int)((uint32_t *)sample.data)[1];
	weft_release(&sample);
	return numbers_check("/merge_result_%d", "/sorter-resp-part-%d", mergers, sorters);
}
