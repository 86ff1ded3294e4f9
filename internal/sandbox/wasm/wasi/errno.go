package wasi

import (
	"errors"
	"strconv"
	"syscall"
)

// Errno is a WASI error number as guests see it. It is an error, so a stream
// given in [Config] can return one.
type Errno uint32

// The error numbers of WASI preview 1.
const (
	Success Errno = iota
	E2big
	Eacces
	Eaddrinuse
	Eaddrnotavail
	Eafnosupport
	Eagain
	Ealready
	Ebadf
	Ebadmsg
	Ebusy
	Ecanceled
	Echild
	Econnaborted
	Econnrefused
	Econnreset
	Edeadlk
	Edestaddrreq
	Edom
	Edquot
	Eexist
	Efault
	Efbig
	Ehostunreach
	Eidrm
	Eilseq
	Einprogress
	Eintr
	Einval
	Eio
	Eisconn
	Eisdir
	Eloop
	Emfile
	Emlink
	Emsgsize
	Emultihop
	Enametoolong
	Enetdown
	Enetreset
	Enetunreach
	Enfile
	Enobufs
	Enodev
	Enoent
	Enoexec
	Enolck
	Enolink
	Enomem
	Enomsg
	Enoprotoopt
	Enospc
	Enosys
	Enotconn
	Enotdir
	Enotempty
	Enotrecoverable
	Enotsock
	Enotsup
	Enotty
	Enxio
	Eoverflow
	Eownerdead
	Eperm
	Epipe
	Eproto
	Eprotonosupport
	Eprototype
	Erange
	Erofs
	Espipe
	Esrch
	Estale
	Etimedout
	Etxtbsy
	Exdev
	Enotcapable
)

// ErrnoExit is returned by proc_exit and proc_raise when the guest is to end:
// it lies above every error number, and tells the engine to unwind the instance
// and to ask [System.ExitCode]. It never reaches the guest.
const ErrnoExit Errno = 1 << 16

var errnoNames = [...]string{
	"success", "2big", "acces", "addrinuse", "addrnotavail", "afnosupport", "again", "already", "badf", "badmsg", "busy",
	"canceled", "child", "connaborted", "connrefused", "connreset", "deadlk", "destaddrreq", "dom", "dquot", "exist", "fault",
	"fbig", "hostunreach", "idrm", "ilseq", "inprogress", "intr", "inval", "io", "isconn", "isdir", "loop", "mfile", "mlink",
	"msgsize", "multihop", "nametoolong", "netdown", "netreset", "netunreach", "nfile", "nobufs", "nodev", "noent", "noexec",
	"nolck", "nolink", "nomem", "nomsg", "noprotoopt", "nospc", "nosys", "notconn", "notdir", "notempty", "notrecoverable",
	"notsock", "notsup", "notty", "nxio", "overflow", "ownerdead", "perm", "pipe", "proto", "protonosupport", "prototype",
	"range", "rofs", "spipe", "srch", "stale", "timedout", "txtbsy", "xdev", "notcapable",
}

// Error returns the name that the WASI specification gives the number, such as
// "noent".
func (e Errno) Error() string {
	if int(e) < len(errnoNames) {
		return errnoNames[e]
	}
	if e == ErrnoExit {
		return "exit"
	}
	return "errno " + strconv.FormatUint(uint64(e), 10)
}

// fromHost holds, by Linux error number, the WASI number. A Linux number that
// WASI has no name for is IO.
var fromHost = [...]Errno{
	syscall.E2BIG: E2big, syscall.EACCES: Eacces, syscall.EADDRINUSE: Eaddrinuse, syscall.EADDRNOTAVAIL: Eaddrnotavail,
	syscall.EAFNOSUPPORT: Eafnosupport, syscall.EAGAIN: Eagain, syscall.EALREADY: Ealready, syscall.EBADF: Ebadf,
	syscall.EBADMSG: Ebadmsg, syscall.EBUSY: Ebusy, syscall.ECANCELED: Ecanceled, syscall.ECHILD: Echild,
	syscall.ECONNABORTED: Econnaborted, syscall.ECONNREFUSED: Econnrefused, syscall.ECONNRESET: Econnreset,
	syscall.EDEADLK: Edeadlk, syscall.EDESTADDRREQ: Edestaddrreq, syscall.EDOM: Edom, syscall.EDQUOT: Edquot,
	syscall.EEXIST: Eexist, syscall.EFAULT: Efault, syscall.EFBIG: Efbig, syscall.EHOSTUNREACH: Ehostunreach,
	syscall.EIDRM: Eidrm, syscall.EILSEQ: Eilseq, syscall.EINPROGRESS: Einprogress, syscall.EINTR: Eintr,
	syscall.EINVAL: Einval, syscall.EIO: Eio, syscall.EISCONN: Eisconn, syscall.EISDIR: Eisdir, syscall.ELOOP: Eloop,
	syscall.EMFILE: Emfile, syscall.EMLINK: Emlink, syscall.EMSGSIZE: Emsgsize, syscall.EMULTIHOP: Emultihop,
	syscall.ENAMETOOLONG: Enametoolong, syscall.ENETDOWN: Enetdown, syscall.ENETRESET: Enetreset,
	syscall.ENETUNREACH: Enetunreach, syscall.ENFILE: Enfile, syscall.ENOBUFS: Enobufs, syscall.ENODEV: Enodev,
	syscall.ENOENT: Enoent, syscall.ENOEXEC: Enoexec, syscall.ENOLCK: Enolck, syscall.ENOLINK: Enolink,
	syscall.ENOMEM: Enomem, syscall.ENOMSG: Enomsg, syscall.ENOPROTOOPT: Enoprotoopt, syscall.ENOSPC: Enospc,
	syscall.ENOSYS: Enosys, syscall.ENOTCONN: Enotconn, syscall.ENOTDIR: Enotdir, syscall.ENOTEMPTY: Enotempty,
	syscall.ENOTRECOVERABLE: Enotrecoverable, syscall.ENOTSOCK: Enotsock, syscall.ENOTSUP: Enotsup, syscall.ENOTTY: Enotty,
	syscall.ENXIO: Enxio, syscall.EOVERFLOW: Eoverflow, syscall.EOWNERDEAD: Eownerdead, syscall.EPERM: Eperm,
	syscall.EPIPE: Epipe, syscall.EPROTO: Eproto, syscall.EPROTONOSUPPORT: Eprotonosupport, syscall.EPROTOTYPE: Eprototype,
	syscall.ERANGE: Erange, syscall.EROFS: Erofs, syscall.ESPIPE: Espipe, syscall.ESRCH: Esrch, syscall.ESTALE: Estale,
	syscall.ETIMEDOUT: Etimedout, syscall.ETXTBSY: Etxtbsy, syscall.EXDEV: Exdev,
}

// hostErrno translates the kernel's error number.
func hostErrno(e syscall.Errno) Errno {
	if e == 0 {
		return Success
	}
	if int(e) < len(fromHost) && fromHost[e] != Success {
		return fromHost[e]
	}
	return Eio
}

// toErrno translates any error: a WASI number as it is, a kernel's by table,
// anything else as IO.
func toErrno(err error) Errno {
	switch e := err.(type) {
	case nil:
		return Success
	case Errno:
		return e
	case syscall.Errno:
		return hostErrno(e)
	}
	var w Errno
	if errors.As(err, &w) {
		return w
	}
	var h syscall.Errno
	if errors.As(err, &h) {
		return hostErrno(h)
	}
	return Eio
}
