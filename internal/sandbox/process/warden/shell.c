// The shell of a call: the namespaces that its process will live in, with an
// init process of ours that reaps what is orphaned there. It is made before the
// process is, and ended after it: with it the kernel ends everything that the
// call has left. References: pid_namespaces(7), clone(2).

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct clone_args_v2 { // struct clone_args, with the cgroup of 5.7
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

enum { PIDFD = 0x1000 };
#define INTO_CGROUP 0x200000000ULL

// clone_process forks with flags; cgroup is the directory of a group of version
// 2 that the child is born in, or -1.
pid_t clone_process(uint64_t flags, int *pidfd, int cgroup)
{
	struct clone_args_v2 a = {.flags = flags | PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};

	if (cgroup >= 0) {
		a.flags |= INTO_CGROUP;
		a.cgroup = (uint64_t)cgroup;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof a);
}

static int furnish(const struct plan *p)
{
	const unsigned long plain = MS_NOSUID | MS_NODEV;
	char options[96];

	if (p->proc && mount("proc", "/proc", "proc", plain | MS_NOEXEC | MS_RDONLY, "subset=pid"))
		return -1;
	snprintf(options, sizeof options, "mode=1777,size=%llu,nr_inodes=%llu", (unsigned long long)p->c->tmp,
		 (unsigned long long)(p->c->tmp / 4096 + 64));
	return mount("tmp", "/tmp", "tmpfs", plain, options);
}

static void be_init(const struct plan *p, int ready, int found)
{
	sigset_t child;
	char state = '1';

	prctl(PR_SET_NAME, "weft-shell", 0, 0, 0);
	if (dup2(ready, 0) < 0 || dup2(found, 1) < 0)
		_exit(WARDEN_EXIT);
	keep_fds(2);
	if (furnish(p))
		_exit(WARDEN_EXIT); // whoever waits for the pipe sees its end
	drop_caps(0);
	if (read(1, &state, 1)) // ends when the warden has opened the namespaces
		_exit(WARDEN_EXIT);
	close(1);
	if (p->proc) // else others need to look at it to find its namespaces
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (write(0, &state, 1) != 1)
		_exit(WARDEN_EXIT);
	close(0);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		sigwaitinfo(&child, NULL);
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
	}
}

// The namespaces of a process can be opened by who may trace it: so the shell is
// traceable until the warden has them. It runs nothing of a user.
static const char *const names[SPACES] = {"pid", "mnt", "ipc", "net"};
static const int kinds[SPACES] = {CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWNET};

static void open_spaces(const struct plan *p, pid_t pid, int pidfd, struct spaces *s)
{
	char path[64];

	for (s->n = 0; p->proc && s->n < SPACES; s->n++) {
		snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, names[s->n]);
		s->fd[s->n] = open(path, O_RDONLY | O_CLOEXEC);
		if (s->fd[s->n] < 0)
			break;
	}
	if (s->n == SPACES)
		return;
	while (s->n > 0)
		close(s->fd[--s->n]);
	s->fd[0] = dup(pidfd);
	s->n = 1;
}

// open_own_spaces opens the namespaces of the warden that a server of a parent
// enters, SERVER_SPACES of them.
int open_own_spaces(int *fd)
{
	char path[64];

	for (int i = 0; i < SERVER_SPACES; i++) {
		snprintf(path, sizeof path, "/proc/self/ns/%s", i ? names[i - 1] : "user");
		fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fd[i] < 0) {
			while (i > 0)
				close(fd[--i]);
			return -1;
		}
	}
	return 0;
}

pid_t make_shell(const struct plan *p, int ready, int *pidfd, struct spaces *s)
{
	uint64_t spaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;
	int found[2];
	pid_t pid;

	if (pipe2(found, O_CLOEXEC))
		return -1;
	if (p->c->flags & WARDEN_NET)
		spaces |= CLONE_NEWNET;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	pid = clone_process(spaces, pidfd, -1);
	if (pid == 0)
		be_init(p, ready, found[0]);
	if (pid > 0)
		open_spaces(p, pid, *pidfd, s);
	close(found[0]);
	close(found[1]);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return pid;
}

int enter_pid_space(const struct spaces *s)
{
	return (int)syscall(SYS_setns, s->fd[0], CLONE_NEWPID);
}

int enter_spaces(const struct plan *p, const struct spaces *s)
{
	if (s->n == 1)
		return (int)syscall(SYS_setns, s->fd[0], CLONE_NEWNS | CLONE_NEWIPC | (p->c->flags & WARDEN_NET ? CLONE_NEWNET : 0));
	for (int i = 1; i < SPACES; i++)
		if (syscall(SYS_setns, s->fd[i], kinds[i]))
			return -1;
	return 0;
}
