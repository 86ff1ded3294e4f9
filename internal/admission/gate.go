package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configure a Gate.
type Options struct {
	// Memory bounds the sum of what the calls inside declare, in bytes. Default 0:
	// no bound.
	Memory int64
	// Calls bounds the calls inside. Default 0: no bound.
	Calls int
	// Queue is how many calls of a function may wait, unless it says otherwise.
	// Default 100.
	Queue int
	// Waiting bounds the calls that wait on the node in all, those of accepted runs
	// apart. Default 10,000.
	Waiting int
	// Wait is how long a call may wait. Default 30 seconds.
	Wait time.Duration
	// Passes is how many calls may enter before one that waits for memory. Default 16.
	Passes int
	// App is the quota of each app that has none of its own in Apps.
	App  Quota
	Apps map[string]Quota
	// Now is the clock, from any fixed moment. Default: the machine's.
	Now func() time.Duration
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Queue <= 0 {
		o.Queue = 100
	}
	if o.Waiting <= 0 {
		o.Waiting = 10_000
	}
	if o.Wait <= 0 {
		o.Wait = 30 * time.Second
	}
	if o.Passes <= 0 {
		o.Passes = 16
	}
	if o.Now == nil {
		start := time.Now()
		o.Now = func() time.Duration { return time.Since(start) }
	}
}

func (o *Options) quota(app string) Quota {
	if q, ok := o.Apps[app]; ok {
		return q
	}
	return o.App
}

// ErrFull is the error of a call that may not wait, or has waited too long.
type ErrFull struct {
	App, Function string
	Why           string
	RetryAfter    time.Duration // estimated from how long the function's calls take; at least a second
}

func (e *ErrFull) Error() string {
	return fmt.Sprintf("function %s of app %s is busy: %s; try again in %v", e.Function, e.App, e.Why, e.RetryAfter.Round(time.Second))
}

// ErrTooLarge is wrapped when a call declares more memory than it could ever
// get.
var ErrTooLarge = errors.New("too large to be admitted")

// Gate admits calls. It is safe for concurrent use.
type Gate struct {
	mu     sync.Mutex
	policy *policy // guarded by mu
}

// New makes a gate. There is nothing to close.
func New(o Options) *Gate {
	o.EnsureDefaults()
	return &Gate{policy: newPolicy(o)}
}

// Configure changes the limits. Calls that are inside stay there.
func (g *Gate) Configure(o Options) {
	o.EnsureDefaults()
	g.mu.Lock()
	g.policy.set(o)
	in := g.policy.admit(nil)
	g.date(in)
	g.mu.Unlock()
	g.welcome(in)
}

// Enter waits until the call may run. Call release once it has ended; further
// calls of it do nothing. The error is *ErrFull when it may not wait or has waited
// for too long, ErrTooLarge, or that of ctx.
func (g *Gate) Enter(ctx context.Context, d Demand) (release func(), err error) {
	t := &ticket{gate: g}
	g.mu.Lock()
	in, err := g.policy.arrive(&d, t)
	g.date(in)
	if err != nil || t.state == entered {
		if err == nil {
			t.begun = g.policy.o.Now()
		}
		g.mu.Unlock()
		g.welcome(in)
		if err != nil {
			return nil, err
		}
		return t.release, nil
	}
	ready := make(chan struct{})
	t.ready = func() { close(ready) }
	wait := d.Wait
	if wait == 0 {
		wait = g.policy.o.Wait
	}
	g.mu.Unlock()
	g.welcome(in)
	var late <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ready:
		return t.release, nil
	case <-ctx.Done():
		t.release()
		return nil, ctx.Err()
	case <-late:
		g.mu.Lock()
		again := g.policy.patience(t.f)
		g.mu.Unlock()
		t.release()
		return nil, &ErrFull{App: d.App, Function: d.Function, Why: fmt.Sprintf("it waited for %v", wait), RetryAfter: again}
	}
}

// Request is Enter for callers that do not wait: ready is called once, when the
// call may run, perhaps before Request returns and perhaps by whoever makes room
// for it; it must not block. leave takes the call out, whether it is inside or
// still waits; ready is not called any more when it has returned before.
func (g *Gate) Request(d Demand, ready func()) (leave func(), err error) {
	t := &ticket{gate: g, ready: ready}
	g.mu.Lock()
	in, err := g.policy.arrive(&d, t)
	if t.state == entered {
		in = append(in, t)
	}
	g.date(in)
	g.mu.Unlock()
	g.welcome(in)
	if err != nil {
		return nil, err
	}
	return t.release, nil
}

// Keep counts memory of an app that no call declares, such as that of a process which
// others are forked from. It does not wait: ok is false when the node or the app has
// no room now, or when what is kept would be more than a quarter of what either may
// have. resize says how many bytes it is from now on, 0 when it is gone.
func (g *Gate) Keep(app string, bytes int64) (resize func(bytes int64), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.policy.app(app)
	if !g.policy.keep(a, bytes) {
		return nil, false
	}
	return func(to int64) {
		g.mu.Lock()
		g.policy.kept(a, to-bytes)
		bytes = to
		in := g.policy.admit(nil)
		g.date(in)
		g.mu.Unlock()
		g.welcome(in)
	}, true
}

// Hold counts memory of an app that is there whether there is room or not, such as that of
// an instance which a call needs that holds what others wait for: calls that declare
// theirs wait the longer. release says that it is gone.
func (g *Gate) Hold(app string, bytes int64) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.policy.app(app)
	g.policy.kept(a, bytes)
	return func() {
		g.mu.Lock()
		g.policy.kept(a, -bytes)
		in := g.policy.admit(nil)
		g.date(in)
		g.mu.Unlock()
		g.welcome(in)
	}
}

// Crowded reports whether calls of the app wait for memory, or have to.
func (g *Gate) Crowded(app string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.policy.crowded(g.policy.app(app))
}

// release takes the call out and lets in who has room now.
func (t *ticket) release() {
	g := t.gate
	var in []*ticket
	g.mu.Lock()
	if t.state == entered {
		t.f.served(g.policy.o.Now() - t.begun)
	}
	if g.policy.leave(t) {
		in = g.policy.admit(nil)
		g.date(in)
	}
	g.mu.Unlock()
	g.welcome(in)
}

// date notes when calls have entered; g.mu is held.
func (g *Gate) date(in []*ticket) {
	if len(in) == 0 {
		return
	}
	now := g.policy.o.Now()
	for _, t := range in {
		t.begun = now
	}
}

// welcome tells calls that they are in, without the lock.
func (g *Gate) welcome(in []*ticket) {
	for _, t := range in {
		t.ready()
	}
}

// Stats is what is inside and what waits.
type Stats struct {
	Running, Waiting    int
	Memory, MemoryLimit int64 // bytes declared, or kept
	Functions           []FunctionStats
}

// FunctionStats is the part of a function.
type FunctionStats struct {
	App, Function    string
	Running, Waiting int
	Service          time.Duration // mean of the last calls, from entering to leaving; 0: none has ended
}

// Stats returns what is inside now, functions in order of app and name.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.policy
	s := Stats{Running: p.running, Waiting: p.waiting, Memory: p.node.used + p.node.kept, MemoryLimit: p.node.limit}
	for f := range maps.Values(p.functions) {
		s.Functions = append(s.Functions, FunctionStats{f.app, f.function, f.running, len(f.queue), f.service})
	}
	slices.SortFunc(s.Functions, func(a, b FunctionStats) int {
		if c := strings.Compare(a.App, b.App); c != 0 {
			return c
		}
		return strings.Compare(a.Function, b.Function)
	})
	return s
}
