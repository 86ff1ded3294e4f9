// Directories made and removed, and every way that fails.
#include "check.h"
int main(void) {
	CHECK(mkdir("/data/a", 0777) == 0);
	CHECK(mkdir("/data/a/b/", 0777) == 0);
	FAILS(mkdir("/data/a", 0777), EEXIST);
	FAILS(mkdir("/data/x/y", 0777), ENOENT);
	put("/data/f", "");
	FAILS(mkdir("/data/f", 0777), EEXIST);
	FAILS(mkdir("/data/f/x", 0777), ENOTDIR);
	FAILS(rmdir("/data/a"), ENOTEMPTY);
	FAILS(rmdir("/data/f"), ENOTDIR);
	FAILS(rmdir("/data/none"), ENOENT);
	FAILS(unlink("/data/a"), EISDIR);
	FAILS(unlink("/data/a/"), EISDIR);
	FAILS(unlink("/data/f/"), ENOTDIR);
	CHECK(rmdir("/data/a/b/") == 0);
	CHECK(rmdir("/data/a") == 0);
	struct stat st;
	CHECK(stat("/data", &st) == 0 && S_ISDIR(st.st_mode));
	FAILS(stat("/data/a", &st), ENOENT);
	char b;
	int fd = open("/data", O_RDONLY | O_DIRECTORY);
	CHECK(read(fd, &b, 1) == -1 && lseek(fd, 0, SEEK_SET) == -1);
	return 0;
}
