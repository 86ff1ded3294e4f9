// weft:cflags -O3 -msimd128
// Takes what send published and reads every word of it, in one or several rounds.
#include <weft.h>

#include <stdio.h>
#include <stdlib.h>
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

enum { ROUNDS = 64 };

static int ascending(const void *a, const void *b) {
	long long x = *(const long long *)a, y = *(const long long *)b;
	return (x > y) - (x < y);
}

WEFT_FUNCTION(receive) {
	int64_t rounds = weft_arg_int("rounds", 1);
	long long take_ns = 0, read_ns = 0, again_ns = 0, release_ns = 0, next[ROUNDS];
	uint64_t sum = 0;
	size_t bytes = 0;
	if (rounds < 1 || rounds > ROUNDS) return weft_fail("receive: rounds must be 1 to %d", ROUNDS);
	for (int64_t i = 0; i < rounds; i++) {
		weft_view v;
		char slot[32];
		snprintf(slot, sizeof slot, "send/data-%lld", (long long)i);
		long long start = now();
		int e = weft_take(slot, WEFT_TYPE("[]uint64"), &v);
		if (e) return weft_fail("take %s: %s", slot, weft_error(e));
		long long taken = now();
		uint64_t first = total((const uint64_t *)v.data, v.size / 8);
		long long read = now();
		uint64_t second = total((const uint64_t *)v.data, v.size / 8); /* the memory is there already: the limit */
		long long again = now();
		if (second != first || (i > 0 && first != sum)) return weft_fail("receive: the buffer changed");
		bytes = v.size;
		sum = first;
		weft_release(&v);
		long long released = now();
		next[i] = read - start;
		if (i > 0) continue;
		take_ns = taken - start, read_ns = read - taken, again_ns = again - read, release_ns = released - again;
	}
	qsort(next + 1, (size_t)rounds - 1, sizeof next[0], ascending); /* the first one touches code and memory anew */
	return weft_return_json("{\"bytes\": %zu, \"sum\": \"%016llx\", \"take_ns\": %lld, \"read_ns\": %lld, \"again_ns\": %lld, "
		"\"release_ns\": %lld, \"next_ns\": %lld}", bytes, (unsigned long long)sum, take_ns, read_ns, again_ns, release_ns,
		rounds > 1 ? next[rounds / 2] : 0ll);
}
