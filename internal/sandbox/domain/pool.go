package domain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/process"
)

// PoolOptions configure a Pool.
type PoolOptions struct {
	// Executable is the domain host's ELF file; it is read once.
	Executable io.Reader
	// CacheDir holds the image cache, in a folder "images".
	CacheDir string
	// Hosts is how many clean hosts are kept ready. Default 2: they share the pages
	// of their program, and a call that has to run alone finds one.
	Hosts int
	// Reuse is how many hosts that have served an app version are kept for its
	// next run. Default 4. More of them stay for a few seconds.
	Reuse int
	// Idle is how long a host that has served an app version is kept without work.
	// Default 5 minutes.
	Idle time.Duration
	// Max bounds the hosts that serve runs and invocations, ready ones included.
	// Calls that have to run alone get one in any case. Default 256.
	Max int
	// Memory bounds each host process, in bytes: linear memories, private pages
	// of views and buffers made in it. Default 80 % of the machine's.
	Memory int64
	// Compile bounds the compilation of modules.
	Compile CompileLimits
	// CPU schedules the calls. Default: the kernel alone does.
	CPU *scheduler.Scheduler
	// Expressions bounds the time of evaluating the expressions of one step.
	// Default 10 seconds.
	Expressions time.Duration
	// Python is the interpreter of functions in Python, a name or a path. Default
	// python3.
	Python string
	// Keep counts the memory of parents of functions in Python, see process.Options. Default:
	// nobody.
	Keep func(app string, bytes int64) (resize func(bytes int64), ok bool)
	// Said hears what functions that are processes print before they are called,
	// such as Python modules while they are imported. Default: nobody.
	Said func(function, line string)
}

// Pool holds what the runs of a node share: confined hosts kept ready ahead of
// need, images, and memory files for buffers.
type Pool struct {
	o       PoolOptions
	exe     *os.File
	spawner *sandbox.Spawner
	images  *images
	supply  *buffer.Supply
	expr    evaluator

	processing sync.Mutex
	processes  *process.Pool // nil until a function is a process; guarded by processing
	workers    workers       // processes that stay
	serial     atomic.Uint64 // of the last process, for its name

	warmOnce  sync.Once
	warm      *Image
	warmError error

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines that fill the pool or reset hosts

	tick atomic.Int64 // counts seconds

	mu      sync.Mutex
	ready   []*host                         // clean; guarded by mu, as all below
	used    map[string][]*host              // by app version, the last used last
	coming  map[string]int                  // domains that are giving their hosts back, by app version
	busy    map[string]int                  // hosts that are taken, by app version
	domains map[string]map[*Domain]struct{} // those with a main host, by app version
	kept    map[string]*keep                // what Keep has asked for, by app version
	idle    map[string]time.Duration        // what KeepFor has set, by app version
	likely  map[string][]*Function          // what Prepare has named, by app version
	lanes   map[*Lane]struct{}
	changed chan struct{} // closed, and made anew, at every change
	takers  int           // who waits for a host
	making  int           // hosts being started
	alive   int           // hosts that are there, in whatever state
	failed  int           // starts that have failed
	failure error         // of the last of them
	closed  bool
	counts  counts

	posting sync.Mutex
	posted  map[*host]struct{} // with messages that wait to be sent; guarded by posting
}

// hostFiles is how many descriptors a host may have.
const hostFiles = 4096

// ErrClosed is returned by a pool after Close.
var ErrClosed = errors.New("the pool is closed")

// NewPool probes the machine and starts to fill the pool. Close it.
func NewPool(ctx context.Context, o PoolOptions) (*Pool, error) {
	if o.Hosts <= 0 {
		o.Hosts = 2
	}
	if o.Reuse <= 0 {
		o.Reuse = 4
	}
	if o.Idle <= 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Max <= 0 {
		o.Max = 256
	}
	if o.Memory <= 0 {
		o.Memory = physicalMemory() / 5 * 4
	}
	if o.Expressions <= 0 {
		o.Expressions = 10 * time.Second
	}
	o.Compile.EnsureDefaults()
	images, err := newImages(filepath.Join(o.CacheDir, "images"))
	if err != nil {
		return nil, err
	}
	exe, err := sandbox.Executable(o.Executable)
	if err != nil {
		return nil, err
	}
	spawner, err := sandbox.NewSpawner(ctx, sandbox.SpawnerOptions{Exec: exe})
	if err != nil {
		exe.Close()
		return nil, err
	}
	p := &Pool{
		o: o, exe: exe, spawner: spawner, images: images,
		supply: buffer.NewSupply(buffer.SupplyOptions{}),
		used:   map[string][]*host{}, coming: map[string]int{}, busy: map[string]int{}, changed: make(chan struct{}),
		domains: map[string]map[*Domain]struct{}{}, kept: map[string]*keep{}, likely: map[string][]*Function{}, idle: map[string]time.Duration{}, lanes: map[*Lane]struct{}{},
	}
	p.expr.pool = p
	o.CPU.Watch(p.tiers)
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.mu.Lock()
	p.refill()
	p.mu.Unlock()
	p.work.Go(p.reaper)
	return p, nil
}

// Isolation tells the walls around each host.
func (p *Pool) Isolation() sandbox.Isolation { return p.spawner.Isolation() }

// Close ends every host and waits until nothing of them is left.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	hosts := p.ready
	for _, used := range p.used {
		hosts = append(hosts, used...)
	}
	p.ready, p.used = nil, map[string][]*host{}
	lanes := slices.Collect(maps.Keys(p.lanes))
	p.notify()
	p.mu.Unlock()
	for _, l := range lanes {
		l.end()
	}
	p.cancel()
	err := p.closeProcesses() // before work, which waits for their calls
	p.work.Wait()
	for _, h := range hosts {
		h.kill()
	}
	p.expr.close()
	if p.warm != nil {
		p.warm.Close()
	}
	err = errors.Join(err, p.spawner.Close())
	return errors.Join(err, p.supply.Close(), p.exe.Close())
}

// refill starts hosts until as many are ready as are to be, and one for each
// taker that waits; p.mu is held. No more are started at a time than there are
// processors.
func (p *Pool) refill() {
	for !p.closed && len(p.ready)+p.making < p.o.Hosts+p.takers && p.making < max(2, runtime.NumCPU()) {
		if p.takers > 0 && !p.room() || p.takers == 0 && p.alive >= p.o.Max {
			return
		}
		p.making++
		p.alive++
		p.work.Go(func() {
			h, err := p.start(p.ctx)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.making--
			switch {
			case err != nil:
				p.alive--
				p.failed++
				p.failure = err
			case p.closed:
				p.alive--
				p.work.Go(h.kill)
			default:
				p.ready = append(p.ready, h)
				p.refill()
			}
			p.notify()
		})
	}
}

// room makes sure that one more host may be there, at the expense of one that
// has been idle for the longest; p.mu is held.
func (p *Pool) room() bool {
	if p.alive < p.o.Max {
		return true
	}
	h := p.evict()
	if h == nil {
		return false
	}
	p.counts.evicted++
	p.work.Go(h.kill)
	return true
}

// refillDelay keeps the start of the next host, some milliseconds of a core,
// out of the way of what the last one was taken for.
const refillDelay = 10 * time.Millisecond

func (p *Pool) refillSoon() {
	p.work.Go(func() {
		select {
		case <-time.After(refillDelay):
			p.mu.Lock()
			p.refill()
			p.mu.Unlock()
		case <-p.ctx.Done():
		}
	})
}

func (p *Pool) start(ctx context.Context, folders ...*sandbox.Grant) (*host, error) {
	limits := sandbox.Limits{Memory: p.o.Memory, Tiered: expressWeight, Pids: 512, Files: hostFiles}
	h, err := spawn(ctx, p.spawner, sandbox.RoleRun, limits, folders...)
	if err != nil {
		return nil, err
	}
	group, freezer := h.process.CPU()
	h.sandbox = p.o.CPU.Sandbox(scheduler.Process{PID: h.process.PID(), Group: group, Freezer: freezer, Tiered: true})
	stop := context.AfterFunc(ctx, func() { h.process.Kill() })
	defer stop()
	if err := p.warmUp(h); err != nil {
		h.kill()
		return nil, err
	}
	return h, nil
}

// startsMax is how many starts of hosts may fail while somebody waits for one: a
// single failure may have come from outside.
const startsMax = 3

// take gives a host to a run: one that has served the same app version, a
// clean one, or a new one. fresh says that it must be clean, and that it is given
// beyond Options.Max if need be.
//
// Where hosts have no file tree of their own, the folders that a run needs have
// to be known when its host starts: a clean one of the pool does not do then.
func (p *Pool) take(ctx context.Context, version string, fresh bool, folders []File) (*host, error) {
	fenced := len(folders) > 0 && !p.spawner.Isolation().Mount
	p.mu.Lock()
	failed := p.failed
	for cold := false; ; {
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		if h := p.pick(version, fresh, fenced); h != nil {
			p.taken(h, version, cold)
			p.mu.Unlock()
			select {
			case <-h.process.Done(): // it died while it waited
				h.kill()
				p.ended(h)
				p.mu.Lock()
				continue
			default:
				return h, nil
			}
		}
		returning := !fresh && p.coming[version] > 0
		if !returning && (fenced || fresh && p.making == 0) && (fresh || p.room()) {
			p.alive++
			p.mu.Unlock()
			h, err := p.startFor(ctx, fenced, folders)
			p.mu.Lock()
			if err != nil {
				p.alive--
				p.mu.Unlock()
				return nil, err
			}
			p.taken(h, version, true)
			p.mu.Unlock()
			return h, nil
		}
		if !returning && !fenced {
			cold = true
			p.takers++
			p.refill()
		}
		changed := p.changed
		p.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		if !returning && !fenced {
			p.takers--
		}
		if err == nil && p.failed-failed >= startsMax && !returning && len(p.ready) == 0 {
			err = p.failure
		}
		if err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
}

// pick takes a host out of the pool, if there is one that fits; p.mu is held.
func (p *Pool) pick(version string, fresh, fenced bool) *host {
	if used := p.used[version]; !fresh && len(used) > 0 {
		h := used[len(used)-1]
		p.used[version] = used[:len(used)-1]
		return h
	}
	if !fresh && p.coming[version] > 0 { // it knows the functions, a clean one does not
		return nil
	}
	if n := len(p.ready); !fenced && n > 0 {
		h := p.ready[n-1]
		p.ready = p.ready[:n-1]
		p.refillSoon()
		return h
	}
	return nil
}

// taken notes that a host serves a version from now on; p.mu is held.
func (p *Pool) taken(h *host, version string, cold bool) {
	switch {
	case version == "":
	case h.runs > 0 || len(h.defined) > 0:
		p.counts.warm++
	case cold:
		p.counts.cold++
	default:
		p.counts.clean++
	}
	h.runs++
	h.serves, h.taken = version, true
	p.busy[version]++
}

// ended notes that a host is no more.
func (p *Pool) ended(h *host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left(h)
	if !h.gone {
		h.gone = true
		p.alive--
		p.notify()
	}
}

// left notes that a host serves nobody any longer; p.mu is held.
func (p *Pool) left(h *host) {
	if !h.taken {
		return
	}
	h.taken = false
	if p.busy[h.serves]--; p.busy[h.serves] == 0 {
		delete(p.busy, h.serves)
	}
}

// startFor starts a host for a taker.
func (p *Pool) startFor(ctx context.Context, fenced bool, folders []File) (*host, error) {
	if fenced {
		return p.startFenced(ctx, folders)
	}
	return p.start(ctx)
}

// startFenced starts a host that may use these folders.
func (p *Pool) startFenced(ctx context.Context, folders []File) (*host, error) {
	var grants []*sandbox.Grant
	defer func() {
		for _, g := range grants {
			g.File.Close()
		}
	}()
	for _, f := range folders {
		g, err := p.spawner.OpenDir(f.Host, f.ReadOnly)
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", f.Guest, err)
		}
		grants = append(grants, g)
	}
	return p.start(ctx, grants...)
}

// flushDelay bounds how long a message waits that no host needs at once.
const flushDelay = 5 * time.Millisecond

// flushSoon sends what was posted to a host, if no other message takes it along
// before.
func (p *Pool) flushSoon(h *host) {
	p.posting.Lock()
	defer p.posting.Unlock()
	if p.posted == nil {
		p.posted = map[*host]struct{}{}
		p.work.Go(p.flushPosted)
	}
	p.posted[h] = struct{}{}
}

func (p *Pool) flushPosted() {
	select {
	case <-time.After(flushDelay):
	case <-p.ctx.Done():
	}
	p.posting.Lock()
	posted := p.posted
	p.posted = nil
	p.posting.Unlock()
	for h := range posted {
		h.conn.Flush() // its end is its reader's business
	}
}

// notify wakes those who wait for the pool to change; p.mu is held.
func (p *Pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// returning counts the domains whose hosts are about to be given back.
func (p *Pool) returning(version string, n int) {
	if version == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.coming[version] += n; p.coming[version] == 0 {
		delete(p.coming, version)
	}
	p.notify()
}

// give takes back a host that is idle, for the next run of the version; with an
// empty one it is ended.
func (p *Pool) give(h *host, version string) {
	p.mu.Lock()
	p.left(h)
	keep := !p.closed && version != "" && p.alive <= p.o.Max && len(h.defined) < definedMax
	p.mu.Unlock()
	if keep && (h.spent || h.runs%growthEvery == 0 && h.grown()) {
		keep = false
		p.mu.Lock()
		p.counts.retired++
		p.mu.Unlock()
	}
	if keep {
		p.mu.Lock()
		if keep = !p.closed; keep {
			h.since = p.tick.Load()
			p.used[version] = append(p.used[version], h)
			p.notify()
		}
		p.mu.Unlock()
	}
	if !keep {
		h.kill()
		p.ended(h)
	}
}

// Ready waits until as many clean hosts are ready as the pool keeps, and
// returns how long the start of the last one took.
func (p *Pool) Ready(ctx context.Context) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		failed := p.failed
		if n := len(p.ready); n > 0 && n >= p.o.Hosts {
			return p.ready[n-1].started, nil
		}
		if p.closed {
			return 0, ErrClosed
		}
		p.refill()
		changed := p.changed
		p.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		if err == nil && p.failed != failed {
			err = p.failure
		}
		if err != nil {
			return 0, err
		}
	}
}

// Memory is the proportional set size of a ready host, in bytes.
func (p *Pool) Memory() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return 0, errors.New("no host is ready")
	}
	use, err := p.ready[0].process.Memory()
	return use.PSS, err
}

func physicalMemory() int64 {
	var kib int64
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 8 << 30
	}
	defer f.Close()
	if _, err := fmt.Fscanf(f, "MemTotal: %d kB", &kib); err != nil {
		return 8 << 30
	}
	return kib << 10
}
