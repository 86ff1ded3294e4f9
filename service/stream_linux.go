package service

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// stream is the instance's end of the connection. An instance waits twice for each call, and what a Go program
// does around a system call that may block costs several times the call: another thread takes the processor over, finds
// nothing to do, and a third one, which looks after those, is woken. So the descriptor does not block, the
// system calls are made without telling the scheduler, and the one that waits is the network poller's. That would be
// woken as well whenever the node has read something, because there is room then; so it watches
// an epoll descriptor, which watches the connection only for what can be read.
type stream struct {
	fd    int
	epoll *os.File
	ready syscall.RawConn // of epoll
}

// openStream takes the descriptor of the connection to the node.
func openStream(fd uintptr) (io.ReadWriteCloser, error) {
	s := &stream{fd: int(fd)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open the connection to the node: %w", err)
	}
	return s, nil
}

func (s *stream) open() error {
	if err := syscall.SetNonblock(s.fd, true); err != nil {
		return err
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err = syscall.SetNonblock(epoll, true); err != nil { // or the poller would not have it
		syscall.Close(epoll)
		return err
	}
	s.epoll = os.NewFile(uintptr(epoll), "epoll")
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(s.fd)})
	if err == nil {
		s.ready, err = s.epoll.SyscallConn()
	}
	if err != nil {
		s.epoll.Close()
	}
	return err
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	var n int
	var errno syscall.Errno
	err := s.ready.Read(func(uintptr) bool {
		n, errno = s.transfer(syscall.SYS_READ, p)
		return errno != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, errno
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements io.Writer. It is so rare that the connection has no room that waiting for it may cost a thread.
func (s *stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, errno := s.transfer(syscall.SYS_WRITE, p[done:])
		if errno == syscall.EAGAIN {
			errno = s.waitForRoom()
		}
		if errno != 0 {
			return done, errno
		}
		done += n
	}
	return done, nil
}

// waitForRoom waits until something can be written, or an attempt to says why never.
func (s *stream) waitForRoom() syscall.Errno {
	const pollOut = 4
	p := struct { // struct pollfd
		fd              int32
		events, revents int16
	}{fd: int32(s.fd), events: pollOut}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// transfer makes one system call on p.
func (s *stream) transfer(call uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.epoll.Close()
	return syscall.Close(s.fd)
}
