/*
 * actor does what its input tells it: {"do": "put x 100; wait y; take a/x"}. Each command that has something to report
 * appends a line to the output, a JSON list of strings. Errors are reported as WASI numbers and end nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <weft.h>

static weft_view view; /* of the last take, borrow or alloc */
static int reported;
extern char **environ;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
	char text[2048];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	weft_write(reported++ ? "," : "[", 1);
	weft_return_string(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static uint32_t sum(const unsigned char *p, size_t n) {
	uint32_t h = 0;
	for (size_t i = 0; i < n; i++) h = h * 31 + p[i];
	return h;
}

static void get(const char *how, char *name, char *type) {
	uint64_t t = type ? strtoull(type, NULL, 10) : 0;
	int e = how[0] == 't' ? weft_take(name, t, &view) : weft_borrow(name, t, &view);
	if (e)
		say("%s %s: errno %d", how, name, e);
	else
		say("%s %s: %zu bytes of %u", how, name, view.size, sum(view.data, view.size));
}

static void pass(char *path) {
	char text[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n < 0) {
		say("cat %s: %s", path, strerror(errno));
	} else {
		text[n] = 0;
		say("cat %s: %s", path, text);
	}
	if (fd >= 0) close(fd);
}

static void spin(void) {
	for (volatile uint64_t i = 0;; i++) {}
}

static int act(char *line) {
	char *a[5] = {0};
	int n = 0;
	for (char *w = strtok(line, " "); w && n < 5; w = strtok(NULL, " ")) a[n++] = w;
	if (n == 0) return 0;
	long k = n > 1 ? atol(a[1]) : 0, m = n > 2 ? atol(a[2]) : 0;
	if (!strcmp(a[0], "put")) { /* put NAME SIZE [TYPE [FILL]] */
		char *p = malloc((size_t)m + 1);
		if (!p) return weft_fail("no memory to put %s", a[1]);
		memset(p, n > 4 ? atoi(a[4]) : 'x', (size_t)m);
		int e = weft_put(a[1], n > 3 ? strtoull(a[3], NULL, 10) : 0, p, (size_t)m);
		if (e) say("put %s: errno %d", a[1], e);
		free(p);
	} else if (!strcmp(a[0], "fill")) { /* fill NAME SIZE: in place */
		int e = weft_alloc(&view, (size_t)m);
		if (!e) {
			memset(view.data, 'x', view.size);
			e = weft_put(a[1], 0, view.data, view.size);
		}
		if (e) say("fill %s: errno %d", a[1], e);
	} else if (!strcmp(a[0], "puts")) { /* puts PREFIX COUNT SIZE */
		long size = n > 3 ? atol(a[3]) : 1;
		char *p = calloc(1, (size_t)size);
		for (long i = 0; i < m; i++) {
			char name[160];
			snprintf(name, sizeof name, "%s%ld", a[1], i);
			int e = weft_put(name, 0, p, (size_t)size);
			if (e) {
				say("put %s: errno %d", name, e);
				break;
			}
		}
		free(p);
	} else if (!strcmp(a[0], "takes")) { /* takes PREFIX COUNT */
		long got = 0;
		for (long i = 0; i < m; i++) {
			char name[160];
			snprintf(name, sizeof name, "%s%ld", a[1], i);
			if (weft_take(name, 0, &view) == 0) {
				got++;
				weft_release(&view);
			}
		}
		say("took %ld", got);
	} else if (!strcmp(a[0], "take") || !strcmp(a[0], "borrow")) {
		get(a[0], a[1], a[2]);
	} else if (!strcmp(a[0], "look")) { /* borrow without summing up: nothing of it is touched */
		int e = weft_borrow(a[1], 0, &view);
		say("look %s: errno %d, %zu bytes", a[1], e, view.size);
	} else if (!strcmp(a[0], "wait")) { /* wait NAME [MILLISECONDS] */
		int e = weft_wait(a[1], n > 2 ? (int64_t)m * 1000000 : -1);
		if (e) say("wait %s: errno %d", a[1], e);
		if (e == WEFT_EDEADLOCK) return weft_fail("waited in vain");
	} else if (!strcmp(a[0], "len")) {
		uint64_t size = 0, type = 0;
		int e = weft_len(a[1], &size, &type);
		if (e)
			say("len %s: errno %d", a[1], e);
		else
			say("len %s: %llu of type %llu", a[1], (unsigned long long)size, (unsigned long long)type);
	} else if (!strcmp(a[0], "forward")) { /* puts the last view under another name */
		int e = weft_put(a[1], 0, view.data, view.size);
		if (e) say("forward %s: errno %d", a[1], e);
	} else if (!strcmp(a[0], "dirty")) { /* writes to every page of the last view */
		for (size_t i = 0; i < view.size; i += 4096) ((volatile char *)view.data)[i] = 'd';
	} else if (!strcmp(a[0], "read")) { /* reads every page of the last view */
		uint32_t h = 0;
		for (size_t i = 0; i < view.size; i += 4096) h += ((volatile unsigned char *)view.data)[i];
		say("read %u", h);
	} else if (!strcmp(a[0], "release")) {
		say("release: errno %d", weft_release(&view));
	} else if (!strcmp(a[0], "spin")) {
		spin();
	} else if (!strcmp(a[0], "work")) { /* work THOUSANDS of rounds */
		for (volatile long i = 0; i < k * 1000; i++) {}
	} else if (!strcmp(a[0], "sleep")) {
		usleep((useconds_t)k * 1000);
	} else if (!strcmp(a[0], "grow")) { /* until memory.grow refuses */
		long pages = 0;
		while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1) pages += 16;
		say("grown by %ld MiB", pages / 16);
	} else if (!strcmp(a[0], "touch")) { /* touch MIB of fresh memory */
		for (long i = 0; i < k; i++) {
			volatile char *p = malloc(1 << 20);
			if (!p) return weft_fail("no memory after %ld MiB", i);
			for (int j = 0; j < 1 << 20; j += 4096) p[j] = 1;
		}
		say("touched %ld MiB", k);
	} else if (!strcmp(a[0], "exit")) {
		exit((int)k);
	} else if (!strcmp(a[0], "trap")) {
		__builtin_trap();
	} else if (!strcmp(a[0], "first")) { /* first N COMMAND [ARG]: only in the first N attempts */
		if (atol(getenv("WEFT_ATTEMPT")) <= k) {
			char again[128];
			snprintf(again, sizeof again, "%s %s", a[2], n > 3 ? a[3] : "");
			return act(again);
		}
	} else if (!strcmp(a[0], "log")) {
		fprintf(stderr, "%s\n", a[1]);
	} else if (!strcmp(a[0], "emit")) { /* emit N bytes of standard output */
		char block[4096];
		memset(block, 'e', sizeof block);
		while (k > 0) {
			ssize_t w = write(1, block, k < 4096 ? (size_t)k : 4096);
			if (w < 0) {
				weft_fail("emit: %s", strerror(errno));
				break;
			}
			k -= w;
		}
		exit(0);
	} else if (!strcmp(a[0], "raw")) { /* raw HEX: these bytes of standard output */
		for (const char *p = n > 1 ? a[1] : ""; p[0] && p[1]; p += 2) {
			char hex[3] = {p[0], p[1], 0};
			unsigned char c = (unsigned char)strtol(hex, NULL, 16);
			if (write(1, &c, 1) != 1) return 1;
		}
		exit(0);
	} else if (!strcmp(a[0], "env")) {
		const char *v = getenv(a[1]);
		say("env %s: %s", a[1], v ? v : "(none)");
	} else if (!strcmp(a[0], "environ")) {
		for (char **e = environ; *e; e++) say("%s", *e);
	} else if (!strcmp(a[0], "cat")) {
		pass(a[1]);
	} else if (!strcmp(a[0], "write")) {
		int fd = open(a[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (fd < 0 || write(fd, a[2], strlen(a[2])) < 0)
			say("write %s: %s", a[1], strerror(errno));
		else
			say("write %s: done", a[1]);
		if (fd >= 0) close(fd);
	} else if (!strcmp(a[0], "ls")) {
		DIR *d = opendir(a[1]);
		if (!d) {
			say("ls %s: %s", a[1], strerror(errno));
		} else {
			int count = 0;
			for (struct dirent *e; (e = readdir(d));) count += e->d_name[0] != '.';
			say("ls %s: %d", a[1], count);
			closedir(d);
		}
	} else if (!strcmp(a[0], "dial")) { /* dial HOST PORT: one line there, one back */
		int fd;
		char back[64];
		int e = weft_dial(a[1], (uint16_t)m, &fd);
		if (e) {
			say("dial %s: errno %d", a[1], e);
		} else {
			if (write(fd, "ping\n", 5) != 5) return weft_fail("write: %s", strerror(errno));
			ssize_t got = read(fd, back, sizeof back - 1);
			back[got > 0 ? got : 0] = 0;
			say("dial %s: %s", a[1], back);
			close(fd);
		}
	} else if (!strcmp(a[0], "serve")) { /* serve PORT: one connection, one line echoed */
		int l, fd;
		char line[64];
		int e = weft_listen((uint16_t)k, &l);
		if (e) {
			say("listen: errno %d", e);
		} else if ((e = weft_accept(l, &fd))) {
			say("accept: errno %d", e);
		} else {
			ssize_t got = read(fd, line, sizeof line - 1);
			if (got < 0 || write(fd, line, (size_t)got) != got) return weft_fail("echo: %s", strerror(errno));
			line[got] = 0;
			say("served %s", line);
			close(fd);
		}
	} else if (!strcmp(a[0], "input")) {
		size_t size;
		const char *text = weft_input(&size);
		say("input: %zu bytes of %u", size, sum((const unsigned char *)text, size));
	} else {
		return weft_fail("no such command: %s", a[0]);
	}
	return 0;
}

int main(int argc, char **argv) {
	const char *text = argc > 2 && !strcmp(argv[1], "do") ? argv[2] : weft_arg_str("do", "");
	char *todo = strdup(text);
	for (char *p = todo, *next; p && *p; p = next) {
		next = strchr(p, ';');
		if (next) *next++ = 0;
		int status = act(p);
		if (status) return status;
	}
	weft_write(reported ? "]" : "[]", reported ? 1 : 2);
	for (size_t done = 0; done < weft_current.output_size;) {
		ssize_t n = write(1, weft_current.output + done, weft_current.output_size - done);
		if (n <= 0) return 1;
		done += (size_t)n;
	}
	return 0;
}
