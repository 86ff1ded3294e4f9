package engine_test

import (
	"context"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store/pebble"
)

// instant carries calls out in the goroutine that starts them.
type instant struct{ sandboxes }

func (s *instant) Domain(o domain.Options) (engine.Domain, error) {
	return &quick{box: box{o: o}}, nil
}

type quick struct{ box }

func (q *quick) Start(c domain.Call) { q.o.Done(domain.Result{Call: c.ID, Output: []byte("1")}) }

// BenchmarkSteps is the engine alone, over a store that syncs: runs of ten steps,
// 64 at a time. A step has two transitions, its start and its end.
func BenchmarkSteps(b *testing.B) {
	const chain = `
name: shop
functions:
  f: {source: f.wasm}
workflows:
  main:
    steps:
      a: {call: f}
      b: {call: f, needs: [a]}
      c: {call: f, needs: [b]}
      d: {call: f, needs: [c]}
      e: {call: f, needs: [d]}
      g: {call: f, needs: [e]}
      h: {call: f, needs: [g]}
      i: {call: f, needs: [h]}
      j: {call: f, needs: [i]}
      k: {call: f, needs: [j]}
`
	s, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p := program(b, chain)
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: &instant{}, Store: s, Blobs: noBlobs{}, Catalog: &bench{program: p}, Speculate: true})
	defer e.Close()
	for _, width := range []int{1, 64} {
		name := "alone"
		if width > 1 {
			name = "many"
		}
		b.Run(name, func(b *testing.B) {
			var wg sync.WaitGroup
			places := make(chan struct{}, width)
			b.ResetTimer()
			for range b.N {
				places <- struct{}{}
				wg.Go(func() {
					defer func() { <-places }()
					r, _, err := e.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "main"})
					if err == nil {
						r, err = e.Wait(context.Background(), r.ID)
					}
					if err != nil || r.Output != 1.0 {
						b.Errorf("the run gave %v, %v", r.Output, err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)*20/b.Elapsed().Seconds(), "transitions/s")
		})
	}
}
