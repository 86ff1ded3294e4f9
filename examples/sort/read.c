// weft:cflags -O3
// Reads one part of the input into a buffer.
#include "numbers.h"

WEFT_FUNCTION(read) {
	char path[512];
	snprintf(path, sizeof path, "%.400s/part-%d", weft_arg_str("folder", "/data"), (int)weft_arg_int("part", 0));
	return numbers_read(path, "text");
}
