// The processes that run what users wrote: the program of a native call, and
// the server from which the calls of an interpreter are forked.

#define _GNU_SOURCE
#include "warden.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

// refuse ends the process of a call that cannot run its program.
static void __attribute__((noreturn)) refuse(int sock, const char *what)
{
	struct message m = {.kind = MSG_ENDED, .a = 1};
	char text[256];
	int n = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));

	send_message(sock, &m, text, (size_t)n, NULL, 0, MSG_DONTWAIT);
	_exit(WARDEN_EXIT);
}

static void plain_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

// missing_interpreter reports whether the program wants another one to interpret it, by
// #! or as the dynamic linker of an ELF file, that is not in the tree, and which. For the
// kernel it is then the program that does not exist.
int missing_interpreter(const char *path, char *name, size_t room)
{
	static char head[4096];
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)head;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head - 1, 0);
	size_t length = 0;

	if (n > 2 && head[0] == '#' && head[1] == '!') {
		const char *at = head + 2 + strspn(head + 2, " \t");
		length = strcspn(at, " \t\n");
		if (length >= room)
			length = 0;
		memcpy(name, at, length);
	} else if (n >= (ssize_t)sizeof *e && !memcmp(head, ELFMAG, SELFMAG) && head[EI_CLASS] == ELFCLASS64) {
		for (int i = 0; i < e->e_phnum && !length; i++) {
			Elf64_Phdr p;
			if (pread(fd, &p, sizeof p, (off_t)(e->e_phoff + (uint64_t)i * e->e_phentsize)) != sizeof p)
				break;
			if (p.p_type == PT_INTERP && p.p_filesz > 1 && p.p_filesz <= room && pread(fd, name, p.p_filesz, (off_t)p.p_offset) == (ssize_t)p.p_filesz)
				length = p.p_filesz - 1;
		}
	}
	if (fd >= 0)
		close(fd);
	name[length] = 0;
	if (name[0] != '/' || !access(name, F_OK) || errno != ENOENT)
		return 0;
	for (char *c = name; *c; c++)
		if (*c < ' ' || *c > '~') // a carriage return, for instance
			*c = '?';
	return 1;
}

// run_program is the process of a native call. It has been born in the pid
// namespace of the shell; it enters the others as soon as they are furnished,
// and its cgroups, and waits for its assignment. From then on it is only
// descriptors 0 to 2, and 3 with a control socket, that connect it with
// anything.
void run_program(const struct plan *p, const struct spaces *s, int ready, int sock, const int *entrances, int n)
{
	static char text[WARDEN_TEXT + 1];
	char *env[256 + 256], *at = text, state;
	struct message m;
	int fds[WARDEN_FILES], nfds, envs = 0;
	ssize_t length;

	prctl(PR_SET_NAME, "weft-call", 0, 0, 0);
	for (int i = 0; i < n; i++)
		if (write(entrances[i], "0", 1) != 1)
			refuse(sock, "enter the cgroup");
	if (read(ready, &state, 1) != 1) {
		errno = EPERM;
		refuse(sock, "furnish the namespaces");
	}
	if (enter_spaces(p, s))
		refuse(sock, "enter the namespaces");
	length = receive_message(sock, &m, text, fds, &nfds, 0);
	if (length < 0 || m.kind != MSG_START || nfds < 3)
		_exit(WARDEN_EXIT); // it is not needed any more
	for (int i = 0; i < p->envs; i++)
		env[envs++] = p->env[i];
	for (uint32_t i = 0; i < m.a && envs < 511 && at < text + length; i++, at += strlen(at) + 1)
		env[envs++] = at;
	env[envs] = NULL;

	// Nothing below is in use: descriptors 0 to 3 of the warden are, and those
	// just received come after.
	if (sock < 4)
		refuse(sock, "arrange descriptors");
	for (int i = 0; i < 4; i++) {
		if (i < nfds ? dup2(fds[i], i) < 0 : close(i) && errno != EBADF)
			refuse(sock, "arrange descriptors");
	}
	if (dup3(sock, 4, O_CLOEXEC) < 0 && sock != 4)
		refuse(sock, "arrange descriptors");
	sock = 4;
	keep_fds(5);
	if (chdir("/fn") && chdir("/"))
		refuse(sock, "change to the folder");
	setsid();
	set_limits(p->c, 1);
	drop_caps(0);
	if (p->landlock && !enter_scope(p))
		refuse(sock, "landlock");
	plain_signals();
	if (enter_filter(p, 1))
		refuse(sock, "install the system call filter");
	execve(p->arg[0], p->arg, env);
	refuse(sock, "execute the program");
}

// run_server executes the server. Its descriptor 3 is the socket to the warden.
// Until it forks, it holds what drop_caps says of SERVER_CAPS.
void run_server(const struct plan *p, int sock)
{
	char *env[257];

	if (dup2(sock, 3) < 0)
		die("server", "arrange descriptors");
	keep_fds(4);
	for (int i = 0; i < p->envs; i++)
		env[i] = p->env[i];
	env[p->envs] = NULL;
	setsid();
	set_limits(p->c, 0);
	drop_caps(SERVER_CAPS);
	if (p->landlock && !enter_scope(p))
		die("server", "landlock");
	plain_signals();
	if (chdir("/fn") && chdir("/"))
		die("server", "change to the folder");
	if (enter_filter(p, 0))
		die("server", "install the system call filter");
	execve(p->arg[0], p->arg, env);
	die("server", p->arg[0]);
}
