// Renaming files and directories, over others and into others.
#include "check.h"
int main(void) {
	put("/data/a", "a");
	put("/data/b", "b");
	CHECK(rename("/data/a", "/data/b") == 0);
	holds("/data/b", "a");
	FAILS(rename("/data/a", "/data/c"), ENOENT);
	CHECK(mkdir("/data/d", 0777) == 0 && mkdir("/data/e", 0777) == 0);
	CHECK(rename("/data/b", "/data/d/b") == 0);
	CHECK(rename("/data/d", "/data/e") == 0); // over an empty directory
	holds("/data/e/b", "a");
	CHECK(mkdir("/data/d", 0777) == 0);
	FAILS(rename("/data/d", "/data/e"), ENOTEMPTY);
	FAILS(rename("/data/d", "/data/e/b"), ENOTDIR);
	FAILS(rename("/data/e/b", "/data/d"), EISDIR);
	FAILS(rename("/data/e", "/data/e/inside"), EINVAL);
	CHECK(rename("/data/d/", "/data/f/") == 0);
	FAILS(rename("/data/e/b/", "/data/g"), ENOTDIR);
	CHECK(rename("/data/e/b", "/data/e/b") == 0);
	return 0;
}
