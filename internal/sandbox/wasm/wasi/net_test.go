package wasi

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// event is what poll_oneoff reports.
type event struct {
	userdata uint64
	err      Errno
	kind     uint8
	bytes    uint64
	hangup   bool
}

// sub is a subscription; of a clock, fd is the clock.
type sub struct {
	userdata uint64
	kind     uint8
	fd       uint32
	timeout  uint64
	flags    uint16
}

func (g *guest) pollOneoff(subs ...sub) ([]event, Errno) {
	in, out, count := g.alloc(len(subs)*subscriptionSize), g.alloc(len(subs)*eventSize), g.alloc(4)
	for i, s := range subs {
		b := g.mem[int(in)+i*subscriptionSize:]
		le.PutUint64(b, s.userdata)
		b[8] = s.kind
		le.PutUint32(b[16:], s.fd)
		le.PutUint64(b[24:], s.timeout)
		le.PutUint16(b[40:], s.flags)
	}
	e := g.call("poll_oneoff", uint64(in), uint64(out), uint64(len(subs)), uint64(count))
	if e != Success {
		return nil, e
	}
	events := make([]event, g.u32(count))
	for i := range events {
		b := g.mem[int(out)+i*eventSize:]
		events[i] = event{le.Uint64(b), Errno(le.Uint16(b[8:])), b[10], le.Uint64(b[16:]), b[24] != 0}
	}
	return events, e
}

// pipeFDs makes a pipe.
func pipeFDs(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(p[0]); closeFD(p[1]) })
	return p[0], p[1]
}

func TestPollClocks(t *testing.T) {
	g := newGuest(t, Config{})
	for _, c := range []struct {
		name string
		sub  sub
		wait time.Duration
		err  Errno
	}{
		{"relative monotonic", sub{kind: eventClock, fd: 1, timeout: 20e6}, 20 * time.Millisecond, Success},
		{"relative realtime", sub{kind: eventClock, fd: 0, timeout: 20e6}, 20 * time.Millisecond, Success},
		{"absolute monotonic", sub{kind: eventClock, fd: 1, timeout: 15e6, flags: 1}, 15 * time.Millisecond, Success},
		{"absolute realtime", sub{kind: eventClock, fd: 0, timeout: 15e6, flags: 1}, 15 * time.Millisecond, Success},
		{"in the past", sub{kind: eventClock, fd: 0, timeout: 1, flags: 1}, 0, Success},
		{"now", sub{kind: eventClock, fd: 1}, 0, Success},
		{"processor time", sub{kind: eventClock, fd: 2}, 0, Enotsup},
		{"unknown clock", sub{kind: eventClock, fd: 9}, 0, Einval},
		{"unknown flag", sub{kind: eventClock, fd: 1, flags: 2}, 0, Einval},
		{"unknown kind", sub{kind: 3}, 0, Einval},
		{"closed descriptor", sub{kind: eventFdRead, fd: 9}, 0, Ebadf},
		{"unreadable", sub{kind: eventFdRead, fd: 1}, 0, Enotcapable},
		{"memory output", sub{kind: eventFdWrite, fd: 1}, 0, Success},
		{"memory input", sub{kind: eventFdRead, fd: 0}, 0, Success},
	} {
		c.sub.userdata = 42
		start := time.Now()
		switch c.name { // their times are from now on
		case "absolute monotonic":
			c.sub.timeout += uint64(time.Since(epoch))
		case "absolute realtime":
			c.sub.timeout += uint64(time.Now().UnixNano())
		}
		events, e := g.pollOneoff(c.sub)
		took := time.Since(start)
		if e != Success || len(events) != 1 {
			t.Errorf("%s: %v, %v", c.name, events, e)
			continue
		}
		if ev := events[0]; ev.err != c.err || ev.userdata != 42 || ev.kind != c.sub.kind {
			t.Errorf("%s: %+v, want error %v", c.name, ev, c.err)
		}
		if took < c.wait || took > c.wait+5*time.Second {
			t.Errorf("%s took %v, want %v", c.name, took, c.wait)
		}
	}
	expect(t, "no subscription", g.call("poll_oneoff", 0, 0, 0, 0), Einval)
	expect(t, "too many", g.call("poll_oneoff", 0, 0, maxSubscriptions+1, 0), Einval)
	expect(t, "outside memory", g.call("poll_oneoff", guestMemory-8, 0, 1, 0), Efault)
}

func TestPollPipe(t *testing.T) {
	r, w := pipeFDs(t)
	g := newGuest(t, Config{Stdin: Terminal{r}})
	read := sub{userdata: 1, kind: eventFdRead, fd: 0}
	soon := sub{userdata: 2, kind: eventClock, fd: 1, timeout: 10e6}
	events, e := g.pollOneoff(read, soon)
	if e != Success || len(events) != 1 || events[0].userdata != 2 {
		t.Errorf("empty pipe: %v, %v", events, e)
	}
	g.must("fd_fdstat_set_flags", 0, fdNonblock)
	_, e = g.read(0, 1)
	expect(t, "read of an empty pipe", e, Eagain)
	unix.Write(w, []byte("abc"))
	events, e = g.pollOneoff(read, sub{kind: eventClock, fd: 1, timeout: 5e9})
	if e != Success || len(events) != 1 || events[0].userdata != 1 || events[0].bytes != 3 {
		t.Errorf("full pipe: %v, %v", events, e)
	}
	if s, _ := g.read(0, 9); s != "abc" {
		t.Errorf("read %q", s)
	}
	g.must("fd_fdstat_set_flags", 0, 0)
	go func() {
		time.Sleep(10 * time.Millisecond)
		unix.Write(w, []byte("later"))
	}()
	if s, e := g.read(0, 9); s != "later" || e != Success {
		t.Errorf("blocking read %q, %v", s, e)
	}
	if flags, _ := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the caller's descriptor was set to non-blocking")
	}
}

func TestInterrupt(t *testing.T) {
	r, _ := pipeFDs(t)
	g := newGuest(t, Config{Stdin: Terminal{r}})
	go func() {
		time.Sleep(10 * time.Millisecond)
		g.s.Interrupt()
	}()
	_, e := g.read(0, 1)
	expect(t, "interrupted read", e, Ecanceled)
	_, e = g.pollOneoff(sub{kind: eventClock, fd: 1, timeout: 1 << 62})
	expect(t, "sleep after the interrupt", e, Ecanceled)
	_, e = g.pollOneoff(sub{kind: eventClock, fd: 1, timeout: 0})
	expect(t, "poll after the interrupt", e, Ecanceled)
}

func TestRedirectedStreams(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("before,")
	g := newGuest(t, Config{Stdout: Terminal{int(f.Fd())}})
	g.write(1, "guest,")
	f.WriteString("after")
	b, _ := os.ReadFile(f.Name())
	if string(b) != "before,guest,after" {
		t.Errorf("file holds %q", b)
	}
	if at, e := g.seek(1, 0, whenceCur); at != 18 || e != Success {
		t.Errorf("position %d, %v", at, e)
	}
}

func TestFIFO(t *testing.T) {
	g, dir := newDirGuest(t)
	path := dir + "/fifo"
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no FIFO: %v", err)
	}
	_, e := g.open("fifo", opening{base: RightFdWrite})
	expect(t, "writer without reader", e, Enxio)
	fd := g.mustOpen("fifo", opening{base: RightFdRead | RightPollFdReadwrite | RightFdstatSetFlags})
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		unix.Write(w, []byte("x"))
		closeFD(w)
	}()
	if s, e := g.read(fd, 4); s != "x" || e != Success {
		t.Errorf("read %q, %v", s, e)
	}
	if s, e := g.read(fd, 4); s != "" || e != Success {
		t.Errorf("read at the end %q, %v", s, e)
	}
}

func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback network: %v", err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	var loaded []string
	port := ln.Addr().(*net.TCPAddr).Port
	g := newGuest(t, Config{
		Loaded: func(m string, _ time.Duration) { loaded = append(loaded, m) },
		Dial: func(host string, p uint16) (int, Errno) {
			if host != "localhost" || int(p) != port {
				return -1, Enotcapable
			}
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				return -1, Econnrefused
			}
			defer c.Close()
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return -1, Eio
			}
			defer f.Close()
			fd, err := unix.Dup(int(f.Fd()))
			return fd, toErrno(err)
		},
	})
	host, n := g.data("localhost")
	out := g.alloc(4)
	expect(t, "another port", g.call("weft.dial", host, n, 1, uint64(out)), Enotcapable)
	expect(t, "port 0", g.call("weft.dial", host, n, 0, uint64(out)), Einval)
	expect(t, "no host", g.call("weft.dial", host, 0, 1, uint64(out)), Einval)
	g.must("weft.dial", host, n, uint64(port), uint64(out))
	fd := g.u32(out)
	if len(loaded) != 1 || loaded[0] != "net" {
		t.Errorf("loaded %v", loaded)
	}
	if n, e := g.write(fd, "ping"); n != 4 || e != Success {
		t.Errorf("write %d, %v", n, e)
	}
	a, b := g.alloc(2), g.alloc(2)
	v, c := g.iovec(a, 2, b, 2)
	size, flags := g.alloc(4), g.alloc(4)
	g.must("sock_recv", uint64(fd), v, c, 1, uint64(size), uint64(flags))
	if got := string(g.mem[a : a+1]); got != "p" {
		t.Errorf("peeked %q", got)
	}
	g.must("sock_recv", uint64(fd), v, c, 2, uint64(size), uint64(flags))
	if g.u32(size) != 4 || string(g.mem[a:a+2])+string(g.mem[b:b+2]) != "ping" {
		t.Errorf("received %d", g.u32(size))
	}
	g.must("fd_fdstat_set_flags", uint64(fd), fdNonblock)
	_, e := g.read(fd, 1)
	expect(t, "nothing to read", e, Eagain)
	p, n := g.data("x")
	w, c := g.iovec(uint32(p), uint32(n))
	g.must("sock_send", uint64(fd), w, c, 0, uint64(size))
	expect(t, "send with flags", g.call("sock_send", uint64(fd), w, c, 1, uint64(size)), Einval)
	expect(t, "receive with unknown flags", g.call("sock_recv", uint64(fd), v, c, 4, uint64(size), uint64(flags)), Einval)
	events, e := g.pollOneoff(sub{userdata: 7, kind: eventFdRead, fd: fd})
	if e != Success || len(events) != 1 || events[0].bytes != 1 {
		t.Errorf("poll: %v, %v", events, e)
	}
	expect(t, "shut down nothing", g.call("sock_shutdown", uint64(fd), 0), Einval)
	g.must("sock_shutdown", uint64(fd), 2)
	_, e = g.write(fd, "x")
	expect(t, "write after shutdown", e, Epipe)
	expect(t, "seek", g.call("fd_seek", uint64(fd), 0, 0, uint64(size)), Espipe)
	expect(t, "shut down stdout", g.call("sock_shutdown", 1, 1), Enotsock)
	expect(t, "shut down nothing", g.call("sock_shutdown", 99, 1), Ebadf)
	expect(t, "accept on a connection", g.call("sock_accept", uint64(fd), 0, uint64(size)), Enotcapable)
	g.must("fd_close", uint64(fd))
}

func TestListen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback network: %v", err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g := newGuest(t, Config{
		Mounts:    []Mount{{Guest: "/", FD: openPath(t, t.TempDir())}},
		Listeners: []Listener{{Port: 8080, FD: int(f.Fd())}},
	})
	out := g.alloc(4)
	expect(t, "a port not granted", g.call("weft.listen", 81, uint64(out)), Enotcapable)
	expect(t, "dialling", g.call("weft.dial", 0, 4, 80, uint64(out)), Einval)
	g.must("weft.listen", 8080, uint64(out))
	lfd := g.u32(out)
	if lfd != 4 {
		t.Errorf("descriptor %d", lfd)
	}
	expect(t, "is no mount", g.call("fd_prestat_get", uint64(lfd), uint64(out)), Ebadf)
	if fd := g.mustOpen(".", opening{noRights: true}); fd != 5 {
		t.Errorf("next descriptor %d", fd)
	}
	g.must("fd_fdstat_set_flags", uint64(lfd), fdNonblock)
	expect(t, "nobody there", g.call("sock_accept", uint64(lfd), 0, uint64(out)), Eagain)
	g.must("fd_fdstat_set_flags", uint64(lfd), 0)
	done := make(chan string, 1)
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			done <- err.Error()
			return
		}
		b, _ := io.ReadAll(c)
		c.Close()
		done <- string(b)
	}()
	events, e := g.pollOneoff(sub{kind: eventFdRead, fd: lfd}, sub{userdata: 1, kind: eventClock, fd: 1, timeout: 10e9})
	if e != Success || len(events) != 1 || events[0].kind != eventFdRead {
		t.Errorf("poll: %v, %v", events, e)
	}
	expect(t, "accept with flags", g.call("sock_accept", uint64(lfd), 1, uint64(out)), Einval)
	g.must("sock_accept", uint64(lfd), fdNonblock, uint64(out))
	fd := g.u32(out)
	g.write(fd, "welcome")
	g.must("fd_close", uint64(fd))
	if got := <-done; got != "welcome" {
		t.Errorf("client got %q", got)
	}
}

// A stream has the number behind mounts and listeners, though those are set up later, and what
// the guest opens does not take it.
func TestStream(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	cfg := Config{Mounts: []Mount{{Guest: "/data", FD: openPath(t, t.TempDir())}}, Stream: fds[1]}
	if n := cfg.StreamFD(); n != 4 {
		t.Fatalf("the stream is descriptor %d, want 4", n)
	}
	g := newGuest(t, cfg)
	if opened := g.mustOpen("file", opening{oflags: openCreate}); opened == 4 {
		t.Error("a file has the number of the stream")
	}
	unix.Write(fds[0], []byte("question"))
	if s, e := g.read(4, 9); s != "question" || e != Success {
		t.Errorf("read %q, %v", s, e)
	}
	g.write(4, "answer")
	buf := make([]byte, 9)
	if n, err := unix.Read(fds[0], buf); err != nil || string(buf[:n]) != "answer" {
		t.Errorf("the node reads %q, %v", buf[:max(n, 0)], err)
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		unix.Shutdown(fds[0], unix.SHUT_WR)
	}()
	if s, e := g.read(4, 9); s != "" || e != Success {
		t.Errorf("at the stream's end: %q, %v", s, e)
	}
}
