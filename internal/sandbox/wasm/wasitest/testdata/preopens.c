// The granted folders, in order, under the names that they were granted.
#include "check.h"
int main(void) {
	for (__wasi_fd_t fd = 3;; fd++) {
		__wasi_prestat_t p;
		int e = __wasi_fd_prestat_get(fd, &p);
		if (e == __WASI_ERRNO_BADF) break;
		CHECK(e == 0 && p.tag == __WASI_PREOPENTYPE_DIR);
		char name[256];
		CHECK(p.u.dir.pr_name_len < sizeof name);
		WASI(__wasi_fd_prestat_dir_name(fd, (uint8_t *)name, p.u.dir.pr_name_len), 0);
		WASI(__wasi_fd_prestat_dir_name(fd, (uint8_t *)name, p.u.dir.pr_name_len - 1), __WASI_ERRNO_NAMETOOLONG);
		printf("%u %.*s\n", fd, (int)p.u.dir.pr_name_len, name);
	}
	__wasi_prestat_t p;
	WASI(__wasi_fd_prestat_get(1, &p), __WASI_ERRNO_BADF);
	WASI(__wasi_fd_close(3), 0);
	WASI(__wasi_fd_prestat_get(3, &p), __WASI_ERRNO_BADF);
	return 0;
}
