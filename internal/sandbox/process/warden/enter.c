// Becoming a warden, before main: see warden.go.
//
// The process that the node has started, the keeper, builds the file tree,
// gives up its ids for a user namespace, and starts the warden in further
// namespaces that belong to that one. It stays to pass on the end: the warden
// dies with it, and it with the node. Below a parent the keeper is in the
// parent's pid namespace, and not the first process of one of its own: there it
// is told to end, and does when the warden has.

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void die_with_parent(void)
{
	struct pollfd control = {3, 0, 0};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		die("parent death signal", "prctl");
	if (poll(&control, 1, 0) > 0 && (control.revents & POLLHUP)) {
		errno = EPIPE;
		die("parent death signal", "the node has gone");
	}
}

static pid_t warden;

static void end_warden(int signal)
{
	(void)signal;
	if (warden > 0)
		kill(warden, SIGKILL);
}

__attribute__((constructor)) static void enter(int argc, char **argv)
{
	struct plan p;
	int entrances, proc, fd, status;
	sigset_t term;

	if (argc != 2 || strcmp(argv[0], "weft-warden") != 0)
		return;
	entrances = atoi(argv[1]);
	read_plan(&p, entrances);
	for (int i = 0; i < entrances; i++)
		if (write(4 + i, "0", 1) != 1)
			die("cgroup", "enter");
	prctl(PR_SET_NAME, "weft-keeper", 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no new privileges", "prctl");
	proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		die("root", "/proc/self");
	if (sethostname("weft", 4))
		die("host name", "sethostname");
	umask(022);
	build_root(&p);
	change_ids(&p, proc);
	keep_fds(p.c->flags & WARDEN_ADOPT ? 4 + entrances : 4);
	die_with_parent();
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	if (p.join >= 0)
		sigprocmask(SIG_BLOCK, &term, NULL);

	warden = clone_process(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET, &fd, -1);
	if (warden < 0)
		die("namespaces", "clone");
	if (warden == 0) {
		sigprocmask(SIG_UNBLOCK, &term, NULL);
		die_with_parent();
		serve(&p);
	}
	if (p.join >= 0) {
		signal(SIGTERM, end_warden);
		sigprocmask(SIG_UNBLOCK, &term, NULL);
	}
	drop_caps(0);
	keep_fds(3);
	close(3);
	while (waitpid(warden, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : WARDEN_EXIT);
}
