// Random bytes differ, in any amount.
#include "check.h"
static unsigned char a[3000000], b[3000000];
int main(void) {
	CHECK(getentropy(a, 256) == 0 && getentropy(b, 256) == 0);
	CHECK(memcmp(a, b, 256) != 0);
	WASI(__wasi_random_get(a, sizeof a), 0);
	WASI(__wasi_random_get(b, 0), 0);
	size_t zero = 0;
	for (size_t i = 0; i < sizeof a; i++) zero += a[i] == 0;
	CHECK(zero > sizeof a / 256 * 9 / 10 && zero < sizeof a / 256 * 11 / 10);
	WASI(__wasi_sched_yield(), 0);
	return 0;
}
