/*
 * work is every function of the apps of this package: what it does says the variable WORK. It gives what package workload
 * computes for the same input, step and attempt. Functions that have the folder /log note there that they were executed.
 */
#include <fcntl.h>
#include <time.h>
#include <weft.h>

enum { EMIT = 2000, BULK = 80000, LONG = 4500, WINDOW = 32 << 10 };

static char digest[16];
static size_t digits;

/* name makes the digest: the FNV-1a hash of the JSON [WORK, input], in base 36. A text that is no JSON is a string. */
static void name(const char *work, const char *input, size_t size, int text) {
	uint64_t h = 0xcbf29ce484222325ull;
#define HASH(p, n) for (size_t i = 0; i < (n); i++) h = (h ^ (unsigned char)(p)[i]) * 0x100000001b3ull
	HASH("[\"", 2);
	HASH(work, strlen(work));
	HASH("\",", 2);
	if (text) HASH("\"", 1);
	HASH(input, size);
	if (text) HASH("\"", 1);
	HASH("]", 1);
	char reversed[16];
	for (digits = 0; h || !digits; h /= 36) reversed[digits++] = "0123456789abcdefghijklmnopqrstuvwxyz"[h % 36];
	for (size_t i = 0; i < digits; i++) digest[i] = reversed[digits - 1 - i];
	digest[digits] = 0;
}

/* note appends a line to the file of the run: this call and attempt were executed. */
static int note(void) {
	char path[128], line[512];
	snprintf(path, sizeof path, "/log/%s", weft_env("WEFT_RUN", "none"));
	int n = snprintf(line, sizeof line, "%s %s\n", weft_env("WEFT_KEY", "none"), weft_env("WEFT_ATTEMPT", "0"));
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd < 0) return weft_fail("open %s: %s", path, strerror(errno));
	int status = write(fd, line, (size_t)n) == n ? 0 : weft_fail("write %s: %s", path, strerror(errno));
	close(fd);
	return status;
}

/* repeat fills memory with the digest, over and over. */
static void repeat(char *to, size_t times) {
	for (size_t i = 0; i < times; i++) memcpy(to + i * digits, digest, digits);
}

/* publish puts a buffer of so many digests and names it in the output. */
static int publish(size_t times) {
	size_t n = times * digits;
	weft_view v = {0};
	char *small = NULL;
	if (n >= WEFT_INLINE) {
		int e = weft_alloc(&v, n);
		if (e) return weft_fail("allocate %zu bytes: %s", n, weft_error(e));
		repeat((char *)v.data, times);
	} else {
		small = (char *)malloc(n);
		if (!small) return weft_fail("no memory for %zu bytes", n);
		repeat(small, times);
	}
	int e = weft_put("out", WEFT_BYTES, small ? small : v.data, n);
	if (e) return weft_fail("put out: %s", weft_error(e));
	int i = weft_index();
	if (i >= 0) return weft_return_json("{\"$buffer\":\"%s[%d]/out\",\"size\":%zu}", weft_step(), i, n);
	return weft_return_json("{\"$buffer\":\"%s/out\",\"size\":%zu}", weft_step(), n);
}

/* say writes what most functions give. */
static int say(void) {
	size_t times = (size_t)(digest[0] % 2 * digest[1] % 2) * LONG;
	char *text = (char *)malloc(times * digits + 1);
	if (!text) return weft_fail("no memory for the output");
	repeat(text, times);
	weft_return_json("{\"d\":\"%s\",\"long\":\"", digest);
	weft_write(text, times * digits);
	return weft_return_json("\"}");
}

/* drip writes a line now and then, so that somebody can stop listening. */
static int drip(void) {
	struct timespec pause = {0, 10 * 1000 * 1000};
	for (int i = 0; i < 50; i++) {
		char line[64];
		int n = snprintf(line, sizeof line, "%s %d\n", digest, i);
		if (write(1, line, (size_t)n) != n) return 1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

WEFT_FUNCTION(work) {
	const char *work = weft_env("WORK", "mix");
	size_t size;
	const char *input = weft_input(&size);
	while (size && input[size - 1] == '\n') size--;
	name(work, input, size, !strcmp(work, "eat") || !strcmp(work, "look"));
	if ((!strcmp(work, "send") || !strcmp(work, "gate")) && note()) return 2;
	if (!strcmp(work, "fail")) return weft_fail("as it was told");
	if (!strcmp(work, "flaky") && atoi(weft_env("WEFT_ATTEMPT", "1")) <= digest[0] % 3) return weft_fail("not yet");
	if (!strcmp(work, "gate")) {
		char path[256];
		snprintf(path, sizeof path, "/log/%s", weft_arg_str("gate", "none"));
		if (access(path, F_OK)) return weft_fail("%s is not there", path);
	}
	if (!strcmp(work, "drip")) return drip();
	if (!strcmp(work, "list")) {
		weft_return_json("{\"list\":[");
		for (int i = 0; i < digest[0] % 3 + 1; i++) weft_return_json("%s%d", i ? "," : "", i + digest[1]);
		return weft_return_json("]}");
	}
	if (!strcmp(work, "emit")) return publish(digest[digits - 1] % 2 == 0 ? EMIT : 1);
	if (!strcmp(work, "bulk")) return publish(BULK);
	if (!strcmp(work, "eat")) return weft_return_json("{\"d\":\"%s\"}", digest);
	return say();
}
