package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn sends and receives messages. Send, Post and Flush may be called by several
// goroutines, Receive by one at a time.
type Conn struct {
	file     *os.File
	raw      syscall.RawConn // nil: the socket blocks, and fd is used
	fd       int
	patience time.Duration // of Send; 0: for ever
	stuck    atomic.Bool   // it was over

	mu      sync.Mutex // guards what follows
	out     []byte     // frames that wait to be sent
	rights  []byte     // descriptors to be sent beside them
	failed  error      // of sending
	sending func(fd uintptr) bool
	impeded bool // a send had to wait

	// The receiver's.
	in, oob   []byte
	rest      []byte // frames of the last packet that were not read yet
	fds       []int  // that came with it
	n, oobn   int
	flags     int
	err       error
	receiving func(fd uintptr) bool
}

// ErrStuck is what Send and Receive return when the peer has let messages pile
// up for longer than the node is patient. The connection is closed.
var ErrStuck = errors.New("it does not read its messages")

// patience is how long the node waits for a host to read: it holds the lock of
// a run meanwhile.
const patience = 5 * time.Second

// Pair makes the two ends of a control connection: the node's, and the file
// that the host inherits. The node's is not patient: see ErrStuck.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control socket: %w", err)
	}
	node, err := NewConn(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	node.patience = patience
	return node, os.NewFile(uintptr(fds[1]), "control"), nil
}

// NewConn makes a connection of one end of a socket, which it owns from then on.
// Who waits for a message costs no thread.
func NewConn(f *os.File) (*Conn, error) {
	fd := int(f.Fd()) // which makes it blocking
	if err := unix.SetNonblock(fd, true); err != nil {
		f.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	c := newConn(os.NewFile(uintptr(own), "control"))
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return c, nil
}

// Blocking makes a connection whose Receive holds its thread in the kernel: the
// packet wakes that thread, without a poller in between. It cannot be closed
// while somebody receives.
func Blocking(f *os.File) (*Conn, error) {
	c := newConn(f)
	c.fd = int(f.Fd())
	if err := unix.SetNonblock(c.fd, false); err != nil {
		f.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return c, nil
}

func newConn(f *os.File) *Conn {
	c := &Conn{file: f, in: make([]byte, FrameMax+1), oob: make([]byte, unix.CmsgSpace(4*FilesMax))}
	c.sending, c.receiving = c.send, c.receive
	return c
}

// Send writes what was posted and a message, and passes copies of the
// descriptors.
func (c *Conn) Send(m Message, fds ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.add(m); err != nil {
		return err
	}
	if len(fds) > FilesMax {
		return fmt.Errorf("send %T: %d descriptors, the limit is %d", m, len(fds), FilesMax)
	}
	if len(fds) > 0 {
		c.rights = unix.UnixRights(fds...)
	}
	if err := c.flush(); err != nil {
		return fmt.Errorf("send %T: %w", m, err)
	}
	return nil
}

// Post is Send for a message that may wait for the next one, or for Flush.
func (c *Conn) Post(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(m)
}

// Flush sends what was posted.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		return nil
	}
	return c.flush()
}

// postedMax is how much may wait to be sent, in bytes.
const postedMax = 4 << 10

// add appends a frame to what is to be sent, which goes first when there is no
// room; c.mu is held.
func (c *Conn) add(m Message) error {
	before := len(c.out)
	c.out = Encode(c.out, m)
	if n := len(c.out) - before; n > FrameMax {
		c.out = c.out[:before]
		return fmt.Errorf("send %T: frame of %d bytes, the limit is %d", m, n, FrameMax)
	}
	if before == 0 || before <= postedMax && len(c.out) <= FrameMax {
		return nil
	}
	all := c.out
	c.out = all[:before]
	if err := c.flush(); err != nil {
		return fmt.Errorf("send %T: %w", m, err)
	}
	c.out = append(c.out, all[before:]...)
	return nil
}

// flush sends the packet; c.mu is held.
func (c *Conn) flush() error {
	if c.raw == nil {
		for c.failed = unix.EAGAIN; c.failed == unix.EAGAIN; {
			c.send(uintptr(c.fd))
		}
	} else if err := c.raw.Write(c.sending); errors.Is(err, os.ErrDeadlineExceeded) {
		c.stuck.Store(true)
		c.file.Close()
		c.failed = ErrStuck
	} else if err != nil {
		c.failed = os.ErrClosed
	}
	if c.impeded {
		c.impeded = false
		c.file.SetWriteDeadline(time.Time{})
	}
	c.out, c.rights = c.out[:0], nil
	return c.failed
}

// send tries to write the packet, and reports whether that has come to an end.
func (c *Conn) send(fd uintptr) bool {
	for {
		_, c.failed = unix.SendmsgN(int(fd), c.out, c.rights, nil, unix.MSG_NOSIGNAL)
		switch {
		case c.failed == unix.EINTR:
		case c.failed == unix.EAGAIN && !c.impeded && c.patience > 0:
			c.impeded = true
			c.file.SetWriteDeadline(time.Now().Add(c.patience))
			return false
		default:
			return c.failed != unix.EAGAIN
		}
	}
}

// Receive reads the next message and the descriptors that came with it, which
// the caller owns. It returns io.EOF when the peer is gone.
func (c *Conn) Receive() (Message, []int, error) {
	if len(c.rest) == 0 {
		if err := c.fill(); err != nil {
			return nil, nil, err
		}
	}
	m, rest, err := next(c.rest)
	c.rest = rest
	if err != nil {
		c.rest = nil
		c.drop()
		return nil, nil, err
	}
	if len(rest) > 0 {
		return m, nil, nil
	}
	fds := c.fds
	c.fds = nil
	return m, fds, nil
}

// Pending reports whether Receive returns without waiting, because the last
// packet holds more.
func (c *Conn) Pending() bool { return len(c.rest) > 0 }

// fill reads the next packet.
func (c *Conn) fill() error {
	if c.raw == nil {
		c.receive(uintptr(c.fd))
	} else if err := c.raw.Read(c.receiving); err != nil {
		c.err = os.ErrClosed
	}
	switch {
	case c.err != nil && c.stuck.Load():
		return ErrStuck
	case c.err != nil:
		return c.err
	case c.n == 0:
		return io.EOF
	}
	var err error
	c.fds, err = rights(c.oob[:c.oobn])
	if err == nil && c.flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: longer than %d bytes or %d descriptors", ErrMalformed, FrameMax, FilesMax)
	}
	if err != nil {
		c.drop()
		return err
	}
	c.rest = c.in[:c.n]
	return nil
}

// receive tries to read a packet, and reports whether that has come to an end.
func (c *Conn) receive(fd uintptr) bool {
	for {
		c.n, c.oobn, c.flags, _, c.err = unix.Recvmsg(int(fd), c.in, c.oob, unix.MSG_CMSG_CLOEXEC)
		if c.err != unix.EINTR {
			return c.err != unix.EAGAIN
		}
	}
}

// drop closes descriptors that nobody will get.
func (c *Conn) drop() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
	c.fds = nil
}

// Close ends the connection; a Receive that waits returns an error.
func (c *Conn) Close() error {
	if c.raw == nil {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
	return c.file.Close()
}

// rights takes the descriptors out of a control message.
func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message: %v", ErrMalformed, err)
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, fmt.Errorf("%w: control message: %v", ErrMalformed, err)
		}
		all = append(all, fds...)
	}
	return all, nil
}
