/* Does with the C SDK what slots/main.go does with that of Go, and says the same. */
#include <weft.h>

static int said;

static int say(const char *text) {
	weft_return_json("%s", said++ ? "," : "[");
	return weft_return_string(text, strlen(text));
}

static int reason(int e) { return say(weft_error(e)); }

static int number(long long n) {
	char text[32];
	snprintf(text, sizeof text, "%lld", n);
	return say(text);
}

/* done ends the list. */
static int done(void) { return weft_return_json("]"); }

static int operations(void) {
	static const size_t sizes[] = {0, 1, 16 << 10, 64 << 10, (64 << 10) + 1, (1 << 20) + 5};
	static const uint32_t numbers[] = {1, 2, 3};
	char name[2001], *bytes = (char *)malloc(300 << 20);
	uint64_t size;
	weft_view v;
	memset(bytes, 7, 2 << 20);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		snprintf(name, sizeof name, "v%zu", sizes[i]);
		if (weft_put(name, WEFT_BYTES, bytes, sizes[i])) return weft_fail("put %s", name);
		if (weft_len(name, &size, NULL) || size != sizes[i]) return weft_fail("length of %s", name);
		for (int consume = 0; consume < 2; consume++) {
			int e = consume ? weft_take(name, WEFT_BYTES, &v) : weft_borrow(name, WEFT_BYTES, &v);
			if (e) return weft_fail("read %s: %s", name, weft_error(e));
			if (v.size != sizes[i] || memcmp(v.data, bytes, v.size)) return weft_fail("%s came back different", name);
			if (weft_release(&v)) return weft_fail("release %s", name);
		}
	}
	reason(weft_put("x", WEFT_BYTES, "", 0));
	reason(weft_put("x", WEFT_BYTES, "", 0));
	reason(weft_put("typed", WEFT_TYPE("[]uint32"), numbers, sizeof numbers));
	reason(weft_take("typed", WEFT_TYPE("[]uint64"), &v));
	reason(weft_take("typed", WEFT_TYPE("[]uint32"), &v));
	reason(weft_take("typed", WEFT_BYTES, &v));
	reason(weft_len("typed", NULL, NULL));
	reason(weft_put("a b", WEFT_BYTES, "", 0));
	memset(name, 'n', 2000);
	name[2000] = 0;
	reason(weft_put(name, WEFT_BYTES, "", 0));
	reason(weft_borrow("twice", WEFT_BYTES, &v));
	reason(weft_alloc(&v, 300 << 20));
	reason(weft_put("large", WEFT_BYTES, bytes, 300 << 20));
	reason(weft_wait("never", 0));
	reason(weft_wait("never", 1000000));
	reason(weft_wait("dead/lock", -1));
	int fd;
	reason(weft_dial("localhost", 80, &fd));
	reason(weft_listen(8080, &fd));
	for (int i = 0; i < 100; i++) { /* given up again, they do not count */
		if (weft_alloc(&v, 32 << 20)) return weft_fail("allocate");
		if (((char *)v.data)[5]) return weft_fail("a used buffer is not empty");
		((char *)v.data)[5] = 1;
		weft_release(&v);
	}
	return done();
}

static void two(const weft_view *v) {
	char text[3] = {((char *)v->data)[0], ((char *)v->data)[1], 0};
	say(text);
}

static int publish(void) {
	weft_view b, v, again;
	if (weft_alloc(&b, 1 << 20)) return weft_fail("allocate");
	memset(b.data, 'a', b.size);
	if (weft_put("data", WEFT_BYTES, b.data, b.size)) return weft_fail("put data");
	((char *)b.data)[0] = 'b'; /* of this process alone */
	if (weft_borrow("data", WEFT_BYTES, &v)) return weft_fail("borrow data");
	two(&v);
	if (weft_put("same", WEFT_BYTES, v.data, v.size)) return weft_fail("put same");
	((char *)v.data)[1] = 'c';
	if (weft_borrow("data", WEFT_BYTES, &again)) return weft_fail("borrow data");
	two(&again), two(&v), two(&b);
	if (weft_put("view", WEFT_BYTES, v.data, v.size)) return weft_fail("put view");
	if (weft_put("again", WEFT_BYTES, b.data, b.size)) return weft_fail("put again");
	return done();
}

/* touch looks at every page. */
static int touch(const weft_view *v) {
	long long sum = 0;
	for (size_t i = 0; i < v->size; i += 4096) sum += ((char *)v->data)[i];
	return number(sum);
}

/* private_memory is what this process alone has, in KiB. */
static long private_memory(void) {
	char text[4096];
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	text[n] = 0;
	if (f) fclose(f);
	const char *at = strstr(text, "RssAnon:");
	return at ? atol(at + 8) : -(1 << 30);
}

static int big(int make) {
	long before = private_memory();
	weft_view v;
	int e;
	if (make) {
		if ((e = weft_alloc(&v, 64 << 20))) return weft_fail("allocate: %s", weft_error(e));
		memset(v.data, 'x', v.size);
		if ((e = weft_put("big", WEFT_BYTES, v.data, v.size))) return weft_fail("put: %s", weft_error(e));
	} else if ((e = weft_take("make/big", WEFT_BYTES, &v))) {
		return weft_fail("take: %s", weft_error(e));
	}
	touch(&v);
	number((long long)((uintptr_t)v.data % (2 << 20)));
	number((private_memory() - before) >> 14);
	memset(v.data, 'y', v.size); /* copies all of it: what the next line sees if that counts */
	number((private_memory() - before) >> 14);
	return done();
}

/* keep publishes what it can still write. */
static int keep(void) {
	weft_view v;
	if (weft_alloc(&v, 1 << 20)) return weft_fail("allocate");
	if (mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, weft_mappings->file, 0) == MAP_FAILED) return weft_fail("map");
	return weft_put("kept", WEFT_BYTES, v.data, v.size);
}

static void *wait_for_late(void *e) {
	*(int *)e = weft_wait("late", -1);
	return NULL;
}

static void *put_and_take(void *number) {
	int t = *(int *)number, e = 0;
	char name[32];
	weft_view v;
	for (int i = 0; i < 200 && !e; i++) {
		int n = snprintf(name, sizeof name, "t%d.%d", t, i);
		e = weft_put(name, WEFT_BYTES, name, (size_t)n);
		if (!e) e = weft_take(name, WEFT_BYTES, &v);
		if (!e && (v.size != (size_t)n || memcmp(v.data, name, v.size))) e = WEFT_EIO;
		if (!e) weft_release(&v);
	}
	snprintf(name, sizeof name, "done%d", t);
	*(int *)number = e ? e : weft_put(name, WEFT_BYTES, "", 0);
	return NULL;
}

static int threads(void) {
	pthread_t thread[3];
	int e[3] = {0, 0, 1};
	pthread_create(&thread[0], NULL, wait_for_late, &e[0]);
	pthread_create(&thread[1], NULL, put_and_take, &e[1]);
	pthread_create(&thread[2], NULL, put_and_take, &e[2]);
	int failed = weft_wait("done0", -1);
	if (!failed) failed = weft_put("late", WEFT_BYTES, "", 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		if (!failed) failed = e[i];
	}
	reason(failed);
	return done();
}

WEFT_FUNCTION(slots) {
	said = 0;
	static int calls;
	const char *what = weft_arg_str("do", "");
	if (!strcmp(what, "count")) return number(++calls) || done();
	if (!strcmp(what, "fail")) return weft_fail("failed, as wanted");
	if (!strcmp(what, "exit")) exit(3);
	if (!strcmp(what, "abort")) return weft_fail("aborted, as wanted"), abort(), 1;
	if (!strcmp(what, "sleep")) return (int)sleep(3600);
	if (!strcmp(what, "log")) return fputs("first\nsecond", stderr) < 0 || weft_return_json("[]");
	if (!strcmp(what, "keep")) return keep();
	if (!strcmp(what, "operations")) return operations();
	if (!strcmp(what, "publish")) return publish();
	if (!strcmp(what, "make")) return big(1);
	if (!strcmp(what, "use")) return big(0);
	if (!strcmp(what, "threads")) return threads();
	if (!strcmp(what, "context")) {
		char name[256];
		say(weft_env("WEFT_RUN", "")), say(weft_step()), say(weft_env("WEFT_ATTEMPT", "")), say(weft_env("WEFT_KEY", ""));
		snprintf(name, sizeof name, "%s[%d]/x", weft_step(), weft_index());
		say(name);
		return done();
	}
	return weft_fail("do what?");
}
