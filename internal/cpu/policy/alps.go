package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// alps is the scheduler of Y. Fu, R. Shi, H. Wang, S. Chen and Y. Cheng, ALPS: An
// Adaptive Learning, Priority OS Scheduler for Serverless Functions (USENIX ATC 2024),
// as the paper intends it: functions are ordered by what they need, and each has a
// quantum that its calls keep a core for. Both are learned from a simulation: the last
// arrivals are played on one core under SRTF, and how long the calls of a function run
// there without interruption is what the quantum is made of.
//
// Calls of one function share the processor among themselves. A function that has not
// been profiled goes before all others.
type alps struct {
	desk
	calls map[ID]*alpsCall
	log   []arrival // the last ones of all cores, in a ring
	seen  int
	table map[string]entry
	load  float64 // in percent
	next  time.Duration
}

// alpsCall is a call under alps.
type alpsCall struct {
	slip
	told entry
}

// arrival is a line of the log.
type arrival struct {
	at       time.Duration
	function string
}

// entry is what is learned of a function.
type entry struct {
	rank  int
	slice time.Duration
}

var _ Strategy = (*alps)(nil)

// newALPS makes the strategy.
func newALPS(o Options) *alps {
	return &alps{desk: newDesk(o), calls: map[ID]*alpsCall{}, table: map[string]entry{}}
}

// Name implements Strategy.
func (*alps) Name() string { return ALPS }

// Next implements Strategy.
func (a *alps) Next() time.Duration {
	if len(a.calls) == 0 {
		return 0
	}
	return a.next
}

// Step implements Strategy.
func (a *alps) Step(now time.Duration, e Event) []Command {
	a.out = a.out[:0]
	switch e := e.(type) {
	case Arrived:
		if _, ok := a.calls[e.Call.ID]; ok {
			return nil
		}
		a.enter(arrival{now, e.Call.Function})
		known, ok := a.table[e.Call.Function]
		if p := a.options.Book.Get(e.Call.Function); !ok && p.Calls() > 0 { // it has a profile, and no place in the order yet
			a.learn(now)
			known = a.table[e.Call.Function]
		}
		c := &alpsCall{a.admit(now, e.Call), known}
		a.calls[e.Call.ID] = c
		a.do(now, &c.slip, Command{Op: Start, Tier: Normal, Rank: c.told.rank, Slice: c.told.slice})
	case Slept:
		if s, ok := a.calls[e.ID]; ok {
			s.asleep = true
		}
	case Woke:
		if s, ok := a.calls[e.ID]; ok {
			s.asleep = false
		}
	case Deadline:
		if s, ok := a.calls[e.ID]; ok {
			s.call.Deadline = e.At
		}
	case Loaded:
		a.load = e.Percent
	case Ended:
		if s, ok := a.calls[e.ID]; ok {
			delete(a.calls, e.ID)
			a.end(now, &s.slip, e)
		}
	}
	if now >= a.next {
		a.next = now + a.options.ALPS.Epoch
		a.learn(now)
	}
	return a.out
}

// enter writes into the log, which holds a window for each core.
func (a *alps) enter(line arrival) {
	if size := a.options.ALPS.Window * a.options.Cores; len(a.log) < size {
		a.log = append(a.log, line)
	} else {
		a.log[a.seen%size] = line
	}
	a.seen++
}

// sample is one core's share of the log, in order of arrival: a seeded random choice of
// one line for each core, and of those the last window.
func (a *alps) sample() []arrival {
	lines := slices.Clone(a.log)
	if n := len(lines) / a.options.Cores; a.options.Cores > 1 {
		c := chance(a.options.ALPS.Seed + uint64(a.seen))
		for i := range n {
			j := i + int(c.next()%uint64(len(lines)-i))
			lines[i], lines[j] = lines[j], lines[i]
		}
		lines = lines[:n]
	}
	slices.SortStableFunc(lines, func(x, y arrival) int { return cmp.Compare(x.at, y.at) })
	return lines[max(len(lines)-a.options.ALPS.Window, 0):]
}

// learn makes ranks and quanta anew and tells the calls that have changed.
func (a *alps) learn(now time.Duration) {
	runs, means := a.simulate(a.sample())
	for function, series := range runs {
		e := a.table[function]
		e.slice = a.options.ALPS.quantum(series, a.load)
		a.table[function] = e
	}
	for function := range a.table {
		p := a.options.Book.Get(function)
		if p.Calls() == 0 { // it has made room for others
			delete(a.table, function)
			continue
		}
		means[function] = p.Mean()
	}
	order := slices.SortedFunc(maps.Keys(a.table), func(x, y string) int {
		return cmp.Or(cmp.Compare(means[x], means[y]), cmp.Compare(x, y))
	})
	for i, function := range order {
		e := a.table[function]
		e.rank = i + 1
		a.table[function] = e
	}
	for _, id := range slices.Sorted(maps.Keys(a.calls)) {
		c := a.calls[id]
		if e, ok := a.table[c.call.Function]; ok && e != c.told {
			c.told = e
			a.do(now, &c.slip, Command{Op: Adjust, Tier: Normal, Rank: e.rank, Slice: e.slice})
		}
	}
}

// simulate plays arrivals on one core under SRTF, each with the mean of its function in
// whole milliseconds, and gives the uninterrupted runs of each function in milliseconds,
// in the order in which they end, and those means.
func (a *alps) simulate(lines []arrival) (runs map[string][]float64, means map[string]time.Duration) {
	o := a.options.ALPS
	means = map[string]time.Duration{}
	var jobs []sim.Job
	for _, l := range lines {
		p := a.options.Book.Get(l.function)
		if p.Calls() == 0 {
			continue
		}
		means[l.function] = p.Mean()
		burst := time.Duration(o.Scale * float64(p.Mean())).Truncate(time.Millisecond)
		jobs = append(jobs, sim.Job{Function: l.function, Arrival: l.at - lines[0].at, CPU: max(burst, time.Millisecond)})
	}
	runs = map[string][]float64{}
	ran := func(job int, d time.Duration) {
		f := jobs[job].Function
		runs[f] = append(runs[f], float64(d)/1e6)
	}
	if _, err := sim.Run(jobs, sim.Options{Cores: 1, Ran: ran}, sim.SRTF(o.Hold)); err != nil {
		return nil, means // SRTF lets every job run, and the jobs are in order: there is no such error
	}
	return runs, means
}

// quantum is the learned quantum of a function with such runs, at a load in percent:
//
//	b = learner(runs)
//	v = max(min(int(α·b), cap) - β·σ(runs), 0)       unless NoUnpredictability, then b
//	f = β·(100 + θ - load) / (100·γ)  if load ≥ θ    unless NoOverload, then 1
//	quantum = int(v·f) milliseconds
func (o *ALPSOptions) quantum(runs []float64, load float64) time.Duration {
	v := o.predict(runs)
	if !o.NoUnpredictability {
		_, sigma := moments(runs)
		v = max(min(float64(int(o.Alpha*v)), float64(o.Cap.Milliseconds()))-o.Beta*sigma, 0)
	}
	f := 1.0
	if !o.NoOverload && load >= o.Theta {
		f = o.Beta * (100 + o.Theta - min(load, 100)) / (100 * o.Gamma)
	}
	return time.Duration(max(v*f, 0)) * time.Millisecond
}

// View implements Strategy.
func (a *alps) View() View {
	v := a.summary(ALPS)
	for _, s := range a.calls {
		v.count(&s.slip, false)
	}
	for function, e := range a.table {
		v.Table = append(v.Table, ViewedClass{function, e.rank, e.slice})
	}
	slices.SortFunc(v.Table, func(x, y ViewedClass) int { return cmp.Compare(x.Rank, y.Rank) })
	return v
}
