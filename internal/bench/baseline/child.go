// Package baseline does the work that weft is compared with, without weft: it starts processes, copies blocks of memory between two processes
// in the usual ways, and does the same computations in one plain process over plain memory.
//
// The receiving side of a hand-over is another process: this executable once more, started with Command as its first argument. A program that
// uses the package calls ChildMain then:
//
//	if len(os.Args) > 1 && os.Args[1] == baseline.Command {
//		os.Exit(baseline.ChildMain(os.Args[2:]))
//	}
package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Command is the argument that makes this executable a receiver.
const Command = "__bench-child"

// The roles of a receiver: how it gets its data.
const (
	roleSocket = "socket"
	roleHTTP   = "http"
	roleMemfd  = "memfd"
	roleFile   = "file"
	roleBare   = "bare"
)

// controlFD is the descriptor of the receiver's end of the socket pair.
const controlFD = 3

// ChildMain serves as the receiver named by args until its socket is closed. It returns the exit status.
func ChildMain(args []string) int {
	if err := childMain(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench receiver:", err)
		return 1
	}
	return 0
}

func childMain(args []string) error {
	if len(args) == 0 {
		return errors.New("no role given")
	}
	var receive func(*net.UnixConn) error
	switch args[0] {
	case roleSocket:
		receive = receiveSocket
	case roleHTTP:
		receive = receiveHTTP
	case roleBare:
		receive = serveBare
	case roleMemfd:
		receive = receiveMemfd
	case roleFile:
		if len(args) != 2 {
			return errors.New("no file given")
		}
		receive = func(conn *net.UnixConn) error { return receiveFile(conn, args[1]) }
	default:
		return fmt.Errorf("no role %q", args[0])
	}
	conn, err := controlConn(os.NewFile(controlFD, "control"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := receive(conn); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the sender is done
}

// receiver is a child process and this process's end of their socket pair.
type receiver struct {
	command *exec.Cmd
	conn    *net.UnixConn
}

// startReceiver starts a child in a role.
func startReceiver(args ...string) (*receiver, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start receiver: socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "receiver")
	defer theirs.Close()
	conn, err := controlConn(os.NewFile(uintptr(pair[0]), "sender"))
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	command := exec.Command("/proc/self/exe", append([]string{Command}, args...)...)
	command.ExtraFiles = []*os.File{theirs}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start receiver: %w", err), conn.Close())
	}
	return &receiver{command, conn}, nil
}

// Close ends the child by closing its socket, and waits for it.
func (r *receiver) Close() error {
	return errors.Join(r.conn.Close(), r.command.Wait())
}

// controlConn makes a connection of f and closes f.
func controlConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a unix socket"), c.Close())
	}
	return u, nil
}

// readSize reads the eight bytes that announce a block.
func readSize(r io.Reader) (int, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint64(b[:])), nil
}

// writeSize announces a block.
func writeSize(w io.Writer, n int) error {
	_, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return err
}

// answer is what a receiver says when it has read a block: the monotonic clock and the sum of the words.
func answer(block []byte) []byte {
	sum := Sum(block)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(monotonic())), sum)
}

// parseAnswer is the inverse of answer.
func parseAnswer(r io.Reader) (at int64, sum uint64, err error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, 0, err
	}
	return int64(binary.LittleEndian.Uint64(b[:])), binary.LittleEndian.Uint64(b[8:]), nil
}

// monotonic is the clock that all processes of a machine share, in nanoseconds.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every kernel has this clock
	}
	return t.Nano()
}

// grown returns a buffer of n bytes, b again when it is large enough: a receiver reads into memory that it has touched before.
func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func receiveSocket(conn *net.UnixConn) error {
	var block []byte
	for {
		n, err := readSize(conn)
		if err != nil {
			return err
		}
		block = grown(block, n)
		if _, err := io.ReadFull(conn, block); err != nil {
			return err
		}
		if _, err := conn.Write(answer(block)); err != nil {
			return err
		}
	}
}

func receiveFile(conn *net.UnixConn, path string) error {
	var block []byte
	for {
		n, err := readSize(conn)
		if err != nil {
			return err
		}
		block = grown(block, n)
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, block)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if _, err := conn.Write(answer(block)); err != nil {
			return err
		}
	}
}

func receiveMemfd(conn *net.UnixConn) error {
	for {
		var size [8]byte
		control := make([]byte, unix.CmsgSpace(4))
		n, m, _, _, err := conn.ReadMsgUnix(size[:], control)
		if err != nil {
			return err
		}
		if n != len(size) {
			return fmt.Errorf("message of %d bytes: %w", n, io.EOF)
		}
		fd, err := passedFD(control[:m])
		if err != nil {
			return err
		}
		block, err := unix.Mmap(fd, 0, int(binary.LittleEndian.Uint64(size[:])), unix.PROT_READ, unix.MAP_SHARED)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
		if _, err := conn.Write(answer(block)); err != nil {
			return err
		}
		if err := unix.Munmap(block); err != nil {
			return err
		}
	}
}

// passedFD is the descriptor in a control message.
func passedFD(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, err
	}
	if len(messages) != 1 {
		return 0, fmt.Errorf("%d control messages, want one", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// receiveHTTP serves POST on a port of the loopback interface, which it announces over conn.
func receiveHTTP(conn *net.UnixConn) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := writeSize(conn, listener.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	var block []byte
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block = grown(block, int(r.ContentLength)) // the sender has one request under way at a time
		if _, err := io.ReadFull(r.Body, block); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(answer(block))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, err = readSize(conn) // until the sender closes
	if closed := server.Close(); closed != nil {
		return closed
	}
	if s := <-served; !errors.Is(s, http.ErrServerClosed) {
		return s
	}
	return err
}
