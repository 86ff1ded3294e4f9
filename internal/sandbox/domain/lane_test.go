package domain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
)

func newLane(t testing.TB, p *Pool, change ...func(*LaneOptions)) *Lane {
	t.Helper()
	o := LaneOptions{Version: "v"}
	for _, f := range change {
		f(&o)
	}
	l := p.Lane(o)
	t.Cleanup(l.Close)
	return l
}

func script(f *Function, do string) Invocation {
	return Invocation{Function: f, Name: "i-1", Key: "k-1", Input: []byte(`{"do": "` + do + `"}`)}
}

// invoke carries out a script, and returns what it printed.
func invoke(t *testing.T, l *Lane, i Invocation) (*Reply, string) {
	t.Helper()
	r, err := l.Invoke(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	body, n := r.Body()
	b, err := io.ReadAll(body)
	if err != nil || int64(len(b)) != n {
		t.Fatalf("%d bytes of %d, %v", len(b), n, err)
	}
	return r, strings.TrimSpace(string(b))
}

func TestInvoke(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	for _, test := range []struct{ do, want, kind string }{
		{"env WEFT_RUN; env WEFT_STEP; env WEFT_KEY; env WEFT_ATTEMPT", `["env WEFT_RUN: i-1","env WEFT_STEP: actor","env WEFT_KEY: k-1","env WEFT_ATTEMPT: 1"]`, ""},
		{"put x 10; put /wide 100000; take x; len /wide", `["take x: 10 bytes of 1402129152","len /wide: 100000 of type 0"]`, ""},
		{"take x; take /wide; borrow actor/x", `["take x: errno 44","take /wide: errno 44","borrow actor/x: errno 44"]`, ""}, // nothing is left of the last one
		{"put x 10; put /wide 1", "[]", ""},
		{"wait x 20", `["wait x: errno 73"]`, ""},
		{"wait x", "", KindExit}, // nobody could publish it
		{"exit 3", "", KindExit},
		{"trap", "", KindTrap},
		{"raw 41", "A", ""},
	} {
		r, got := invoke(t, l, script(f, test.do))
		kind := ""
		if r.Failure != nil {
			kind = r.Failure.Kind
		}
		if kind != test.kind || test.kind == "" && got != test.want {
			t.Errorf("%s: %s %+v, want %s%s", test.do, got, r.Failure, test.want, test.kind)
		}
	}
	// The instance is always a new one, and all of them share a host.
	first, _ := invoke(t, l, script(f, ""))
	second, _ := invoke(t, l, script(f, ""))
	if first.Host != second.Host {
		t.Errorf("one invocation in %s, the next in %s", first.Host, second.Host)
	}
	if s := p.Stats(); s.Warm+s.Clean+s.Cold != 1 || s.Busy != 1 {
		t.Errorf("%+v", s)
	}
}

func TestInvocationsAtATime(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p, func(o *LaneOptions) { o.Width = 8 })
	f := actor(t, p)
	var wg sync.WaitGroup
	hosts := sync.Map{}
	for n := range 20 {
		wg.Go(func() {
			for range 5 {
				r, err := l.Invoke(t.Context(), script(f, fmt.Sprintf("put x %d; sleep 20; len x", n)))
				if err != nil || r.Failure != nil || !strings.Contains(string(r.Output), fmt.Sprintf("len x: %d of", n)) {
					t.Errorf("%+v, %v", r, err)
					return
				}
				hosts.Store(r.Host, true)
			}
		})
	}
	wg.Wait()
	n := 0
	hosts.Range(func(any, any) bool { n++; return true })
	if n != 3 {
		t.Errorf("20 invocations at a time in %d hosts, 8 in each", n)
	}
}

// Long inputs and outputs go through memory files; an output stays until it is
// closed, whatever else runs in its host.
func TestInvocationBodies(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	do := []byte(`{"do": "emit 300000", "pad": "` + strings.Repeat("x", 500_000) + `"}`)
	for _, size := range []int64{-1, int64(len(do))} {
		body, err := p.Body(bytes.NewReader(do), size, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Invoke(t.Context(), Invocation{Function: f, Body: body})
		body.Close()
		if err != nil || r.Failure != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		out, n := r.Body()
		for range 20 {
			invoke(t, l, script(f, "fill x 300000; emit 300000"))
		}
		if b, err := io.ReadAll(out); err != nil || n != 300_000 || !bytes.Equal(b, bytes.Repeat([]byte("e"), 300_000)) {
			t.Errorf("%d bytes of %d, %v", len(b), n, err)
		}
		r.Close()
	}
	small, err := p.Body(strings.NewReader(`{"do": "raw 41"}`), -1, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, got := invoke(t, l, Invocation{Function: f, Body: small}); got != "A" || small.Inline() == nil {
		t.Errorf("%q", got)
	}
	over := *f
	over.MaxOutput = 100
	if r, _ := invoke(t, l, script(&over, "emit 101")); r.Failure == nil || r.Failure.Kind != KindOutput {
		t.Errorf("%+v", r.Failure)
	}
	eventually(t, "the return of all memory", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		d := l.seats[0].d
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.segments {
			if s.dropped {
				return false
			}
		}
		return len(d.calls) == 0
	})
}

// Standard output can be read while the function runs.
func TestInvocationStreams(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	i := script(f, "emit 1000000")
	i.Stdout = w
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, r)
		read <- n
	}()
	if reply, out := invoke(t, l, i); reply.Failure != nil || out != "" {
		t.Errorf("%q, %+v", out, reply.Failure)
	}
	if n := <-read; n != 1_000_000 {
		t.Errorf("%d bytes came", n)
	}
	// Who reads no longer ends nobody but the function.
	r, w, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	i.Stdout = w
	invoke(t, l, i)
	if _, out := invoke(t, l, script(f, "raw 41")); out != "A" {
		t.Errorf("%q", out)
	}
}

func TestInvocationLogs(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	i := script(actor(t, p), "log here; log there")
	var mu sync.Mutex
	var text string
	i.Log = func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		text += string(b)
	}
	invoke(t, l, i)
	mu.Lock()
	defer mu.Unlock()
	if text != "here\nthere\n" {
		t.Errorf("%q", text)
	}
}

// pid finds the process of the lane's first host.
func (l *Lane) pid(t *testing.T) int {
	t.Helper()
	var pid int
	eventually(t, "a host", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.seats) == 0 {
			return false
		}
		d := l.seats[0].d
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.main == nil || len(d.main.calls) == 0 {
			return false
		}
		pid = d.main.process.PID()
		return true
	})
	return pid
}

// Whoever ends its host fails; the others begin again, and none of them hears of it.
func TestInvocationsWhoseHostEnds(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	greedy := *f
	greedy.CPU = 200 * time.Millisecond
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			r, err := l.Invoke(t.Context(), script(f, "log x; first 1 sleep 50000; env WEFT_RUN")) // until its host ends
			if err != nil || r.Failure != nil || r.Tries < 2 {
				t.Errorf("sibling: %+v, %v", r, err)
			}
		})
	}
	l.pid(t)
	r, _ := invoke(t, l, script(&greedy, "spin"))
	if r.Failure == nil || r.Failure.Kind != KindLimit {
		t.Errorf("offender: %+v", r.Failure)
	}
	wg.Wait()
	for range 4 {
		wg.Go(func() {
			r, err := l.Invoke(t.Context(), script(f, "sleep 300; env WEFT_RUN"))
			if err != nil || r.Failure != nil {
				t.Errorf("of a host that was killed: %+v, %v", r, err)
			}
		})
	}
	unix.Kill(l.pid(t), unix.SIGKILL)
	wg.Wait()
}

func TestInvocationsThatTakeTooLong(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	var wg sync.WaitGroup
	wg.Go(func() {
		if r, err := l.Invoke(t.Context(), script(f, "sleep 200; put x 1")); err != nil || r.Failure != nil {
			t.Errorf("sibling: %+v, %v", r, err)
		}
	})
	for _, do := range []string{"spin", "wait x 60000"} {
		i := script(f, do)
		i.Timeout = 50 * time.Millisecond
		if r, _ := invoke(t, l, i); r.Failure == nil || r.Failure.Kind != flow.KindTimeout {
			t.Errorf("%s: %+v", do, r.Failure)
		}
	}
	wg.Wait()
	for _, do := range []string{"spin", "wait x 60000"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := l.Invoke(ctx, script(f, do)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", do, err)
		}
	}
	eventually(t, "the end of what nobody waits for", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range l.seats {
			s.d.mu.Lock()
			n := len(s.d.calls)
			s.d.mu.Unlock()
			if n > 0 {
				return false
			}
		}
		return true
	})
	if _, out := invoke(t, l, script(f, "raw 41")); out != "A" {
		t.Errorf("%q", out)
	}
}

// A lane that is not used gives its host back, for runs too.
func TestLaneLingers(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := hello(t, p)
	r, _ := invoke(t, l, Invocation{Function: f})
	now := p.tick.Load()
	p.reap(now + 1)
	if s := p.Stats(); s.Busy != 1 {
		t.Errorf("at once: %+v", s)
	}
	p.reap(now + 100)
	eventually(t, "the return of the host", func() bool { return p.idling("v") == 1 })
	d, results := newDomain(t, p)
	d.Start(callOf(1, f, "a"))
	if got := next(t, results); got.Host != r.Host {
		t.Errorf("a run in %s, the lane was in %s", got.Host, r.Host)
	}
}

// A host that has grown gets no further invocations.
func TestGrownHostsRetire(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := hello(t, p)
	r, _ := invoke(t, l, Invocation{Function: f})
	for _, base := range []int64{0, -growthMax} {
		l.mu.Lock()
		l.seats[0].served = growthEvery
		l.seats[0].d.main.base = base
		l.mu.Unlock()
		p.reap(p.tick.Load())
		next, _ := invoke(t, l, Invocation{Function: f})
		if (next.Host == r.Host) != (base == 0) {
			t.Errorf("base %d: first in %s, then in %s", base, r.Host, next.Host)
		}
	}
}

func TestClosedLane(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p)
	f := actor(t, p)
	ended := make(chan error)
	go func() {
		_, err := l.Invoke(t.Context(), script(f, "sleep 300"))
		ended <- err
	}()
	l.pid(t)
	l.Close()
	if _, err := l.Invoke(t.Context(), script(f, "")); !errors.Is(err, ErrLaneClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("begun before Close: %v", err)
	}
	l = p.Lane(LaneOptions{Version: "v"})
	go func() {
		_, err := l.Invoke(t.Context(), script(f, "sleep 60000"))
		ended <- err
	}()
	l.pid(t)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrLaneClosed) {
		t.Errorf("in a pool that is closed: %v", err)
	}
}

// Everything at the same time, while hosts are killed: each invocation has its
// own output, or fails as it should.
func TestLaneUnderLoad(t *testing.T) {
	p := newPool(t)
	l := newLane(t, p, func(o *LaneOptions) { o.Width = 10 })
	f, short := actor(t, p), nothingFunction(t, p)
	greedy := *f
	greedy.CPU = 30 * time.Millisecond
	until := time.Now().Add(1500 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			for round := 0; time.Now().Before(until); round++ {
				i, want, kind := Invocation{Function: short}, "1", ""
				switch (n + round) % 9 {
				case 0:
					i, want = script(f, fmt.Sprintf("put x %d; put y 200000; sleep 2; len x", 1000+n)), fmt.Sprintf(`["len x: %d of type 0"]`, 1000+n)
				case 1:
					i, want = script(f, "wait x 5"), `["wait x: errno 73"]`
				case 2:
					i, want, kind = script(f, "trap"), "", KindTrap
				case 3:
					i, want = script(f, fmt.Sprintf("emit %d", 70_000+n)), strings.Repeat("e", 70_000+n)
				case 4:
					if n == 4 {
						i, want, kind = script(&greedy, "spin"), "", KindLimit
					}
				case 5:
					if n == 5 {
						i, want, kind = script(f, "spin"), "", flow.KindTimeout
						i.Timeout = 20 * time.Millisecond
					}
				}
				r, err := l.Invoke(t.Context(), i)
				if err != nil {
					t.Error(err)
					return
				}
				got := ""
				if r.Failure != nil {
					got = r.Failure.Kind
				}
				body, _ := r.Body()
				out, err := io.ReadAll(body)
				if err != nil {
					t.Error(err)
				}
				r.Close()
				if got == KindLost { // it was alone, again and again
					continue
				}
				if got != kind || kind == "" && strings.TrimSpace(string(out)) != want {
					t.Errorf("%s: %.80q %+v, want %.80q %s", i.Input, out, r.Failure, want, kind)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(until) {
			time.Sleep(100 * time.Millisecond)
			l.mu.Lock()
			var victim *host
			if len(l.seats) > 0 {
				d := l.seats[0].d
				d.mu.Lock()
				victim = d.main
				d.mu.Unlock()
			}
			l.mu.Unlock()
			if victim != nil {
				victim.process.Kill()
			}
		}
	})
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.seats {
		if s.inside != 0 {
			t.Errorf("%d invocations are counted", s.inside)
		}
	}
}
