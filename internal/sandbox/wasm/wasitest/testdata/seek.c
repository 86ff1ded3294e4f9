// Positions: from the start, from here, from the end; beyond it and before the start.
#include "check.h"
int main(void) {
	put("/data/f", "0123456789");
	int fd = open("/data/f", O_RDWR);
	char b[4] = {0};
	CHECK(lseek(fd, 0, SEEK_CUR) == 0);
	CHECK(lseek(fd, 4, SEEK_SET) == 4);
	CHECK(read(fd, b, 2) == 2 && memcmp(b, "45", 2) == 0);
	CHECK(lseek(fd, 1, SEEK_CUR) == 7);
	CHECK(lseek(fd, -2, SEEK_CUR) == 5);
	CHECK(lseek(fd, -3, SEEK_END) == 7);
	CHECK(lseek(fd, 0, SEEK_END) == 10);
	CHECK(read(fd, b, 2) == 0);
	FAILS(lseek(fd, -11, SEEK_END), EINVAL);
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	FAILS(lseek(fd, 0, 9), EINVAL);
	CHECK(lseek(fd, 0, SEEK_CUR) == 10); // a failed call moves nothing
	CHECK(lseek(fd, 15, SEEK_SET) == 15);
	CHECK(read(fd, b, 2) == 0);
	CHECK(write(fd, "!", 1) == 1);
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == 16);
	CHECK(lseek(fd, 12, SEEK_SET) == 12 && read(fd, b, 4) == 4 && memcmp(b, "\0\0\0!", 4) == 0);
	CHECK(lseek(fd, 5000000000, SEEK_SET) == 5000000000);
	FAILS(lseek(99, 0, SEEK_SET), EBADF);
	return 0;
}
