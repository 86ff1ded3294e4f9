// The warden itself: the first process of a version's namespaces. It is ours
// alone, runs nothing of a user, and is what the node talks to about calls.
//
// A call is a shell (shell.c) and a process in it. Of a native version the
// process is the warden's own child; otherwise it is forked by the version's
// server, which says when it has ended. Either way the call is over when the
// shell is: until then the kernel may still be ending what the process left.

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct call {
	uint64_t id; // 0: unused
	pid_t shell, program;
	int shell_fd, program_fd; // program_fd: -1 while the server has not forked
	int sock;                 // to the process: its assignment, and what it says of its end
	int over;                 // the process has ended, with status, and used
	int status;
	int signal; // to be passed on when the process is there
	const char *failed; // what could not be done for it, for the reason err
	int err;
	int64_t used[3]; // user and system time in us, resident KiB
};

static struct call calls[WARDEN_CALLS];

// The shell of the next call, made while there is nothing else to do: making
// one takes longer than forking a process, most of it for the network.
static struct {
	pid_t pid; // 0: there is none
	int fd, ready;
	struct spaces s;
} next;
static int control = 3, server = -1, self = -1;
static uint32_t degraded; // READY_ flags

enum { IDLE = 2 }; // ms without a message after which the next shell is made
enum { PATIENCE = 5000 }; // ms for a parent to make a server: it takes some, and much more on a busy machine
static pid_t server_pid; // 0: of another process, or gone
static int adopted = -1; // descriptor of a server that is another's child
static int64_t given_up; // when a parent has had its time, in ms of the monotonic clock; 0: none is waited for
static char text[WARDEN_TEXT + 1];

void die(const char *step, const char *what)
{
	char line[512];
	int n = snprintf(line, sizeof line, "weft-warden: %s: %s: %s\n", step, what, strerror(errno));

	if (n > 0 && write(2, line, (size_t)n) < 0)
		_exit(WARDEN_EXIT + 1);
	_exit(WARDEN_EXIT);
}

static struct call *find(uint64_t id)
{
	for (int i = 0; i < WARDEN_CALLS; i++)
		if (calls[i].id == id)
			return &calls[i];
	return NULL;
}

static void answer(const struct message *m, size_t n)
{
	if (send_message(control, m, text, n, NULL, 0, 0))
		_exit(0); // the node has gone
}

static void close_all(const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static void refuse(uint64_t id, const char *what)
{
	struct message m = {.kind = MSG_ENDED, .id = id, .a = WARDEN_EXIT << 8, .v = {0, 0, 0, 1}};
	int n = snprintf(text, WARDEN_TEXT, "%s: %s", what, strerror(errno));

	answer(&m, (size_t)n);
}

static void drop(struct call *c)
{
	close(c->shell_fd);
	if (c->program_fd >= 0)
		close(c->program_fd);
	close(c->sock);
	memset(c, 0, sizeof *c);
}

// fork_program makes the process of a native call in the shell's pid namespace.
static pid_t fork_program(const struct plan *p, struct call *c, const struct spaces *s, int ready, int sock, const int *fds, int n,
			  int into)
{
	pid_t pid;

	if (enter_pid_space(s))
		return -1;
	pid = clone_process(0, &c->program_fd, into ? fds[0] : -1);
	if (pid == 0)
		run_program(p, s, ready, sock, fds, into ? 0 : n);
	if (syscall(SYS_setns, self, CLONE_NEWPID))
		die("call", "return to the own pid namespace");
	return pid;
}

static int make_next(const struct plan *p)
{
	int ready[2];

	if (pipe2(ready, O_CLOEXEC))
		return -1;
	next.pid = make_shell(p, ready[1], &next.fd, &next.s);
	close(ready[1]);
	if (next.pid < 0) {
		close(ready[0]);
		next.pid = 0;
		return -1;
	}
	next.ready = ready[0];
	return 0;
}

// prepare makes shell and process of a call. The process may wait for its
// assignment as long as it likes.
static void prepare(const struct plan *p, const struct message *m, const int *fds, int n)
{
	struct call *c = find(0);
	struct spaces s;
	int ready, pair[2], into = (m->a & A_INTO) != 0;

	if (!m->id || find(m->id)) {
		errno = EINVAL;
		refuse(m->id, "number of the call");
		return;
	}
	if (!c) {
		errno = EAGAIN;
		refuse(m->id, "too many calls at a time");
		return;
	}
	if (!next.pid && make_next(p)) {
		refuse(m->id, "make the namespaces");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		refuse(m->id, "make a socket");
		return;
	}
	memset(c, 0, sizeof *c);
	c->program_fd = -1;
	c->sock = pair[0];
	c->shell = next.pid;
	c->shell_fd = next.fd;
	s = next.s;
	ready = next.ready;
	next.pid = 0;
	c->id = m->id;
	if (p->c->flags & WARDEN_PYTHON) {
		struct message f = {.kind = MSG_FORK, .id = m->id, .a = m->a};
		int all[WARDEN_FILES] = {s.fd[0], s.fd[1], s.fd[2], s.fd[3], ready, pair[1]};
		int count = SPACES + 2;
		for (int i = 0; i < n && count < WARDEN_FILES; i++)
			all[count++] = fds[i];
		if (s.n != SPACES)
			c->failed = "find its namespaces in /proc, which cannot be mounted here";
		else if (send_message(server, &f, NULL, 0, all, count, MSG_DONTWAIT))
			c->failed = "reach the server";
	} else {
		c->program = fork_program(p, c, &s, ready, pair[1], fds, n, into);
		if (c->program < 0) {
			c->failed = "fork into its namespaces";
			c->program = 0;
		}
	}
	if (c->failed) {
		c->err = errno;
		c->over = 1;
		c->status = WARDEN_EXIT << 8;
		kill(c->shell, SIGKILL);
	}
	close_all(s.fd, s.n);
	close(ready);
	close(pair[1]);
}

// end sends what is known of a call whose shell is gone.
static void end(struct call *c)
{
	struct message m = {.kind = MSG_ENDED, .id = c->id, .a = (uint32_t)c->status,
			    .v = {c->used[0], c->used[1], c->used[2], 0}};
	struct message said;
	int fds[WARDEN_FILES], nfds;
	ssize_t n;

	n = receive_message(c->sock, &said, text, fds, &nfds, MSG_DONTWAIT);
	close_all(fds, nfds);
	if (n >= 0 && said.kind == MSG_ENDED)
		m.v[3] = said.a;
	else
		n = 0;
	if (c->failed) {
		m.v[3] = 1;
		n = snprintf(text, WARDEN_TEXT, "%s: %s", c->failed, strerror(c->err));
	}
	drop(c);
	answer(&m, (size_t)n);
}

// pass signals the process of a call; SIGKILL ends its shell, and with it all.
static void pass(struct call *c, int signal)
{
	if (signal == SIGKILL)
		syscall(SYS_pidfd_send_signal, c->shell_fd, SIGKILL, NULL, 0);
	else if (c->program_fd >= 0)
		syscall(SYS_pidfd_send_signal, c->program_fd, signal, NULL, 0);
	else
		c->signal = signal;
}

static void from_node(const struct plan *p)
{
	struct message m;
	int fds[WARDEN_FILES], nfds;
	ssize_t n = receive_message(control, &m, text, fds, &nfds, 0);
	struct call *c;

	if (n < 0)
		_exit(0); // the node has gone, and with this process all that it was for
	c = m.id ? find(m.id) : NULL;
	switch (m.kind) {
	case MSG_PREPARE:
		prepare(p, &m, fds, nfds);
		break;
	case MSG_START:
		errno = ESRCH;
		if (!c)
			refuse(m.id, "its process has ended before it could start");
		else if (send_message(c->sock, &m, text, (size_t)n, fds, nfds, MSG_DONTWAIT))
			pass(c, SIGKILL);
		break;
	case MSG_ADOPT:
		// When it does not arrive its socket is closed, and the warden that wants it starts it.
		send_message(server, &m, NULL, 0, fds, nfds, MSG_DONTWAIT);
		break;
	case MSG_SIGNAL:
		if (c)
			pass(c, (int)m.a);
		else if (!m.id && p->c->flags & WARDEN_PARENT && server_pid)
			kill(server_pid, SIGKILL);
		break;
	case MSG_FIND:
		if (c && c->program_fd >= 0 && !c->over) {
			struct message found = {.kind = MSG_FOUND, .id = c->id};
			const int at[2] = {c->program_fd, c->shell_fd};

			if (send_message(control, &found, NULL, 0, at, 2, 0))
				_exit(0); // the node has gone
		}
		break;
	}
	close_all(fds, nfds);
}

// exited notes the end of a call's process.
static void exited(struct call *c, int status, int64_t user, int64_t system, int64_t resident)
{
	c->over = 1;
	c->status = status;
	c->used[0] += user;
	c->used[1] += system;
	c->used[2] = resident > c->used[2] ? resident : c->used[2];
	pass(c, SIGKILL);
}

static void start_server(const struct plan *p);

// lose_server ends a warden without a server: with the namespace of process 1
// the kernel ends its calls. A parent stays: servers that it has are in it.
static void lose_server(const struct plan *p, int status)
{
	struct message m = {.kind = MSG_FAILED, .a = (uint32_t)status};

	answer(&m, (size_t)snprintf(text, sizeof text, "server ended"));
	if (!(p->c->flags & WARDEN_PARENT))
		_exit(0);
	server_pid = 0;
}

static void from_server(const struct plan *p)
{
	struct message m;
	int fds[WARDEN_FILES], nfds;
	ssize_t n = receive_message(server, &m, text, fds, &nfds, 0);
	struct call *c;

	if (n < 0) { // its end is seen by reap
		close(server);
		server = -1;
		if (p->c->flags & WARDEN_ADOPT && !server_pid) {
			if (adopted >= 0)
				lose_server(p, 0);
			given_up = 0;
			start_server(p); // no parent has forked it
		}
		return;
	}
	c = m.id ? find(m.id) : NULL;
	switch (m.kind) {
	case MSG_SERVING:
		m = (struct message){.kind = MSG_READY, .a = degraded};
		if (p->c->flags & WARDEN_PARENT) {
			int own[SERVER_SPACES];
			if (open_own_spaces(own))
				die("warden", "open its namespaces");
			if (send_message(control, &m, text, (size_t)n, own, 2, 0))
				_exit(0);
			close_all(own, SERVER_SPACES);
		} else {
			answer(&m, (size_t)n);
		}
		break;
	case MSG_ADOPTED:
		if (adopted < 0 && !server_pid && nfds == 1) {
			adopted = fds[0];
			given_up = 0;
			return;
		}
		break;
	case MSG_BROKEN:
		m = (struct message){.kind = MSG_FAILED};
		answer(&m, (size_t)n);
		break;
	case MSG_FORKED:
		if (c && c->program_fd < 0 && nfds == 1) {
			c->program_fd = fds[0];
			if (c->signal)
				pass(c, c->signal);
			return;
		}
		break;
	case MSG_EXITED:
		if (c && !c->over)
			exited(c, (int)m.a, m.v[0], m.v[1], m.v[2]);
		break;
	}
	close_all(fds, nfds);
}

static int64_t micro(struct timeval t)
{
	return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

static void reap(const struct plan *p)
{
	struct rusage u;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG | __WALL, &u)) > 0) {
		if (pid == server_pid) {
			lose_server(p, status);
			continue;
		}
		if (pid == next.pid) {
			close_all(next.s.fd, next.s.n);
			close(next.fd);
			close(next.ready);
			next.pid = 0;
			continue;
		}
		for (int i = 0; i < WARDEN_CALLS; i++) {
			struct call *c = &calls[i];
			if (!c->id)
				continue;
			if (pid == c->program) {
				c->program = 0;
				exited(c, status, micro(u.ru_utime), micro(u.ru_stime), u.ru_maxrss);
			} else if (pid == c->shell) {
				if (!c->over) // killed with all, or it could not furnish its namespaces
					c->status = SIGKILL;
				c->used[0] += micro(u.ru_utime); // of the orphans that it has reaped
				c->used[1] += micro(u.ru_stime);
				c->shell = 0;
			}
			if (!c->shell && !c->program)
				end(c);
			else
				continue;
			break;
		}
	}
}

static void start_server(const struct plan *p)
{
	int pair[2], fd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("server", "make a socket");
	server_pid = clone_process(0, &fd, -1);
	if (server_pid < 0)
		die("server", "fork");
	if (server_pid == 0)
		run_server(p, pair[1]);
	close(fd);
	close(pair[1]);
	server = pair[0];
}

static int64_t milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// await_server asks the node for a server of a parent.
static void await_server(const struct plan *p)
{
	struct message m = {.kind = MSG_ORPHAN, .a = (uint32_t)p->entrances};
	int fds[WARDEN_FILES], pair[2], n = SERVER_SPACES;

	if (!p->proc || SERVER_SPACES + 2 + p->entrances > WARDEN_FILES || open_own_spaces(fds)) {
		start_server(p);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("server", "make a socket");
	fds[n++] = pair[1];
	fds[n++] = 2;
	for (int i = 0; i < p->entrances; i++)
		fds[n++] = 4 + i;
	if (send_message(control, &m, NULL, 0, fds, n, 0))
		_exit(0);
	close_all(fds, SERVER_SPACES);
	close(pair[1]);
	close_all(fds + SERVER_SPACES + 2, p->entrances);
	server = pair[0];
	given_up = milliseconds() + PATIENCE;
}

// be_alone gives a parent up that does not answer. What it makes later finds nobody
// at its socket, and ends before it has run anything of the function.
static void be_alone(const struct plan *p)
{
	struct message m = {.kind = MSG_ALONE};

	given_up = 0;
	close(server);
	answer(&m, 0);
	start_server(p);
}

// serve is the life of the warden.
void serve(struct plan *p)
{
	struct rlimit files = {4096, 4096}, now;
	struct signalfd_siginfo dead;
	sigset_t child;
	int failing = 0;

	prctl(PR_SET_NAME, "weft-warden", 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_max < files.rlim_max)
		files.rlim_cur = files.rlim_max = now.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (p->proc && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "subset=pid,hidepid=2")) {
		if (p->join >= 0) // what is there shows the parent's
			die("warden", "mount /proc");
		p->proc = 0;
	}
	if (mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=16m,nr_inodes=4096"))
		die("warden", "mount /tmp");
	p->landlock = syscall(444, NULL, 0, 1) >= 4; // landlock_create_ruleset: the ABI
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		die("warden", "pidfd_open");
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	int deaths = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (deaths < 0)
		die("warden", "signalfd");
	if (!p->args || !p->filter[0] || !p->filter[1]) {
		errno = EPROTO;
		die("config", "no program or no filter");
	}
	open_doors(p);
	degraded = (p->proc ? 0 : READY_NO_PROC) | (p->landlock ? 0 : READY_NO_LANDLOCK);
	if (p->c->flags & WARDEN_ADOPT) {
		await_server(p);
	} else if (p->c->flags & WARDEN_PYTHON) {
		start_server(p);
	} else {
		struct message m = {.kind = MSG_READY, .a = degraded};
		char name[256];

		if (missing_interpreter(p->arg[0], name, sizeof name)) {
			m.kind = MSG_FAILED;
			answer(&m, (size_t)snprintf(text, sizeof text, "bad interpreter: the program wants to be run by %s, which is not in its file tree", name));
			_exit(0);
		}
		answer(&m, 0);
	}
	for (;;) {
		struct pollfd wait[4] = {{control, POLLIN, 0}, {deaths, POLLIN, 0}, {server, POLLIN, 0}, {adopted, POLLIN, 0}};
		int ahead = !next.pid && failing <= 10 && !(p->c->flags & WARDEN_PARENT);
		int64_t left = given_up ? given_up - milliseconds() : -1;
		if (given_up && left < 0)
			left = 0;
		int n = poll(wait, 4, ahead && (left < 0 || left > IDLE) ? IDLE : (int)left);
		if (n < 0 && errno != EINTR)
			die("warden", "poll");
		if (n == 0 && left == 0)
			be_alone(p);
		else if (n == 0)
			failing = make_next(p) ? failing + 1 : 0;
		if (n <= 0)
			continue;
		if (wait[2].revents) // before its death is noted: it may have said why
			from_server(p);
		else if (wait[3].revents)
			lose_server(p, 0);
		if (wait[1].revents) {
			while (read(deaths, &dead, sizeof dead) > 0)
				;
			reap(p);
		}
		if (wait[0].revents)
			from_node(p);
	}
}
