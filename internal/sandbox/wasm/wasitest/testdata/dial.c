// A client of a granted address.
#include "check.h"
__attribute__((import_module("weft"), import_name("dial"))) int weft_dial(const char *host, int len, int port, int *fd);
int main(int argc, char **argv) {
	int fd;
	const char *host = "127.0.0.1";
	CHECK(weft_dial(host, strlen(host), 1, &fd) != 0);
	WASI(weft_dial(host, 0, 80, &fd), __WASI_ERRNO_INVAL);
	WASI(weft_dial(host, strlen(host), 0, &fd), __WASI_ERRNO_INVAL);
	WASI(weft_dial(host, strlen(host), atoi(argv[1]), &fd), 0);
	CHECK(write(fd, "ping\n", 5) == 5);
	char b[64];
	ssize_t n = read(fd, b, sizeof b);
	CHECK(n == 5 && memcmp(b, "pong\n", 5) == 0);
	CHECK(read(fd, b, sizeof b) == 0);
	return 0;
}
