package domain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/wire"
)

// A host that stops reading is given up: the node, which waits for it under the
// lock of the run, goes on.
func TestHostThatDoesNotRead(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
	h := newFake(t, p)
	d.Start(callOf(1, f, "a"))
	receive[*wire.Start](t, h)
	for id := uint64(2); id < 10; id++ {
		c := callOf(id, f, "a"+string(rune('0'+id)))
		c.Input = bytes.Repeat([]byte("x"), wire.InlineMax)
		d.Start(c)
	}
	for range 9 {
		r := next(t, results)
		switch {
		case r.Failure == nil: // sent after that, to another host
		case !r.Failure.Free || !strings.Contains(r.Failure.Message, "it does not read its messages"):
			t.Errorf("failure %+v", r.Failure)
		}
	}
}

func TestClosedConnectionsAreGone(t *testing.T) {
	conn, peer, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	peer.Close()
	if err := conn.Send(&wire.Reset{}); !gone(err) {
		t.Errorf("the peer has closed: %v", err)
	}
	conn.Close()
	if err := conn.Send(&wire.Reset{}); !gone(err) {
		t.Errorf("this side has closed: %v", err)
	}
}

// Start returns although nobody receives results: its caller is who does.
func TestRefusalsDoNotBlockStart(t *testing.T) {
	p := newPool(t)
	good, bad := hello(t, p), hello(t, p)
	bad.Files = []File{{Host: filepath.Join(t.TempDir(), "gone"), Guest: "/gone", Form: "file"}}
	d, results := newDomain(t, p)
	d.Start(callOf(1, good, "a"))
	if r := next(t, results); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	const calls = 40 // more than the channel holds
	started := make(chan struct{})
	go func() {
		defer close(started)
		for id := uint64(2); id < 2+calls; id++ {
			d.Start(callOf(id, bad, "b"))
		}
	}()
	select {
	case <-started:
	case <-time.After(20 * time.Second):
		t.Error("Start waits for who reads the results")
	}
	for range calls {
		if r := next(t, results); r.Failure == nil || r.Failure.Kind != KindRefused {
			t.Errorf("failure %+v", r.Failure)
		}
	}
}

// shared starts call 1 in a host that the test speaks for, and call 2 alone in
// another: slots are decided by the node.
func shared(t *testing.T, p *Pool, d *Domain, f *Function) (h, other *fake) {
	t.Helper()
	h = newFake(t, p)
	d.Start(callOf(1, f, "a"))
	receive[*wire.Start](t, h)
	other = newFake(t, p)
	alone := callOf(2, f, "b")
	alone.Alone = true
	d.Start(alone)
	receive[*wire.Share](t, h)
	h.send(t, &wire.Shared{})
	receive[*wire.Start](t, other)
	return h, other
}

// Two calls of a host read one segment, and each is given a descriptor. When the
// first is done, the second may still pass the segment on.
func TestSegmentsComeTwice(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	for _, reader := range []string{"producer", "other"} {
		t.Run(reader, func(t *testing.T) {
			d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
			h, other := shared(t, p, d, f)
			producer, first := h, uint64(1)
			if reader == "other" {
				producer, first = other, 2
			}
			producer.send(t, &wire.Need{Bytes: 100_000})
			s := receive[*wire.Supply](t, producer).Segment
			producer.send(t, &wire.Done{Call: first, Puts: []wire.Put{{Name: "x", Value: wire.Value{Segment: s, Len: 5}}}})
			if r := next(t, results); r.Failure != nil {
				t.Fatal(r.Failure)
			}
			if _, err := d.Commit(first); err != nil {
				t.Fatal(err)
			}
			for id := uint64(3); id <= 4; id++ {
				d.Start(callOf(id, f, "c"+string(rune('0'+id))))
				receive[*wire.Start](t, h)
				h.send(t, &wire.Ask{ID: id, Call: id, Op: wire.OpBorrow, Name: "x", Room: 5})
				if a := receive[*wire.Answer](t, h); a.Errno != 0 || a.Value.Segment != s {
					t.Fatalf("answer %+v", a)
				}
			}
			h.send(t, &wire.Done{Call: 3})
			if r := next(t, results); r.Failure != nil {
				t.Fatal(r.Failure)
			}
			h.send(t, &wire.Dropped{Segments: []uint64{s.ID}})
			h.send(t, &wire.Done{Call: 4, Puts: []wire.Put{{Name: "y", Value: wire.Value{Segment: s, Len: 5}}}})
			if r := next(t, results); r.Failure != nil {
				t.Errorf("the second reader: %v", r.Failure)
			}
		})
	}
}

// No call runs beside the first host before that has handed its decisions over.
func TestAllWaitForSharing(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, _ := newDomain(t, p, func(o *Options) { o.Version = "" })
	h := newFake(t, p)
	d.Start(callOf(1, f, "a"))
	receive[*wire.Start](t, h)
	came := make(chan wire.Message, 2)
	for id := uint64(2); id <= 3; id++ {
		alone := callOf(id, f, "b"+string(rune('0'+id)))
		alone.Alone = true
		host := newFake(t, p)
		go func() {
			if m, _, err := host.peer.Receive(); err == nil {
				came <- m
			}
		}()
		d.Start(alone)
	}
	receive[*wire.Share](t, h)
	select {
	case m := <-came:
		t.Errorf("%T came before the first host has answered", m)
	case <-time.After(100 * time.Millisecond):
	}
	h.send(t, &wire.Shared{})
	for range 2 {
		select {
		case <-came:
		case <-time.After(20 * time.Second):
			t.Fatal("a call that runs alone was not started")
		}
	}
}

// What a host may make the node remember and do for one call is bounded.
func TestCallsAreBounded(t *testing.T) {
	p := newPool(t)
	f := hello(t, p)
	d, results := newDomain(t, p, func(o *Options) { o.Version = "" })
	h := newFake(t, p)
	d.Start(callOf(1, f, "a"))
	receive[*wire.Start](t, h)
	for range slotsMax/5000 + 1 {
		if h.peer.Send(&wire.Published{Call: 1, Puts: make([]wire.Put, 5000)}) != nil {
			break
		}
	}
	if r := next(t, results); r.Failure == nil || !strings.Contains(r.Failure.Message, "published or took more than 131072 slots") {
		t.Errorf("failure %+v", r.Failure)
	}
	if err := d.answer(h.host, &call{dials: dialsMax}, &wire.Ask{Op: wire.OpDial}); err == nil {
		t.Error("a call may make any number of connections")
	}
}

// Another node may be reading the module with which hosts warm up: it is not
// written again, unless it is another one.
func TestWarmModuleIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "warm.wasm")
	stat := func() os.FileInfo {
		p := newPool(t, func(o *PoolOptions) { o.CacheDir = dir })
		_, err := p.warmImage()
		st, serr := os.Stat(path)
		if err := errors.Join(err, serr); err != nil {
			t.Fatal(err)
		}
		return st
	}
	first := stat()
	if second := stat(); !os.SameFile(first, second) || !first.ModTime().Equal(second.ModTime()) {
		t.Error("it was written twice")
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, warmModule[:20], 0o600)); err != nil {
		t.Fatal(err)
	}
	stat()
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, warmModule) {
		t.Errorf("a broken one stays: %d bytes, %v", len(b), err)
	}
}

// The reason of a crash is the first of a long report.
func TestLastWords(t *testing.T) {
	l, err := newTail()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.w.WriteString("fatal error: the reason\n")
	l.w.WriteString(strings.Repeat("goroutine 1 [running]\n", 1000))
	l.w.WriteString("exit status 2\n")
	l.w.Close()
	got := l.text(20 * time.Second)
	if !strings.HasPrefix(got, "fatal error: the reason\ngoroutine") || !strings.HasSuffix(got, "\nexit status 2") || !strings.Contains(got, "\n…\n") || len(got) > 2*tailMax+5 {
		t.Errorf("%d bytes: %.60q … %q", len(got), got, got[len(got)-20:])
	}
}

// An evaluator that was killed is replaced.
func TestEvaluatorIsReplaced(t *testing.T) {
	p := newPool(t)
	for range 3 {
		values, err := p.Evaluate(t.Context(), []string{". + 1"}, 41)
		if err != nil || len(values) != 1 || values[0] != 42.0 {
			t.Fatalf("values %v, %v", values, err)
		}
		if err := unix.Kill(p.expr.host.process.PID(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever waits for hosts of a pool that is closed is told so.
func TestReadyAfterClose(t *testing.T) {
	p := newPool(t)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ready(t.Context()); err == nil {
		t.Error("a closed pool has hosts that are ready")
	}
}
