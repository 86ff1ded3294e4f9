package backend

import (
	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// spread divides the calls of each kind evenly among the cores, where the kernel does not.
//
// Long calls: while as many run as there are cores, each has one. There are no more of them
// than slots, so the kernel's balancing has nothing to choose from, and leaves two on one
// core as long as the other one has anything to do, be it the work of another program.
//
// Short calls: while there are more calls than cores, two short ones that run at a time are
// on different cores. For the kernel a core with a long call is as busy as one with a short
// one: it looks for an idle core when a thread wakes up, not for the one with least weight,
// and balances busy cores only every 32 ms, when short calls are over.
//
// Only calls of one thread are pinned, which those are whose children would inherit it
// rarely; one that is seen to have more is let go. A call keeps to the cores that it was
// allowed before, when it is let go. All else runs where the kernel wants it.
type spread struct {
	cores  []int // that the node may use
	run    [2]map[*Pending]struct{}
	pinned map[*Pending]spot
	stale  bool // something has changed
}

// The kinds of calls.
const (
	shortCalls = iota // in Express
	longCalls         // in Batch
)

// spot is where a call is kept.
type spot struct {
	core   int
	before unix.CPUSet // where it was allowed
}

// newSpread spreads over the cores of this process; a backend without tiers over none.
func newSpread(tr Traits) spread {
	s := spread{run: [2]map[*Pending]struct{}{{}, {}}, pinned: map[*Pending]spot{}}
	var may unix.CPUSet
	if tr.Tiers < 2 || unix.SchedGetaffinity(0, &may) != nil {
		return s
	}
	for i := range 64 * len(may) {
		if may.IsSet(i) {
			s.cores = append(s.cores, i)
		}
	}
	return s
}

// note takes a call up or forgets it.
func (s *spread) note(p *Pending) {
	for kind, tier := range [2]policy.Tier{policy.Express, policy.Batch} {
		_, known := s.run[kind][p]
		is := p.added && !p.halted && p.place.Tier == tier && len(s.cores) > 1
		switch {
		case is == known:
			continue
		case is:
			s.run[kind][p] = struct{}{}
		default:
			delete(s.run[kind], p)
		}
		s.stale = true
	}
}

// runs reports whether a call would use a core of its own.
func (p *Pending) runs() bool {
	return p.added && !p.halted && p.seen.state != Asleep && p.seen.width <= 1
}

// settle pins calls and lets them go.
func (s *spread) settle() {
	if !s.stale || len(s.cores) < 2 {
		return
	}
	s.stale = false
	var n [2]int
	for kind, calls := range s.run {
		for p := range calls {
			if p.runs() {
				n[kind]++
			}
		}
	}
	crowded := n[shortCalls] > 1 && n[shortCalls]+n[longCalls] > len(s.cores)
	for p, at := range s.pinned {
		_, short := s.run[shortCalls][p]
		_, long := s.run[longCalls][p]
		if !p.runs() || !(short && crowded || long && n[longCalls] >= len(s.cores)) {
			s.free(p, at)
		}
	}
	if crowded {
		s.divide(s.run[shortCalls], n[shortCalls])
	}
	if n[longCalls] >= len(s.cores) {
		s.divide(s.run[longCalls], n[longCalls])
	}
}

// divide pins the calls of a kind, of which n run, so that no core has more than its part.
func (s *spread) divide(calls map[*Pending]struct{}, n int) {
	most := (n + len(s.cores) - 1) / len(s.cores)
	on := map[int]int{}
	var move []*Pending
	for p := range calls {
		if !p.runs() {
			continue
		}
		if at, is := s.pinned[p]; is && on[at.core] < most {
			on[at.core]++
		} else {
			move = append(move, p)
		}
	}
	for _, p := range move {
		if core, is := s.pin(p, on); is {
			on[core]++
		}
	}
}

// pin keeps a call on the core that has the fewest of its kind, if it has one thread and may
// use that core. Among equals it stays where it is.
func (s *spread) pin(p *Pending, on map[int]int) (core int, pinned bool) {
	pid := p.task.PID()
	if p.task.o.Thread > 0 || p.task.o.Crew != nil && p.task.o.Crew.mixed {
		return 0, false
	}
	st, one := p.task.lone()
	if !one {
		return 0, false
	}
	core = s.cores[0]
	for _, c := range s.cores[1:] {
		if on[c] < on[core] || on[c] == on[core] && c == st.core {
			core = c
		}
	}
	at, is := s.pinned[p]
	if !is && unix.SchedGetaffinity(pid, &at.before) != nil || !at.before.IsSet(core) {
		return 0, false
	}
	var only unix.CPUSet
	only.Set(core)
	if unix.SchedSetaffinity(pid, &only) != nil {
		return 0, false
	}
	at.core = core
	s.pinned[p] = at
	return core, true
}

// free lets a call run where it might before, with what it has made meanwhile.
func (s *spread) free(p *Pending, at spot) {
	delete(s.pinned, p)
	err := unix.SchedSetaffinity(p.task.PID(), &at.before) // what it makes from now on inherits
	if _, one := p.task.lone(); err == nil && !one {
		_ = p.task.eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, &at.before) }) // one that has ended needs nothing
	}
}

// forget lets a call go for good.
func (s *spread) forget(p *Pending) {
	for _, calls := range s.run {
		delete(calls, p)
	}
	if at, is := s.pinned[p]; is {
		s.free(p, at)
	}
	s.stale = true
}
