// An archive or disk image, granted as a folder.
#include "check.h"
int main(void) {
	struct stat st;
	char b[8];
	holds("/data/hello.txt", "hello from the image");
	holds("/data/sub/deep/file.txt", "deep");
	CHECK(stat("/data/hello.txt", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 20);
	CHECK(stat("/data/sub", &st) == 0 && S_ISDIR(st.st_mode));
	int fd = open("/data/hello.txt", O_RDONLY);
	CHECK(lseek(fd, -5, SEEK_END) == 15 && read(fd, b, 8) == 5 && memcmp(b, "image", 5) == 0);
	CHECK(pread(fd, b, 4, 6) == 4 && memcmp(b, "from", 4) == 0);
	CHECK(read(fd, b, 1) == 0);
	DIR *d = opendir("/data");
	int n = 0;
	while (readdir(d) != NULL) n++;
	CHECK(n == 4);
	FAILS(open("/data/none", O_RDONLY), ENOENT);
	FAILS(open("/data/hello.txt", O_RDWR), EROFS);
	FAILS(open("/data/new", O_WRONLY | O_CREAT, 0666), EROFS);
	FAILS(mkdir("/data/d", 0777), EROFS);
	FAILS(unlink("/data/hello.txt"), EROFS);
	return 0;
}
