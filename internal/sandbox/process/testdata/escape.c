// Attempts to get out of the sandbox of a process. Each returns 0 when it got
// out, or got anything that it should not have, and else an error number.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY(x) ((x) < 0 ? errno : 0)
#define CALL(...) TRY(syscall(__VA_ARGS__))

static int number(const char *name) { const char *v = getenv(name); return v ? atoi(v) : 0; }

static int readable(const char *path)
{
	char b[16];
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno;
	int r = read(fd, b, sizeof b) > 0 ? 0 : errno ? errno : EIO;
	close(fd);
	return r;
}

static int writable(const char *path)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int creatable(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd < 0)
		return errno;
	unlink(path);
	close(fd);
	return 0;
}

static int shadow(void) { return readable("/etc/shadow"); }
static int secret_of_host(void) { return readable(getenv("HOST_FILE")); }
static int dot_dot(void) { char p[4096]; snprintf(p, sizeof p, "/fn/../../../../../..%s", getenv("HOST_FILE")); return readable(p); }
static int link_out(void)
{
	if (symlink(getenv("HOST_FILE"), "/tmp/out"))
		return errno;
	return readable("/tmp/out");
}
static int link_up(void)
{
	char p[4096];
	snprintf(p, sizeof p, "../../../../..%s", getenv("HOST_FILE"));
	if (symlink(p, "/tmp/up"))
		return errno;
	return readable("/tmp/up");
}
static int hard_link(void) { return TRY(link("/fn/main", "/tmp/main")); }
static int root_of_init(void) { char p[4096]; snprintf(p, sizeof p, "/proc/1/root%s", getenv("HOST_FILE")); return readable(p); }
static int root_of_node(void) { char p[4096]; snprintf(p, sizeof p, "/proc/%d/root%s", number("NODE"), getenv("HOST_FILE")); return readable(p); }
static int cwd_of_init(void) { return readable("/proc/1/cwd/etc/shadow"); }
static int fds_of_init(void) { return TRY(open("/proc/1/fd/0", O_RDONLY)); }
static int environ_of_init(void) { return readable("/proc/1/environ"); }
static int memory_of_init(void) { return TRY(open("/proc/1/mem", O_RDWR)); }
static int memory_of_node(void) { char p[64]; snprintf(p, sizeof p, "/proc/%d/mem", number("NODE")); return TRY(open(p, O_RDONLY)); }
static int memory_of_parent(void) { char p[64]; snprintf(p, sizeof p, "/proc/%d/mem", getppid()); return TRY(open(p, O_RDONLY)); }
static int vm_read(int pid)
{
	char b[8];
	struct iovec l = {b, 8}, r = {(void *)0x400000, 8};
	return TRY(process_vm_readv(pid, &l, 1, &r, 1, 0));
}
static int vm_read_init(void) { return vm_read(1); }
static int vm_read_node(void) { return vm_read(number("NODE")); }
static int trace_init(void) { return TRY(ptrace(PTRACE_ATTACH, 1, 0, 0)); }
static int trace_node(void) { return TRY(ptrace(PTRACE_SEIZE, number("NODE"), 0, 0)); }
static int trace_me(void) { return TRY(ptrace(PTRACE_TRACEME, 0, 0, 0)); }
static int kill_node(void) { return TRY(kill(number("NODE"), 0)); }
static int kill_host_init(void) { return kill(1, SIGKILL) ? errno : (usleep(1000), ESRCH); } // it is deaf, and not the host's
static int kill_group(void) { return getpgrp() == 0 ? 0 : TRY(kill(-number("NODE"), 0)); }
static int pidfd_of_node(void) { return CALL(SYS_pidfd_open, number("NODE"), 0); }
static int pidfd_steal(void) { int fd = (int)syscall(SYS_pidfd_open, 1, 0); return fd < 0 ? errno : CALL(438, fd, 0, 0); }
static int mount_tmpfs(void) { return TRY(mount("x", "/tmp", "tmpfs", 0, NULL)); }
static int mount_proc(void) { return TRY(mount("x", "/proc", "proc", 0, NULL)); }
static int mount_bind(void) { return TRY(mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL)); }
static int mount_writable(void) { return TRY(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int umount_proc(void) { return TRY(umount2("/proc", MNT_DETACH)); }
static int umount_tmp(void) { return TRY(umount2("/tmp", MNT_DETACH)); }
static int pivot(void) { return CALL(SYS_pivot_root, "/tmp", "/tmp"); }
static int change_root(void) { return TRY(chroot("/tmp")); }
static int fs_open(void) { return CALL(430, "tmpfs", 0); }
static int tree_open(void) { return CALL(428, AT_FDCWD, "/", 1); }
static int kexec(void) { return CALL(SYS_kexec_load, 0, 0, NULL, 0); }
static int kexec_file(void) { return CALL(320, -1, -1, 0, NULL, 0); }
static int module(void) { return CALL(SYS_init_module, "", 0, ""); }
static int raw_socket(void) { return TRY(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int packet_socket(void) { return TRY(socket(AF_PACKET, SOCK_RAW, 0)); }
static int netlink_socket(void) { return TRY(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)); }
static int vsock(void) { return TRY(socket(40, SOCK_STREAM, 0)); }
static int tcp(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(number("PORT")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	return s < 0 ? errno : TRY(connect(s, (void *)&a, sizeof a));
}
static int abstract_socket(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *name = getenv("ABSTRACT");
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(a.sun_path + 1, name);
	return s < 0 ? errno : TRY(connect(s, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
}
static int pair_reconnect(void) // a socket of a pair is not connected to others
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		return errno;
	strcpy(a.sun_path + 1, getenv("ABSTRACT"));
	return TRY(sendto(s[0], "x", 1, 0, (void *)&a, sizeof a));
}
static int listen_socket(void) { int s[2]; return socketpair(AF_UNIX, SOCK_STREAM, 0, s) ? errno : TRY(listen(s[0], 1)); }
static int set_uid(void) { return TRY(setuid(0)); }
static int set_gid(void) { return TRY(setgid(0)); }
static int set_groups(void) { gid_t g = 0; return CALL(SYS_setgroups, 1, &g); }
static int set_id_bit(void) { return creatable("/tmp/suid") ? EIO : TRY(open("/tmp/suid", O_CREAT | O_WRONLY, 04755)); }
static int set_id_mode(void) { int fd = open("/tmp/mode", O_CREAT | O_WRONLY, 0755); return fd < 0 ? errno : TRY(fchmod(fd, 04755)); }
static int set_id_program(void) // su asks for nothing when it has root's rights
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		close(2);
		execl("/bin/su", "su", "-c", "true", (char *)NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	return status == 0 ? 0 : EPERM;
}
static int capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};
	return CALL(SYS_capset, &h, d);
}
static int ambient(void) { return TRY(prctl(47, 2, CAP_SYS_ADMIN, 0, 0)); }
static int dumpable(void) { return TRY(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }
static int device_char(void) { return TRY(mknod("/tmp/mem", S_IFCHR | 0600, 1 << 8 | 1)); }
static int device_block(void) { return TRY(mknod("/tmp/disk", S_IFBLK | 0600, 254 << 8)); }
static int device_mem(void) { return readable("/dev/mem"); }
static int device_kmsg(void) { return readable("/dev/kmsg"); }
static int device_disk(void) { return readable("/dev/vda"); }
static int device_fuse(void) { return TRY(open("/dev/fuse", O_RDWR)); }
static int device_kvm(void) { return TRY(open("/dev/kvm", O_RDWR)); }
static int terminal(void) { return TRY(ioctl(0, TIOCSTI, "x")); }
static int keys(void) { return CALL(SYS_keyctl, 0, -3, 1); }
static int add_key_(void) { return CALL(SYS_add_key, "user", "x", "x", 1, -3); }
static int bpf_(void) { char a[128] = {0}; return CALL(SYS_bpf, 5, a, sizeof a); }
static int fault_fd(void) { return CALL(SYS_userfaultfd, 1); }
static int ring(void) { char a[256] = {0}; return CALL(425, 4, a); }
static int perf(void) { char a[128] = {0}; return CALL(SYS_perf_event_open, a, 0, -1, -1, 0); }
static int handle(void) { char h[32] = {8}; return CALL(SYS_open_by_handle_at, AT_FDCWD, h, 0); }
static int unshare_user(void) { return TRY(unshare(CLONE_NEWUSER)); }
static int unshare_mount(void) { return TRY(unshare(CLONE_NEWNS)); }
static int unshare_net(void) { return TRY(unshare(CLONE_NEWNET)); }
static int unshare_pid(void) { return TRY(unshare(CLONE_NEWPID)); }
static int clone_user(void)
{
	pid_t p = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (p == 0)
		_exit(0);
	return p < 0 ? errno : 0;
}
static int clone3_user(void)
{
	uint64_t a[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
	pid_t p = (pid_t)syscall(435, a, sizeof a);
	if (p == 0)
		_exit(0);
	return p < 0 ? errno : 0;
}
static int enter_init(void) { int fd = open("/proc/1/ns/mnt", O_RDONLY); return fd < 0 ? errno : TRY(setns(fd, 0)); }
static int enter_self(void) { int fd = open("/proc/self/ns/user", O_RDONLY); return fd < 0 ? errno : TRY(setns(fd, 0)); }
static int reboot_(void) { return CALL(SYS_reboot, 0xfee1dead, 672274793, 0, NULL); }
static int swap(void) { return CALL(SYS_swapon, "/tmp", 0); }
static int clock_(void) { struct timeval t = {1, 0}; return TRY(settimeofday(&t, NULL)); }
static int host_name(void) { return TRY(sethostname("x", 1)); }
static int ports(void) { return CALL(SYS_ioperm, 0, 1, 1); }
static int levels(void) { return CALL(SYS_iopl, 3); }
static int no_random(void) { return TRY(personality(ADDR_NO_RANDOMIZE)); }
static int syslog_(void) { char b[16]; return CALL(SYS_syslog, 3, b, sizeof b); }
static int account(void) { return CALL(SYS_acct, "/tmp/x"); }
static int quota(void) { return CALL(SYS_quotactl, 0, NULL, 0, NULL); }
static int realtime(void) { struct sched_param s = {1}; return TRY(sched_setscheduler(0, SCHED_FIFO, &s)); }
static int nicer(void) { return setpriority(PRIO_PROCESS, 0, -10) ? errno : 0; }
static int limit_files(void) { struct rlimit l = {1 << 20, 1 << 20}; return TRY(setrlimit(RLIMIT_NOFILE, &l)); }
static int limit_core(void) { struct rlimit l = {1 << 20, 1 << 20}; return TRY(setrlimit(RLIMIT_CORE, &l)); }
static int limit_of_other(void) { struct rlimit l; return CALL(SYS_prlimit64, 1, RLIMIT_NOFILE, &(struct rlimit){1, 1}, &l); }
static int lock_memory(void) { return TRY(mlockall(MCL_CURRENT | MCL_FUTURE)); }
static int pattern(void) { return writable("/proc/sys/kernel/core_pattern"); }
static int trigger(void) { return writable("/proc/sysrq-trigger"); }
static int kcore(void) { return readable("/proc/kcore"); }
static int symbols(void) { return readable("/proc/kallsyms"); }
static int oom(void) { return writable("/proc/self/oom_score_adj"); }
static int map_uid(void) { return writable("/proc/self/uid_map"); }
static int groups_of_host(void) { return readable("/sys/fs/cgroup/memory/memory.limit_in_bytes") && readable("/sys/fs/cgroup/cgroup.controllers") ? EPERM : 0; }
static int own_code(void) { return writable("/fn/main"); }
static int beside_code(void) { return creatable("/fn/new"); }
static int system_file(void) { return creatable("/usr/bin/new"); }
static int at_root(void) { return creatable("/new"); }
static int at_etc(void) { return creatable("/etc/new"); }
static int in_dev(void) { return creatable("/dev/new"); }
static int code_setting(void) { return creatable("/weft/new"); }
static int stray_fds(void) // nothing is open but what a call is given
{
	for (int fd = 4; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && !getenv("PYTHON"))
			return 0;
	return EBADF;
}
static int other_architecture(void) // getpid as i386 calls it: ends the process
{
#ifdef __x86_64__
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		long r;
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EPERM;
#else
	return EPERM;
#endif
}
static int x32(void)
{
#ifdef __x86_64__
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(syscall(0x40000000 | SYS_getpid) < 0);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EPERM;
#else
	return EPERM;
#endif
}
static int fork_bomb(void) // as many as may be, and not more than 64 and a few
{
	int n = 0, err = 0;
	for (; n < 500; n++) {
		pid_t p = fork();
		if (p == 0) {
			pause();
			_exit(0);
		}
		if (p < 0) {
			err = errno;
			break;
		}
	}
	signal(SIGTERM, SIG_IGN);
	kill(-1, SIGKILL); // all but oneself
	while (wait(NULL) > 0)
		;
	return n < number("PIDS") ? err : 0;
}
static int fill_disk(void)
{
	static char page[1 << 16];
	long long total = 0;
	int err = 0;
	for (int i = 0; i < 1000 && !err; i++) {
		char name[32];
		snprintf(name, sizeof name, "/tmp/fill%d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0) {
			err = errno;
			break;
		}
		for (int j = 0; j < 32; j++) {
			ssize_t n = write(fd, page, sizeof page);
			if (n < 0) {
				err = errno;
				break;
			}
			total += n;
		}
		close(fd);
	}
	for (int i = 0; i < 1000; i++) {
		char name[32];
		snprintf(name, sizeof name, "/tmp/fill%d", i);
		unlink(name);
	}
	return total <= 16 << 20 ? err : 0;
}
static int fill_inodes(void)
{
	for (int i = 0; i < 1000000; i++) {
		char name[32];
		snprintf(name, sizeof name, "/tmp/i%d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			return errno;
		close(fd);
	}
	return 0;
}

static const struct { const char *name; int (*try)(void); } attempts[] = {
#define A(f) {#f, f}
	A(stray_fds), A(shadow), A(secret_of_host), A(dot_dot), A(link_out), A(link_up), A(hard_link), A(root_of_init), A(root_of_node), A(cwd_of_init),
	A(fds_of_init), A(environ_of_init), A(memory_of_init), A(memory_of_node), A(memory_of_parent), A(vm_read_init), A(vm_read_node),
	A(trace_init), A(trace_node), A(trace_me), A(kill_node), A(kill_host_init), A(kill_group), A(pidfd_of_node), A(pidfd_steal),
	A(mount_tmpfs), A(mount_proc), A(mount_bind), A(mount_writable), A(umount_proc), A(umount_tmp), A(pivot), A(change_root), A(fs_open),
	A(tree_open), A(kexec), A(kexec_file), A(module), A(raw_socket), A(packet_socket), A(netlink_socket), A(vsock), A(tcp),
	A(abstract_socket), A(pair_reconnect), A(listen_socket), A(set_uid), A(set_gid), A(set_groups), A(set_id_bit), A(set_id_mode),
	A(set_id_program), A(capabilities), A(ambient), A(dumpable), A(device_char), A(device_block), A(device_mem), A(device_kmsg),
	A(device_disk), A(device_fuse), A(device_kvm), A(terminal), A(keys), A(add_key_), A(bpf_), A(fault_fd), A(ring), A(perf), A(handle),
	A(unshare_user), A(unshare_mount), A(unshare_net), A(unshare_pid), A(clone_user), A(clone3_user), A(enter_init), A(enter_self),
	A(reboot_), A(swap), A(clock_), A(host_name), A(ports), A(levels), A(no_random), A(syslog_), A(account), A(quota), A(realtime),
	A(nicer), A(limit_files), A(limit_core), A(limit_of_other), A(lock_memory), A(pattern), A(trigger), A(kcore), A(symbols), A(oom),
	A(map_uid), A(groups_of_host), A(own_code), A(beside_code), A(system_file), A(at_root), A(at_etc), A(in_dev), A(code_setting),
	A(other_architecture), A(x32), A(fork_bomb), A(fill_disk), A(fill_inodes),
};

// attempt makes one by its number, and names it; -1 past the last.
int attempt(int i, char *name)
{
	if (i >= (int)(sizeof attempts / sizeof *attempts))
		return -1;
	strcpy(name, attempts[i].name);
	errno = 0;
	return attempts[i].try();
}

int main(void)
{
	char name[64];
	int r;

	for (int i = 0; (r = attempt(i, name)) >= 0; i++) {
		printf("%s %d\n", name, r);
		fflush(stdout);
	}
	return 0;
}
