package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weft-run/weft/internal/engine"
)

// shelf is logs of which the names are all that there is.
type shelf struct {
	mu      sync.Mutex
	names   []string
	dropped chan string
}

func (s *shelf) Append(string, engine.LogLine) {}
func (s *shelf) Drop(run string)               { s.dropped <- run }
func (s *shelf) Runs() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names), nil
}

// Logs that no run owns go at the start, and no others.
func TestLogsWithoutARunGo(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	done, waits := b.begin(engine.StartRequest{Workflow: "order", Input: 1.0}), b.begin(engine.StartRequest{Workflow: "approve"})
	b.wait(done.ID)
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	logs := &shelf{names: []string{done.ID, "gone", waits.ID, "gone too"}, dropped: make(chan string, 10)}
	b.start(engine.Options{Logs: logs})
	if one, two := <-logs.dropped, <-logs.dropped; one != "gone" || two != "gone too" {
		t.Errorf("dropped %s and %s", one, two)
	}
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	if len(logs.dropped) > 0 {
		t.Errorf("dropped %s", <-logs.dropped)
	}
}

// vanishing is a catalog whose version goes just after it was looked up. Then next is active, if there is one.
type vanishing struct {
	engine.Catalog
	next  *engine.Program
	mu    sync.Mutex
	asked int
}

func (v *vanishing) Program(ctx context.Context, app, version string) (*engine.Program, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked++; v.asked == 1 {
		return v.Catalog.Program(ctx, app, version)
	}
	if v.next == nil || version != "" && version != v.next.Version {
		return nil, fmt.Errorf("app %s, version %q, has vanished: %w", app, version, engine.ErrGone)
	}
	return v.next, nil
}

// A run whose version is deleted while it is being accepted is one of the version that is active then.
func TestAnotherVersionComes(t *testing.T) {
	b := newBench(t, engine.Options{})
	next := *b.program
	next.Version = "v2"
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: noBlobs{}, Catalog: &vanishing{Catalog: b, next: &next}})
	defer e.Close()
	run, _, err := e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0})
	if err != nil || run.Version != "v2" {
		t.Errorf("got %+v, %v", run, err)
	}
	if n := e.Using("shop", "v1"); n != 0 {
		t.Errorf("%d runs use the version that is gone", n)
	}
	// Who names a version gets that one, or nothing.
	e2 := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: noBlobs{}, Catalog: &vanishing{Catalog: b, next: &next}})
	defer e2.Close()
	if run, _, err := e2.Start(t.Context(), engine.StartRequest{App: "shop", Version: "v1", Workflow: "order", Input: 1.0}); !errors.Is(err, engine.ErrGone) {
		t.Errorf("version v1 is gone: got %+v, %v", run, err)
	}
}

// A run whose version is deleted while it is being accepted, and that has no other, is not accepted, and
// is not counted.
func TestAVersionThatGoes(t *testing.T) {
	b := newBench(t, engine.Options{})
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: noBlobs{}, Catalog: &vanishing{Catalog: b}})
	defer e.Close()
	if _, _, err := e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0}); !errors.Is(err, engine.ErrGone) {
		t.Errorf("it is accepted: %v", err)
	}
	if n := e.Using("shop", "v1"); n != 0 {
		t.Errorf("%d runs use the version", n)
	}
	list, _, err := e.List(t.Context(), engine.Filter{})
	if err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// ending is a catalog of a node that ends before it has made anything ready.
type ending struct{}

func (ending) Program(context.Context, string, string) (*engine.Program, error) {
	return nil, fmt.Errorf("compile module: %w", context.Canceled)
}

// A run whose app was not ready yet when its node ended goes on in the next one.
func TestANodeThatEndsWhileItRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, engine.Options{Speculate: true})
		waits := b.begin(engine.StartRequest{Workflow: "approve"})
		if err := b.engine.Close(); err != nil {
			t.Fatal(err)
		}
		e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: noBlobs{}, Catalog: ending{}})
		if err := e.Recover(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		b.start(engine.Options{Speculate: true})
		if err := b.engine.Signal(t.Context(), waits.ID, "approve", "", true); err != nil {
			t.Error(err)
		}
		if run := b.wait(waits.ID); run.Status != engine.Succeeded {
			t.Errorf("the run gave %+v", run)
		}
	})
}
