package wasi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// vector is the kernel's view of a list of buffers (readv(2), struct iovec),
// kept in the System so that a call allocates nothing.
type vector struct {
	iov  []unix.Iovec
	iov0 [16]unix.Iovec
	msg  unix.Msghdr
}

// set fills the vector with bufs and returns the address of its first entry.
func (v *vector) set(bufs [][]byte) unsafe.Pointer {
	if v.iov == nil {
		v.iov = v.iov0[:0]
	}
	v.iov = v.iov[:0]
	for _, b := range bufs {
		v.iov = append(v.iov, unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))})
	}
	return unsafe.Pointer(unsafe.SliceData(v.iov))
}

// drop forgets the buffers, which are guest memory and may go away.
func (v *vector) drop() {
	clear(v.iov)
	v.iov = v.iov[:0]
	v.msg = unix.Msghdr{}
}

// readv and writev use the file's own position.
func (v *vector) readv(fd int, bufs [][]byte) (int, Errno) {
	return v.call(unix.SYS_READV, fd, bufs, 0, 0, false)
}

func (v *vector) writev(fd int, bufs [][]byte) (int, Errno) {
	return v.call(unix.SYS_WRITEV, fd, bufs, 0, 0, false)
}

// preadv and pwritev use the offset given; flags are RWF_*.
func (v *vector) preadv(fd int, bufs [][]byte, offset uint64) (int, Errno) {
	return v.call(unix.SYS_PREADV, fd, bufs, offset, 0, true)
}

func (v *vector) pwritev(fd int, bufs [][]byte, offset uint64, flags uint) (int, Errno) {
	if flags == 0 {
		return v.call(unix.SYS_PWRITEV, fd, bufs, offset, 0, true)
	}
	return v.call(unix.SYS_PWRITEV2, fd, bufs, offset, flags, true)
}

// call makes one of the system calls above. A signal that arrives before any
// byte moved is not the guest's business, so the call is made again.
func (v *vector) call(nr uintptr, fd int, bufs [][]byte, offset uint64, flags uint, positioned bool) (int, Errno) {
	if positioned && offset > 1<<63-1 {
		return 0, Einval
	}
	for {
		p := v.set(bufs)
		n, _, e := unix.Syscall6(nr, uintptr(fd), uintptr(p), uintptr(len(v.iov)), uintptr(offset), 0, uintptr(flags))
		v.drop()
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, hostErrno(e)
		}
		return int(n), Success
	}
}

// sendmsg and recvmsg move bufs over a socket.
func (v *vector) sendmsg(fd int, bufs [][]byte, flags int) (int, Errno) {
	n, _, e := v.message(unix.SYS_SENDMSG, fd, bufs, flags|unix.MSG_NOSIGNAL)
	return n, e
}

func (v *vector) recvmsg(fd int, bufs [][]byte, flags int) (n int, truncated bool, e Errno) {
	n, got, e := v.message(unix.SYS_RECVMSG, fd, bufs, flags)
	return n, got&unix.MSG_TRUNC != 0, e
}

func (v *vector) message(nr uintptr, fd int, bufs [][]byte, flags int) (n int, got int32, e Errno) {
	for {
		v.set(bufs)
		v.msg = unix.Msghdr{Iov: unsafe.SliceData(v.iov), Iovlen: uint64(len(v.iov))}
		n, _, err := unix.Syscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&v.msg)), uintptr(flags))
		got := v.msg.Flags
		v.drop()
		if err == unix.EINTR {
			continue
		}
		if err != 0 {
			return 0, 0, hostErrno(err)
		}
		return int(n), got, Success
	}
}
