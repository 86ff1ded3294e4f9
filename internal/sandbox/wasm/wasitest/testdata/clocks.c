// Clocks go forward and have a resolution.
#include "check.h"
#include <time.h>
int main(void) {
	struct timespec a, b;
	CHECK(clock_getres(CLOCK_REALTIME, &a) == 0 && a.tv_sec == 0 && a.tv_nsec > 0);
	CHECK(clock_getres(CLOCK_MONOTONIC, &a) == 0 && a.tv_sec == 0 && a.tv_nsec > 0);
	CHECK(clock_gettime(CLOCK_REALTIME, &a) == 0 && a.tv_sec > 1600000000);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &a) == 0);
	for (int i = 0; i < 1000; i++) {
		CHECK(clock_gettime(CLOCK_MONOTONIC, &b) == 0);
		CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
		a = b;
	}
	__wasi_timestamp_t t, u;
	WASI(__wasi_clock_time_get(__WASI_CLOCKID_THREAD_CPUTIME_ID, 1, &t), 0);
	volatile unsigned x = 1;
	for (int i = 0; i < 20000000; i++) x = x * 3 + i;
	WASI(__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 1, &u), 0);
	CHECK(u > t);
	WASI(__wasi_clock_time_get(9, 1, &t), __WASI_ERRNO_INVAL);
	WASI(__wasi_clock_res_get(9, &t), __WASI_ERRNO_INVAL);
	return 0;
}
