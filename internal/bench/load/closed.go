package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Closed asks a server over HTTP/1.1 from a fixed number of connections, each of which sends its next request when the last one is answered.
// That finds out how much a server can do; for what users wait for under a given load see Run.
//
// It shares the machine with the server, so it costs little: one thread, epoll(7), one write and one read a request, and no parsing beyond the
// status and the length. It understands answers with a Content-Length only.
//
//	c, err := load.Dial("unix", "/run/weft.sock", 16)
//	r, err := c.Run(ctx, load.Order{Request: request, For: time.Second, Check: wants200})
//	err = c.Close()
type Closed struct {
	poll  int
	conns []*conn
	by    map[int32]*conn // the same by descriptor
}

// conn is one connection.
type conn struct {
	fd   int
	sent time.Time // when the request that is under way was, or should have been
	in   []byte    // of the answer, as far as it has come
	last bool      // the server closes the connection behind it
}

// Order says what to ask, and for how long. One of Count and For is enough.
type Order struct {
	Request []byte                                // as it goes over the wire
	Next    func() []byte                         // gives each request, which is valid until it is called again; nil: it is always Request
	Count   int                                   // requests in all; 0: as many as For allows
	For     time.Duration                         // no request is sent later; 0: no limit
	Check   func(status int, body []byte) error   // refuses a wrong answer, which ends the run, or says ErrRefused
	Note    func(latency time.Duration, b []byte) // told of every answer, in the run's thread; nil: nobody is
}

// Done is what came of an Order.
type Done struct {
	Latencies []time.Duration // of all requests that were not refused, in the order of the answers
	Took      time.Duration   // from the first request to the last answer
	Refused   int             // answers for which Check has said ErrRefused
	Opened    int             // connections that were there at the end
}

// ErrRefused is what a Check says of an answer with which a server has refused a request because it has too many.
var ErrRefused = errors.New("refused")

// request is the next one.
func (o *Order) request() []byte {
	if o.Next != nil {
		return o.Next()
	}
	return o.Request
}

// answer takes in an answer.
func (d *Done) answer(o *Order, status int, body []byte, took time.Duration) error {
	switch err := o.Check(status, body); {
	case errors.Is(err, ErrRefused):
		d.Refused++
		return nil
	case err != nil:
		return err
	}
	if o.Note != nil {
		o.Note(took, body)
	}
	d.Latencies = append(d.Latencies, took)
	return nil
}

// Rate is the number of answers a second.
func (d Done) Rate() float64 { return float64(len(d.Latencies)) / d.Took.Seconds() }

// errStuck says that a server has not answered.
var errStuck = errors.New("no answer for 30 seconds")

const (
	patience = 30 * time.Second
	// answerMax bounds an answer, in bytes: what is longer is a mistake.
	answerMax = 1 << 20
)

// Dial opens connections to a server, network being tcp or unix. Close them.
func Dial(network, address string, connections int) (*Closed, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c := &Closed{poll: poll, by: map[int32]*conn{}}
	for range connections {
		if err := c.add(network, address); err != nil {
			return nil, errors.Join(fmt.Errorf("dial %s: %w", address, err), c.Close())
		}
	}
	return c, nil
}

// add opens one more connection. The descriptor is taken out of Go's hands: what is read here must not wake its poller as well.
func (c *Closed) add(network, address string) error {
	opened, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer opened.Close()
	raw, err := opened.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if dupErr != nil {
		return dupErr
	}
	k := &conn{fd: fd, in: make([]byte, 0, 4096)}
	c.conns = append(c.conns, k)
	c.by[int32(fd)] = k
	return unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
}

// drop ends a connection.
func (c *Closed) drop(k *conn) error {
	delete(c.by, int32(k.fd))
	c.conns = slices.DeleteFunc(c.conns, func(other *conn) bool { return other == k })
	return unix.Close(k.fd)
}

// Close ends the connections.
func (c *Closed) Close() error {
	errs := []error{unix.Close(c.poll)}
	for _, k := range c.conns {
		errs = append(errs, unix.Close(k.fd))
	}
	c.conns, c.by = nil, nil
	return errors.Join(errs...)
}

// Run carries out an order. After an error, but for that of a check, the connections are of no use.
func (c *Closed) Run(ctx context.Context, o Order) (Done, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var d Done
	begun := time.Now()
	left, running := o.Count, 0
	send := func(k *conn, now time.Time) error {
		if o.Count > 0 && left == 0 || o.For > 0 && now.Sub(begun) >= o.For {
			return nil
		}
		left--
		running++
		return k.send(o.request(), now)
	}
	for _, k := range c.conns {
		if err := send(k, time.Now()); err != nil {
			return d, err
		}
	}
	events := make([]unix.EpollEvent, len(c.conns))
	last := begun
	for running > 0 {
		n, err := unix.EpollWait(c.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return d, fmt.Errorf("wait for answers: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return d, err
		}
		if n <= 0 && time.Since(last) > patience {
			return d, errStuck
		}
		for _, e := range events[:max(n, 0)] {
			k := c.by[e.Fd]
			status, body, err := k.receive()
			if err != nil {
				return d, err
			}
			if body == nil {
				continue // there is more to come
			}
			last = time.Now()
			running--
			if err := d.answer(&o, status, body, last.Sub(k.sent)); err != nil {
				return d, err
			}
			if err := send(k, last); err != nil {
				return d, err
			}
		}
	}
	d.Took, d.Opened = last.Sub(begun), len(c.conns)
	return d, nil
}

// send writes a request, which is small enough for the socket's buffer.
func (k *conn) send(request []byte, now time.Time) error {
	k.sent, k.in = now, k.in[:0]
	n, err := unix.Write(k.fd, request)
	if err == nil && n < len(request) {
		err = fmt.Errorf("%d of %d bytes were taken", n, len(request))
	}
	if err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// receive reads what is there. body is nil until the answer is whole; it is valid until the next request.
func (k *conn) receive() (status int, body []byte, err error) {
	if len(k.in) == cap(k.in) {
		k.in = append(k.in, make([]byte, len(k.in))...)[:len(k.in)]
	}
	n, err := unix.Read(k.fd, k.in[len(k.in):cap(k.in)])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil, nil
	case err != nil:
		return 0, nil, fmt.Errorf("read answer: %w", err)
	case n == 0:
		return 0, nil, errors.New("read answer: the server has closed the connection")
	}
	k.in = k.in[:len(k.in)+n]
	if len(k.in) > answerMax {
		return 0, nil, fmt.Errorf("read answer: it is longer than %d bytes", answerMax)
	}
	k.last = bytes.Contains(k.in, lastKey)
	return parse(k.in)
}

var (
	headEnd   = []byte("\r\n\r\n")
	lengthKey = []byte("\r\nContent-Length: ")
	lastKey   = []byte("\r\nConnection: close")
)

// parse takes an answer apart; body is nil while it is not whole.
func parse(in []byte) (status int, body []byte, err error) {
	end := bytes.Index(in, headEnd)
	if end < 0 {
		return 0, nil, nil
	}
	head := in[:end]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) || len(head) < 12 {
		return 0, nil, fmt.Errorf("read answer: it begins with %.40q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	body = in[end+len(headEnd):]
	length := 0
	if at := bytes.Index(head, lengthKey); at >= 0 {
		value, _, _ := bytes.Cut(head[at+len(lengthKey):], []byte("\r"))
		if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
			return 0, nil, fmt.Errorf("read answer: content length %.20q", value)
		}
	} else if status != 204 {
		return 0, nil, fmt.Errorf("read answer: status %d without a content length", status)
	}
	switch {
	case len(body) < length:
		return 0, nil, nil
	case len(body) > length:
		return 0, nil, fmt.Errorf("read answer: %d bytes after its end", len(body)-length)
	}
	return status, body, nil
}
