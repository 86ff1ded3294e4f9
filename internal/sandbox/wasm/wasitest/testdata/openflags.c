// O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY and the access modes.
#include "check.h"
int main(void) {
	put("/data/f", "text");
	char b[8];
	FAILS(open("/data/f", O_WRONLY | O_CREAT | O_EXCL, 0666), EEXIST);
	FAILS(open("/data/f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("/data/f/", O_RDONLY), ENOTDIR);
	FAILS(open("/data/none", O_RDWR), ENOENT);
	CHECK(mkdir("/data/d", 0777) == 0);
	FAILS(open("/data/d", O_WRONLY), EISDIR);
	FAILS(open("/data/d", O_RDWR | O_CREAT, 0666), EISDIR);
	int fd = open("/data/d", O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	int in = openat(fd, "../f", O_RDONLY);
	CHECK(in == -1); // a directory's descriptor does not reach above it
	int made = openat(fd, "inner", O_RDWR | O_CREAT, 0666);
	CHECK(made >= 0 && close(made) == 0 && close(fd) == 0);
	CHECK(access("/data/d/inner", F_OK) == 0);
	fd = open("/data/f", O_RDONLY);
	CHECK(read(fd, b, 8) == 4 && write(fd, "x", 1) == -1 && close(fd) == 0);
	fd = open("/data/f", O_WRONLY);
	CHECK(read(fd, b, 8) == -1 && write(fd, "TE", 2) == 2 && close(fd) == 0);
	holds("/data/f", "TExt");
	fd = open("/data/f", O_WRONLY | O_TRUNC);
	CHECK(fd >= 0 && close(fd) == 0);
	holds("/data/f", "");
	return 0;
}
