// The shell of a call: the namespaces that its process will live in, with an
// init process of ours that reaps what is orphaned there. It is made before the
// process is, and ended after it: with it the kernel ends everything that the
// call has left. References: pid_namespaces(7), clone(2).

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
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

static void be_init(const struct plan *p, int ready)
{
	sigset_t child;
	char state = '1';

	prctl(PR_SET_NAME, "weft-shell", 0, 0, 0);
	if (dup2(ready, 0) < 0)
		_exit(WARDEN_EXIT);
	keep_fds(1);
	if (furnish(p))
		_exit(WARDEN_EXIT); // whoever waits for the pipe sees its end
	drop_caps(0);
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

pid_t make_shell(const struct plan *p, int ready, int *pidfd)
{
	uint64_t spaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;
	pid_t pid;

	if (p->c->flags & WARDEN_NET)
		spaces |= CLONE_NEWNET;
	pid = clone_process(spaces, pidfd, -1);
	if (pid == 0)
		be_init(p, ready);
	return pid;
}
