// weft:cflags -O2
// Uses every module of the sandbox once: clock, fs, buffer, net and stdio, and says how long the first use of each took.
#include <weft.h>

#include <fcntl.h>
#include <time.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

WEFT_FUNCTION(all) {
	char text[64];
	weft_view view;
	int fd, e;
	long long start = now(), clock = now();

	fd = open("/files/hello.txt", O_RDONLY);
	if (fd < 0) return weft_fail("open /files/hello.txt: %s", strerror(errno));
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	if (n < 5 || memcmp(text, "Hello", 5) != 0) return weft_fail("/files/hello.txt does not say Hello");
	long long files = now();

	if ((e = weft_alloc(&view, 64 << 10))) return weft_fail("allocate: %s", weft_error(e));
	memcpy(view.data, text, (size_t)n);
	if ((e = weft_put("text", WEFT_BYTES, view.data, view.size))) return weft_fail("publish text: %s", weft_error(e));
	weft_release(&view);
	if ((e = weft_take("text", WEFT_BYTES, &view))) return weft_fail("take text: %s", weft_error(e));
	if (memcmp(view.data, text, (size_t)n) != 0) return weft_fail("the buffer holds something else");
	weft_release(&view);
	long long buffer = now();

	int64_t port = weft_arg_int("port", 0);
	if (port > 0) {
		e = weft_listen((uint16_t)port, &fd);
		if (e && e != WEFT_EBUSY) return weft_fail("listen on %d: %s", (int)port, weft_error(e));
		if (!e) close(fd);
	}
	long long net = now();

	return weft_return_json("{\"clock_ns\": %lld, \"fs_ns\": %lld, \"buffer_ns\": %lld, \"net_ns\": %lld}", clock - start,
		files - clock, buffer - files, net - buffer);
}
