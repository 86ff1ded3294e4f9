// Reads and writes at offsets, and with several buffers, leave the position alone.
#include "check.h"
int main(void) {
	put("/data/f", "abcdefghij");
	int fd = open("/data/f", O_RDWR);
	char a[3], b[3];
	CHECK(pread(fd, a, 3, 7) == 3 && memcmp(a, "hij", 3) == 0);
	CHECK(pread(fd, a, 3, 9) == 1 && a[0] == 'j');
	CHECK(pread(fd, a, 3, 10) == 0);
	CHECK(pwrite(fd, "XY", 2, 1) == 2);
	CHECK(lseek(fd, 0, SEEK_CUR) == 0);
	struct iovec v[3] = {{a, 3}, {NULL, 0}, {b, 3}};
	CHECK(readv(fd, v, 3) == 6);
	CHECK(memcmp(a, "aXY", 3) == 0 && memcmp(b, "def", 3) == 0);
	CHECK(lseek(fd, 0, SEEK_CUR) == 6);
	CHECK(preadv(fd, v, 3, 6) == 4 && memcmp(a, "ghi", 3) == 0 && b[0] == 'j');
	struct iovec w[2] = {{"12", 2}, {"34", 2}};
	CHECK(writev(fd, w, 2) == 4);
	CHECK(pwritev(fd, w, 2, 0) == 4);
	holds("/data/f", "1234ef1234");
	FAILS(pread(fd, a, 1, -1), EINVAL);
	CHECK(pread(0, a, 1, 0) == -1 && errno == ESPIPE);
	return 0;
}
