package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// scarce is a catalog that fails as often as err says before it has the app.
type scarce struct {
	engine.Catalog
	mu    sync.Mutex
	err   func(try int) error
	tries int
}

func (s *scarce) Program(ctx context.Context, app, version string) (*engine.Program, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if err := s.err(s.tries); err != nil {
		return nil, err
	}
	return s.Catalog.Program(ctx, app, version)
}

var errScarce = errors.New("too many open files")

// reborn has the runs of a bench recovered by an engine with another catalog. It
// returns how long each of them is to wait, whenever that is told.
func (b *bench) reborn(c engine.Catalog) chan time.Duration {
	b.t.Helper()
	if err := b.engine.Close(); err != nil {
		b.t.Fatal(err)
	}
	waits := make(chan time.Duration, 100)
	b.engine = engine.New(engine.Options{
		World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: noBlobs{}, Catalog: c,
		Lacking: func(r engine.Run, why error, again time.Duration) {
			if !errors.Is(why, errScarce) || r.App != "shop" {
				b.t.Errorf("run %+v lacks its app: %v", r, why)
			}
			waits <- again
		},
	})
	if err := b.engine.Recover(); err != nil {
		b.t.Fatal(err)
	}
	return waits
}

// A run whose app cannot be made ready for a passing reason waits for it, longer
// and longer, and what is asked of it meanwhile waits with it.
func TestLackingApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, engine.Options{})
		run := b.begin(engine.StartRequest{Workflow: "approve"})
		waits := b.reborn(&scarce{Catalog: b, err: func(try int) error {
			if try <= 8 {
				return fmt.Errorf("start host: %w", errScarce)
			}
			return nil
		}})
		began := time.Now()
		if err := b.engine.Signal(t.Context(), run.ID, "approve", "", true); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited != (1+2+4+8+16+32+60+60)*time.Second {
			t.Errorf("it waited for %v", waited)
		}
		if got := b.wait(run.ID); got.Status != engine.Succeeded {
			t.Errorf("the run gave %+v", got)
		}
		if first, second := <-waits, <-waits; first != time.Second || second != 2*time.Second || len(waits) != 6 {
			t.Errorf("waits: %v, %v and %d more", first, second, len(waits))
		}
		if err := b.engine.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What waiting does not mend ends the run, and it says why.
func TestGoneApp(t *testing.T) {
	for _, why := range []error{
		fmt.Errorf("app shop is %w", engine.ErrGone),
		fmt.Errorf("module double.wasm: %w: no magic", domain.ErrModule),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, engine.Options{})
			run := b.begin(engine.StartRequest{Workflow: "approve", Input: "kept"})
			waits := b.reborn(&scarce{Catalog: b, err: func(try int) error {
				if try == 1 {
					return fmt.Errorf("start host: %w", errScarce)
				}
				return why
			}})
			got := b.wait(run.ID)
			if got.Status != engine.Failed || !strings.Contains(got.Failure.Message, why.Error()) || strings.Count(got.Failure.Message, run.ID) > 0 {
				t.Errorf("the run gave %+v: %v", got, got.Failure)
			}
			if len(waits) != 1 {
				t.Errorf("%d waits", len(waits))
			}
			if err := b.engine.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A run that waits for its app can be cancelled, and retried when the app is back.
func TestCancelLacking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, engine.Options{})
		run := b.begin(engine.StartRequest{Workflow: "patient", Input: 4.0})
		b.reborn(&scarce{Catalog: b, err: func(int) error { return errScarce }})
		signalled := make(chan error)
		go func() { signalled <- b.engine.Signal(t.Context(), run.ID, "approve", "", 1.0) }()
		time.Sleep(100 * time.Second) // in the midst of a wait
		if err := b.engine.Cancel(t.Context(), run.ID, "no longer"); err != nil {
			t.Error(err)
		}
		if err := <-signalled; !errors.Is(err, engine.ErrEnded) {
			t.Errorf("the signal: %v", err)
		}
		got := b.wait(run.ID)
		if got.Status != engine.Cancelled || got.Failure.Message != "no longer" || got.Input != 4.0 {
			t.Errorf("the run gave %+v", got)
		}
		time.Sleep(time.Hour) // nothing tries any more

		b.reborn(b)
		if err := b.engine.Retry(t.Context(), run.ID); err != nil {
			t.Fatal(err)
		}
		if err := b.engine.Signal(t.Context(), run.ID, "approve", "", 21.0); err != nil {
			t.Fatal(err)
		}
		if got := b.wait(run.ID); got.Status != engine.Succeeded || got.Output != 42.0 {
			t.Errorf("after the retry: %+v", got)
		}
		if err := b.engine.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A run that cannot go on has its input still, also one that is in a file.
func TestGoneAppKeepsTheInput(t *testing.T) {
	b := newBench(t, engine.Options{})
	blobs, err := data.Open(t.TempDir(), data.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	live := func(c engine.Catalog, f func(e *engine.Engine)) {
		e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: folder{blobs}, Catalog: c})
		if err := e.Recover(); err != nil {
			t.Fatal(err)
		}
		f(e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	input := strings.Repeat("x", 500_000)
	var run engine.Run
	live(b, func(e *engine.Engine) {
		if run, _, err = e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "patient", Input: input}); err != nil {
			t.Fatal(err)
		}
	})
	live(&scarce{Catalog: b, err: func(int) error { return fmt.Errorf("app shop is %w", engine.ErrGone) }}, func(e *engine.Engine) {
		if got, err := e.Wait(t.Context(), run.ID); err != nil || got.Status != engine.Failed {
			t.Errorf("%s, %v", got.Status, err)
		}
	})
	live(b, func(e *engine.Engine) {
		if got, err := e.Get(t.Context(), run.ID); err != nil || got.Input != input {
			t.Errorf("its input is gone: %v", err)
		}
		if err := e.Retry(t.Context(), run.ID); err != nil {
			t.Fatal(err)
		}
		if err := e.Signal(t.Context(), run.ID, "approve", "", 21.0); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Wait(t.Context(), run.ID); err != nil || got.Output != 42.0 {
			t.Errorf("after the retry: %v, %v", got.Output, err)
		}
	})
}
