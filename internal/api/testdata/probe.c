/*
 * probe is what the functions of the test app run: "probe cat" copies standard input to standard output, "probe do" does
 * what its input tells it: {"do": "log hello; sleep 10; out done"}.
 */
#include <fcntl.h>
#include <time.h>
#include <weft.h>

static void out(const char *text, size_t n) {
	while (n > 0) {
		ssize_t w = write(1, text, n);
		if (w <= 0) exit(9);
		text += w;
		n -= (size_t)w;
	}
}

static void copy(int from) {
	static char block[64 << 10];
	for (ssize_t n; (n = read(from, block, sizeof block)) > 0;) out(block, (size_t)n);
}

static int act(char *line) {
	char *a[4] = {0};
	int n = 0;
	for (char *w = strtok(line, " "); w && n < 4; w = strtok(NULL, " ")) a[n++] = w;
	if (n == 0) return 0;
	const char *x = n > 1 ? a[1] : "";
	long k = n > 1 ? atol(a[1]) : 0;
	if (!strcmp(a[0], "out")) {
		out(x, strlen(x));
	} else if (!strcmp(a[0], "log")) {
		fprintf(stderr, "%s\n", x);
	} else if (!strcmp(a[0], "sleep")) { /* sleep MILLISECONDS */
		usleep((useconds_t)k * 1000);
	} else if (!strcmp(a[0], "env")) {
		const char *v = getenv(x);
		out(v ? v : "(none)", v ? strlen(v) : 6);
	} else if (!strcmp(a[0], "cat")) {
		int fd = open(x, O_RDONLY);
		if (fd < 0) return weft_fail("open %s: %s", x, strerror(errno));
		copy(fd);
		close(fd);
	} else if (!strcmp(a[0], "append")) { /* append PATH TEXT */
		int fd = open(x, O_WRONLY | O_CREAT | O_APPEND, 0644);
		if (fd < 0 || write(fd, a[2], strlen(a[2])) < 0) return weft_fail("append %s: %s", x, strerror(errno));
		close(fd);
	} else if (!strcmp(a[0], "await")) { /* await PATH: until it is there */
		while (access(x, F_OK) != 0) usleep(2000);
	} else if (!strcmp(a[0], "need")) { /* need PATH: fails unless it is there */
		if (access(x, F_OK) != 0) return weft_fail("there is no %s", x);
	} else if (!strcmp(a[0], "emit")) { /* emit BYTES */
		char block[4096];
		for (size_t i = 0; i < sizeof block; i++) block[i] = (char)('a' + i % 26);
		for (; k > 0; k -= 4096) out(block, k < 4096 ? (size_t)k : 4096);
	} else if (!strcmp(a[0], "put")) { /* put SLOT BYTES */
		long size = n > 2 ? atol(a[2]) : 0;
		weft_view view;
		int e = weft_alloc(&view, (size_t)size);
		if (!e) {
			for (long i = 0; i < size; i++) ((char *)view.data)[i] = (char)('a' + i % 26);
			e = weft_put(x, 0, view.data, view.size);
		}
		if (e) return weft_fail("put %s: %s", x, weft_error(e));
	} else if (!strcmp(a[0], "take")) { /* take SLOT: how many bytes, and their sum */
		weft_view view;
		int e = weft_take(x, 0, &view);
		if (e) return weft_fail("take %s: %s", x, weft_error(e));
		uint64_t sum = 0;
		for (size_t i = 0; i < view.size; i++) sum += ((unsigned char *)view.data)[i];
		char text[64];
		out(text, (size_t)snprintf(text, sizeof text, "%zu %llu", view.size, (unsigned long long)sum));
	} else if (!strcmp(a[0], "fail")) {
		return weft_fail("%s", x);
	} else if (!strcmp(a[0], "trap")) {
		__builtin_trap();
	} else {
		return weft_fail("no such command: %s", a[0]);
	}
	return 0;
}

int main(int argc, char **argv) {
	if (argc > 1 && !strcmp(argv[1], "cat")) {
		copy(0);
		return 0;
	}
	char *todo = strdup(weft_arg_str("do", ""));
	for (char *p = todo, *next; p && *p; p = next) {
		next = strchr(p, ';');
		if (next) *next++ = 0;
		int status = act(p);
		if (status) return status;
	}
	return 0;
}
