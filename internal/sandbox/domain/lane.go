package domain

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/process"
)

// LaneOptions configure a Lane.
type LaneOptions struct {
	App, Edition string // what the CPU time of functions is learned under
	Version      string // of the app: as in Options
	Folders      []File // every folder that a function of it may use
	Quota        int64  // bytes of buffers of the invocations in one host; default 4 GiB
	// Width is how many invocations a host carries out at a time. Default 32.
	Width int
	// Linger is how long a host without an invocation stays with the lane, before
	// the runs of the version may have it. Default 2 seconds.
	Linger time.Duration
}

// Lane carries out single invocations of the functions of one app version, which
// are no part of a run. They share hosts, but nothing else: each has an instance
// of its own, and what it publishes is gone when it ends.
//
// The first host that has room gets the next invocation, so that under a small
// load one host is busy and the others become idle and leave.
type Lane struct {
	o    LaneOptions
	pool *Pool

	mu     sync.Mutex
	seats  []*seat // in order of preference; guarded by mu
	closed bool    // guarded by mu
}

// seat is a domain of a lane, whose one host serves invocations.
type seat struct {
	d      *Domain
	inside int // invocations; guarded by the lane's mu
	used   int64
	served uint64 // invocations since its memory was looked at; guarded by the lane's mu
	spent  bool   // it gets no further ones; guarded by the lane's mu
}

// Invocation is one call of one function, by itself.
type Invocation struct {
	Function *Function
	Name     string        // of the invocation, for WEFT_RUN
	Key      string        // idempotency key
	Trace    string        // W3C traceparent for the function's environment; empty: none
	Input    []byte        // standard input
	Body     *Body         // standard input instead of Input; it must stay open
	Timeout  time.Duration // 0: none. What it waits for the processor before it begins does not count
	Deadline time.Time     // by which it should have ended; zero: none
	// Stdout, if it is not nil, is where standard output goes as it is written:
	// one end of a pipe or socket. Nothing counts it against the function's limit.
	// Invoke closes it when the function has ended.
	Stdout *os.File
	// Log is told what it writes to standard error; it must not block.
	Log func(text []byte)
	// Request, of a function that is an application: what it answers, with Input or
	// Body as its body. Respond hears the head of the response before any of it is
	// in Stdout, from another goroutine, at most once.
	Request *process.Request
	Respond func(status int, header http.Header)
}

// Reply is how an invocation ended. Close it.
type Reply struct {
	Result // Spilled says nothing: Body reads every output
	Tries  int
}

// Body reads standard output from its start, and tells its length.
func (r *Reply) Body() (io.Reader, int64) {
	if r.spilled != nil {
		return r.spilled.Reader(r.Spilled.Len), r.Spilled.Len
	}
	return reader(&buffer.Inline{Bytes: r.Output}, 0), int64(len(r.Output))
}

// Close frees a long output. The readers of Body end with it.
func (r *Reply) Close() {
	if r.spilled != nil {
		r.spilled.Release()
		r.spilled = nil
	}
}

// Lane makes a lane. Close it.
func (p *Pool) Lane(o LaneOptions) *Lane {
	if o.Width <= 0 {
		o.Width = 32
	}
	if o.Linger <= 0 {
		o.Linger = 2 * time.Second
	}
	l := &Lane{o: o, pool: p}
	p.mu.Lock()
	p.lanes[l] = struct{}{}
	p.mu.Unlock()
	return l
}

// triesMax bounds how often an invocation is carried out whose host is lost
// because of others.
const triesMax = 8

// Invoke carries out an invocation and returns how it ended; only when it could
// not begin, or ctx is over, it returns an error. When its host is lost because
// of another invocation it begins again, alone if nobody knows which one it was;
// a Stdout that may have been written to is not written again.
func (l *Lane) Invoke(ctx context.Context, i Invocation) (*Reply, error) {
	if i.Stdout != nil {
		defer i.Stdout.Close()
	}
	alone := false
	for try := 1; ; try++ {
		k, err := l.try(ctx, &i, try, alone)
		if err != nil {
			return nil, err
		}
		r := &Reply{Result: k.result, Tries: try}
		f := r.Failure
		if f == nil || !f.Free || i.Stdout != nil || i.Respond != nil || try == triesMax {
			return r, nil
		}
		alone = alone || f.Alone
	}
}

// try carries out an invocation once.
func (l *Lane) try(ctx context.Context, i *Invocation, try int, alone bool) (*call, error) {
	k := &call{
		Call: Call{
			Function: i.Function, Path: i.Function.Name, Step: i.Name, Index: -1, Attempt: try, Key: i.Key, Trace: i.Trace, Input: i.Input, Time: i.Timeout,
		},
		running: true, single: true, stdout: i.Stdout, log: i.Log, request: i.Request, respond: i.Respond, over: make(chan struct{}, 1),
	}
	if i.Body != nil {
		if s, ok := i.Body.holder.(*buffer.Segment); ok {
			k.body, k.size = s, i.Body.Size
		} else {
			k.Input = i.Body.Inline()
		}
	}
	k.CPU = l.pool.o.CPU.Begin(scheduler.Demand{App: l.o.App, Version: l.o.Edition, Function: i.Function.Name, Deadline: i.Deadline})
	defer k.CPU.End(0, true) // unless the domain has
	select {
	case <-k.CPU.Admitted():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.pool.ctx.Done():
		return nil, ErrLaneClosed
	}
	s, err := l.sit(alone || k.CPU.Apart() || i.Function.Process != nil) // a process shares nothing
	if err != nil {
		return nil, err
	}
	s.d.begin(k)
	var late <-chan time.Time
	if i.Timeout > 0 {
		t := time.NewTimer(i.Timeout)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-k.over:
		l.rise(s)
		return k, nil
	case <-late:
		l.spend(s)
		s.d.stop(k.ID, graceStop)
		l.rise(s)
		return &call{result: Result{Call: k.ID, Wall: i.Timeout, Failure: &flow.Failure{
			Kind: flow.KindTimeout, Message: "function " + i.Function.Name + " took longer than " + i.Timeout.String(),
		}}}, nil
	case <-s.d.ctx.Done():
		return nil, ErrLaneClosed
	case <-ctx.Done():
		s.d.stop(k.ID, graceLeft)
		l.rise(s)
		return nil, ctx.Err()
	}
}

// graceLeft is how long a call goes on that nobody waits for any longer, before
// its host is ended: others may be at work there.
const graceLeft = time.Second

// ErrLaneClosed is returned by a lane after Close.
var ErrLaneClosed = errors.New("the app version is not served any longer")

// sit chooses the seat of an invocation.
func (l *Lane) sit(alone bool) (*seat, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrLaneClosed
	}
	if !alone {
		for _, s := range l.seats {
			if s.inside < l.o.Width && !s.spent && !s.d.long() {
				s.inside++
				return s, nil
			}
		}
	}
	d, err := l.pool.Domain(Options{Version: l.o.Version, Folders: l.o.Folders, Quota: l.o.Quota})
	if err != nil {
		return nil, err
	}
	s := &seat{d: d, inside: 1, spent: alone}
	l.seats = append(l.seats, s)
	return s, nil
}

// long reports whether a long call runs in the host, where others would keep it from being
// stopped.
func (d *Domain) long() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.main != nil && d.main.sandbox.Long()
}

// spend keeps further invocations from a seat: its host is ended if the call that
// is late does not stop, and what streams there could not be repeated.
func (l *Lane) spend(s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.spent = true
}

// rise ends an invocation's stay.
func (l *Lane) rise(s *seat) {
	l.mu.Lock()
	s.inside--
	s.served++
	s.used = l.pool.tick.Load()
	end := s.inside == 0 && (s.spent || l.closed)
	if end {
		l.remove(s)
	}
	l.mu.Unlock()
	if end {
		s.d.Close()
	}
}

// remove takes a seat out; l.mu is held.
func (l *Lane) remove(s *seat) {
	if n := slices.Index(l.seats, s); n >= 0 {
		l.seats = slices.Delete(l.seats, n, n+1)
	}
}

// reap gives up the seats that have not been used since a tick of the pool, and
// has those whose host has grown end when their invocations have.
func (l *Lane) reap(before int64) {
	var idle []*seat
	l.mu.Lock()
	for _, s := range slices.Clone(l.seats) {
		if s.served >= growthEvery {
			s.served = 0
			s.spent = s.spent || s.d.grown()
		}
		if s.inside == 0 && (s.spent || s.used < before) {
			l.remove(s)
			idle = append(idle, s)
		}
	}
	l.mu.Unlock()
	for _, s := range idle {
		s.d.Close()
	}
}

// Close refuses further invocations. Those under way end as they would.
func (l *Lane) Close() {
	l.pool.mu.Lock()
	delete(l.pool.lanes, l)
	l.pool.mu.Unlock()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.reap(1 << 62)
}

// end is Close that ends what is under way too.
func (l *Lane) end() {
	l.Close()
	l.mu.Lock()
	seats := l.seats
	l.seats = nil
	l.mu.Unlock()
	for _, s := range seats {
		s.d.Close()
	}
}
