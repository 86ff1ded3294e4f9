// weft:cflags -O3 -msimd128
// Sorts one part.
#include "numbers.h"

WEFT_FUNCTION(sort) {
	char input[96];
	numbers_slot(input, "read[%d]/text", (int)weft_arg_int("part", 0));
	return numbers_sort(input, "sorted", "sample", (int)weft_arg_int("sorters", 1), (int)weft_arg_int("mergers", 1));
}
