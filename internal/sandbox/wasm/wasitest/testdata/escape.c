// No path leads out of what was granted.
#include "check.h"
static void refused(const char *path) {
	__wasi_fd_t fd;
	__wasi_filestat_t st;
	WASI(__wasi_path_open(scratch(), __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, 0, 0, 0, 0, &fd), __WASI_ERRNO_PERM);
	WASI(__wasi_path_filestat_get(scratch(), __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, &st), __WASI_ERRNO_PERM);
}
int main(void) {
	CHECK(mkdir("/data/d", 0777) == 0);
	refused("..");
	refused("../..");
	refused("d/../..");
	refused("d/../../etc/passwd");
	refused("/");
	refused("/etc/passwd");
	refused("/proc/self/root");
	WASI(__wasi_path_symlink("../..", scratch(), "d/up"), 0);
	refused("d/up");
	refused("d/up/etc/passwd");
	WASI(__wasi_path_symlink("d/up/..", scratch(), "chain"), 0);
	refused("chain");
	WASI(__wasi_path_symlink("/etc", scratch(), "abs"), __WASI_ERRNO_PERM);
	WASI(__wasi_path_create_directory(scratch(), "../made"), __WASI_ERRNO_PERM);
	WASI(__wasi_path_create_directory(scratch(), "d/up/made"), __WASI_ERRNO_PERM);
	WASI(__wasi_path_rename(scratch(), "d", scratch(), "../d"), __WASI_ERRNO_PERM);
	WASI(__wasi_path_unlink_file(scratch(), "d/up/x"), __WASI_ERRNO_PERM);
	__wasi_fd_t fd, made;
	WASI(__wasi_path_symlink("../made", scratch(), "dangling"), 0);
	WASI(__wasi_path_open(scratch(), __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, "dangling", __WASI_OFLAGS_CREAT,
	                      __WASI_RIGHTS_FD_WRITE, 0, 0, &made), __WASI_ERRNO_PERM);
	WASI(__wasi_path_open(scratch(), 0, "d", __WASI_OFLAGS_DIRECTORY, __WASI_RIGHTS_PATH_OPEN, __WASI_RIGHTS_FD_READ, 0, &fd), 0);
	WASI(__wasi_path_open(fd, 0, "../d", 0, 0, 0, 0, &made), __WASI_ERRNO_PERM);
	CHECK(open("/etc/passwd", O_RDONLY) == -1);
	return 0;
}
