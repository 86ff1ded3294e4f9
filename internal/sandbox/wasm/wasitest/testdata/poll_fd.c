// Waiting for standard streams and files.
#include "check.h"
#include <poll.h>
int main(void) {
	put("/data/f", "12345");
	int fd = open("/data/f", O_RDONLY);
	struct pollfd p[3] = {{0, POLLRDNORM, 0}, {1, POLLWRNORM, 0}, {fd, POLLRDNORM, 0}};
	CHECK(poll(p, 1, 10000) == 1 && p[0].revents & POLLRDNORM); // input is there
	CHECK(poll(p, 3, 10000) == 3);
	CHECK(p[1].revents & POLLWRNORM && p[2].revents & POLLRDNORM);
	struct pollfd bad = {99, POLLRDNORM, 0};
	CHECK(poll(&bad, 1, 0) == 1 && bad.revents & POLLNVAL);
	__wasi_subscription_t in;
	__wasi_event_t out;
	__wasi_size_t n;
	memset(&in, 0, sizeof in);
	in.u.tag = __WASI_EVENTTYPE_FD_READ;
	in.u.u.fd_read.file_descriptor = fd;
	WASI(__wasi_poll_oneoff(&in, &out, 1, &n), 0);
	CHECK(n == 1 && out.fd_readwrite.nbytes == 5);
	char b[16];
	CHECK(read(0, b, sizeof b) == 6 && memcmp(b, "input\n", 6) == 0);
	return 0;
}
