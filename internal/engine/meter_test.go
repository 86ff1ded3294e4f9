package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/wire"
	"github.com/weft-run/weft/internal/store/memory"
)

// tally is a meter that counts by what it was told.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (t *tally) add(n int, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int{}
	}
	t.n[fmt.Sprintf(format, args...)] += n
}

func (t *tally) RunStarted(app, workflow string) { t.add(1, "started %s %s", app, workflow) }
func (t *tally) RunEnded(app, workflow, status string, _ time.Duration) {
	t.add(1, "ended %s %s %s", app, workflow, status)
}
func (t *tally) StepEnded(status string) { t.add(1, "step %s", status) }
func (t *tally) CallEnded(app, function, outcome string, _, _ time.Duration) {
	t.add(1, "call %s %s %s", app, function, outcome)
}
func (t *tally) ModulesLoaded(n int)             { t.add(n, "modules") }
func (t *tally) BufferBytes(how string, n int64) { t.add(int(n), "bytes %s", how) }
func (t *tally) BytesSaved(n int64)              { t.add(int(n), "saved") }
func (t *tally) JournalBytes(n int)              { t.add(n, "journal") }

// laden answers every call at once, with what hosts tell of loading and moving.
type laden struct{ sandboxes }

func (s *laden) Domain(o domain.Options) (engine.Domain, error) {
	return &heavy{box: box{o: o}}, nil
}

type heavy struct{ box }

func (h *heavy) Start(c domain.Call) {
	r := domain.Result{Call: c.ID, Output: []byte("1")}
	switch c.Function.Name {
	case "bad":
		r = domain.Result{Call: c.ID, Failure: &flow.Failure{Kind: domain.KindExit, Message: "exit status 1"}}
	case "slow":
		return
	default:
		r.Loaded = []wire.Loaded{{Module: "fs"}, {Module: "clock"}}
		r.Moved = []wire.Moved{
			{Put: true, Name: "x", Bytes: 1 << 20}, {Name: "a/x", Bytes: 1 << 20}, {Name: "a/y", Bytes: 100}, {Name: "a/z", Bytes: 16 << 10},
		}
	}
	h.o.Done(r)
}

func TestMeterIsToldWhatHappens(t *testing.T) {
	const file = `
name: shop
%s
functions:
  good: {source: f.wasm}
  bad: {source: f.wasm}
  slow: {source: f.wasm}
workflows:
  main:
    steps:
      a: {call: good}
      b: {call: bad, needs: [a], catch: {value: 7}}
  doomed:
    steps:
      a: {call: slow}
      b: {call: bad}
`
	tests := []struct {
		pass, workflow string
		want           map[string]int
	}{
		{"pass: reference", "main", map[string]int{
			"started shop main": 1, "ended shop main succeeded": 1, "step succeeded": 1, "step caught": 1, "call shop good ok": 1,
			"call shop bad exit": 1, "modules": 2, "bytes reference": 1<<20 + 16<<10, "bytes copied": 100,
		}},
		{"pass: file", "main", map[string]int{
			"started shop main": 1, "ended shop main succeeded": 1, "step succeeded": 1, "step caught": 1, "call shop good ok": 1,
			"call shop bad exit": 1, "modules": 2, "bytes file": 1<<20 + 16<<10 + 100,
		}},
		{"pass: reference", "doomed", map[string]int{
			"started shop doomed": 1, "ended shop doomed failed": 1, "step failed": 1, "call shop slow stopped": 1, "call shop bad exit": 1,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.pass+" "+tt.workflow, func(t *testing.T) {
			p := program(t, fmt.Sprintf(file, tt.pass))
			var m tally
			s := memory.New(memory.Options{})
			defer s.Close()
			e := engine.New(engine.Options{World: engine.Real, Sandboxes: &laden{}, Store: s, Blobs: noBlobs{}, Catalog: &bench{program: p}, Meter: &m})
			defer e.Close()
			r, _, err := e.Start(t.Context(), engine.StartRequest{App: "shop", Workflow: tt.workflow})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Wait(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.n["journal"] <= 0 {
				t.Error("no bytes of the journal")
			}
			delete(m.n, "journal")
			if !maps.Equal(m.n, tt.want) {
				for _, k := range slices.Sorted(maps.Keys(m.n)) {
					t.Logf("%s: %d", k, m.n[k])
				}
				t.Errorf("want %v", tt.want)
			}
		})
	}
}
