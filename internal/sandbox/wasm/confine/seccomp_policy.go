package confine

import "golang.org/x/sys/unix"

// always is what a Go program with an engine in it needs all the time, and what
// WASI needs: calls on descriptors that it has, and on paths below them. Paths
// lead nowhere but into granted folders, because the root is empty.
var always = []uint32{
	// Threads, time, memory.
	unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_YIELD,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_TIMES, unix.SYS_GETRUSAGE,
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MSYNC, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_MEMBARRIER, unix.SYS_RSEQ, unix.SYS_SET_ROBUST_LIST, unix.SYS_GETCPU, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_RESTART_SYSCALL, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRANDOM, unix.SYS_SYSINFO, unix.SYS_UNAME,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETPPID,
	unix.SYS_GETUID, unix.SYS_GETGID, unix.SYS_GETEUID, unix.SYS_GETEGID,
	// Descriptors.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
	unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_LSEEK, unix.SYS_CLOSE,
	unix.SYS_CLOSE_RANGE, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_FSTAT, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FADVISE64,
	unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE,
	unix.SYS_GETDENTS64,
	// Paths.
	newfstatat, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UTIMENSAT,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_GETCWD,
	// Sockets that were passed in: no call here makes a new connection.
	unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	unix.SYS_GETSOCKOPT, unix.SYS_ACCEPT4,
}

// hostile ends the process: no library tries these to see whether they work.
var hostile = []uint32{
	unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
}

// word compares the low half of an argument, which is all of an int.
const word = 0xffffffff

// oneOf returns one alternative for each value of an int argument.
func oneOf(arg int, values ...uint64) [][]check {
	var out [][]check
	for _, v := range values {
		out = append(out, []check{{arg, word, v}})
	}
	return out
}

// option returns one alternative for each socket option of a level.
func option(level uint64, names ...uint64) [][]check {
	var out [][]check
	for _, n := range names {
		out = append(out, []check{{1, word, level}, {2, word, n}})
	}
	return out
}

// opening allows to open files, but not to create one with a set-id bit: the
// files of a sandbox can belong to root. openat2 has its mode behind a pointer,
// where a filter cannot look, and is therefore refused.
func opening(call uint32, flags int) rule {
	const create = unix.O_CREAT | (unix.O_TMPFILE &^ unix.O_DIRECTORY)
	return rule{call, [][]check{
		{{flags, create, 0}},
		{{flags + 1, unix.S_ISUID | unix.S_ISGID, 0}},
	}, eperm}
}

// policy returns the rules for a role in a process with the given pid.
func policy(role string, pid int) []rule {
	var rules []rule
	for _, list := range [][]uint32{always, alwaysHere} {
		for _, call := range list {
			rules = append(rules, rule{call, nil, allow})
		}
	}
	for _, call := range hostile {
		rules = append(rules, rule{call, nil, kill})
	}
	for _, call := range hostileHere {
		rules = append(rules, rule{call, nil, kill})
	}
	rules = append(rules, openingHere...)

	// Machine code is mapped by the role that runs it, and by the one that makes
	// it, whose engine maps what it compiled; never writable at the same time.
	protection := [][]check{{{2, unix.PROT_EXEC, 0}}}
	if role != "expr" {
		protection = append(protection, []check{{2, unix.PROT_WRITE, 0}})
	}
	const (
		thread     = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
		namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
			unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
		fionread, fionbio = 0x541b, 0x5421 // asm-generic/ioctls.h
		pagemapScan       = 0xc0606610     // PAGEMAP_SCAN of linux/fs.h
	)
	settable := option(unix.SOL_SOCKET, unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_KEEPALIVE, unix.SO_LINGER,
		unix.SO_RCVTIMEO, unix.SO_SNDTIMEO)
	settable = append(settable, option(unix.IPPROTO_TCP, unix.TCP_NODELAY, unix.TCP_CORK, unix.TCP_QUICKACK,
		unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT)...)
	return append(rules,
		rule{unix.SYS_MMAP, protection, eperm},
		rule{unix.SYS_MPROTECT, protection, eperm},
		rule{unix.SYS_CLONE, [][]check{{{0, thread | namespaces, thread}}}, eperm},
		rule{unix.SYS_CLONE3, nil, enosys}, // its flags are behind a pointer
		opening(unix.SYS_OPENAT, 2),
		rule{unix.SYS_OPENAT2, nil, enosys},
		rule{unix.SYS_FCNTL, oneOf(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL,
			unix.F_SETFL, unix.F_GET_SEALS, unix.F_ADD_SEALS), eperm},
		rule{unix.SYS_IOCTL, oneOf(1, fionread, fionbio, unix.TCGETS, pagemapScan), eperm},
		rule{unix.SYS_PRCTL, oneOf(0, unix.PR_SET_VMA, unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_DUMPABLE), eperm},
		rule{unix.SYS_TGKILL, [][]check{{{0, word, uint64(pid)}}}, eperm}, // Go stops its own threads with signals
		rule{unix.SYS_PRLIMIT64, [][]check{{{0, word, 0}, {2, ^uint64(0), 0}}}, eperm},
		// TCP fast open is a connect in disguise.
		rule{unix.SYS_SENDMSG, [][]check{{{2, unix.MSG_FASTOPEN, 0}}}, eperm},
		rule{unix.SYS_SENDTO, [][]check{{{3, unix.MSG_FASTOPEN, 0}, {4, ^uint64(0), 0}}}, eperm},
		rule{unix.SYS_SETSOCKOPT, settable, eperm},
	)
}
