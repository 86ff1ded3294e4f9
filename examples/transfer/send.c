// weft:cflags -O3 -msimd128
// Publishes size bytes of words 0, 1, 2, ...
#include <weft.h>

#include <time.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

WEFT_FUNCTION(send) {
	weft_view v;
	int64_t size = weft_arg_int("size", 0);
	if (size < 8) return weft_fail("send: size must be at least 8 bytes");
	long long start = now();
	int e = weft_alloc(&v, (size_t)size);
	if (e) return weft_fail("allocate: %s", weft_error(e));
	uint64_t *words = (uint64_t *)v.data;
	for (size_t i = 0; i < v.size / 8; i++) words[i] = i;
	long long filled = now();
	if ((e = weft_put("data", WEFT_TYPE("[]uint64"), v.data, v.size))) return weft_fail("publish data: %s", weft_error(e));
	long long published = now();
	weft_release(&v);
	return weft_return_json("{\"bytes\": %lld, \"fill_ns\": %lld, \"publish_ns\": %lld}", (long long)size, filled - start,
		published - filled);
}
