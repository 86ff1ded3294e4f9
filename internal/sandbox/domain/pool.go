package domain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox"
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
	// next run. Default 4.
	Reuse int
	// Memory bounds each host process, in bytes: linear memories, private pages
	// of views and buffers made in it. Default 80 % of the machine's.
	Memory int64
	// Compile bounds the compilation of modules.
	Compile CompileLimits
	// Expressions bounds the time of evaluating the expressions of one step.
	// Default 10 seconds.
	Expressions time.Duration
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

	warmOnce  sync.Once
	warm      *Image
	warmError error

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines that fill the pool or reset hosts

	mu      sync.Mutex
	ready   []*host            // clean; guarded by mu
	used    map[string][]*host // by app version, the last used last; guarded by mu
	coming  map[string]int     // domains that are giving their hosts back, by app version; guarded by mu
	changed chan struct{}      // closed, and made anew, at every change; guarded by mu
	making  int                // hosts being started; guarded by mu
	closed  bool               // guarded by mu

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
		used:   map[string][]*host{}, coming: map[string]int{}, changed: make(chan struct{}),
	}
	p.expr.pool = p
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.refill()
	return p, nil
}

// Degraded lists what is weaker on this machine than weft wants, in words.
func (p *Pool) Degraded() []string { return p.spawner.Degraded() }

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
	p.mu.Unlock()
	p.cancel()
	p.work.Wait()
	for _, h := range hosts {
		h.kill()
	}
	p.expr.close()
	if p.warm != nil {
		p.warm.Close()
	}
	err := p.spawner.Close()
	return errors.Join(err, p.supply.Close(), p.exe.Close())
}

// refill starts hosts until enough are ready.
func (p *Pool) refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; !p.closed && len(p.ready)+p.making < p.o.Hosts; p.making++ {
		p.work.Go(func() {
			h, err := p.start(p.ctx)
			p.mu.Lock()
			p.making--
			keep := err == nil && !p.closed
			if keep {
				p.ready = append(p.ready, h)
			}
			p.notify()
			p.mu.Unlock()
			if err == nil && !keep {
				h.kill()
			}
		})
	}
}

// refillDelay keeps the start of the next host, some milliseconds of a core,
// out of the way of what the last one was taken for.
const refillDelay = 10 * time.Millisecond

func (p *Pool) refillSoon() {
	p.work.Go(func() {
		select {
		case <-time.After(refillDelay):
			p.refill()
		case <-p.ctx.Done():
		}
	})
}

func (p *Pool) start(ctx context.Context, folders ...*sandbox.Grant) (*host, error) {
	h, err := spawn(ctx, p.spawner, sandbox.RoleRun, sandbox.Limits{Memory: p.o.Memory, Pids: 512, Files: hostFiles}, folders...)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { h.process.Kill() })
	defer stop()
	if err := p.warmUp(h); err != nil {
		h.kill()
		return nil, err
	}
	return h, nil
}

// take gives a host to a run: one that has served the same app version, a
// clean one, or a new one. fresh says that it must be clean. It rather waits
// for a host that is about to be there than starting one more.
//
// Where hosts have no file tree of their own, the folders that a run needs have
// to be known when its host starts: a clean one of the pool does not do then.
func (p *Pool) take(ctx context.Context, version string, fresh bool, folders []File) (*host, error) {
	fenced := len(folders) > 0 && !p.spawner.Isolation().Mount
	for {
		p.mu.Lock()
		h, wait := p.pick(version, fresh, fenced)
		closed, changed := p.closed, p.changed
		p.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case h != nil:
			p.refillSoon()
			select {
			case <-h.process.Done(): // it died while it waited
				h.kill()
				continue
			default:
				return h, nil
			}
		case fenced && !wait:
			return p.startFenced(ctx, folders)
		case !wait:
			p.refillSoon()
			return p.start(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pick takes a host out of the pool, or says whether one will be there soon;
// p.mu is held.
func (p *Pool) pick(version string, fresh, fenced bool) (h *host, wait bool) {
	if used := p.used[version]; !fresh && len(used) > 0 {
		h = used[len(used)-1]
		p.used[version] = used[:len(used)-1]
		return h, false
	}
	if !fresh && p.coming[version] > 0 { // it knows the functions, a clean one does not
		return nil, true
	}
	if fenced {
		return nil, false
	}
	if n := len(p.ready); n > 0 {
		h = p.ready[n-1]
		p.ready = p.ready[:n-1]
		return h, false
	}
	return nil, p.making > 0
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

// give takes back a host that is idle, for the next run of the version.
func (p *Pool) give(h *host, version string) {
	p.mu.Lock()
	var old *host
	if used := p.used[version]; !p.closed && version != "" {
		p.used[version] = append(used, h)
		h = nil
		if len(p.used[version]) > p.o.Reuse {
			old = p.used[version][0]
			p.used[version] = p.used[version][1:]
		}
	}
	p.mu.Unlock()
	if h != nil {
		h.kill()
	}
	if old != nil {
		old.kill()
	}
}

// Ready waits until as many clean hosts are ready as the pool keeps, and
// returns how long the start of the last one took.
func (p *Pool) Ready(ctx context.Context) (time.Duration, error) {
	for {
		p.mu.Lock()
		n, making, changed := len(p.ready), p.making, p.changed
		if n >= p.o.Hosts {
			took := p.ready[n-1].started
			p.mu.Unlock()
			return took, nil
		}
		p.mu.Unlock()
		if making == 0 { // the last start failed: let it say why
			h, err := p.start(ctx)
			if err != nil {
				return 0, err
			}
			p.mu.Lock()
			closed := p.closed
			if !closed {
				p.ready = append(p.ready, h)
			}
			p.mu.Unlock()
			if closed {
				h.kill()
				return 0, ErrClosed
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
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
