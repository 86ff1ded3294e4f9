package domain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// newPool starts a pool with a cache of its own.
func newPool(t testing.TB, change ...func(*PoolOptions)) *Pool {
	t.Helper()
	exe, err := hostbin.Open()
	if errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	o := PoolOptions{Executable: exe, CacheDir: t.TempDir()}
	for _, f := range change {
		f(&o)
	}
	p, err := NewPool(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close the pool: %v", err)
		}
	})
	return p
}

// hello is a function that prints {}.
func hello(t *testing.T, p *Pool) *Function {
	t.Helper()
	image, err := p.warmImage()
	if err != nil {
		t.Fatal(err)
	}
	return &Function{Name: "hello", Image: image, Memory: 1 << 20, MaxOutput: 1 << 20}
}

// newDomain makes a domain whose results come on a channel.
func newDomain(t *testing.T, p *Pool, change ...func(*Options)) (*Domain, <-chan Result) {
	t.Helper()
	results := make(chan Result, 16)
	o := Options{Run: "r", Version: "v", Scratch: t.TempDir(), Done: func(r Result) { results <- r }}
	for _, f := range change {
		f(&o)
	}
	d, err := p.Domain(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the domain: %v", err)
		}
	})
	return d, results
}

func callOf(id uint64, f *Function, path string) Call {
	return Call{ID: id, Function: f, Path: path, Step: path, Index: -1, Attempt: 1}
}

// next waits for a result.
func next(t *testing.T, results <-chan Result) Result {
	t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("no result:\n%s", buf[:runtime.Stack(buf, true)])
		return Result{}
	}
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func (p *Pool) idling(version string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.used[version])
}

// A host serves further runs of the same app version, and no other.
func TestHostsAreReusedPerVersion(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	hosts := map[string]string{} // by version
	for _, version := range []string{"v", "w", "v", "w", "v"} {
		d, results := newDomain(t, p, func(o *Options) { o.Version = version })
		d.Start(callOf(1, f, "a"))
		r := next(t, results)
		if r.Failure != nil || string(r.Output) != "{}\n" {
			t.Fatalf("%q, %+v", r.Output, r.Failure)
		}
		if _, err := d.Commit(1); err != nil {
			t.Fatal(err)
		}
		if before, ok := hosts[version]; ok && before != r.Host {
			t.Errorf("version %s ran in %s and then in %s", version, before, r.Host)
		}
		hosts[version] = r.Host
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the return of the host", func() bool { return p.idling(version) == 1 })
	}
	if hosts["v"] == hosts["w"] {
		t.Errorf("two versions shared host %s", hosts["v"])
	}
	// Without a version, hosts are used once.
	var names []string
	for range 2 {
		d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
		d.Start(callOf(1, f, "a"))
		names = append(names, next(t, results).Host)
		d.Close()
	}
	if names[0] == names[1] {
		t.Errorf("host %s was used twice without a version", names[0])
	}
}

// What one run published is not there for the next one in the same host.
func TestRunsShareNothing(t *testing.T) {
	p := newPool(t)
	f := hello(t, p) // puts slot w, and exits with 0 only because it takes it again
	for range 3 {
		d, results := newDomain(t, p)
		for id := uint64(1); id <= 3; id++ {
			d.Start(callOf(id, f, "a"+string(rune('0'+id))))
			if r := next(t, results); r.Failure != nil {
				t.Fatal(r.Failure)
			}
			if _, err := d.Commit(id); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Open("a1/w"); err == nil {
			t.Error("a slot can be read after the end of its run")
		}
	}
}

// A host that died while it was idle is not given to a run.
func TestIdleHostsDie(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	kill := func() {
		p.mu.Lock()
		hosts := slices.Clone(p.ready)
		for _, used := range p.used {
			hosts = append(hosts, used...)
		}
		p.mu.Unlock()
		for _, h := range hosts {
			unix.Kill(h.process.PID(), unix.SIGKILL)
		}
	}
	if _, err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		kill()
		d, results := newDomain(t, p)
		d.Start(callOf(1, f, "a"))
		r := next(t, results)
		for attempt := 2; attempt < 8 && r.Failure != nil && r.Failure.Free; attempt++ { // it seemed alive
			d.Start(Call{ID: uint64(attempt), Function: f, Path: "a", Step: "a", Index: -1, Attempt: attempt})
			r = next(t, results)
		}
		if r.Failure != nil {
			t.Fatalf("run %d: %+v", i, r.Failure)
		}
		d.Close()
	}
}

func TestClosedPool(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	d.Start(callOf(1, f, "a"))
	if r := next(t, results); r.Failure == nil || r.Failure.Kind != KindRefused {
		t.Errorf("a call in a closed pool: %+v", r.Failure)
	}
}

// fake is a host whose process is real, and whose messages are the test's.
type fake struct {
	*host
	peer *wire.Conn
	raw  int // the peer's socket
}

// newFake puts a host into the pool that the test speaks for. The pool starts no
// other one from then on, or that might be taken in its place.
func newFake(t *testing.T, p *Pool) *fake {
	t.Helper()
	h, err := p.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	real := h.conn
	t.Cleanup(func() { real.Close() })
	conn, child, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := unix.FcntlInt(child.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(raw) })
	peer, err := wire.NewConn(child)
	if err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(time.Minute, func() { peer.Close() }) // a test that waits for nothing fails
	t.Cleanup(func() {
		patience.Stop()
		peer.Close()
	})
	h.conn = conn
	for {
		p.mu.Lock()
		p.o.Hosts = 0
		making, changed := p.making, p.changed
		if making == 0 {
			p.ready = append(p.ready, h)
			p.alive++
		}
		p.mu.Unlock()
		if making == 0 {
			return &fake{h, peer, raw}
		}
		<-changed
	}
}

// receive returns the next message of a type that the node sends.
func receive[M wire.Message](t *testing.T, f *fake) M {
	t.Helper()
	for {
		m, fds, err := f.peer.Receive()
		if err != nil {
			t.Fatalf("wait for %T: %v", *new(M), err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		if m, ok := m.(M); ok {
			return m
		}
	}
}

func (f *fake) send(t *testing.T, m wire.Message) {
	t.Helper()
	if err := f.peer.Send(m); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenProtocol has a host say what no honest host says: it is ended, its
// call is lost, and the message says why.
func TestBrokenProtocol(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	segment := func(id uint64, n int64) wire.Value {
		return wire.Value{Len: n, Segment: wire.Segment{ID: id, Capacity: 1 << 20}}
	}
	put := func(v wire.Value) *wire.Done { return &wire.Done{Call: 1, Puts: []wire.Put{{Name: "x", Value: v}}} }
	for _, test := range []struct {
		name string
		pass string
		do   func(*testing.T, *fake)
		want string
	}{
		{"waits for another's call", "", func(t *testing.T, h *fake) { h.send(t, &wire.Waiting{Call: 9, Name: "x"}) }, "*wire.Waiting names call 9, which does not run there"},
		{"resumes another's call", "", func(t *testing.T, h *fake) { h.send(t, &wire.Resumed{Call: 9}) }, "*wire.Resumed names call 9"},
		{"asks for another's call", "", func(t *testing.T, h *fake) { h.send(t, &wire.Ask{Call: 9, Op: wire.OpDial}) }, "*wire.Ask names call 9"},
		{"publishes for another's call", "", func(t *testing.T, h *fake) { h.send(t, &wire.Published{Call: 9}) }, "*wire.Published names call 9"},
		{"ends another's call", "", func(t *testing.T, h *fake) { h.send(t, &wire.Done{Call: 9}) }, "*wire.Done names call 9"},
		{"publishes a segment that is nobody's", "", func(t *testing.T, h *fake) { h.send(t, put(segment(1<<40, 5))) }, "published segment 1099511627776 with 5 bytes, which it does not have"},
		{"publishes more than its segment", "", func(t *testing.T, h *fake) {
			h.send(t, &wire.Need{Bytes: 100_000})
			s := receive[*wire.Supply](t, h).Segment
			h.send(t, put(segment(s.ID, s.Capacity+1)))
		}, "bytes, which it does not have"},
		{"publishes less than nothing", "", func(t *testing.T, h *fake) {
			h.send(t, &wire.Need{Bytes: 100_000})
			h.send(t, put(segment(receive[*wire.Supply](t, h).Segment.ID, -1)))
		}, "with -1 bytes, which it does not have"},
		{"publishes what it has dropped", "", func(t *testing.T, h *fake) {
			h.send(t, &wire.Need{Bytes: 100_000})
			s := receive[*wire.Supply](t, h).Segment
			h.send(t, &wire.Dropped{Segments: []uint64{s.ID, s.ID, 1 << 40}})
			h.send(t, put(segment(s.ID, 1)))
		}, "which it does not have"},
		{"spills into nobody's segment", "", func(t *testing.T, h *fake) { h.send(t, &wire.Done{Call: 1, Spilled: segment(1<<40, 5)}) }, "which it does not have"},
		{"publishes under a bad name", "", func(t *testing.T, h *fake) {
			h.send(t, &wire.Done{Call: 1, Puts: []wire.Put{{Name: "../x"}}})
		}, "bad slot name"},
		{"takes what is not there", "", func(t *testing.T, h *fake) { h.send(t, &wire.Done{Call: 1, Takes: []string{"b/x"}}) }, "call a took what is not there"},
		{"asks for slots that it decides about", "", func(t *testing.T, h *fake) { h.send(t, &wire.Ask{Call: 1, Op: wire.OpTake, Name: "x"}) }, "decides about slots itself"},
		{"shares unasked", "", func(t *testing.T, h *fake) { h.send(t, &wire.Shared{}) }, "unexpected message *wire.Shared"},
		{"is idle unasked", "", func(t *testing.T, h *fake) { h.send(t, &wire.Idle{}) }, "unexpected message *wire.Idle"},
		{"is ready twice", "", func(t *testing.T, h *fake) { h.send(t, &wire.Ready{Version: wire.Version}) }, "unexpected message *wire.Ready"},
		{"gives orders", "", func(t *testing.T, h *fake) { h.send(t, &wire.Commit{Call: 1}) }, "unexpected message *wire.Commit"},
		{"garbage", "", func(t *testing.T, h *fake) { unix.Write(h.raw, []byte{0xee, 1, 2, 3}) }, "malformed frame"},
		{"half a message", "", func(t *testing.T, h *fake) {
			frame := wire.Encode(nil, &wire.Log{Call: 1, Text: []byte("text")})
			unix.Write(h.raw, frame[:len(frame)-2])
		}, "malformed frame"},
		{"a message and more", "", func(t *testing.T, h *fake) {
			unix.Write(h.raw, append(wire.Encode(nil, &wire.Need{Bytes: 1}), 0))
		}, "malformed frame"},
		{"a message that is too long", "", func(t *testing.T, h *fake) {
			unix.Write(h.raw, wire.Encode(nil, &wire.Log{Call: 1, Text: bytes.Repeat([]byte("x"), wire.FrameMax)}))
		}, "malformed frame"},
		{"publishes a file outside of the run's folder", "file", func(t *testing.T, h *fake) {
			h.send(t, put(wire.Value{File: "../secret", Len: 6}))
		}, `published file "../secret" with 6 bytes, which it does not have`},
		{"publishes a file that is not there", "file", func(t *testing.T, h *fake) { h.send(t, put(wire.Value{File: "gone", Len: 1})) }, `published file "gone"`},
		{"publishes a link", "file", func(t *testing.T, h *fake) { h.send(t, put(wire.Value{File: "link", Len: 6})) }, `published file "link"`},
		{"publishes a file that is shorter", "file", func(t *testing.T, h *fake) { h.send(t, put(wire.Value{File: "file", Len: 1 << 40})) }, `published file "file" with 1099511627776 bytes`},
	} {
		t.Run(test.name, func(t *testing.T) {
			scratch := t.TempDir()
			d, results := newDomain(t, p, func(o *Options) { o.Pass, o.Scratch, o.Version = test.pass, scratch, "" })
			if test.pass == "file" {
				files := map[string]string{filepath.Join(scratch, "secret"): "secret", filepath.Join(d.o.Scratch, "file"): "four"}
				for path, text := range files {
					if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(filepath.Join(scratch, "secret"), filepath.Join(d.o.Scratch, "link")); err != nil {
					t.Fatal(err)
				}
			}
			h := newFake(t, p)
			d.Start(callOf(1, f, "a"))
			receive[*wire.Start](t, h)
			test.do(t, h)
			r := next(t, results)
			if r.Failure == nil || r.Failure.Kind != KindLost || !strings.Contains(r.Failure.Message, test.want) {
				t.Errorf("failure %+v, want %q", r.Failure, test.want)
			}
			eventually(t, "the end of the host", func() bool {
				select {
				case <-h.process.Done():
					return true
				default:
					return false
				}
			})
			// The run goes on, in another host.
			d.Start(Call{ID: 2, Function: f, Path: "a", Step: "a", Index: -1, Attempt: 2})
			if r := next(t, results); r.Failure != nil {
				t.Errorf("the next attempt: %+v", r.Failure)
			}
		})
	}
}

// What an honest host may say late, or for nobody, is not held against it.
func TestHarmlessMessages(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
	h := newFake(t, p)
	d.Start(callOf(1, f, "a"))
	receive[*wire.Start](t, h)
	h.send(t, &wire.Log{Call: 9, Text: []byte("late")})
	h.send(t, &wire.Exceeded{Call: 9, Limit: "cpu", Text: "late"})
	h.send(t, &wire.Dropped{Segments: []uint64{1 << 40}})
	h.send(t, &wire.Need{Bytes: -1})
	if s := receive[*wire.Supply](t, h); s.Refused == "" {
		t.Errorf("a segment of -1 bytes: %+v", s)
	}
	h.send(t, &wire.Need{Bytes: 1 << 40})
	if s := receive[*wire.Supply](t, h); s.Refused == "" {
		t.Errorf("a segment of a tebibyte: %+v", s)
	}
	h.send(t, &wire.Done{Call: 1, Output: []byte("out")})
	if r := next(t, results); r.Failure != nil || string(r.Output) != "out" {
		t.Errorf("%q, %+v", r.Output, r.Failure)
	}
}

// A host is not believed about segments of another one.
func TestSegmentsOfOthers(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
	alone := func(id uint64, path string) *fake {
		h := newFake(t, p)
		c := callOf(id, f, path)
		c.Alone = true
		d.Start(c)
		receive[*wire.Start](t, h)
		return h
	}
	owner := alone(1, "a")
	owner.send(t, &wire.Need{Bytes: 100_000})
	s := receive[*wire.Supply](t, owner).Segment
	thief := alone(2, "b")
	thief.send(t, &wire.Dropped{Segments: []uint64{s.ID}})
	thief.send(t, &wire.Done{Call: 2, Puts: []wire.Put{{Name: "x", Value: wire.Value{Len: 5, Segment: s}}}})
	r := next(t, results)
	if r.Call != 2 || r.Failure == nil || !strings.Contains(r.Failure.Message, "which is another host's") {
		t.Errorf("call %d: %+v", r.Call, r.Failure)
	}
	owner.send(t, &wire.Done{Call: 1, Puts: []wire.Put{{Name: "x", Value: wire.Value{Len: 5, Segment: s}}}})
	if r := next(t, results); r.Call != 1 || r.Failure != nil {
		t.Errorf("call %d: %+v", r.Call, r.Failure)
	}
	if _, err := d.Commit(1); err != nil {
		t.Fatal(err)
	}
	if _, n, err := d.Open("a/x"); err != nil || n != 5 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// What a host that is gone had for later does not count against the run.
func TestLostHostsHoldNothing(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p, func(o *Options) { o.Version, o.Quota = "", 4<<20 })
	for attempt := 1; attempt <= 5; attempt++ {
		h := newFake(t, p)
		d.Start(Call{ID: uint64(attempt), Function: f, Path: "a", Step: "a", Index: -1, Attempt: attempt})
		receive[*wire.Start](t, h)
		h.send(t, &wire.Need{Bytes: 3 << 20})
		if s := receive[*wire.Supply](t, h); s.Refused != "" {
			t.Fatalf("attempt %d: %s", attempt, s.Refused)
		}
		unix.Kill(h.process.PID(), unix.SIGKILL)
		h.peer.Close()
		unix.Shutdown(h.raw, unix.SHUT_RDWR)
		if r := next(t, results); r.Failure == nil || r.Failure.Kind != KindLost || !r.Failure.Free {
			t.Errorf("attempt %d: %+v", attempt, r.Failure)
		}
	}
	if n := len(d.segments); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}
