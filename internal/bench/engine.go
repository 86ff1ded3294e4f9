package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store/pebble"
)

// aloneEngine is weft's engine over a store on disk, whose calls return at once.
type aloneEngine struct {
	program *engine.Program
	store   *pebble.Store
	engine  *engine.Engine
}

var (
	_ stepRunner     = (*aloneEngine)(nil)
	_ engine.Catalog = (*aloneEngine)(nil)
)

// openEngine makes an engine for the app in a file, over a store in a new folder dir.
func openEngine(dir, file string) (*aloneEngine, error) {
	a, err := app.Load(file)
	if err != nil {
		return nil, err
	}
	functions := map[string]*domain.Function{}
	for name := range a.Functions {
		functions[name] = &domain.Function{Name: name}
	}
	e := &aloneEngine{program: engine.NewProgram(engine.Program{App: a, Version: "v", Functions: functions})}
	if e.store, err = pebble.Open(dir, pebble.Options{}); err != nil {
		return nil, err
	}
	e.engine = engine.New(engine.Options{World: engine.Real, Sandboxes: nobody{}, Store: e.store, Blobs: noBlobs{}, Catalog: e, Speculate: true})
	return e, nil
}

// Close ends the engine and closes its store.
func (e *aloneEngine) Close() error { return errors.Join(e.engine.Close(), e.store.Close()) }

// Program implements engine.Catalog.
func (e *aloneEngine) Program(context.Context, string, string) (*engine.Program, error) {
	return e.program, nil
}

// PID implements stepRunner.
func (e *aloneEngine) PID() int { return os.Getpid() }

// Run implements stepRunner.
func (e *aloneEngine) Run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error) {
	return closedLoop(count, window, at, func() error {
		r, _, err := e.engine.Start(ctx, engine.StartRequest{App: e.program.App.Name, Workflow: "main"})
		if err == nil {
			r, err = e.engine.Wait(ctx, r.ID)
		}
		if err == nil && (r.Status != engine.Succeeded || r.Output != 1.0) {
			err = fmt.Errorf("%w: run %s %s with %v", lab.ErrDigest, r.ID, r.Status, r.Output)
		}
		return err
	})
}

// closedLoop calls f count times, or, when that is 0, until window is over, at at a time, and notes how long each call took. The first error ends it.
func closedLoop(count int, window time.Duration, at int, f func() error) (load.Done, error) {
	var (
		mu    sync.Mutex
		done  load.Done // guarded by mu, as those below
		begun int
		errs  error
		work  sync.WaitGroup
	)
	start := time.Now()
	next := func() bool {
		mu.Lock()
		defer mu.Unlock()
		begun++
		return errs == nil && (count == 0 || begun <= count) && (window == 0 || time.Since(start) < window)
	}
	for range at {
		work.Go(func() {
			for next() {
				from := time.Now()
				err := f()
				took := time.Since(from)
				mu.Lock()
				done.Latencies = append(done.Latencies, took)
				errs = errors.Join(errs, err)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	done.Took = time.Since(start)
	return done, errs
}

// nobody stands where sandboxes would be: calls are over when they begin.
type nobody struct{}

var _ engine.Sandboxes = nobody{}

func (nobody) Domain(o domain.Options) (engine.Domain, error) { return &noDomain{o.Done}, nil }
func (nobody) Prepare(string, ...*domain.Function)            {}
func (nobody) Evaluate(_ context.Context, _ []string, _ any, done func([]any, error)) {
	done(nil, errors.New("there are no expressions"))
}

// noDomain is what a run gets of nobody.
type noDomain struct{ done func(domain.Result) }

var _ engine.Domain = (*noDomain)(nil)

var errNoBuffers = errors.New("there are no buffers")

func (d *noDomain) Start(c domain.Call)                           { d.done(domain.Result{Call: c.ID, Output: []byte("1")}) }
func (d *noDomain) Stop(uint64)                                   {}
func (d *noDomain) Commit(uint64) (domain.Effects, error)         { return domain.Effects{}, nil }
func (d *noDomain) Withdraw(uint64)                               {}
func (d *noDomain) Discard(string)                                {}
func (d *noDomain) Stuck(int) bool                                { return false }
func (d *noDomain) Break(int)                                     {}
func (d *noDomain) Restore([]domain.Saved) error                  { return nil }
func (d *noDomain) Hold(string) (io.Reader, int64, func(), error) { return nil, 0, nil, errNoBuffers }
func (d *noDomain) Open(string) (io.Reader, int64, error)         { return nil, 0, errNoBuffers }
func (d *noDomain) Finish()                                       {}
func (d *noDomain) Close() error                                  { return nil }

// noBlobs is a data folder that nothing is put into.
type noBlobs struct{}

var _ engine.Blobs = noBlobs{}

func (noBlobs) Save(string, string, io.Reader) (int64, error)   { return 0, errNoBuffers }
func (noBlobs) Open(string, string) (engine.Blob, int64, error) { return nil, 0, errNoBuffers }
func (noBlobs) Remove(string, string) error                     { return nil }
func (noBlobs) Drop(string) error                               { return nil }
func (noBlobs) Owners() ([]string, error)                       { return nil, nil }
func (noBlobs) Spend(string) error                              { return nil }
func (noBlobs) Claim(string, string, string) (int64, error)     { return 0, errNoBuffers }
