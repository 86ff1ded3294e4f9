// Rights can be given up and not regained, and bound what is opened.
#include "check.h"
int main(void) {
	__wasi_fd_t fd, dir;
	__wasi_fdstat_t st;
	__wasi_filestat_t fs;
	const __wasi_rights_t rw = __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE;
	WASI(__wasi_path_open(scratch(), 0, "f", __WASI_OFLAGS_CREAT, rw | __WASI_RIGHTS_FD_READDIR, 0, 0, &fd), 0);
	WASI(__wasi_fd_fdstat_get(fd, &st), 0);
	CHECK(st.fs_filetype == __WASI_FILETYPE_REGULAR_FILE && st.fs_rights_base == rw && st.fs_rights_inheriting == 0);
	WASI(__wasi_fd_filestat_get(fd, &fs), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_fd_filestat_set_size(fd, 1), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_fd_sync(fd), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_fd_fdstat_set_rights(fd, __WASI_RIGHTS_FD_READ, 0), 0);
	__wasi_ciovec_t v = {(const uint8_t *)"x", 1};
	__wasi_size_t n;
	WASI(__wasi_fd_write(fd, &v, 1, &n), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_fd_fdstat_set_rights(fd, rw, 0), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_path_create_directory(scratch(), "d"), 0);
	WASI(__wasi_path_open(scratch(), 0, "d", __WASI_OFLAGS_DIRECTORY,
	                      __WASI_RIGHTS_PATH_OPEN | __WASI_RIGHTS_PATH_CREATE_FILE, __WASI_RIGHTS_FD_READ, 0, &dir), 0);
	WASI(__wasi_path_open(dir, 0, "g", __WASI_OFLAGS_CREAT, rw, 0, 0, &fd), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_path_open(dir, 0, "g", __WASI_OFLAGS_CREAT, __WASI_RIGHTS_FD_READ, 0, 0, &fd), 0);
	WASI(__wasi_path_open(dir, 0, "g", __WASI_OFLAGS_TRUNC, __WASI_RIGHTS_FD_READ, 0, 0, &fd), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_path_unlink_file(dir, "g"), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_path_create_directory(dir, "e"), __WASI_ERRNO_NOTCAPABLE);
	WASI(__wasi_fd_fdstat_get(scratch(), &st), 0);
	CHECK(st.fs_filetype == __WASI_FILETYPE_DIRECTORY && !(st.fs_rights_base & __WASI_RIGHTS_FD_SEEK));
	return 0;
}
