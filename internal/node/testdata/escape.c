/*
 * escape tries to get out of its sandbox, one attempt after another, and writes a line for each: "NAME: no" with the
 * reason, or "NAME: ESCAPED" with what it got. Its arguments are the port of a server of the host's and the attempts that
 * end the call, if one of them is wanted. /data may be read, /state written; /data/out, /data/up and /data/dir are links
 * that lead to the host's /etc.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/api.h>
#include <weft.h>

static int port;

__attribute__((format(printf, 3, 4))) static void told(const char *name, int got, const char *format, ...) {
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	printf("%s: %s: %s\n", name, got ? "ESCAPED" : "no", text);
}

/* refused is an attempt that is an escape when it succeeds. */
static void refused(const char *name, int failed) { told(name, !failed, "%s", failed ? strerror(errno) : "it worked"); }

/* ---- files ---- */

static void reads(const char *name, const char *path) {
	char text[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n > 0) text[n] = 0;
	told(name, n > 0, "%s", n > 0 ? text : strerror(errno));
	if (fd >= 0) close(fd);
}

static void writes(const char *name, const char *path, int flags) {
	int fd = open(path, O_WRONLY | flags, 0644);
	refused(name, fd < 0);
	if (fd >= 0) close(fd);
}

static void files(void) {
	static const struct { const char *name, *path; } secrets[] = {
		{"absolute", "/etc/shadow"}, {"above the root", "/../etc/shadow"}, {"above the grant", "/data/../etc/shadow"},
		{"far above the grant", "/data/../../../../../../etc/shadow"}, {"above by a folder that is there", "/data/sub/../../etc/shadow"},
		{"doubled slashes", "/data//../..//etc/shadow"}, {"dots", "/data/./.././etc/shadow"}, {"a link of the host", "/data/out"},
		{"a link up", "/data/up"}, {"a folder that is a link", "/data/dir/shadow"}, {"no root", "etc/shadow"}, {"up from nowhere", "../etc/shadow"},
		{"own memory", "/proc/self/mem"}, {"the host's environment", "/proc/self/environ"}, {"the first process", "/proc/1/root/etc/shadow"},
		{"open files", "/proc/self/fd/3"}, {"memory of the machine", "/dev/mem"}, {"kernel messages", "/dev/kmsg"}, {"sockets", "/run/weft.sock"},
		{"control groups", "/sys/fs/cgroup/cgroup.procs"},
	};
	for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) reads(secrets[i].name, secrets[i].path);
	static const struct { const char *name, *target; } links[] = {
		{"own link", "/etc/shadow"}, {"own relative link", "../../../../../../etc/shadow"}, {"link to a link", "/data/out"}, {"link to open files", "/proc/self/root/etc/shadow"},
	};
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		unlink("/state/link");
		if (symlink(links[i].target, "/state/link"))
			told(links[i].name, 0, "symlink: %s", strerror(errno));
		else
			reads(links[i].name, "/state/link");
	}
	unlink("/state/link");
	if (symlink("..", "/state/link") == 0) reads("link to the folder above", "/state/link/host");
	unlink("/state/link");

	writes("new file where one may only read", "/data/new", O_CREAT);
	writes("changed file", "/data/a", 0);
	writes("emptied file", "/data/a", O_TRUNC);
	writes("file above", "/state/../new", O_CREAT);
	writes("file through a link", "/data/victim", O_TRUNC);
	refused("removed file", unlink("/data/a"));
	refused("renamed file", rename("/data/a", "/data/b"));
	refused("moved out", rename("/state/own", "/state/../own"));
	refused("moved between grants", rename("/data/a", "/state/a"));
	refused("moved over another's", rename("/state/own", "/data/a"));
	refused("folder above", mkdir("/state/../folder", 0755));
	refused("removed folder", rmdir("/data/sub"));
	refused("removed file above", unlink("/state/../host"));
	refused("hard link out", link("/state/own", "/state/../own"));
	refused("hard link of a secret", link("/data/out", "/state/secret"));
	refused("new link where one may only read", symlink("x", "/data/link"));
	struct timespec times[2] = {{1, 0}, {1, 0}};
	refused("times", utimensat(AT_FDCWD, "/data/a", times, 0));
	int fd = open("/data/a", O_RDONLY);
	refused("shortened by a reader", ftruncate(fd, 0));
	refused("written by a reader", write(fd, "x", 1) < 0);
	close(fd);
	fd = open("/data", O_RDONLY | O_DIRECTORY);
	reads("own folder's parent", "/data/sub/../..");
	refused("from an open folder", openat(fd, "../state/own", O_RDONLY) < 0);
	refused("absolute from an open folder", openat(fd, "/etc/shadow", O_RDONLY) < 0);
	close(fd);
}

/* ---- raw system calls ---- */

static void refuses(const char *name, __wasi_errno_t e) { told(name, e == 0, "errno %d", e); }

__attribute__((import_module("wasi_snapshot_preview1"), import_name("path_filestat_get"))) int path_filestat_get(int fd, int flags, int path, int size, int result);

static void calls(void) {
	__wasi_size_t n;
	__wasi_fd_t fd;
	uint8_t byte[8];
	__wasi_iovec_t in = {byte, sizeof byte};
	__wasi_ciovec_t out = {byte, sizeof byte};
	int got = 0;
	for (int i = 0; i < 5000; i++) { /* descriptors of the host's own */
		__wasi_prestat_t pre;
		if (i < 3 || __wasi_fd_prestat_get((__wasi_fd_t)i, &pre) == 0) continue;
		if (__wasi_fd_pread((__wasi_fd_t)i, &in, 1, 0, &n) == 0 || __wasi_fd_write((__wasi_fd_t)i, &out, 1, &n) == 0) got++;
	}
	told("descriptors by number", got, "%d", got);
	refuses("negative descriptor", __wasi_fd_write((__wasi_fd_t)-1, &out, 1, &n));
	refuses("descriptor onto a folder", __wasi_fd_renumber(1000000, 3));
	/* memory beyond the function's own */
	__wasi_iovec_t far = {(uint8_t *)0xfffff000u, 4096};
	__wasi_ciovec_t beyond = {(const uint8_t *)0xfffffff0u, 4096};
	int own = open("/state/own", O_RDWR | O_CREAT, 0644);
	refuses("read into the host's memory", __wasi_fd_pread((__wasi_fd_t)own, &far, 1, 0, &n));
	refuses("write of the host's memory", __wasi_fd_write((__wasi_fd_t)own, &beyond, 1, &n));
	refuses("list of buffers in the host's memory", __wasi_fd_write((__wasi_fd_t)own, (const __wasi_ciovec_t *)0xfffffff8u, 4, &n));
	refuses("result in the host's memory", __wasi_fd_write((__wasi_fd_t)own, &out, 1, (__wasi_size_t *)0xfffffffeu));
	__wasi_ciovec_t huge[2] = {{byte, 0xffffffffu}, {byte, 0xffffffffu}};
	refuses("lengths that overflow", __wasi_fd_write((__wasi_fd_t)own, huge, 2, &n));
	refuses("four billion buffers", __wasi_fd_write((__wasi_fd_t)own, &out, 0x20000000u, &n));
	refuses("random bytes everywhere", __wasi_random_get(byte, 0xffffffffu));
	refuses("space of an exabyte", __wasi_fd_allocate((__wasi_fd_t)own, 0, (__wasi_filesize_t)1 << 60));
	refuses("write at the end of numbers", __wasi_fd_pwrite((__wasi_fd_t)own, &out, 1, (__wasi_filesize_t)-4, &n));
	refuses("rights of others", __wasi_fd_fdstat_set_rights(3, (__wasi_rights_t)-1, (__wasi_rights_t)-1));
	refuses("path of four gigabytes", (__wasi_errno_t)path_filestat_get(3, 0, 16, -1, (int)byte));
	__wasi_event_t event;
	__wasi_subscription_t wait = {0};
	refuses("a billion subscriptions", __wasi_poll_oneoff(&wait, &event, 0x3fffffffu, &n));
	refuses("connection of a file", __wasi_sock_accept((__wasi_fd_t)own, 0, &fd));
	__wasi_roflags_t flags;
	refuses("messages of a file", __wasi_sock_recv((__wasi_fd_t)own, &in, 1, 0, &n, &flags));
	close(own);
	int most = 0;
	for (int f; most < 100000 && (f = open("/data/a", O_RDONLY)) >= 0;) most++;
	told("100,000 open files", most == 100000, "%d, then %s", most, strerror(errno));
	for (int f = 3; f < most + 16; f++) { /* what is left of them */
		__wasi_prestat_t pre;
		if (__wasi_fd_prestat_get((__wasi_fd_t)f, &pre) != 0) close(f);
	}
}

/* ---- network, slots, memory ---- */

static void dials(const char *host, int to) {
	char name[128];
	int fd, e = weft_dial(host, (uint16_t)to, &fd);
	snprintf(name, sizeof name, "connection to %s", host);
	told(name, e == 0, "errno %d", e);
}

static void others(void) {
	static const char *hosts[] = {"127.0.0.1", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1", "127.1", "0x7f000001", "2130706433", "LOCALHOST.", ""};
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) dials(hosts[i], port);
	int fd;
	refuses("service for others", (__wasi_errno_t)weft_listen(8080, &fd));
	refuses("service at any port", (__wasi_errno_t)weft_listen(0, &fd));
	static const char *slots[] = {"../../other/x", "/s/x", "s/../x", "s/x/y/z", "run/other/s/x", "other/x", "s[9]/x", "", ".", "..", "\xff\xfe", "a\nb"};
	weft_view view;
	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
		char name[64];
		snprintf(name, sizeof name, "slot %zu", i);
		refuses(name, (__wasi_errno_t)weft_take(slots[i], 0, &view));
	}
	refuses("a slot of another step", (__wasi_errno_t)weft_put("../t/x", 0, "x", 1));
	char *p = (char *)(__builtin_wasm_memory_size(0) * 65536 - 8);
	refuses("slot with the host's memory", (__wasi_errno_t)weft_put("beyond", 0, p, 4096));
	size_t pages = 0;
	while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1) pages += 16;
	told("memory without end", pages > 4096, "%zu pages", pages);
}

/* ---- what ends the call ---- */

static volatile int deep;
static int recurse(int n) {
	volatile char room[1024];
	room[n & 1023] = (char)n;
	return n == deep ? room[0] : recurse(n + 1) + room[1];
}

static int ends(const char *how) {
	if (!strcmp(how, "recurse")) return deep = -1, recurse(0);
	if (!strcmp(how, "read")) return *(volatile int *)0xfffff000u;
	if (!strcmp(how, "write")) return *(volatile int *)0xffff0000u = 1;
	if (!strcmp(how, "copy")) {
		memcpy((char *)8, (char *)16, 0xf0000000u);
		return 0;
	}
	if (!strcmp(how, "jump")) return ((int (*)(void))(uintptr_t)0x7fffffff)();
	if (!strcmp(how, "type")) return ((int (*)(double, double, double))(uintptr_t)1)(1, 2, 3);
	if (!strcmp(how, "spin"))
		for (volatile int i = 0;; i++) {}
	if (!strcmp(how, "flood")) {
		static char block[1 << 16];
		for (;;)
			if (write(1, block, sizeof block) < 0) return 3;
	}
	if (!strcmp(how, "sleep"))
		for (;;) sleep(3600);
	return 4;
}

int main(int argc, char **argv) {
	port = argc > 1 ? atoi(argv[1]) : 0;
	char how[32];
	snprintf(how, sizeof how, "%s", weft_arg_str("end", ""));
	if (*how) return ends(how);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	files();
	calls();
	others();
	return fflush(stdout);
}
