// weft:cflags -O3 -msimd128
// Takes what send published and reads every word of it.
#include <weft.h>

#include <time.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint64_t total(const uint64_t *words, size_t n) {
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) sum += words[i];
	return sum;
}

WEFT_FUNCTION(receive) {
	weft_view v;
	long long start = now();
	int e = weft_take("send/data", WEFT_TYPE("[]uint64"), &v);
	if (e) return weft_fail("take send/data: %s", weft_error(e));
	long long taken = now();
	uint64_t sum = total((const uint64_t *)v.data, v.size / 8);
	long long read = now();
	uint64_t second = total((const uint64_t *)v.data, v.size / 8); /* the memory is there already: the limit */
	long long again = now();
	if (second != sum) return weft_fail("receive: the buffer changed");
	size_t bytes = v.size;
	weft_release(&v);
	long long released = now();
	return weft_return_json("{\"bytes\": %zu, \"sum\": \"%016llx\", \"take_ns\": %lld, \"read_ns\": %lld, \"again_ns\": %lld, "
		"\"release_ns\": %lld}", bytes, (unsigned long long)sum, taken - start, read - taken, again - read, released - again);
}
