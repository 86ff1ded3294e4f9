// Entering the sandbox, before main.
//
// Changing namespaces, ids and capabilities for a whole process is only
// reliable while it has one thread, and a Go program has several as soon as its
// runtime starts. So this runs as an ELF constructor, when the process still
// has one. It uses system calls and the stack, nothing else: no allocation, no
// locale, no name service, so that it works in a static glibc program.
//
// References: namespaces(7), user_namespaces(7), capabilities(7),
// pivot_root(2), prctl(2), Documentation/userspace-api/landlock.rst.

#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECBIT_NO_CAP_AMBIENT_RAISE
#define SECBIT_NO_CAP_AMBIENT_RAISE (1 << 6)
#define SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED (1 << 7)
#endif

struct enter_result weft_enter_result = {.pagemap = -1};

static void record(const char *name, int state, int err, int value)
{
	struct enter_result *r = &weft_enter_result;
	if (r->steps < ENTER_STEPS)
		r->step[r->steps++] = (struct enter_step){name, state, err, value};
}

static void done(const char *name)
{
	record(name, STEP_DONE, 0, 0);
}

static void skipped(const char *name)
{
	record(name, STEP_SKIPPED, 0, 0);
}

// die ends the process: a step without which it would be less confined than
// the node believes has failed.
static void die(const char *step, const char *what)
{
	char line[256];
	int err = errno;
	int n = snprintf(line, sizeof line, "weft-host: confine %s: %s: %s\n", step, what, strerror(err));
	if (n > 0 && write(2, line, (size_t)n) < 0)
		_exit(ENTER_EXIT + 1);
	_exit(ENTER_EXIT);
}

static void read_config(struct enter_config *c)
{
	size_t got = 0;
	while (got < sizeof *c) {
		ssize_t n = read(0, (char *)c + got, sizeof *c - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EPIPE; // the node has gone
		if (n <= 0)
			die("config", "read descriptor 0");
		got += (size_t)n;
	}
	if (c->magic != ENTER_MAGIC || c->size != sizeof *c) {
		errno = EPROTO;
		die("config", "the node is of another build");
	}
}

// enter_groups moves the process into its cgroups. It moves itself, which the
// kernel does at once; moving another process can wait for a grace period
// (cgroup_procs_write_start in kernel/cgroup/cgroup.c).
static void enter_groups(const struct enter_config *c)
{
	if (!c->groups) {
		skipped("groups"); // there are none, or it was born in one
		return;
	}
	for (int i = 0; i < (int)c->groups; i++) {
		if (write(4 + (int)c->grants + i, "0", 1) != 1)
			die("groups", "write 0 to tasks");
	}
	done("groups");
}

// empty_root replaces the whole file tree of the mount namespace by an empty
// read-only file system: not even proc(5), through which a descriptor could be
// opened again with more rights than it was given. Stacking it on the current
// directory and unmounting what is below needs no directory to put the old root
// in (pivot_root(2), "pivot_root(".", ".")").
static void empty_root(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("root", "make mounts private");
	if (mount("weft", "/proc", "tmpfs", flags, "size=4k,nr_inodes=1,mode=555"))
		die("root", "mount an empty file system");
	if (chdir("/proc"))
		die("root", "change to it");
	if (syscall(SYS_pivot_root, ".", "."))
		die("root", "pivot_root");
	if (umount2(".", MNT_DETACH))
		die("root", "unmount the old root");
	if (chdir("/"))
		die("root", "change to the new root");
	done("root");
}

static void write_proc(int proc, const char *name, const char *text)
{
	int fd = openat(proc, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die("user namespace", name);
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("user namespace", name);
	close(fd);
}

static void set_caps(int keep_permitted)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};

	if (keep_permitted) {
		if (syscall(SYS_capget, &head, data))
			die("capabilities", "capget");
		data[0].effective = data[0].permitted;
		data[1].effective = data[1].permitted;
	}
	if (syscall(SYS_capset, &head, data))
		die("capabilities", "capset");
}

static void change_ids(const struct enter_config *c, int proc)
{
	char map[64];

	if (!(c->flags & ENTER_SETID)) {
		skipped("ids");
	} else {
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
			die("ids", "keep capabilities");
		if (setgroups(0, NULL))
			die("ids", "setgroups");
		if (setresgid(c->gid, c->gid, c->gid))
			die("ids", "setresgid");
		if (setresuid(c->uid, c->uid, c->uid))
			die("ids", "setresuid");
		set_caps(1);
		done("ids");
	}
	// A change of ids makes the process undumpable, and its files in /proc
	// then belong to root. It stays so at the end.
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		die("ids", "set dumpable");
	if (!(c->flags & ENTER_USERNS)) {
		skipped("user namespace");
		return;
	}
	if (unshare(CLONE_NEWUSER))
		die("user namespace", "unshare");
	write_proc(proc, "setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1\n", c->uid, c->uid);
	write_proc(proc, "uid_map", map);
	snprintf(map, sizeof map, "%u %u 1\n", c->gid, c->gid);
	write_proc(proc, "gid_map", map);
	done("user namespace");
}

static void drop_caps(const struct enter_config *c)
{
	int bounded = 1;

	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL)
			break; // past the last one that this kernel knows
		if (c->flags & ENTER_CAPS)
			die("capabilities", "drop the bounding set");
		bounded = 0;
		break;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		die("capabilities", "clear the ambient set");
	if (bounded && prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
						     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
						     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0))
		die("capabilities", "lock the secure bits");
	set_caps(0);
	done("capabilities");
}

static void limit(int resource, uint64_t value, const char *what)
{
	struct rlimit l = {value, value};
	struct rlimit now;

	// A limit that is already lower stays: raising it may not be allowed.
	if (getrlimit(resource, &now) == 0 && now.rlim_max < value)
		l.rlim_cur = l.rlim_max = now.rlim_max;
	if (setrlimit(resource, &l))
		die("limits", what);
}

static void set_limits(const struct enter_config *c)
{
	limit(RLIMIT_CORE, 0, "core size");
	limit(RLIMIT_MSGQUEUE, 0, "message queues");
	limit(RLIMIT_RTPRIO, 0, "realtime priority");
	limit(RLIMIT_MEMLOCK, 0, "locked memory");
	if (c->files)
		limit(RLIMIT_NOFILE, c->files, "open files");
	if (c->file_size)
		limit(RLIMIT_FSIZE, c->file_size, "file size");
	if (c->cpu)
		limit(RLIMIT_CPU, c->cpu, "cpu time");
	if (c->space)
		limit(RLIMIT_AS, c->space, "address space");
	if (c->nproc)
		limit(RLIMIT_NPROC, c->nproc, "threads");
	done("limits");
}

static void restrict_self(const struct enter_config *c)
{
	int abi;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no new privileges", "prctl");
	done("no new privileges");

	// Landlock cannot learn new folders once it is on, and a run host gets
	// its folders later; in the empty root it has no files to guard.
	int nothing = (c->flags & ENTER_LANDLOCK) || strcmp(weft_enter_result.role, "run") != 0;
	abi = enter_landlock(nothing, 4, (int)c->grants, c->writable);
	if (abi > 0) {
		record("landlock", STEP_DONE, 0, abi);
	} else if (abi == 0) {
		skipped("landlock");
	} else {
		errno = -abi;
		if (c->flags & ENTER_LANDLOCK)
			die("landlock", "it is the only wall around files here");
		record("landlock", STEP_FAILED, -abi, 0);
	}
}

// close_rest leaves 0 to 3, the grants and the pagemap descriptor.
static void close_rest(const struct enter_config *c, int proc, int null)
{
	int keep = 4 + (int)c->grants;
	int pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);

	if (dup2(null, 0) < 0)
		die("descriptors", "dup2");
	if (pagemap >= 0 && pagemap != keep) {
		if (dup3(pagemap, keep, O_CLOEXEC) < 0)
			die("descriptors", "dup3");
	}
	if (pagemap >= 0)
		weft_enter_result.pagemap = keep++;
	if (syscall(SYS_close_range, keep, ~0u, 0)) {
		struct rlimit l = {1024, 1024};
		getrlimit(RLIMIT_NOFILE, &l);
		for (int fd = keep; fd < (int)l.rlim_cur; fd++)
			close(fd);
	}
	done("descriptors");
}

// die_with_node asks to be killed with the thread that started this process.
// The request is lost when ids change, and comes too late when that thread is
// already gone: then the other end of the control socket is closed.
static void die_with_node(void)
{
	struct pollfd control = {3, 0, 0};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		die("parent death signal", "prctl");
	if (poll(&control, 1, 0) > 0 && (control.revents & POLLHUP)) {
		errno = EPIPE;
		die("parent death signal", "the node has gone");
	}
	done("parent death signal");
}

__attribute__((constructor)) static void enter(int argc, char **argv)
{
	struct enter_result *r = &weft_enter_result;
	struct enter_config c;
	int proc, null;

	if (argc < 2 || strcmp(argv[0], "weft-host") != 0)
		return;
	r->host = 1;
	strncpy(r->role, argv[1], sizeof r->role - 1);
	if (strcmp(r->role, "grant") == 0)
		enter_grant(argc, argv);

	read_config(&c);
	r->grants = (int)c.grants;
	enter_groups(&c);
	prctl(PR_SET_NAME, "weft-host", 0, 0, 0); // the file it was started from has a number for a name
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		die("descriptors", "/dev/null");
	proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		die("descriptors", "/proc/self");

	if (!(c.flags & ENTER_UTS))
		skipped("host name");
	else if (sethostname("weft", 4))
		die("host name", "sethostname");
	else
		done("host name");
	if (c.flags & ENTER_MOUNT)
		empty_root();
	else
		skipped("root");
	change_ids(&c, proc);
	drop_caps(&c);
	// Opening pagemap comes after the loss of capabilities: a descriptor opened
	// with CAP_SYS_ADMIN shows physical addresses. So does the rest of /proc.
	// The limits come after, since they may forbid the number of descriptors.
	close_rest(&c, proc, null);
	set_limits(&c);
	restrict_self(&c);
	die_with_node();
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		die("undumpable", "prctl");
	done("undumpable");
}
