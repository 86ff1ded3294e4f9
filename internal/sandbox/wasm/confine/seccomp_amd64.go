package confine

import "golang.org/x/sys/unix"

const newfstatat = unix.SYS_NEWFSTATAT

// alwaysHere are older forms, which this architecture kept, of calls in always.
var alwaysHere = []uint32{
	unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_READLINK,
	unix.SYS_ACCESS, unix.SYS_TIME, unix.SYS_DUP2,
}

var hostileHere = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_KEXEC_FILE_LOAD}

var openingHere = []rule{opening(unix.SYS_OPEN, 1)}
