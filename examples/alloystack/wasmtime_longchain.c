// weft:cflags -O3 -msimd128
// The same function by the name of its C version.
#include "array_sum.c"
