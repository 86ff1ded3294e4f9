package engine_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/store"
)

// strict is appFile after a change: workflow order takes less than before.
const strict = `
name: shop
functions: {double: {source: double.wasm}}
workflows:
  order:
    input: {type: object, required: [n]}
    steps:
      a: {call: double}
`

func TestInputThatAWorkflowDoesNotTake(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	before, _, err := b.engine.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	b.wait(before.ID)
	b.program = program(t, strict)
	again, existed, err := b.engine.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0, Key: "k"})
	if err != nil || !existed || again.ID != before.ID {
		t.Errorf("a repeated request after the workflow has changed: %v, existed %v, %v", again.ID, existed, err)
	}
	var input *engine.InputError
	if _, _, err := b.engine.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0}); !errors.As(err, &input) {
		t.Errorf("a new request: %v", err)
	}
	if _, _, err := b.engine.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "order", Input: map[string]any{"n": 1.0}}); err != nil {
		t.Errorf("what the workflow takes: %v", err)
	}
}

// failing is a store that takes nothing.
type failing struct{ store.Store }

func (failing) Append(context.Context, *store.Batch) (store.Version, error) {
	return 0, store.ErrFailed
}

// An upload belongs to a run once the run is there: what dies in between leaves
// it to the request that is repeated.
func TestUploadOfARunThatNeverWas(t *testing.T) {
	b := newBench(t, engine.Options{})
	blobs, err := data.Open(t.TempDir(), data.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := blobs.Upload(strings.NewReader("text"), 100)
	if err != nil {
		t.Fatal(err)
	}
	start := func(s store.Store) (engine.Run, error) {
		e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: s, Blobs: folder{blobs}, Catalog: b, Broken: func(error) {}})
		if err := e.Recover(); err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		run, _, err := e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "approve", Input: map[string]any{"$buffer": "/upload-" + id, "size": 4.0}})
		return run, err
	}
	if _, err := start(failing{b.store}); err == nil {
		t.Fatal("a run was accepted that nobody keeps")
	}
	run, err := start(b.store)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := blobs.Owners()
	if err != nil || len(owners) != 1 || owners[0] != run.ID {
		t.Errorf("values belong to %v, want %s: %v", owners, run.ID, err)
	}
	if _, err := blobs.Claim(id, "other", "x"); !errors.Is(err, data.ErrNotFound) {
		t.Errorf("the upload is still there for others: %v", err)
	}
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Store: b.store, Blobs: folder{blobs}, Catalog: b})
	defer e.Close()
	r, _, err := e.Open(t.Context(), run.ID, "/upload-"+id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "text" {
		t.Errorf("the run's buffer is %q: %v", text, err)
	}
}
