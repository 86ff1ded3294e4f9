// Package wire is the control protocol between the node and a domain host:
// small frames over a Unix socket of packets, file descriptors beside them.
//
// A frame is one packet: a byte that says which message, then the message's
// fields. Payloads larger than InlineMax never travel in a frame; they are in
// memory that both sides map, and the frame names it. The host speaks first:
// Ready, with the version of the protocol; a node refuses any other.
//
//	node                              host
//	                           <----  Ready{Version}
//	Assign, Function, Start    ---->
//	                           <----  Need, Log, Ask, Waiting …
//	Supply, Answer             ---->
//	                           <----  Done
//	Commit | Withdraw          ---->
//	Reset                      ---->
//	                           <----  Idle
package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Version of the protocol. Node and host come in one binary, so a difference
// means that the host is not the one that this node embeds.
const Version = 2

const (
	// Engine is the WebAssembly engine of the host, as people read it.
	Engine = "wasmtime 44.0.0"
	// Images names the engine and everything of its configuration that changes
	// compiled code: an image serves only hosts that name the same.
	Images = Engine + " cow,speed,v1"
)

const (
	// InlineMax is the largest payload that travels inside a frame, in bytes.
	InlineMax = 64 << 10
	// FrameMax bounds a frame, in bytes: it fits the kernel's default buffer
	// of a Unix socket.
	FrameMax = 160 << 10
	// FilesMax bounds the descriptors beside one frame.
	FilesMax = 64
)

// Message is one of the message types of this package, as a pointer.
type Message interface {
	kind() byte
	code(*coder)
}

// Encode appends the frame of a message to buf.
func Encode(buf []byte, m Message) []byte {
	c := coder{buf: append(buf, m.kind())}
	m.code(&c)
	return c.buf
}

// Decode reads a frame. It returns ErrMalformed for anything but exactly one
// message.
func Decode(frame []byte) (Message, error) {
	if len(frame) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	make := messages[frame[0]]
	if make == nil {
		return nil, fmt.Errorf("%w: unknown message %d", ErrMalformed, frame[0])
	}
	m := make()
	c := coder{buf: frame[1:], reading: true}
	m.code(&c)
	if c.err != nil {
		return nil, c.err
	}
	if len(c.buf) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(c.buf))
	}
	return m, nil
}

// Conn sends and receives messages. Send may be called by several goroutines,
// Receive by one.
type Conn struct {
	conn *net.UnixConn

	patience time.Duration // of Send; 0: for ever
	stuck    atomic.Bool   // it was over

	mu  sync.Mutex
	out []byte // guarded by mu

	in, oob []byte // the receiver's
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
func NewConn(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("open control socket: it is a %s socket", c.LocalAddr().Network())
	}
	return &Conn{conn: u, in: make([]byte, FrameMax+1), oob: make([]byte, unix.CmsgSpace(4*FilesMax))}, nil
}

// Send writes a message and passes copies of the descriptors.
func (c *Conn) Send(m Message, fds ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = Encode(c.out[:0], m)
	if len(c.out) > FrameMax {
		return fmt.Errorf("send %T: frame of %d bytes, the limit is %d", m, len(c.out), FrameMax)
	}
	if len(fds) > FilesMax {
		return fmt.Errorf("send %T: %d descriptors, the limit is %d", m, len(fds), FilesMax)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if c.patience > 0 {
		c.conn.SetWriteDeadline(time.Now().Add(c.patience))
	}
	if _, _, err := c.conn.WriteMsgUnix(c.out, oob, nil); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.stuck.Store(true)
			c.conn.Close()
			err = ErrStuck
		}
		return fmt.Errorf("send %T: %w", m, err)
	}
	return nil
}

// Receive reads the next message and the descriptors that came with it, which
// the caller owns. It returns io.EOF when the peer is gone.
func (c *Conn) Receive() (Message, []int, error) {
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(c.in, c.oob)
	if err != nil && c.stuck.Load() {
		err = ErrStuck
	}
	if err != nil {
		return nil, nil, err
	}
	fds, err := rights(c.oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: longer than %d bytes or %d descriptors", ErrMalformed, FrameMax, FilesMax)
	}
	var m Message
	if err == nil {
		m, err = Decode(c.in[:n])
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, err
	}
	return m, fds, nil
}

// Close ends the connection; a Receive that waits returns an error.
func (c *Conn) Close() error { return c.conn.Close() }

// rights takes the descriptors out of a control message and marks them
// close-on-exec.
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
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
		all = append(all, fds...)
	}
	return all, nil
}
