// A server on a granted port: it greets one client and returns what it says.
#include "check.h"
#include <poll.h>
#include <sys/socket.h>
__attribute__((import_module("weft"), import_name("listen"))) int weft_listen(int port, int *fd);
int main(int argc, char **argv) {
	int listener, fd;
	WASI(weft_listen(1, &listener), __WASI_ERRNO_NOTCAPABLE);
	WASI(weft_listen(atoi(argv[1]), &listener), 0);
	printf("listening\n");
	fflush(stdout);
	WASI(__wasi_fd_fdstat_set_flags(listener, __WASI_FDFLAGS_NONBLOCK), 0);
	struct pollfd p = {listener, POLLRDNORM, 0};
	CHECK(poll(&p, 1, 20000) == 1);
	__wasi_fd_t conn;
	extern int accept_raw(int, int, __wasi_fd_t *) __attribute__((import_module("wasi_snapshot_preview1"), import_name("sock_accept")));
	WASI(accept_raw(listener, 0, &conn), 0);
	fd = conn;
	WASI(accept_raw(listener, 0, &conn), __WASI_ERRNO_AGAIN);
	CHECK(send(fd, "who is there?\n", 14, 0) == 14);
	char b[64];
	ssize_t n = recv(fd, b, sizeof b, MSG_PEEK);
	CHECK(n > 0 && recv(fd, b, sizeof b, 0) == n);
	CHECK(write(fd, b, n) == n);
	CHECK(shutdown(fd, SHUT_WR) == 0);
	CHECK(read(fd, b, sizeof b) == 0);
	FAILS(lseek(fd, 0, SEEK_SET), ESPIPE);
	CHECK(close(fd) == 0);
	WASI(__wasi_sock_shutdown(1, 1), __WASI_ERRNO_NOTSOCK);
	WASI(__wasi_sock_shutdown(99, 1), __WASI_ERRNO_BADF);
	return 0;
}
