package wasi

import (
	"golang.org/x/sys/unix"
)

// socket is a connected or a listening socket. The kernel never blocks on it.
type socket struct {
	fd        int
	owned     bool
	listening bool
	kind      Filetype
}

var _ stream = (*socket)(nil)

// newSocket makes the object of an open socket and sets it to non-blocking.
func newSocket(fd int, listening, owned bool) *socket {
	k := &socket{fd: fd, owned: owned, listening: listening, kind: TypeSocketStream}
	if t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && t == unix.SOCK_DGRAM {
		k.kind = TypeSocketDgram
	}
	_ = unix.SetNonblock(fd, true) // fails only for a descriptor that is not open, which every later call reports
	return k
}

func (k *socket) filetype() Filetype { return k.kind }

func (k *socket) stat(st *Filestat) Errno {
	e := statFD(k.fd, st)
	st.Type = k.kind
	return e
}

func (k *socket) close() Errno {
	if !k.owned {
		return Success
	}
	return toErrno(unix.Close(k.fd))
}

func (k *socket) pollFD() int { return k.fd }

func (k *socket) readv(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	n, _, e := k.recv(s, bufs, 0, nonblock)
	return n, e
}

func (k *socket) recv(s *System, bufs [][]byte, flags int, nonblock bool) (n int, truncated bool, e Errno) {
	n, e = s.untilReady(k.fd, unix.POLLIN, nonblock, func() (n int, e Errno) {
		n, truncated, e = s.vec.recvmsg(k.fd, bufs, flags)
		return n, e
	})
	return n, truncated, e
}

func (k *socket) writev(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	return s.untilReady(k.fd, unix.POLLOUT, nonblock, func() (int, Errno) { return s.vec.sendmsg(k.fd, bufs, 0) })
}

// accept takes a connection.
func (k *socket) accept(s *System, nonblock bool) (int, Errno) {
	return s.untilReady(k.fd, unix.POLLIN, nonblock, func() (int, Errno) {
		fd, _, err := unix.Accept4(k.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return fd, toErrno(err)
	})
}

// sock returns descriptor fd as a socket with the rights.
func (s *System) sock(fd uint32, rights Rights) (*descriptor, *socket, Errno) {
	d, e := s.get(fd)
	if e != Success {
		return nil, nil, e
	}
	k, ok := d.obj.(*socket)
	if !ok {
		return nil, nil, Enotsock
	}
	if d.base&rights != rights {
		return nil, nil, Enotcapable
	}
	return d, k, Success
}

func sockAccept(s *System, mem []byte, a []uint64) Errno {
	if _, ok := span(mem, uint32(a[2]), 4); !ok {
		return Efault
	}
	flags := uint32(a[1])
	if flags&^fdNonblock != 0 {
		return Einval
	}
	d, k, e := s.sock(uint32(a[0]), RightSockAccept)
	if e != Success {
		return e
	}
	if !k.listening {
		return Einval
	}
	fd, e := k.accept(s, d.flags&fdNonblock != 0)
	if e != Success {
		return e
	}
	return s.giveSocket(mem, uint32(a[2]), fd, uint16(flags), d.inherit)
}

// giveSocket puts a connected socket into the table and stores its number.
func (s *System) giveSocket(mem []byte, out uint32, fd int, flags uint16, rights Rights) Errno {
	k := newSocket(fd, false, true)
	n, e := s.insert(&descriptor{obj: k, base: rights & rightsSocket &^ RightSockAccept, flags: flags})
	if e != Success {
		k.close()
		return e
	}
	return putU32(mem, out, n)
}

func sockRecv(s *System, mem []byte, a []uint64) Errno {
	const peek, waitAll, dataTruncated = 1, 2, 1
	flags := uint32(a[3])
	if flags&^(peek|waitAll) != 0 {
		return Einval
	}
	size, ok := span(mem, uint32(a[4]), 4)
	if !ok {
		return Efault
	}
	out, ok := span(mem, uint32(a[5]), 2)
	if !ok {
		return Efault
	}
	d, k, e := s.sock(uint32(a[0]), RightFdRead)
	if e != Success {
		return e
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	defer s.drop()
	host := 0
	if flags&peek != 0 {
		host = unix.MSG_PEEK
	}
	nonblock := d.flags&fdNonblock != 0
	n, truncated, e := k.recv(s, bufs, host, nonblock)
	if e != Success {
		return e
	}
	if flags&waitAll != 0 && flags&peek == 0 && k.kind == TypeSocketStream {
		n = k.recvRest(s, bufs, n, nonblock)
	}
	le.PutUint32(size, uint32(n))
	le.PutUint16(out, 0)
	if truncated {
		le.PutUint16(out, dataTruncated)
	}
	return Success
}

// recvRest goes on receiving until bufs, of which n bytes are filled, are full
// or the peer has no more, and returns how many bytes there are then.
func (k *socket) recvRest(s *System, bufs [][]byte, n int, nonblock bool) int {
	skip := n
	for i := range bufs {
		done := min(skip, len(bufs[i]))
		skip -= done
		bufs[i] = bufs[i][done:]
	}
	for n > 0 {
		for len(bufs) > 0 && len(bufs[0]) == 0 {
			bufs = bufs[1:]
		}
		if len(bufs) == 0 {
			break
		}
		more, _, e := k.recv(s, bufs[:1], 0, nonblock)
		if e != Success || more == 0 {
			break
		}
		bufs[0] = bufs[0][more:]
		n += more
	}
	return n
}

func sockSend(s *System, mem []byte, a []uint64) Errno {
	if uint32(a[3]) != 0 {
		return Einval
	}
	size, ok := span(mem, uint32(a[4]), 4)
	if !ok {
		return Efault
	}
	d, k, e := s.sock(uint32(a[0]), RightFdWrite)
	if e != Success {
		return e
	}
	bufs, e := s.iovecs(mem, uint32(a[1]), uint32(a[2]))
	if e != Success {
		return e
	}
	defer s.drop()
	n, e := k.writev(s, bufs, d.flags&fdNonblock != 0)
	if e != Success {
		return e
	}
	le.PutUint32(size, uint32(n))
	return Success
}

func sockShutdown(s *System, _ []byte, a []uint64) Errno {
	const read, write = 1, 2
	var how int
	switch uint32(a[1]) {
	case read:
		how = unix.SHUT_RD
	case write:
		how = unix.SHUT_WR
	case read | write:
		how = unix.SHUT_RDWR
	default:
		return Einval
	}
	_, k, e := s.sock(uint32(a[0]), RightSockShutdown)
	if e != Success {
		return e
	}
	return toErrno(unix.Shutdown(k.fd, how))
}

func netDial(s *System, mem []byte, a []uint64) Errno {
	const longestName = 253 // of a host, RFC 1035
	if _, ok := span(mem, uint32(a[3]), 4); !ok {
		return Efault
	}
	port := uint32(a[2])
	if uint32(a[1]) == 0 || uint32(a[1]) > longestName || port == 0 || port > 65535 {
		return Einval
	}
	host, e := pathAt(mem, uint32(a[0]), uint32(a[1]))
	if e != Success {
		return e
	}
	if s.cfg.Dial == nil {
		return Enotcapable
	}
	s.loadNet()
	fd, e := s.cfg.Dial(host, uint16(port))
	if e != Success {
		return e
	}
	return s.giveSocket(mem, uint32(a[3]), fd, 0, rightsSocket)
}

func netListen(s *System, mem []byte, a []uint64) Errno {
	s.loadNet()
	for i, l := range s.cfg.Listeners {
		if uint64(l.Port) != uint64(uint32(a[0])) {
			continue
		}
		n := 3 + s.preopens + i
		if n >= len(s.fds) || s.fds[n] == nil {
			return Ebadf // the guest closed it
		}
		return putU32(mem, uint32(a[1]), uint32(n))
	}
	return Enotcapable
}
