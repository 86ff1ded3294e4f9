package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store/memory"
)

// motel has domains for few runs at a time. Function put publishes what it is
// given, and get gives how many slots its domain knows.
type motel struct {
	sandboxes
	room chan struct{}

	mu       sync.Mutex
	restored int // slots; guarded by mu
}

func (m *motel) Domain(o domain.Options) (engine.Domain, error) {
	return &guest{box: box{sandboxes: &m.sandboxes, o: o}, motel: m}, nil
}

// guest takes a room with its first call, and leaves it with Finish or Close.
type guest struct {
	box
	motel  *motel
	mu     sync.Mutex
	inside bool            // guarded by mu, as those below
	left   bool            // it does not come back
	slots  []string        // that it knows
	calls  map[uint64]bool // that put
}

func (g *guest) Start(c domain.Call) {
	go func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.inside {
			g.motel.room <- struct{}{}
			g.inside = true
		}
		if c.Function.Name == "put" {
			if g.calls == nil {
				g.calls = map[uint64]bool{}
			}
			g.calls[c.ID] = true
		}
		go g.o.Done(domain.Result{Call: c.ID, Output: fmt.Append(nil, len(g.slots))})
	}()
}

func (g *guest) Commit(id uint64) (domain.Effects, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.calls[id] {
		return domain.Effects{}, nil
	}
	g.slots = append(g.slots, "first/x")
	return domain.Effects{Puts: []domain.Slot{{Name: "first/x", By: "first", Size: 2, Inline: []byte("hi")}}}, nil
}

func (g *guest) Restore(saved []domain.Saved) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range saved {
		g.slots = append(g.slots, s.Name)
	}
	g.motel.mu.Lock()
	defer g.motel.mu.Unlock()
	g.motel.restored += len(saved)
	return nil
}

func (g *guest) Finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside && !g.left {
		<-g.motel.room
	}
	g.left = true
}

func (g *guest) Close() error {
	g.Finish()
	return nil
}

// More runs can wait than there is room for, and what they had published is there
// when they go on.
func TestRunsThatWaitGiveTheirDomainsUp(t *testing.T) {
	for _, durability := range []string{"journal", "none"} {
		t.Run(durability, func(t *testing.T) {
			first, want := "put", 1.0
			if durability == "none" {
				first, want = "get", 0.0 // what it would put were lost
			}
			m := &motel{room: make(chan struct{}, 2)}
			p := program(t, fmt.Sprintf(`
name: shop
functions:
  put: {source: put.wasm}
  get: {source: get.wasm}
workflows:
  main:
    durability: %s
    steps:
      first: {call: %s}
      wait: {signal: go, needs: [first]}
      last: {call: get, needs: [wait]}
`, durability, first))
			e := engine.New(engine.Options{World: engine.Real, Sandboxes: m, Store: memory.New(memory.Options{}), Blobs: noBlobs{}, Catalog: &bench{program: p}, Speculate: true})
			defer e.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var ids []string
			for range 9 {
				r, _, err := e.Start(ctx, engine.StartRequest{App: "shop", Workflow: "main"})
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, r.ID)
			}
			for waiting := 0; waiting < len(ids); {
				waiting = 0
				for _, id := range ids {
					d, err := e.Get(ctx, id)
					if err != nil {
						t.Fatal(err)
					}
					waiting += len(d.Signals)
				}
				time.Sleep(time.Millisecond)
			}
			for len(m.room) > 0 {
				if ctx.Err() != nil {
					t.Fatal("runs that wait keep their domains")
				}
				time.Sleep(time.Millisecond)
			}
			for _, id := range slices.Backward(ids) {
				if err := e.Signal(ctx, id, "go", "", nil); err != nil {
					t.Fatal(err)
				}
				if r, err := e.Wait(ctx, id); err != nil || r.Output != want {
					t.Errorf("run %s gave %v, %v; want %v", id, r.Output, err, want)
				}
			}
			if m.restored != int(want)*len(ids) {
				t.Errorf("%d slots were restored, want one a run that had one", m.restored)
			}
		})
	}
}

// A run without a journal has its buffers in its domain alone.
func TestBuffersOfRunsWithoutJournalStay(t *testing.T) {
	m := &motel{room: make(chan struct{}, 2)}
	p := program(t, `
name: shop
functions:
  put: {source: put.wasm}
  get: {source: get.wasm}
workflows:
  main:
    durability: none
    steps:
      first: {call: put}
      wait: {wait: 100ms, needs: [first]}
      last: {call: get, needs: [wait]}
`)
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: m, Store: memory.New(memory.Options{}), Blobs: noBlobs{}, Catalog: &bench{program: p}, Speculate: true})
	defer e.Close()
	r, _, err := e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: "main"})
	if err == nil {
		r, err = e.Wait(t.Context(), r.ID)
	}
	if err != nil || r.Output != 1.0 || m.restored != 0 {
		t.Errorf("the run gave %v, %v, with %d slots restored; want 1 slot, kept where it was", r.Output, err, m.restored)
	}
}
