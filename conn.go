package weft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Conn is a TCP connection. A goroutine that waits for it does not keep others from running.
type Conn struct{ f *os.File }

// Dial connects to a port of a host. The app file must grant it to the function (dial: ["host:port"]); otherwise the
// error is [ErrNotGranted].
func Dial(host string, port uint16) (*Conn, error) {
	descriptor, e := hostDial(host, port)
	if e != 0 {
		return nil, failure("dial", address(host, port), e)
	}
	return newConn(descriptor)
}

func newConn(descriptor int32) (*Conn, error) {
	f, err := socket(descriptor)
	if err != nil {
		return nil, err
	}
	return &Conn{f: f}, nil
}

// Read returns what has arrived, at least one byte, or io.EOF after the other side has closed.
func (c *Conn) Read(p []byte) (int, error) { return c.f.Read(p) }

// Write sends all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.f.Write(p) }

// Close ends the connection.
func (c *Conn) Close() error { return c.f.Close() }

// SetDeadline makes reads and writes fail with os.ErrDeadlineExceeded after t; the zero time means never.
func (c *Conn) SetDeadline(t time.Time) error { return c.f.SetDeadline(t) }

// File is the socket. net.FileConn makes a net.Conn of it, for net/http and the like; this package does not, because
// package net makes every function larger and slower to start.
func (c *Conn) File() *os.File { return c.f }

// Listener accepts connections on a port.
type Listener struct {
	f    *os.File
	port uint16
}

// Listen opens a port of the node's loopback address. The app file must grant it to the function (listen: [8080]);
// otherwise the error is [ErrNotGranted].
func Listen(port uint16) (*Listener, error) {
	descriptor, e := hostListen(port)
	if e != 0 {
		return nil, failure("listen on", "port "+strconv.Itoa(int(port)), e)
	}
	f, err := socket(descriptor)
	if err != nil {
		return nil, err
	}
	return &Listener{f: f, port: port}, nil
}

// Accept waits for a connection.
func (l *Listener) Accept() (*Conn, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("accept on port %d: %w", l.port, err)
	}
	var descriptor int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		descriptor, _, failed = syscall.Accept(int(fd))
		return !errors.Is(failed, syscall.EAGAIN)
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("accept on port %d: %w", l.port, err)
	}
	return newConn(int32(descriptor))
}

// Close stops listening.
func (l *Listener) Close() error { return l.f.Close() }

// SetDeadline makes Accept fail with os.ErrDeadlineExceeded after t; the zero time means never.
func (l *Listener) SetDeadline(t time.Time) error { return l.f.SetDeadline(t) }

// File is the listening socket. net.FileListener makes a net.Listener of it, for net/http.Serve.
func (l *Listener) File() *os.File { return l.f }

// socket wraps a descriptor so that waiting for it goes through Go's poller.
func socket(descriptor int32) (*os.File, error) {
	if err := syscall.SetNonblock(int(descriptor), true); err != nil {
		return nil, fmt.Errorf("make socket non-blocking: %w", err)
	}
	return os.NewFile(uintptr(descriptor), "socket"), nil
}

func address(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

var (
	_ io.ReadWriteCloser = (*Conn)(nil)
	_ io.Closer          = (*Listener)(nil)
)
