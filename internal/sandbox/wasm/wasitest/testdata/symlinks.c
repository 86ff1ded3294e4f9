// Symbolic links: read, followed, not followed, dangling, in circles.
#include "check.h"
int main(void) {
	char b[64];
	struct stat st, lst;
	put("/data/target", "text");
	CHECK(symlink("target", "/data/link") == 0);
	FAILS(symlink("target", "/data/link"), EEXIST);
	CHECK(readlink("/data/link", b, sizeof b) == 6 && memcmp(b, "target", 6) == 0);
	CHECK(readlink("/data/link", b, 3) == 3);
	FAILS(readlink("/data/target", b, sizeof b), EINVAL);
	FAILS(readlink("/data/none", b, sizeof b), ENOENT);
	holds("/data/link", "text");
	CHECK(stat("/data/link", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4);
	CHECK(lstat("/data/link", &lst) == 0 && S_ISLNK(lst.st_mode) && lst.st_ino != st.st_ino);
	FAILS(open("/data/link", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK(mkdir("/data/dir", 0777) == 0 && symlink("../target", "/data/dir/up") == 0);
	CHECK(symlink("dir", "/data/dirlink") == 0);
	holds("/data/dirlink/up", "text");
	CHECK(lstat("/data/dirlink/", &st) == 0 && S_ISDIR(st.st_mode));
	CHECK(symlink("nowhere", "/data/dangling") == 0);
	FAILS(open("/data/dangling", O_RDONLY), ENOENT);
	FAILS(open("/data/dangling", O_WRONLY | O_CREAT | O_EXCL, 0666), EEXIST);
	put("/data/dangling", "made");
	holds("/data/nowhere", "made");
	CHECK(symlink("loop", "/data/loop") == 0);
	FAILS(open("/data/loop", O_RDONLY), ELOOP);
	CHECK(unlink("/data/link") == 0 && access("/data/target", F_OK) == 0);
	return 0;
}
