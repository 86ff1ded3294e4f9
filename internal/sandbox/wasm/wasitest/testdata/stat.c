// What is reported of a file, by path and by descriptor.
#include "check.h"
#include <time.h>
int main(void) {
	struct stat a, b;
	put("/data/f", "12345");
	int fd = open("/data/f", O_RDONLY);
	CHECK(stat("/data/f", &a) == 0 && fstat(fd, &b) == 0);
	CHECK(a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_ino != 0);
	CHECK(S_ISREG(a.st_mode) && a.st_size == 5 && a.st_nlink == 1);
	CHECK(llabs(a.st_mtime - time(NULL)) < 100);
	CHECK(a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
	CHECK(write(1, "", 0) == 0);
	CHECK(fstat(1, &b) == 0);
	FAILS(stat("/data/none", &a), ENOENT);
	FAILS(stat("/data/f/x", &a), ENOTDIR);
	FAILS(fstat(99, &a), EBADF);
	return 0;
}
