// Publishes a block of size bytes, and a small one before it, after which the ways are known.
#include <weft.h>

#include <time.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

WEFT_FUNCTION(fill) {
	const size_t sizes[] = {2 << 20, (size_t)weft_arg_int("size", 0)};
	const char *slots[] = {"first", "block"};
	long long took = 0;
	for (int i = 0; i < 2; i++) {
		weft_view v;
		if (sizes[i] < 1) return weft_fail("fill: size must be at least 1 byte");
		int e = weft_alloc(&v, sizes[i]);
		if (e) return weft_fail("allocate: %s", weft_error(e));
		memset(v.data, i + 1, v.size);
		long long start = now();
		if ((e = weft_put(slots[i], WEFT_BYTES, v.data, v.size))) return weft_fail("publish %s: %s", slots[i], weft_error(e));
		took = now() - start;
	}
	return weft_return_json("{\"put_ns\": %lld}", took);
}
