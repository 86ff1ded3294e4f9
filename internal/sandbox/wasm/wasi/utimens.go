package wasi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// utimens sets the times of name in the directory fd, or, with no name, of the
// open file fd itself: utimensat(2) takes a null pointer for that, which
// package unix has no way to pass.
func utimens(fd int, name string, flags int, atime, mtime timestamp) Errno {
	ts := timespecs(atime, mtime)
	if name != "" {
		return toErrno(unix.UtimesNanoAt(fd, name, ts[:], flags))
	}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	return hostErrno(e)
}

// utimensPath sets the times of what the O_PATH descriptor fd stands for.
func utimensPath(fd int, atime, mtime timestamp) Errno {
	ts := timespecs(atime, mtime)
	empty := [1]byte{}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&ts[0])), unix.AT_EMPTY_PATH, 0, 0)
	return hostErrno(e)
}
