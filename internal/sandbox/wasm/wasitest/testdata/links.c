// Hard links share their file.
#include "check.h"
int main(void) {
	struct stat a, b;
	put("/data/a", "text");
	CHECK(link("/data/a", "/data/b") == 0);
	CHECK(stat("/data/a", &a) == 0 && stat("/data/b", &b) == 0);
	CHECK(a.st_ino == b.st_ino && a.st_nlink == 2);
	put("/data/b", "changed");
	holds("/data/a", "changed");
	FAILS(link("/data/a", "/data/b"), EEXIST);
	FAILS(link("/data/none", "/data/c"), ENOENT);
	CHECK(mkdir("/data/d", 0777) == 0);
	FAILS(link("/data/d", "/data/e"), EPERM);
	FAILS(link("/data/a", "/data/e/"), ENOENT);
	CHECK(symlink("a", "/data/s") == 0);
	CHECK(linkat(AT_FDCWD, "/data/s", AT_FDCWD, "/data/s2", 0) == 0);
	CHECK(lstat("/data/s2", &b) == 0 && S_ISLNK(b.st_mode));
	CHECK(unlink("/data/a") == 0);
	holds("/data/b", "changed");
	CHECK(stat("/data/b", &b) == 0 && b.st_nlink == 1);
	return 0;
}
