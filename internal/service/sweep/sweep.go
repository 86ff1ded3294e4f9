package sweep

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/store"
)

// sweeper is a sweep of a script.
type sweeper struct {
	t      *testing.T // of the seed
	script *Script
	o      Options
	points map[string]int
	wrong  int
	proven map[string]bool // histories that were looked at
	known  []string        // the kinds of points, in their order
}

// Run sweeps a script, each seed in a test of its own, logs how many points of each kind it has been at, and fails the
// test for each one with a wrong outcome.
func Run(t *testing.T, s Script, o Options) {
	w := &sweeper{script: &s, o: o, points: map[string]int{}, proven: map[string]bool{}}
	seeds := uint64(1)
	if o.Every {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w.t = t
			w.sweep(seed)
		})
	}
	all := 0
	var parts []string
	for _, kind := range w.known {
		all += w.points[kind]
		parts = append(parts, fmt.Sprint(w.points[kind], " ", kind))
	}
	t.Logf("%s: %d points (%s), %d histories, %d wrong", s.Name, all, strings.Join(parts, ", "), len(w.proven), w.wrong)
}

// sweep is all of it from one seed.
func (w *sweeper) sweep(seed uint64) {
	messages, frames, locks := w.crashes(seed, fault{}, 17)
	w.each("late messages", messages, 14, func(n int) fault { return fault{late: n} }, seed)
	w.each("messages after a time-out", messages, 7, func(n int) fault { return fault{late: n, dead: true} }, seed)
	w.each("frames twice", frames, 5, func(n int) fault { return fault{twice: n} }, seed)
	w.each("frames twice, much later", frames, 5, func(n int) fault { return fault{twice: n, again: true} }, seed)
	w.each("instances that die", frames, 8, func(n int) fault { return fault{kill: n} }, seed)
	w.each("conflicts", locks, 8, func(n int) fault { return fault{conflict: n} }, seed)
	for n := 1 + int(seed); seed < 2 && n <= locks; n += max(1, locks/3) {
		w.crashes(seed, fault{conflict: n}, 67)
	}
}

// each runs with a fault of each number up to all, or with a sample of some of them.
func (w *sweeper) each(kind string, all, sample int, f func(n int) fault, seed uint64) {
	stride := 1
	if !w.o.Every {
		stride = max(1, all/sample)
	}
	for n := 1; n <= all; n += stride {
		l := newLife(w.script, seed, f(n))
		w.run(kind, fmt.Sprintf("%d of seed %d", n, seed), l, vfs.NewMem())
	}
}

// run lives a life and looks at what has come of it.
func (w *sweeper) run(kind, what string, l *life, disk vfs.FS) {
	if w.points[kind] == 0 {
		w.known = append(w.known, kind)
	}
	w.points[kind]++
	var state []string
	var err error
	synctest.Test(w.t, func(*testing.T) { state, err = l.live(disk) })
	if err == nil {
		h := newHistory(w.script, l.ops, state)
		seen := fmt.Sprint(h.after, h.outcome)
		if !w.proven[seen] {
			err = h.serial()
			w.proven[seen] = err == nil
		}
	}
	if err != nil {
		w.wrong++
		w.t.Errorf("%s, %s, %s: %v", w.script.Name, kind, what, err)
		if w.wrong >= 5 {
			w.t.FailNow()
		}
	}
}

// crashes runs with a fault, makes a copy of the disk wherever there could be a
// crash, or at one of so many places, and goes on from each. It returns how much there
// was of what can be at fault.
func (w *sweeper) crashes(seed uint64, f fault, sample int) (messages, frames, locks int) {
	kind := "crashes"
	if f != (fault{}) {
		kind = "crashes after a conflict"
	}
	disk := vfs.NewCrashableMem()
	l := newLife(w.script, seed, f)
	p := &tap{life: l, disk: disk, rng: rand.New(rand.NewPCG(seed, 2)), stride: 1}
	if !w.o.Every {
		p.stride = sample
	}
	l.wrap = func(db store.Store) store.Store { return &tapped{db, p} }
	w.run("lives", fmt.Sprintf("%+v, seed %d", f, seed), l, errorfs.Wrap(disk, p))
	messages, frames, locks = l.net.messages, l.net.frames, l.net.locks
	for i, c := range p.crashes {
		p.crashes[i].disk = nil // copies are large
		w.run(kind, fmt.Sprintf("%s, %+v, of seed %d", c.what, f, seed), after(w.script, seed+1000+uint64(i), c.ops, c.events), c.disk)
	}
	return messages, frames, locks
}

// crashed is what a crash leaves: a disk, and what clients know.
type crashed struct {
	what   string
	disk   *vfs.MemFS
	ops    []op
	events int
}

// tap makes copies of a disk as a crash would leave it, before each of its operations.
type tap struct {
	life *life
	disk *vfs.MemFS

	stride int // of crashes, one of so many is kept

	mu      sync.Mutex
	rng     *rand.Rand // guarded by mu, as all below
	n       int
	crashes []crashed
}

func (p *tap) String() string { return "sweep" }

// MaybeError implements errorfs.Injector.
func (p *tap) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		p.crash(fmt.Sprintf("before operation %d on %s", op.Kind, op.Path))
	}
	return nil
}

// crash copies the disk, without all that was not flushed, and with some of it.
func (p *tap) crash(what string) {
	p.life.mu.Lock()
	ops, events, over := slices.Clone(p.life.ops), p.life.events, p.life.over
	p.life.mu.Unlock()
	if over {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kept := range []int{0, 50, 100} {
		if p.n++; p.n%p.stride != 0 {
			continue
		}
		p.crashes = append(p.crashes, crashed{
			what: fmt.Sprintf("crash %d, %s, %d %% of what is not flushed is kept", p.n, what, kept),
			disk: p.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: p.rng}), ops: ops, events: events,
		})
	}
}

// tapped is a store that may crash before and after each append.
type tapped struct {
	store.Store
	tap *tap
}

func (s *tapped) Append(ctx context.Context, b *store.Batch) (store.Version, error) {
	s.tap.crash("before an append")
	defer s.tap.crash("after an append")
	return s.Store.Append(ctx, b)
}
