// Sleeping: by nanosleep, by absolute time, with several clocks at once.
#include "check.h"
#include <time.h>
static long long now(void) {
	struct timespec t;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(void) {
	long long start = now();
	struct timespec t = {0, 30000000};
	CHECK(nanosleep(&t, NULL) == 0);
	CHECK(now() - start >= 30000000 && now() - start < 5000000000);
	start = now();
	struct timespec at;
	CHECK(clock_gettime(CLOCK_REALTIME, &at) == 0);
	at.tv_nsec += 30000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL) == 0);
	CHECK(now() - start >= 20000000);
	__wasi_subscription_t in[3];
	__wasi_event_t out[3];
	__wasi_size_t n;
	memset(in, 0, sizeof in);
	for (int i = 0; i < 3; i++) {
		in[i].userdata = 10 + i;
		in[i].u.tag = __WASI_EVENTTYPE_CLOCK;
		in[i].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
		in[i].u.u.clock.timeout = i == 1 ? 10000000 : 3600000000000;
	}
	WASI(__wasi_poll_oneoff(in, out, 3, &n), 0);
	CHECK(n == 1 && out[0].userdata == 11 && out[0].error == 0 && out[0].type == __WASI_EVENTTYPE_CLOCK);
	WASI(__wasi_poll_oneoff(in, out, 0, &n), __WASI_ERRNO_INVAL);
	in[0].u.u.clock.id = 77;
	WASI(__wasi_poll_oneoff(in, out, 1, &n), 0);
	CHECK(n == 1 && out[0].error == __WASI_ERRNO_INVAL);
	return 0;
}
