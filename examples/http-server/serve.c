// weft:cflags -O2
// Serves HTTP on a granted port: as many requests as it is told, one after the other.
#include <weft.h>

#ifndef SERVE_PORT
#define SERVE_PORT 17878
#endif

/* request reads up to the empty line that ends the head of a request, and returns its size, or -1. */
static int request(int fd, char *head, int room) {
	int n = 0;
	while (n < room - 1) {
		ssize_t got = read(fd, head + n, (size_t)(room - 1 - n));
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return -1;
		n += (int)got;
		head[n] = 0;
		if (strstr(head, "\r\n\r\n")) return n;
	}
	return -1;
}

WEFT_FUNCTION(serve) {
	static char head[8192];
	int listener, served = 0, requests = (int)weft_arg_int("requests", 1), port = (int)weft_arg_int("port", SERVE_PORT);
	int e = weft_listen((uint16_t)port, &listener);
	if (e) return weft_fail("listen on %d: %s", port, weft_error(e));
	while (served < requests) {
		int fd;
		if ((e = weft_accept(listener, &fd))) return weft_fail("accept: error %d", e);
		if (request(fd, head, sizeof head) > 0) {
			char path[256] = "", answer[512];
			sscanf(head, "GET %200s", path);
			int body = snprintf(answer, sizeof answer, "hello from %s, request %d\n", path, ++served);
			char text[1024];
			int n = snprintf(text, sizeof text,
				"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", body, answer);
			for (int done = 0; done < n;) {
				ssize_t k = write(fd, text + done, (size_t)(n - done));
				if (k < 0 && errno == EINTR) continue;
				if (k <= 0) break;
				done += (int)k;
			}
		}
		close(fd);
	}
	close(listener);
	return weft_return_json("{\"served\": %d}", served);
}
