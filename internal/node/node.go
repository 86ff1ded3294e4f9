// Package node builds a node out of its parts and runs workflows on it: sources
// become modules (build) and images (sandbox/domain), a workflow becomes a run
// (flow) whose calls are carried out in a domain of sandboxes.
//
//	n, err := node.New(ctx, node.Config{})
//	defer n.Close()
//	a, err := app.Load("examples/hello")
//	err = n.Build(ctx, a, nil)
//	result, err := n.Run(ctx, node.RunRequest{App: a, Workflow: "main"})
//	defer result.Close()
//
// Runs are the business of package engine; this one gives it sandboxes, apps and,
// for a node that stays (Server), a store.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
	"weak"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/scratch"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/sdk/c"
)

// Config configures a Node.
type Config struct {
	// CacheDir holds built modules and images. Default: the folder weft in the
	// user's cache folder ($XDG_CACHE_HOME or ~/.cache).
	CacheDir string
	// Hosts is how many clean domain hosts are kept ready. Default 2.
	Hosts int
	// Quota bounds the buffers that one run may hold, in bytes. Default 4 GiB.
	Quota int64
	// Secret finds a secret of an app. Default: there are none.
	Secret func(app, name string) ([]byte, error)
	// CPU is the scheduler of calls; the node closes it. Default: the kernel alone
	// schedules.
	CPU *scheduler.Scheduler
	// Idle is how long an unused domain host or fork server is kept. Default 5 minutes.
	Idle time.Duration
	// Python is the interpreter of functions in Python, a name or a path. Default
	// python3.
	Python string
	// Alone is whether each function in Python imports everything itself. Default:
	// functions of an app with the same packages have a parent that imports what
	// several of them import.
	Alone bool
	// Keep counts the memory of parents, see process.Options. Default: nobody; a server's
	// is its gate.
	Keep func(app string, bytes int64) (resize func(bytes int64), ok bool)
	// Said hears what functions that are processes print before they are called, as
	// Python modules do while they are imported. Default: nobody.
	Said func(function, line string)
}

// Node runs workflows on this machine.
type Node struct {
	cfg     Config
	builder *build.Builder
	layers  *Layers
	pool    *domain.Pool
	scratch *scratch.Folder // for what a run keeps in files

	runs *engine.Engine // those of Run, of which nothing is durable

	mu        sync.Mutex
	programs  map[*app.App]*engine.Program             // of Run; guarded by mu, as all below
	functions map[string]weak.Pointer[domain.Function] // by all that they are
	images    map[string]weak.Pointer[domain.Image]    // by key
}

// New starts a node: it probes the machine and gets domain hosts ready. Close
// it.
func New(ctx context.Context, cfg Config) (*Node, error) {
	var err error
	if cfg.CacheDir, err = cacheFolder(cfg.CacheDir); err != nil {
		return nil, err
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 5 * time.Minute
	}
	exe, err := hostbin.Open()
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	n := &Node{cfg: cfg, programs: map[*app.App]*engine.Program{}, functions: map[string]weak.Pointer[domain.Function]{}, images: map[string]weak.Pointer[domain.Image]{}}
	if n.builder, err = NewBuilder(cfg.CacheDir); err != nil {
		return nil, err
	}
	if n.layers, err = NewLayers(cfg.CacheDir, cfg.Python); err != nil {
		return nil, err
	}
	if n.scratch, err = scratch.Make(""); err != nil {
		return nil, fmt.Errorf("%w; set TMPDIR to a folder that can be written", err)
	}
	n.pool, err = domain.NewPool(ctx, domain.PoolOptions{Executable: exe, CacheDir: cfg.CacheDir, Hosts: cfg.Hosts, Idle: cfg.Idle, CPU: cfg.CPU, Python: cfg.Python, Keep: cfg.Keep, Said: cfg.Said})
	if err != nil {
		return nil, errors.Join(err, n.scratch.Remove())
	}
	n.runs = engine.New(engine.Options{World: engine.Real, Sandboxes: sandboxes{n.pool}, CPU: processor(cfg.CPU), Trace: true, Quota: cfg.Quota, Scratch: n.scratch.Path})
	return n, nil
}

// processor is a scheduler as engines want it.
func processor(s *scheduler.Scheduler) engine.CPU {
	if s == nil {
		return nil
	}
	return s
}

// writeHeader puts the C SDK where C functions include it from, unless it is
// there: its time is part of what builds depend on.
func writeHeader(path string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(c.Header) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".weft.h-*")
	if err != nil {
		return fmt.Errorf("write C header: %w", err)
	}
	_, err = tmp.Write(c.Header)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write C header: %w", err)
	}
	return nil
}

// Degraded lists, in words, what this machine does not give and what is used
// instead.
func (n *Node) Degraded() []string { return n.pool.Degraded() }

// Close ends everything that the node started. Nothing is left of it but its
// cache.
func (n *Node) Close() error {
	err := errors.Join(n.runs.Close(), n.pool.Close(), n.cfg.CPU.Close())
	n.closeImages()
	err = errors.Join(err, n.layers.Close())
	return errors.Join(err, n.scratch.Remove())
}

// Host tells how long a domain host took to start and how much memory one that
// is ready takes, in bytes of proportional set size.
func (n *Node) Host(ctx context.Context) (start time.Duration, memory int64, err error) {
	if start, err = n.pool.Ready(ctx); err != nil {
		return 0, 0, err
	}
	memory, err = n.pool.Memory()
	return start, memory, err
}

// observe tells an observer, if there is one.
func observe(o engine.Observer, e telemetry.Event) {
	if o == nil {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	o.Observe(e)
}
