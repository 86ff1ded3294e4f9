// Times set to a value, to now, and left alone; of links and of their targets.
#include "check.h"
int main(void) {
	struct stat st;
	put("/data/f", "");
	CHECK(symlink("f", "/data/l") == 0);
	struct timespec ts[2] = {{1000, 1}, {2000, 2}};
	CHECK(utimensat(AT_FDCWD, "/data/l", ts, 0) == 0);
	CHECK(stat("/data/f", &st) == 0);
	CHECK(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 1 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 2);
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_sec = 3000;
	int fd = open("/data/f", O_RDWR);
	CHECK(futimens(fd, ts) == 0 && fstat(fd, &st) == 0);
	CHECK(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 3000);
	WASI(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_ATIM_NOW), 0);
	CHECK(fstat(fd, &st) == 0);
	CHECK(st.st_atim.tv_sec > 1000000000 && st.st_mtim.tv_sec == 3000);
	struct timespec link[2] = {{5, 0}, {6, 0}};
	CHECK(utimensat(AT_FDCWD, "/data/l", link, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK(lstat("/data/l", &st) == 0 && st.st_mtim.tv_sec == 6);
	CHECK(stat("/data/l", &st) == 0 && st.st_mtim.tv_sec == 3000);
	WASI(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), __WASI_ERRNO_INVAL);
	WASI(__wasi_fd_filestat_set_times(fd, 0, 0, 0x100), __WASI_ERRNO_INVAL);
	FAILS(utimensat(AT_FDCWD, "/data/none", ts, 0), ENOENT);
	return 0;
}
