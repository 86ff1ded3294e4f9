package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/runlog"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/secret"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/limit"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/trigger"
)

// ServerConfig configures a Server.
type ServerConfig struct {
	Config
	// Dir is the data folder: the store, apps, buffers, keys and logs. One server
	// uses it at a time.
	Dir string

	Admission  admission.Options
	Runs       int           // under way at a time; default 100,000
	Input      int           // bytes of a run's input; default 1 MiB
	ValueMax   int           // bytes of a value of a service's state, of a result, of arguments together; default and at most 1 MiB
	Body       int64         // bytes of an invocation's body; default 64 MiB
	RunsPerApp int           // the same for one app; default Runs
	Retention  time.Duration // of ended runs; default 7 days
	Speculate  bool          // start functions that nobody outside can notice before their causes are on disk
	Predict    bool          // get sandboxes ready for the next steps
	Trace      bool          // record the spans of runs
	Bundle     bundle.Limits // of a deployed app

	Check   func(*app.App) error               // what the operator allows; nil: everything
	Meter   Meter                              // nil: nobody counts
	Ended   func(engine.Run, *telemetry.Trace) // as in engine.Options
	Context func(engine.Run) string            // the same
	// EndedRequest is told of requests to services that have ended, with the calls that they
	// consist of; nil: nobody. It must not wait.
	EndedRequest func(machine.Ended)
	Logger       *slog.Logger // default: slog.Default()
}

// EnsureDefaults fills in what is not set.
func (c *ServerConfig) EnsureDefaults() {
	if c.Body <= 0 {
		c.Body = 64 << 20
	}
	if c.ValueMax <= 0 {
		c.ValueMax = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Server is a node that stays: it keeps apps and durable runs. Close it.
type Server struct {
	*Node
	Runs     *engine.Engine
	Services *service.Services
	limits   *limit.Limits // of requests from outside for services
	Apps     *registry.Registry
	Secrets  *secret.Secrets
	Store    *pebble.Store
	Gate     *admission.Gate
	Blobs    *data.Folder
	Logs     *runlog.Folder

	cfg    ServerConfig
	cron   *trigger.Cron
	lock   *os.File
	failed chan error

	closing    sync.Once
	closed     error           // what Close has met
	ctx        context.Context // ends with the server
	cancel     context.CancelFunc
	background sync.WaitGroup
	dying      sync.WaitGroup // of instances of services
	calling    sync.WaitGroup // of calls of services by steps

	serving   sync.Mutex
	ready     map[edition]*deployed // guarded by serving, as all below
	making    map[edition]*making
	preparing map[edition]bool // by the registry, which does not have them yet
}

// Serve opens the data folder of a server and lets the runs of its earlier life
// go on.
func Serve(ctx context.Context, cfg ServerConfig) (s *Server, err error) {
	cfg.EnsureDefaults()
	s = &Server{cfg: cfg, failed: make(chan error, 1), ready: map[edition]*deployed{}, making: map[edition]*making{}, preparing: map[edition]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return s, fmt.Errorf("make data folder: %w", err)
	}
	if s.lock, err = lockFolder(ctx, cfg.Dir); err != nil {
		return s, err
	}
	if err := checkWhole(cfg.Dir); err != nil {
		return s, err
	}
	if err := keepPrivate(filepath.Join(cfg.Dir, storeName)); err != nil {
		return s, err
	}
	if s.Store, err = pebble.Open(filepath.Join(cfg.Dir, storeName), pebble.Options{Logger: cfg.Logger, Failed: s.fail}); err != nil {
		return s, err
	}
	if s.Blobs, err = data.Open(filepath.Join(cfg.Dir, buffersName), data.Options{}); err != nil {
		return s, err
	}
	if s.Logs, err = runlog.Open(filepath.Join(cfg.Dir, logsName), runlog.Options{Failed: func(err error) { cfg.Logger.Error("lines of logs are lost", "error", err) }}); err != nil {
		return s, err
	}
	if s.Secrets, err = secret.Open(ctx, s.Store, filepath.Join(cfg.Dir, keyName)); err != nil {
		return s, err
	}
	if cfg.Secret == nil {
		cfg.Secret = s.Secrets.Get
	}
	if cfg.Said == nil {
		cfg.Said = func(function, line string) { cfg.Logger.Info("said before a call", "function", function, "line", line) }
	}
	s.Gate = admission.New(cfg.Admission)
	cfg.Keep = s.Gate.Keep
	if s.Node, err = New(ctx, cfg.Config); err != nil {
		return s, err
	}
	if err := s.cfg.CPU.Load(s.Store); err != nil {
		return s, err
	}
	s.Apps, err = registry.Open(ctx, filepath.Join(cfg.Dir, appsName), s.Store, registry.Options{
		Limits: cfg.Bundle, Check: cfg.Check, Prepare: s.prepare, InUse: s.using, Changed: s.changed,
	})
	if err != nil {
		return s, err
	}
	s.Runs = engine.New(engine.Options{
		World: engine.Real, Sandboxes: sandboxes{s.pool}, CPU: processor(cfg.CPU), Store: s.Store, Blobs: blobs{s.Blobs}, Catalog: s, Gate: s.Gate, Services: steps{s}, Logs: s.Logs, Meter: cfg.Meter,
		Speculate: cfg.Speculate, Predict: cfg.Predict, Trace: cfg.Trace, Runs: cfg.Runs, RunsPerApp: cfg.RunsPerApp, Input: cfg.Input, Retention: cfg.Retention, Quota: cfg.Quota,
		Scratch: s.scratch.Path, Ended: cfg.Ended, Context: cfg.Context, Broken: s.fail,
		Lacking: func(r engine.Run, why error, again time.Duration) {
			cfg.Logger.Warn("a run cannot go on yet: its app cannot be made ready", "run", r.ID, "app", r.App, "version", r.Version, "error", why, "again", again)
		},
	})
	if err := s.openServices(); err != nil {
		return s, err
	}
	if err := s.Runs.Recover(); err != nil {
		return s, err
	}
	s.Runs.Expire()
	s.cron, err = trigger.NewCron(trigger.Options{Store: s.Store, Start: s.fire, Running: s.Runs.Underway, Log: cfg.Logger})
	if err != nil {
		return s, err
	}
	for _, a := range s.Apps.List() {
		s.schedule(a.Name)
		s.warm(a.Name)
	}
	s.background.Go(func() {
		if err := s.cron.Run(s.ctx); err != nil && s.ctx.Err() == nil {
			s.fail(err)
		}
	})
	s.background.Go(s.sweep)
	s.background.Go(s.keepProfiles)
	return s, nil
}

// keepPrivate makes a folder that only this user can look into. The files of the
// store are readable for all, and the data folder is where somebody else may have
// made it (as systemd does for StateDirectory), so its mode cannot be relied on.
func keepPrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of the store: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close folder of the store to others: %w", err)
	}
	return nil
}

// fail says that the server cannot go on; the first reason counts.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// uploadAge is how long an upload may wait for the run that it is for.
const uploadAge = 24 * time.Hour

// How often what is not wanted any longer is looked for.
const (
	sweepEvery  = time.Hour
	reviewEvery = 30 * time.Second
)

// sweep removes uploads that nobody has claimed, and versions that nobody asks
// for.
func (s *Server) sweep() {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	var swept time.Time
	for {
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			if _, err := s.Blobs.Sweep(now.Add(-uploadAge)); err != nil {
				s.cfg.Logger.Error("old uploads stay", "error", err)
			}
		}
		s.review()
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// Sandboxes tells about the pool.
func (s *Server) Sandboxes() domain.Stats { return s.pool.Stats() }

// Failed gives the error after which the server cannot promise anything any
// more and has to end: the store or the disk has failed.
func (s *Server) Failed() <-chan error { return s.failed }

// blobs lets an engine use a data folder.
type blobs struct{ *data.Folder }

var _ engine.Blobs = blobs{}

func (b blobs) Open(owner, name string) (engine.Blob, int64, error) {
	f, size, err := b.Folder.Open(owner, name)
	if err != nil {
		return nil, 0, err
	}
	return f, size, nil
}

// Drain refuses new runs and waits until those under way have ended or ctx has.
func (s *Server) Drain(ctx context.Context) error { return s.Runs.Drain(ctx) }

// Close stops at once. Runs with a journal go on when the server is started
// again.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Server) close() error {
	var errs []error
	s.serving.Lock() // nothing that is waited for begins from now on
	s.cancel()
	s.serving.Unlock()
	s.background.Wait()
	if s.Runs != nil {
		errs = append(errs, s.Runs.Close())
	}
	if s.Services != nil { // after runs, which would take its end for that of their calls
		errs = append(errs, s.Services.Close())
	}
	s.calling.Wait()
	s.dying.Wait()
	s.serving.Lock()
	for _, d := range s.ready {
		d.lane.Close()
	}
	clear(s.ready)
	s.serving.Unlock()
	if s.Node != nil {
		errs = append(errs, s.Node.Close())
	}
	if s.Logs != nil {
		errs = append(errs, s.Logs.Close())
	}
	if s.Node != nil && s.Store != nil {
		errs = append(errs, s.saveProfiles())
	}
	if s.Store != nil {
		errs = append(errs, s.Store.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
