// What is granted for reading cannot be changed in any way.
#include "check.h"
int main(void) {
	struct stat st;
	holds("/data/f", "text");
	CHECK(stat("/data/f", &st) == 0 && st.st_size == 4);
	FAILS(open("/data/f", O_RDWR), EROFS);
	FAILS(open("/data/f", O_WRONLY | O_TRUNC), EROFS);
	FAILS(open("/data/new", O_WRONLY | O_CREAT, 0666), EROFS);
	FAILS(mkdir("/data/d", 0777), EROFS);
	FAILS(unlink("/data/f"), EROFS);
	FAILS(rename("/data/f", "/data/g"), EROFS);
	FAILS(symlink("f", "/data/l"), EROFS);
	FAILS(link("/data/f", "/data/l"), EROFS);
	int fd = open("/data/f", O_RDONLY);
	FAILS(futimens(fd, NULL), EROFS);
	return 0;
}
