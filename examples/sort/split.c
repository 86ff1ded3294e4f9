// weft:cflags -O3 -msimd128
// Finds where one sorted part is to be cut.
#include "numbers.h"

WEFT_FUNCTION(split) {
	char sorted[96];
	int part = (int)weft_arg_int("part", 0);
	return numbers_split(numbers_slot(sorted, "sort[%d]/sorted", part), "sort[%d]/sample", "bounds", part);
}
