package process

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/seccomp"
)

// ordinary is what programs need that compute, start programs and threads, and
// work on files: those files are the read-only tree, /tmp and what was granted.
var ordinary = []uint32{
	// Processes, threads, time, memory, signals: the pid namespace ends at the call.
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_GETPGID, unix.SYS_GETSID, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST,
	unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_RESTART_SYSCALL, unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_TIMES, unix.SYS_GETRUSAGE, unix.SYS_GETRLIMIT, unix.SYS_SETRLIMIT, unix.SYS_GETITIMER, unix.SYS_SETITIMER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_DELETE,
	unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_SCHED_GETPARAM,
	unix.SYS_SCHED_GET_PRIORITY_MAX, unix.SYS_SCHED_GET_PRIORITY_MIN, unix.SYS_GETPRIORITY, unix.SYS_SETPRIORITY, unix.SYS_GETCPU,
	unix.SYS_BRK, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MSYNC, unix.SYS_MINCORE,
	unix.SYS_MLOCK, unix.SYS_MUNLOCK, unix.SYS_GET_MEMPOLICY, unix.SYS_MBIND, unix.SYS_PKEY_ALLOC, unix.SYS_PKEY_FREE, unix.SYS_PKEY_MPROTECT,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGSUSPEND,
	unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_SIGALTSTACK, unix.SYS_SIGNALFD4,
	// Who and where one is.
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETPPID, unix.SYS_GETUID, unix.SYS_GETGID, unix.SYS_GETEUID, unix.SYS_GETEGID,
	unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_GETGROUPS, unix.SYS_CAPGET, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRANDOM, unix.SYS_UMASK,
	// Descriptors.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
	unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE,
	unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT,
	unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_FCNTL, unix.SYS_FLOCK, unix.SYS_FSTAT, unix.SYS_FSTATFS,
	unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FADVISE64, unix.SYS_READAHEAD, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE,
	unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_TEE, unix.SYS_VMSPLICE, unix.SYS_GETDENTS64, unix.SYS_MEMFD_CREATE,
	unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH, unix.SYS_KCMP,
	// Paths.
	fstatat, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_READLINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UTIMENSAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_GETCWD, unix.SYS_CHDIR,
	unix.SYS_FCHDIR, unix.SYS_TRUNCATE, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
	unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_FLISTXATTR,
	// Sockets that were passed in, and pairs: no call here makes a connection.
	unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME,
	unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_ACCEPT4,
	// System V memory and semaphores, of the call alone.
	unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMDT, unix.SYS_SHMCTL, unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_SEMCTL,
}

// absent are calls whose callers go on without them.
var absent = []uint32{
	unix.SYS_CLONE3, unix.SYS_OPENAT2, // their flags are behind a pointer, where a filter cannot look
	unix.SYS_FCHMODAT2, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_USERFAULTFD, unix.SYS_MEMFD_SECRET,
}

// word compares the low half of an argument, which is all of an int.
const word = 0xffffffff

func call(nr uint32, otherwise uint32, alternatives ...[]seccomp.Check) seccomp.Rule {
	return seccomp.Rule{Call: nr, When: alternatives, Otherwise: otherwise}
}

func arg(n int, mask, value uint64) seccomp.Check {
	return seccomp.Check{Arg: n, Mask: mask, Value: value}
}

// oneOf returns one alternative for each value of an int argument.
func oneOf(n int, values ...uint64) [][]seccomp.Check {
	var out [][]seccomp.Check
	for _, v := range values {
		out = append(out, []seccomp.Check{arg(n, word, v)})
	}
	return out
}

const setID = unix.S_ISUID | unix.S_ISGID

// noSetID allows a mode without a set-id bit: files in a granted folder belong
// to its owner on the host, who may be root.
func noSetID(nr uint32, mode int) seccomp.Rule {
	return call(nr, seccomp.EPERM, []seccomp.Check{arg(mode, setID, 0)})
}

// opening is noSetID where the mode counts only if a file is created.
func opening(nr uint32, flags int) seccomp.Rule {
	const create = unix.O_CREAT | (unix.O_TMPFILE &^ unix.O_DIRECTORY)
	return call(nr, seccomp.EPERM, []seccomp.Check{arg(flags, create, 0)}, []seccomp.Check{arg(flags+1, setID, 0)})
}

// making allows what is no device.
func making(nr uint32, mode int) seccomp.Rule {
	var kinds [][]seccomp.Check
	for _, kind := range []uint64{0, unix.S_IFREG, unix.S_IFIFO} {
		kinds = append(kinds, []seccomp.Check{arg(mode, unix.S_IFMT|setID, kind)})
	}
	return call(nr, seccomp.EPERM, kinds...)
}

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// role is what a process of an interpreter is there for.
type role int

const (
	ofCall   role = iota
	ofServer      // calls are forked from it
	ofParent      // servers are forked from it
)

// policy returns the rules of a process. A server may in addition enter
// namespaces, of which it is handed those of the version's own calls and can find
// no others, and give up what it has. A parent is handed those of its functions,
// whose user namespaces are below its own; what it forks installs the server's
// filter before it runs anything of the function.
func policy(of role, dials bool) []seccomp.Rule {
	var rules []seccomp.Rule
	for _, list := range [][]uint32{ordinary, ordinaryHere} {
		for _, nr := range list {
			rules = append(rules, call(nr, seccomp.Allow))
		}
	}
	for _, nr := range absent {
		if of == ofParent && nr == unix.SYS_LANDLOCK_CREATE_RULESET {
			rules = append(rules, call(nr, seccomp.Allow), call(unix.SYS_LANDLOCK_RESTRICT_SELF, seccomp.Allow))
			continue
		}
		rules = append(rules, call(nr, seccomp.ENOSYS))
	}
	rules = append(rules, argumentsHere...)
	const (
		tiocgwinsz, tiocgpgrp             = 0x5413, 0x540f // asm-generic/ioctls.h
		fionread, fionbio, fioclex, fiono = 0x541b, 0x5421, 0x5451, 0x5450
		enotty                            = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOTTY)
	)
	prctl := []uint64{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG, unix.PR_GET_DUMPABLE,
		unix.PR_SET_VMA, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_NO_NEW_PRIVS, unix.PR_CAPBSET_READ, unix.PR_SET_TIMERSLACK,
		unix.PR_GET_TIMERSLACK, unix.PR_SET_THP_DISABLE, unix.PR_GET_THP_DISABLE, unix.PR_GET_KEEPCAPS, unix.PR_GET_SECCOMP}
	if of != ofCall {
		kinds := []uint64{unix.CLONE_NEWPID, unix.CLONE_NEWNS, unix.CLONE_NEWIPC, unix.CLONE_NEWNET}
		prctl = append(prctl, unix.PR_SET_DUMPABLE, unix.PR_CAP_AMBIENT, unix.PR_SET_SECCOMP)
		if of == ofParent {
			kinds = append(kinds, unix.CLONE_NEWUSER)
			prctl = append(prctl, unix.PR_CAPBSET_DROP)
			rules = append(rules, call(unix.SYS_UNSHARE, seccomp.EPERM, oneOf(0, unix.CLONE_NEWCGROUP)...))
		}
		rules = append(rules, call(unix.SYS_SETNS, seccomp.EPERM, oneOf(1, kinds...)...), call(unix.SYS_CAPSET, seccomp.Allow))
	}
	rules = append(rules, sockets(dials)...)
	var options [][]seccomp.Check
	for _, name := range []uint64{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_KEEPALIVE, unix.SO_LINGER, unix.SO_RCVTIMEO, unix.SO_SNDTIMEO,
		unix.SO_REUSEADDR, unix.SO_PASSCRED} {
		options = append(options, []seccomp.Check{arg(1, word, unix.SOL_SOCKET), arg(2, word, name)})
	}
	for _, name := range []uint64{unix.TCP_NODELAY, unix.TCP_CORK, unix.TCP_QUICKACK, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
		options = append(options, []seccomp.Check{arg(1, word, unix.IPPROTO_TCP), arg(2, word, name)})
	}
	if dials { // what libraries set of every socket
		options = append(options, []seccomp.Check{arg(1, word, unix.SOL_SOCKET), arg(2, word, unix.SO_BROADCAST)},
			[]seccomp.Check{arg(1, word, unix.IPPROTO_IPV6), arg(2, word, unix.IPV6_V6ONLY)},
			[]seccomp.Check{arg(1, word, unix.IPPROTO_TCP), arg(2, word, unix.TCP_USER_TIMEOUT)})
	}
	return append(rules,
		call(unix.SYS_CLONE, seccomp.EPERM, []seccomp.Check{arg(0, namespaces, 0)}),
		opening(unix.SYS_OPENAT, 2),
		noSetID(unix.SYS_FCHMOD, 1), noSetID(unix.SYS_FCHMODAT, 2), noSetID(unix.SYS_MKDIRAT, 2), making(unix.SYS_MKNODAT, 2),
		call(unix.SYS_IOCTL, enotty, oneOf(1, fionread, fionbio, fioclex, fiono, unix.TCGETS, tiocgwinsz, tiocgpgrp)...),
		call(unix.SYS_PRCTL, seccomp.EPERM, oneOf(0, prctl...)...),
		call(unix.SYS_PRLIMIT64, seccomp.EPERM, []seccomp.Check{arg(0, word, 0)}, []seccomp.Check{arg(2, ^uint64(0), 0)}),
		call(unix.SYS_PERSONALITY, seccomp.EPERM, oneOf(0, 0, word)...),
		// TCP fast open is a connect in disguise.
		call(unix.SYS_SENDMSG, seccomp.EPERM, []seccomp.Check{arg(2, unix.MSG_FASTOPEN, 0)}),
		call(unix.SYS_SENDTO, seccomp.EPERM, []seccomp.Check{arg(3, unix.MSG_FASTOPEN, 0), arg(4, ^uint64(0), 0)}),
		call(unix.SYS_SETSOCKOPT, seccomp.EPERM, options...),
	)
}

// sockets are the rules for making them. One of TCP reaches what listens in the
// version's own network. A datagram socket of a pair is one that can be
// connected to others, so there is none where connecting is allowed; no other
// kind that a call can have lets its connection go.
func sockets(dials bool) []seccomp.Rule {
	if !dials {
		return []seccomp.Rule{call(unix.SYS_SOCKETPAIR, seccomp.Allow)}
	}
	const plain = word &^ (unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
	var tcp [][]seccomp.Check
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, protocol := range []uint64{0, unix.IPPROTO_TCP} {
			tcp = append(tcp, []seccomp.Check{arg(0, word, family), arg(1, plain, unix.SOCK_STREAM), arg(2, word, protocol)})
		}
	}
	return []seccomp.Rule{
		call(unix.SYS_SOCKET, seccomp.EPERM, tcp...),
		call(unix.SYS_CONNECT, seccomp.Allow),
		call(unix.SYS_SOCKETPAIR, seccomp.EPERM, []seccomp.Check{arg(1, plain, unix.SOCK_STREAM)}, []seccomp.Check{arg(1, plain, unix.SOCK_SEQPACKET)}),
	}
}

// filter assembles a policy into the bytes that the kernel takes.
func filter(of role, dials bool) ([]byte, error) {
	program, err := seccomp.Assemble(policy(of, dials))
	if err != nil {
		return nil, fmt.Errorf("system call filter: %w", err)
	}
	size := len(program) * int(unsafe.Sizeof(program[0]))
	return unsafe.Slice((*byte)(unsafe.Pointer(&program[0])), size), nil
}
