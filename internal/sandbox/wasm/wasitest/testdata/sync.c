// Flushing and advice, and what cannot be flushed.
#include "check.h"
int main(void) {
	int fd = open("/data/f", O_RDWR | O_CREAT, 0666);
	CHECK(write(fd, "text", 4) == 4);
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
	for (int advice = 0; advice < 6; advice++) WASI(__wasi_fd_advise(fd, 0, 100, advice), 0);
	WASI(__wasi_fd_advise(fd, 0, 100, 6), __WASI_ERRNO_INVAL);
	WASI(__wasi_fd_advise(99, 0, 0, 0), __WASI_ERRNO_BADF);
	WASI(__wasi_fd_sync(99), __WASI_ERRNO_BADF);
	int sync = open("/data/g", O_WRONLY | O_CREAT | O_SYNC, 0666);
	CHECK(sync >= 0 && write(sync, "durable", 7) == 7);
	CHECK(fcntl(sync, F_GETFL) & O_SYNC);
	holds("/data/g", "durable");
	return 0;
}
