// What the processes of a version give up: capabilities, resources, system
// calls. References: capabilities(7), setrlimit(2), seccomp(2),
// Documentation/userspace-api/landlock.rst.

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#ifndef SECBIT_NO_CAP_AMBIENT_RAISE
#define SECBIT_NO_CAP_AMBIENT_RAISE (1 << 6)
#define SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED (1 << 7)
#endif

// drop_caps leaves no capability, or what the server of a version needs to put
// the processes that it forks into the namespaces that are ready for them:
// CAP_SYS_ADMIN and CAP_SYS_CHROOT in the version's own user namespace, which
// its filter lets it use for setns(2) and nothing else.
void drop_caps(int which)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};
	uint32_t kept = which == SERVER_CAPS ? 1u << CAP_SYS_ADMIN | 1u << CAP_SYS_CHROOT : 0;

	for (int cap = 0; cap < 64; cap++) {
		if (cap < 32 && kept >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno == EINVAL)
			break; // past the last one that this kernel knows
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		die("capabilities", "clear the ambient set");
	if (!kept && prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
						     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
						     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0))
		die("capabilities", "lock the secure bits");
	data[0].effective = data[0].permitted = data[0].inheritable = kept;
	if (syscall(SYS_capset, &head, data))
		die("capabilities", "capset");
	for (int cap = 0; cap < 32; cap++) { // so that they survive execve(2)
		if (kept >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0))
			die("capabilities", "raise an ambient one");
	}
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

// set_limits sets the limits of a program of the version. The processor time
// is that of a call: a server lives longer.
void set_limits(const struct warden_config *c, int call)
{
	limit(RLIMIT_CORE, 0, "core size");
	limit(RLIMIT_MSGQUEUE, 0, "message queues");
	limit(RLIMIT_RTPRIO, 0, "realtime priority");
	limit(RLIMIT_MEMLOCK, 0, "locked memory");
	if (c->files)
		limit(RLIMIT_NOFILE, c->files, "open files");
	if (c->file_size)
		limit(RLIMIT_FSIZE, c->file_size, "file size");
	if (c->data)
		limit(RLIMIT_DATA, c->data, "private memory");
	if (c->space)
		limit(RLIMIT_AS, c->space, "address space");
	if (c->nproc)
		limit(RLIMIT_NPROC, c->nproc, "threads");
	if (c->cpu && call)
		limit(RLIMIT_CPU, c->cpu, "cpu time");
}

struct ruleset { // struct landlock_ruleset_attr up to ABI 6
	uint64_t fs, net, scoped;
};

struct port_rule { // struct landlock_net_port_attr
	uint64_t access, port;
};

// enter_scope forbids TCP but to the ports of doors, and abstract sockets and
// signals to outside. Files
// are left to the mount namespace: a rule set for files would also forbid the
// renames between folders that ordinary programs make.
int enter_scope(const struct plan *p)
{
	struct ruleset r = {0};
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	int set;

	if (abi < 4)
		return 0;
	r.net = 3; // bind and connect
	if (abi >= 6)
		r.scoped = 3; // abstract sockets and signals
	set = (int)syscall(SYS_landlock_create_ruleset, &r, abi >= 6 ? 24 : 16, 0);
	if (set < 0)
		return 0;
	for (int i = 0; i < p->doors && abi; i++) {
		struct port_rule rule = {2, p->port[i]}; // LANDLOCK_ACCESS_NET_CONNECT_TCP
		if (syscall(SYS_landlock_add_rule, set, 2, &rule, 0)) // LANDLOCK_RULE_NET_PORT
			abi = 0;
	}
	if (!abi || syscall(SYS_landlock_restrict_self, set, 0))
		abi = 0;
	close(set);
	return abi;
}

int enter_filter(const struct plan *p, int which)
{
	struct sock_fprog program = {
		.len = (unsigned short)(p->filter_size[which] / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)p->filter[which],
	};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

void keep_fds(int first)
{
	struct rlimit l = {1024, 1024};

	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
	getrlimit(RLIMIT_NOFILE, &l);
	for (int fd = first; fd < (int)l.rlim_cur; fd++)
		close(fd);
}
