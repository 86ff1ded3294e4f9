// weft:cflags -O3 -msimd128
// Publishes size bytes of words 0, 1, 2, ... as the slot Conference.
#include "alloystack.h"

WEFT_FUNCTION(func_a) {
	weft_view v;
	size_t words = (size_t)weft_arg_int("size", 1 << 20) / 8;
	int e = weft_alloc(&v, words * 8);
	if (e) return weft_fail("func_a: %s", weft_error(e));
	for (size_t i = 0; i < words; i++) ((uint64_t *)v.data)[i] = i;
	if ((e = weft_put("/Conference", WEFT_TYPE("[]uint64"), v.data, words * 8))) return weft_fail("func_a: publish /Conference: %s", weft_error(e));
	weft_release(&v);
	return weft_return_json("{\"bytes\": %zu}", words * 8);
}
