// Addresses outside memory, and counts that make no sense, are errors.
#include "check.h"
int main(void) {
	uint8_t *end = (uint8_t *)(__builtin_wasm_memory_size(0) * 65536 - 4);
	uint8_t *far = (uint8_t *)0xfffffff0;
	__wasi_size_t n;
	__wasi_ciovec_t v = {end, 5};
	WASI(__wasi_fd_write(1, &v, 1, &n), __WASI_ERRNO_FAULT);
	v.buf = far;
	WASI(__wasi_fd_write(1, &v, 1, &n), __WASI_ERRNO_FAULT);
	v.buf_len = 0xffffffff;
	WASI(__wasi_fd_write(1, &v, 1, &n), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_write(1, (__wasi_ciovec_t *)end, 1, &n), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_write(1, &v, 0xffffffff, &n), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_write(1, &v, 0, (__wasi_size_t *)(end + 1)), __WASI_ERRNO_FAULT);
	WASI(__wasi_random_get(end, 5), __WASI_ERRNO_FAULT);
	WASI(__wasi_random_get(end, 4), 0);
	WASI(__wasi_clock_time_get(0, 1, (__wasi_timestamp_t *)end), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_fdstat_get(1, (__wasi_fdstat_t *)end), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_filestat_get(3, (__wasi_filestat_t *)end), __WASI_ERRNO_FAULT);
	WASI(__wasi_fd_readdir(3, end, 100, 0, &n), __WASI_ERRNO_FAULT);
	WASI(__wasi_poll_oneoff((__wasi_subscription_t *)end, (__wasi_event_t *)far, 1, &n), __WASI_ERRNO_FAULT);
	WASI(__wasi_poll_oneoff((__wasi_subscription_t *)64, (__wasi_event_t *)64, 0x10000000, &n), __WASI_ERRNO_INVAL);
	WASI(__wasi_fd_read(-1, NULL, 0, &n), __WASI_ERRNO_BADF);
	__wasi_ciovec_t many[2000];
	for (int i = 0; i < 2000; i++) many[i] = (__wasi_ciovec_t){(const uint8_t *)"x", 1};
	int fd = open("/data/f", O_RDWR | O_CREAT, 0666);
	WASI(__wasi_fd_write(fd, many, 2000, &n), 0);
	CHECK(n > 0 && n <= 2000); // as many as one call takes
	return 0;
}
