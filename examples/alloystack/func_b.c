// weft:cflags -O3 -msimd128
// Takes the slot Conference, reads every word and checks it.
#include "alloystack.h"

WEFT_FUNCTION(func_b) {
	weft_view v;
	uint64_t wrong = 0;
	long long start = now();
	int e = weft_take("/Conference", WEFT_TYPE("[]uint64"), &v);
	if (e) return weft_fail("func_b: take /Conference: %s", weft_error(e));
	size_t bytes = v.size;
	for (size_t i = 0; i < bytes / 8; i++) wrong |= ((const uint64_t *)v.data)[i] ^ i;
	long long cost = now() - start;
	if (wrong) return weft_fail("func_b: the data is not what func_a wrote");
	weft_release(&v);
	return weft_return_json("{\"bytes\": %zu, \"cost_ns\": %lld}", bytes, cost);
}
