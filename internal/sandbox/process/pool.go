package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/sandbox"
)

// The kinds of failures of a call.
const (
	KindExit    = "exit"    // it ended with a status, a signal or an exception
	KindLimit   = "limit"   // it broke a limit of memory, CPU time or file size
	KindTimeout = "timeout" // it ran longer than it may
	KindOutput  = "output"  // its output is too long, or not what an output can be
	KindLost    = "lost"    // its fork server ended, or something else killed it
	KindRefused = "refused" // it could not be started
	KindKilled  = "killed"  // Process.Kill
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("process pool is closed")

// Options configures New.
type Options struct {
	Spawner *sandbox.Spawner // starts fork servers; its executable links package warden. It stays the caller's
	Python  string           // name or path of the interpreter; default python3
	Idle    time.Duration    // a fork server that has not been used for so long is ended; default 5 min
	Servers int              // fork servers that are kept at most, the longest unused is ended first; default 64
	Spare   int              // processes of a version that are forked ahead of its next calls, and kept for 30 s; default 1, negative: none

	// Tiered is sandbox.Limits.Tiered of the groups of calls whose functions have no
	// Limits.Weight; default: none. Fork servers and workers get no more than ServerWeight.
	Tiered int

	// Keep counts the memory of a family's parent, in bytes, for as long as that is there:
	// resize says how much it has become, 0 at its end. False: there is no room for it, and
	// the functions do without one. Default: nobody counts.
	Keep func(family string, bytes int64) (resize func(bytes int64), ok bool)

	// Log hears what fork servers print, such as a module while it is imported;
	// default: nobody.
	Log func(function, line string)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Python == "" {
		o.Python = "python3"
	}
	if o.Idle == 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Servers == 0 {
		o.Servers = 64
	}
	if o.Spare == 0 {
		o.Spare = 1
	}
	if o.Keep == nil {
		o.Keep = func(string, int64) (func(int64), bool) { return func(int64) {}, true }
	}
	if o.Log == nil {
		o.Log = func(string, string) {}
	}
}

// ServerWeight is the most that the groups of fork servers and workers weigh where groups
// are tiers: a tenth of what a call may, so that they get on when calls take all that they
// get, and an import or what a worker does between its calls does not hold those up.
const ServerWeight = 1000

// limits says which limits the machine's cgroups keep.
type limits struct{ memory, pids bool }

// Pool keeps fork servers and starts calls. It is safe for concurrent use.
type Pool struct {
	o        Options
	spawner  *sandbox.Spawner
	limited  limits
	null     *os.File
	patience time.Duration // for a killed call to end
	fresh    fresh
	work     sync.WaitGroup // every goroutine of the pool
	quit     chan struct{}

	mu       sync.Mutex
	closed   bool                  // guarded by mu
	servers  map[key]*server       // guarded by mu
	retired  map[*server]struct{}  // dropped ones that are still there; guarded by mu
	parents  map[string]*parent    // by family; guarded by mu
	degraded []string              // guarded by mu
	pythons  map[string]*candidate // guarded by mu; by name
}

// killPatience is how long a killed call may take to end before its fork server is taken not
// to answer: much longer than a busy machine needs to give its memory back.
const killPatience = 10 * time.Second

// candidate is an interpreter that has been looked for once.
type candidate struct {
	once  sync.Once
	found *python.Interpreter
	err   error
}

// New makes a pool. It fails where processes cannot be confined at all, and
// says why. Close it before its spawner.
func New(o Options) (*Pool, error) {
	o.EnsureDefaults()
	if o.Spawner == nil {
		return nil, errors.New("new process pool: no spawner")
	}
	if err := o.Spawner.CanConfine(); err != nil {
		return nil, fmt.Errorf("new process pool: %w", err)
	}
	p := &Pool{o: o, spawner: o.Spawner, patience: killPatience, quit: make(chan struct{}), fresh: fresh{segments: map[*buffer.Segment]*slotServer{}},
		servers: map[key]*server{}, parents: map[string]*parent{}, retired: map[*server]struct{}{}, pythons: map[string]*candidate{}}
	g, err := o.Spawner.NewGroup(sandbox.Limits{})
	if err != nil {
		return nil, fmt.Errorf("new process pool: %w", err)
	}
	p.limited.memory, p.limited.pids = g.Limited()
	if err := g.Close(); err != nil {
		return nil, fmt.Errorf("new process pool: %w", err)
	}
	p.degraded = slices.Clone(o.Spawner.Degraded())
	if !p.limited.memory {
		p.degraded = append(p.degraded, "memory of calls: no cgroup limits it; each process of a call has its private memory limited instead, "+
			"so that a call with many processes can use more")
	}
	if !p.limited.pids {
		p.degraded = append(p.degraded, "processes of calls: no cgroup limits them; all calls of a version have one limit together")
	}
	if p.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("new process pool: %w", err)
	}
	p.work.Go(p.expire)
	return p, nil
}

// Degraded lists in words what is weaker than weft wants, and why; it is empty
// on a machine that allows everything.
func (p *Pool) Degraded() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.degraded)
}

// degrade notes what a fork server could not have.
func (p *Pool) degrade(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.degraded, what) {
		p.degraded = append(p.degraded, what)
	}
}

// Prepare starts the fork server of a function, or waits for one that is being
// started. An error of kind *flow.Failure says what is wrong with the function.
func (p *Pool) Prepare(ctx context.Context, f *Function) error {
	_, err := p.server(ctx, f)
	return err
}

// server returns the fork server of a function, ready.
func (p *Pool) server(ctx context.Context, f *Function) (*server, error) {
	if err := f.validate(); err != nil {
		return nil, &flow.Failure{Kind: KindRefused, Message: fmt.Sprintf("function %s: %v", f.Name, err), Permanent: true}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	s := p.servers[f.key()]
	if s == nil {
		s = newServer(p, f)
		p.servers[f.key()] = s
		p.work.Go(s.live)
	}
	s.used = time.Now()
	p.mu.Unlock()
	p.shrink(s)
	select {
	case <-s.ready:
		return s, s.failure()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// interpreter finds a Python once.
func (p *Pool) interpreter(ctx context.Context, name string) (*python.Interpreter, error) {
	p.mu.Lock()
	py := p.pythons[name]
	if py == nil {
		py = &candidate{}
		p.pythons[name] = py
	}
	p.mu.Unlock()
	py.once.Do(func() { py.found, py.err = python.Find(ctx, name) })
	if py.err != nil { // it may be installed by the next time
		p.mu.Lock()
		if p.pythons[name] == py {
			delete(p.pythons, name)
		}
		p.mu.Unlock()
	}
	return py.found, py.err
}

// forget removes a fork server that has ended.
func (p *Pool) forget(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.retired, s)
	if p.servers[s.f.key()] == s {
		delete(p.servers, s.f.key())
	}
}

// shrink ends the fork servers longest unused while there are too many.
func (p *Pool) shrink(keep *server) {
	for {
		p.mu.Lock()
		var oldest *server
		if len(p.servers) > p.o.Servers {
			for _, s := range p.servers {
				if s != keep && (oldest == nil || s.used.Before(oldest.used)) && s.idle() {
					oldest = s
				}
			}
		}
		if oldest != nil {
			delete(p.servers, oldest.f.key())
		}
		p.mu.Unlock()
		if oldest == nil {
			return
		}
		oldest.end()
	}
}

// spareIdle is how long processes are kept ahead of the next call.
const spareIdle = 30 * time.Second

// expire ends fork servers that have not been used for long, and before that
// what they have ready.
func (p *Pool) expire() {
	tick := time.NewTicker(max(min(p.o.Idle/4, spareIdle/2), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-tick.C:
			p.mu.Lock()
			var old, quiet []*server
			for k, s := range p.servers {
				if now.Sub(s.used) > spareIdle {
					quiet = append(quiet, s)
				}
				if now.Sub(s.used) > p.o.Idle && s.idle() {
					delete(p.servers, k)
					old = append(old, s)
				}
			}
			parents := p.oldParents(now)
			p.mu.Unlock()
			for _, s := range old {
				s.end()
			}
			for _, a := range parents {
				a.end()
			}
			for _, s := range quiet {
				s.discard()
				s.dismiss(p.o.Idle, now)
			}
		}
	}
}

// Drop ends the fork servers of a version, those of its functions, each when the
// calls that it has have ended. It does not wait.
func (p *Pool) Drop(version string) {
	p.mu.Lock()
	var old []*server
	for k, s := range p.servers {
		if k.version == version {
			delete(p.servers, k)
			p.retired[s] = struct{}{}
			old = append(old, s)
		}
	}
	p.mu.Unlock()
	for _, s := range old {
		s.retire()
	}
}

// Close ends every call and every fork server, and waits for that.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	var all []*server
	for _, s := range p.servers {
		all = append(all, s)
	}
	for s := range p.retired {
		all = append(all, s)
	}
	for _, a := range p.parents {
		all = append(all, a.server)
	}
	p.mu.Unlock()
	close(p.quit)
	for _, s := range all {
		s.end()
	}
	p.work.Wait()
	return p.null.Close()
}
