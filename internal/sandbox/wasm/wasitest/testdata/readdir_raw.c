// fd_readdir with buffers too small for an entry, and its cookies.
#include "check.h"
int main(void) {
	put("/data/a-file", "");
	unsigned char buf[512], small[512];
	__wasi_size_t n, m;
	WASI(__wasi_fd_readdir(scratch(), buf, sizeof buf, 0, &n), 0);
	CHECK(n == 3 * sizeof(__wasi_dirent_t) + 1 + 2 + 6);
	for (__wasi_size_t k = 1; k <= n; k++) { // a short buffer holds the first part of the same bytes
		WASI(__wasi_fd_readdir(scratch(), small, k, 0, &m), 0);
		CHECK(m == k && memcmp(small, buf, k) == 0);
	}
	__wasi_size_t at = 0;
	int left = 3;
	while (at < n) { // from each cookie on, the rest
		__wasi_dirent_t e;
		memcpy(&e, buf + at, sizeof e);
		at += sizeof e + e.d_namlen;
		left--;
		WASI(__wasi_fd_readdir(scratch(), small, sizeof small, e.d_next, &m), 0);
		CHECK(m == n - at && memcmp(small, buf + at, m) == 0);
	}
	CHECK(left == 0);
	WASI(__wasi_fd_readdir(1, buf, 8, 0, &n), __WASI_ERRNO_BADF);
	WASI(__wasi_fd_readdir(99, buf, 8, 0, &n), __WASI_ERRNO_BADF);
	return 0;
}
