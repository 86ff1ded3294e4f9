// The file tree of a version and its identity. References:
// mount_namespaces(7), pivot_root(2), mount_setattr(2), user_namespaces(7).

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { // mount_setattr(2), move_mount(2); the headers of the build machine may be older
	ATTR_RDONLY = 0x1,
	ATTR_NOSUID = 0x2,
	ATTR_NODEV = 0x4,
	MOVE_F_EMPTY_PATH = 0x4,
	RECURSIVE = 0x8000,
};

struct attr { // struct mount_attr
	uint64_t set, clear, propagation, userns;
};

// each steps through the records; NULL is the end.
static const struct record *each(const struct plan *p, const struct record *r)
{
	const char *base = (const char *)p->c;
	size_t offset = sizeof *p->c, length;

	if (r)
		offset = (size_t)((const char *)r - base) + ((sizeof *r + r->n1 + r->n2 + 7) & ~(size_t)7);
	if (offset + sizeof *r > p->c->size)
		return NULL;
	r = (const struct record *)(base + offset);
	length = sizeof *r + (size_t)r->n1 + r->n2;
	if (length > p->c->size - offset || !r->n1) {
		errno = EPROTO;
		die("config", "a record is longer than the file");
	}
	return r;
}

static char *first(const struct record *r)
{
	return (char *)(r + 1);
}

static char *second(const struct record *r)
{
	return first(r) + r->n1;
}

void read_plan(struct plan *p, int entrances)
{
	struct stat st;

	memset(p, 0, sizeof *p);
	p->entrances = entrances;
	p->join = -1;
	if (fstat(0, &st) || st.st_size < (off_t)sizeof *p->c)
		die("config", "descriptor 0");
	p->c = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, 0, 0);
	if (p->c == MAP_FAILED)
		die("config", "mmap");
	errno = EPROTO;
	if (p->c->magic != WARDEN_MAGIC || p->c->size != st.st_size)
		die("config", "the node is of another build");
	for (const struct record *r = each(p, NULL); r; r = each(p, r)) {
		switch (r->kind) {
		case REC_ARG:
			if (p->args < 63)
				p->arg[p->args++] = first(r);
			break;
		case REC_ENV:
			if (p->envs < 255)
				p->env[p->envs++] = first(r);
			break;
		case REC_FILTER:
			if (r->a > 1)
				die("config", "filter");
			p->filter[r->a] = first(r);
			p->filter_size[r->a] = r->n1;
			break;
		case REC_DOOR:
			if (p->doors == WARDEN_DOORS || !r->a || r->a > 65535)
				die("config", "door");
			p->door[p->doors] = first(r);
			p->port[p->doors++] = r->a;
			break;
		case REC_JOIN:
			p->join = 4 + entrances + (int)r->a;
			break;
		}
	}
}

// parents makes the folders above a path in the new tree.
static void parents(const char *path)
{
	char part[4096];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t n = (size_t)(slash - path);
		if (n >= sizeof part)
			die("root", "path too long");
		memcpy(part, path, n);
		part[n] = 0;
		if (mkdir(part, 0755) && errno != EEXIST)
			die("root", part);
	}
}

static void make_file(const char *path, mode_t mode, const char *content, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0 || (n && write(fd, content, n) != (ssize_t)n))
		die("root", path);
	close(fd);
}

static void bind(const struct record *r)
{
	struct attr attr = {.set = ATTR_RDONLY | ATTR_NOSUID};
	const char *source = first(r), *target = second(r);
	int empty;

	if (!(r->a & BIND_DEVICE))
		attr.set |= ATTR_NODEV;
	if (access(source, F_OK) && r->a & BIND_OPTIONAL)
		return;
	parents(target);
	if (r->a & BIND_FILE)
		make_file(target, 0444, NULL, 0);
	else if (mkdir(target, 0755) && errno != EEXIST)
		die("root", target);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL)) {
		if (!(r->a & BIND_OPTIONAL))
			die("root", source);
		return;
	}
	empty = open(target, O_PATH | O_CLOEXEC);
	if (empty < 0 || syscall(SYS_mount_setattr, empty, "", AT_EMPTY_PATH | RECURSIVE, &attr, sizeof attr))
		die("root", source);
	close(empty);
}

// build_root makes the tree beside the host's, which the records name the parts
// of, and changes to it. It is put together on top of /proc, so that no folder
// is needed for it; the host's own processes are not to be seen in it anyway.
void build_root(struct plan *p)
{
	const unsigned long plain = MS_NOSUID | MS_NODEV;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("root", "make mounts private");
	if (mount("weft", "/proc", "tmpfs", plain, "size=16m,mode=755") || chdir("/proc"))
		die("root", "mount an empty file system");
	for (const struct record *r = each(p, NULL); r; r = each(p, r)) {
		char *s1 = first(r);
		switch (r->kind) {
		case REC_DIR:
			parents(s1);
			if ((mkdir(s1, 0755) && errno != EEXIST) || chmod(s1, r->a))
				die("root", s1);
			break;
		case REC_LINK:
			parents(s1);
			if (symlink(second(r), s1))
				die("root", s1);
			break;
		case REC_FILE:
			parents(s1);
			make_file(s1, r->a, second(r), r->n2 - 1);
			break;
		case REC_EMPTY:
			parents(s1);
			if (mknod(s1, S_IFREG | 0444, 0) && errno != EEXIST)
				die("root", s1);
			break;
		case REC_BIND:
			bind(r);
			break;
		case REC_MOUNT:
			if (syscall(SYS_move_mount, 4 + p->entrances + (int)r->a, "", AT_FDCWD, s1, MOVE_F_EMPTY_PATH))
				die("root", s1);
			break;
		}
	}
	p->proc = mount("proc", "proc", "proc", plain | MS_NOEXEC | MS_RDONLY, "hidepid=2") == 0;
	if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | plain, NULL))
		die("root", "make it read-only");
	if (syscall(SYS_pivot_root, ".", "."))
		die("root", "pivot_root");
	if (umount2(".", MNT_DETACH) || chdir("/"))
		die("root", "leave the old one");
}

static void write_proc(int proc, const char *name, const char *text)
{
	int fd = openat(proc, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("user namespace", name);
	close(fd);
}

// change_ids gives up the host's ids and privileges for a user namespace of the
// version, in which there is one user without a name outside. All that follows
// belongs to this namespace. It ends with all capabilities there, and none
// elsewhere. Below a parent the namespace is a child of the parent's: whose owner
// is the same user, so that it can be entered, and left for the child only.
void change_ids(const struct plan *p, int proc)
{
	char map[64];

	if (p->c->flags & WARDEN_SETID) {
		if (setgroups(0, NULL) || setresgid(p->c->gid, p->c->gid, p->c->gid) || setresuid(p->c->uid, p->c->uid, p->c->uid))
			die("ids", "change to the workload's");
	}
	if (p->join >= 0 && setns(p->join, CLONE_NEWUSER))
		die("user namespace", "enter the parent's");
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)) // or its files in /proc belong to root
		die("ids", "set dumpable");
	if (unshare(CLONE_NEWUSER))
		die("user namespace", "unshare");
	write_proc(proc, "setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1\n", p->c->uid, p->c->uid);
	write_proc(proc, "uid_map", map);
	snprintf(map, sizeof map, "%u %u 1\n", p->c->gid, p->c->gid);
	write_proc(proc, "gid_map", map);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		die("ids", "set undumpable");
}
