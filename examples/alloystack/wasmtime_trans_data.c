// weft:cflags -O3 -msimd128
// Publishes size bytes and takes them again, in one function.
#include "alloystack.h"

WEFT_FUNCTION(trans_data) {
	weft_view v;
	uint64_t wrong = 0;
	size_t words = (size_t)weft_arg_int("size", 1 << 20) / 8;
	int e = weft_alloc(&v, words * 8);
	if (e) return weft_fail("trans_data: %s", weft_error(e));
	for (size_t i = 0; i < words; i++) ((uint64_t *)v.data)[i] = i;
	long long start = now();
	if ((e = weft_put("/Conference", WEFT_TYPE("[]uint64"), v.data, words * 8))) return weft_fail("trans_data: publish: %s", weft_error(e));
	weft_release(&v);
	if ((e = weft_take("/Conference", WEFT_TYPE("[]uint64"), &v))) return weft_fail("trans_data: take: %s", weft_error(e));
	for (size_t i = 0; i < words; i++) wrong |= ((const uint64_t *)v.data)[i] ^ i;
	long long cost = now() - start;
	if (wrong) return weft_fail("trans_data: the data is not what was published");
	weft_release(&v);
	return weft_return_json("{\"bytes\": %zu, \"cost_ns\": %lld}", words * 8, cost);
}
