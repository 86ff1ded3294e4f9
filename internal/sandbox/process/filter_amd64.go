package process

import (
	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/seccomp"
)

const fstatat = unix.SYS_NEWFSTATAT

// ordinaryHere are older forms, which this architecture kept, of calls in
// ordinary.
var ordinaryHere = []uint32{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_UNLINK, unix.SYS_RMDIR,
	unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	unix.SYS_GETDENTS, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD, unix.SYS_SIGNALFD,
	unix.SYS_PIPE, unix.SYS_DUP2, unix.SYS_TIME, unix.SYS_ALARM, unix.SYS_PAUSE, unix.SYS_GETPGRP, unix.SYS_ARCH_PRCTL, unix.SYS_INOTIFY_INIT,
}

var argumentsHere = []seccomp.Rule{
	opening(unix.SYS_OPEN, 1), noSetID(unix.SYS_CREAT, 1), noSetID(unix.SYS_CHMOD, 1), noSetID(unix.SYS_MKDIR, 1), making(unix.SYS_MKNOD, 1),
}
