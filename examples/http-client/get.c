// weft:cflags -O2
// Gets a page by HTTP from a granted address and returns the status and the size of the body.
#include <weft.h>

#ifndef GET_HOST
#define GET_HOST "127.0.0.1"
#define GET_PORT 17878
#endif

WEFT_FUNCTION(get) {
	const char *host = weft_arg_str("host", GET_HOST), *path = weft_arg_str("path", "/");
	int fd, port = (int)weft_arg_int("port", GET_PORT);
	int e = weft_dial(host, (uint16_t)port, &fd);
	if (e) return weft_fail("dial %s:%d: %s", host, port, weft_error(e));
	char request[1024];
	int n = snprintf(request, sizeof request, "GET %.400s HTTP/1.0\r\nHost: %.200s\r\nConnection: close\r\n\r\n", path, host);
	for (int done = 0; done < n;) {
		ssize_t k = write(fd, request + done, (size_t)(n - done));
		if (k < 0 && errno == EINTR) continue;
		if (k <= 0) return weft_fail("send request: %s", strerror(errno));
		done += (int)k;
	}
	size_t size = 0, room = 64 << 10;
	char *answer = malloc(room + 1);
	for (;;) {
		if (!answer) return weft_fail("out of memory");
		ssize_t k = read(fd, answer + size, room - size);
		if (k < 0 && errno == EINTR) continue;
		if (k < 0) return weft_fail("receive answer: %s", strerror(errno));
		if (k == 0) break;
		size += (size_t)k;
		if (size == room) answer = realloc(answer, (room *= 2) + 1);
	}
	close(fd);
	answer[size] = 0;
	int status = 0;
	char *body = strstr(answer, "\r\n\r\n");
	if (sscanf(answer, "HTTP/%*s %d", &status) != 1 || !body) return weft_fail("the answer is not HTTP");
	body += 4;
	weft_return_json("{\"status\": %d, \"body\": ", status);
	weft_return_string(body, size - (size_t)(body - answer));
	free(answer);
	return weft_return_json("}");
}
