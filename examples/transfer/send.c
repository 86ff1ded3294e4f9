// weft:cflags -O3 -msimd128
// Publishes size bytes of words 0, 1, 2, ... in one or several rounds.
#include <weft.h>

#include <stdio.h>
#include <time.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

WEFT_FUNCTION(send) {
	int64_t size = weft_arg_int("size", 0), rounds = weft_arg_int("rounds", 1);
	long long fill_ns = 0, publish_ns = 0;
	if (size < 8) return weft_fail("send: size must be at least 8 bytes");
	for (int64_t i = 0; i < rounds; i++) {
		weft_view v;
		char slot[32];
		snprintf(slot, sizeof slot, "data-%lld", (long long)i);
		long long start = now();
		int e = weft_alloc(&v, (size_t)size);
		if (e) return weft_fail("allocate: %s", weft_error(e));
		uint64_t *words = (uint64_t *)v.data;
		for (size_t k = 0; k < v.size / 8; k++) words[k] = k;
		long long filled = now();
		if ((e = weft_put(slot, WEFT_TYPE("[]uint64"), v.data, v.size))) return weft_fail("publish %s: %s", slot, weft_error(e));
		long long published = now();
		weft_release(&v);
		if (i == 0) fill_ns = filled - start, publish_ns = published - filled;
	}
	return weft_return_json("{\"bytes\": %lld, \"fill_ns\": %lld, \"publish_ns\": %lld}", (long long)size, fill_ns, publish_ns);
}
