// Sizes set larger and smaller; space allocated without shrinking.
#include "check.h"
int main(void) {
	put("/data/f", "0123456789");
	struct stat st;
	CHECK(truncate("/data/f", 4) == 0);
	holds("/data/f", "0123");
	int fd = open("/data/f", O_RDWR);
	CHECK(ftruncate(fd, 8) == 0);
	char b[8];
	CHECK(read(fd, b, 8) == 8 && memcmp(b, "0123\0\0\0\0", 8) == 0);
	CHECK(lseek(fd, 0, SEEK_CUR) == 8);
	CHECK(ftruncate(fd, 2) == 0 && lseek(fd, 0, SEEK_CUR) == 8);
	FAILS(ftruncate(fd, -1), EINVAL);
	int e = posix_fallocate(fd, 0, 100);
	CHECK(e == 0 || e == ENOTSUP);
	if (e == 0) {
		CHECK(fstat(fd, &st) == 0 && st.st_size == 100);
		CHECK(posix_fallocate(fd, 10, 10) == 0 && fstat(fd, &st) == 0 && st.st_size == 100);
	}
	CHECK(posix_fallocate(fd, 0, 0) == EINVAL);
	int ro = open("/data/f", O_RDONLY);
	CHECK(ftruncate(ro, 0) == -1);
	return 0;
}
