// weft:cflags -O3 -msimd128
// Merges one range of all sorted parts.
#include "numbers.h"

WEFT_FUNCTION(merge) {
	return numbers_merge("sort[%d]/sorted", "split[%d]/bounds", "merged", (int)weft_arg_int("sorters", 1),
		(int)weft_arg_int("part", 0));
}
