package sim

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/weft-run/weft/internal/engine"
)

// loop is a world in which one thing happens at a time. What is ready to happen
// is chosen by chance; when nothing is, time moves on to the next timer.
type loop struct {
	rng    *rand.Rand
	now    time.Time
	ready  []func()
	timers timers
	steps  int
}

var _ engine.World = (*loop)(nil)

func newLoop(seed uint64) *loop {
	return &loop{rng: rand.New(rand.NewPCG(seed, 0x5eed)), now: time.Unix(1_700_000_000, 0)}
}

func (l *loop) Now() time.Time { return l.now }

func (l *loop) Random() uint64 { return l.rng.Uint64() }

func (l *loop) Go(f func()) { l.ready = append(l.ready, f) }

func (l *loop) After(d time.Duration, f func()) (stop func()) {
	t := &timer{at: l.now.Add(max(d, 0)), order: l.rng.Uint64(), f: f}
	heap.Push(&l.timers, t)
	return func() { t.f = nil }
}

// chance is true once in n times.
func (l *loop) chance(n int) bool { return n > 0 && l.rng.IntN(n) == 0 }

// later has f done after a short while of random length.
func (l *loop) later(most time.Duration, f func()) {
	l.After(time.Duration(l.rng.Int64N(int64(most)+1)), f)
}

// step does one thing, and reports whether there was one.
func (l *loop) step() bool {
	l.steps++
	if n := len(l.ready); n > 0 {
		i := l.rng.IntN(n)
		f := l.ready[i]
		l.ready[i] = l.ready[n-1]
		l.ready[n-1] = nil
		l.ready = l.ready[:n-1]
		f()
		return true
	}
	for l.timers.Len() > 0 {
		t := heap.Pop(&l.timers).(*timer)
		if t.f == nil {
			continue
		}
		if t.at.After(l.now) {
			l.now = t.at
		}
		t.f()
		return true
	}
	return false
}

// soon reports whether anything happens until a time.
func (l *loop) soon(until time.Time) bool {
	for l.timers.Len() > 0 && l.timers[0].f == nil {
		heap.Pop(&l.timers)
	}
	return len(l.ready) > 0 || l.timers.Len() > 0 && l.timers[0].at.Before(until)
}

// forget ends everything that was to happen, as the death of a process does.
func (l *loop) forget() {
	l.ready, l.timers = nil, nil
}

type timer struct {
	at    time.Time
	order uint64 // among those of the same time
	f     func() // nil once it is stopped
}

type timers []*timer

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	if !t[i].at.Equal(t[j].at) {
		return t[i].at.Before(t[j].at)
	}
	return t[i].order < t[j].order
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)   { *t = append(*t, x.(*timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
