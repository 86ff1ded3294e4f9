package sim_test

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-run/weft/internal/sim"
)

var (
	seed  = flag.Uint64("seed", 0, "simulate this seed alone, and tell what happens")
	seeds = flag.Uint64("seeds", 200, "how many seeds to simulate; make sim does more")
)

// A seed that fails is looked at with: go test ./internal/sim -run TestSeeds -v -args -seed N
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		stats, err := sim.Run(sim.Options{Seed: *seed, Log: t.Logf})
		if err != nil {
			t.Error(err)
		}
		t.Logf("%+v", stats)
		return
	}
	n := *seeds
	var (
		next  atomic.Uint64
		mu    sync.Mutex
		total sim.Stats
		wg    sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= n && !t.Failed(); i = next.Add(1) {
				stats, err := sim.Run(sim.Options{Seed: i})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				total.Add(stats)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds: %+v", n, total)
	if n >= 200 && !t.Failed() && (total.Runs < int(n) || total.Crashes < int(n) || total.Calls < total.Runs || total.Failures == 0 || total.Retries == 0 || total.Pauses == 0 || total.Cancelled == 0 || total.Again == 0) {
		t.Errorf("the simulations were idle: %+v", total)
	}
}

// The same seed gives the same life, step by step.
func TestSeedIsReproducible(t *testing.T) {
	for seed := range uint64(20) {
		first, err := sim.Run(sim.Options{Seed: seed + 1})
		if err != nil {
			t.Fatal(err)
		}
		second, err := sim.Run(sim.Options{Seed: seed + 1})
		if err != nil {
			t.Fatal(err)
		}
		if first != second {
			t.Errorf("seed %d: %+v and then %+v", seed+1, first, second)
		}
	}
}
