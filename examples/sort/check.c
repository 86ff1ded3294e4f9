// weft:cflags -O3 -msimd128
// Checks the whole result.
#include "numbers.h"

WEFT_FUNCTION(check) {
	return numbers_check("merge[%d]/merged", "sort[%d]/sorted", (int)weft_arg_int("mergers", 1), (int)weft_arg_int("sorters", 1));
}
