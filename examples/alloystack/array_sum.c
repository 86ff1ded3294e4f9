// weft:cflags -O3 -msimd128
// Link n of a chain: takes slot_(n-1), publishes slot_n with one more in its count and size bytes of the digits of n.
#include "alloystack.h"

WEFT_FUNCTION(array_sum) {
	char slot[96], digits[16];
	weft_view in, out;
	uint64_t count = 0, sum = 0;
	int n = argument("n", argument("array_num", argument("func_num", 0))), e;
	size_t size = (size_t)weft_arg_int("size", 1 << 20), width = (size_t)snprintf(digits, sizeof digits, "%d", n);
	if (n > 0) {
		snprintf(slot, sizeof slot, "/slot_%d", n - 1);
		if ((e = weft_take(slot, WEFT_BYTES, &in))) return weft_fail("array_sum: take %s: %s", slot, weft_error(e));
		if (in.size < sizeof count) return weft_fail("array_sum: %s is too short", slot);
		memcpy(&count, in.data, sizeof count);
		for (size_t i = 0; i < in.size / 8; i++) sum += ((const uint64_t *)in.data)[i];
		weft_release(&in);
	}
	count++;
	if ((e = weft_alloc(&out, sizeof count + size * width))) return weft_fail("array_sum: %s", weft_error(e));
	memcpy(out.data, &count, sizeof count);
	for (size_t i = 0; i < size; i++) memcpy((char *)out.data + sizeof count + i * width, digits, width);
	snprintf(slot, sizeof slot, "/slot_%d", n);
	if ((e = weft_put(slot, WEFT_BYTES, out.data, out.size))) return weft_fail("array_sum: publish %s: %s", slot, weft_error(e));
	weft_return_json("{\"n\": %d, \"count\": %llu, \"bytes\": %zu, \"sum\": \"%016llx\"}", n, (unsigned long long)count, out.size,
		(unsigned long long)sum);
	return weft_release(&out);
}
