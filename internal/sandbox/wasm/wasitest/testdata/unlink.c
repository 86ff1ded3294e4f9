// A file that is removed while open is still there for who has it open.
#include "check.h"
int main(void) {
	put("/data/f", "text");
	int fd = open("/data/f", O_RDWR);
	CHECK(unlink("/data/f") == 0);
	FAILS(unlink("/data/f"), ENOENT);
	char b[8];
	struct stat st;
	CHECK(read(fd, b, 8) == 4 && write(fd, "more", 4) == 4);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 8 && st.st_nlink == 0);
	put("/data/f", "another");
	CHECK(pread(fd, b, 8, 0) == 8 && memcmp(b, "textmore", 8) == 0);
	CHECK(close(fd) == 0);
	FAILS(close(fd), EBADF);
	FAILS(read(fd, b, 1), EBADF);
	return 0;
}
