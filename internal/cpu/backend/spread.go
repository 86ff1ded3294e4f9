package backend

import (
	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// spread gives each long call that runs a core of its own while there are enough of them
// for all cores. There are no more of those than slots, so the kernel's balancing has
// nothing to choose from: it leaves two on one core as long as the other one has anything
// to do, be it the work of another program. Short calls and all else run where the kernel
// wants them.
//
// Only calls of one thread are pinned, which those are whose children would inherit it
// rarely; one that is seen to have more is let go. A call keeps to the cores that it was
// allowed before, when it is let go.
type spread struct {
	cores  []int // that the node may use
	long   map[*Pending]struct{}
	pinned map[*Pending]spot
	stale  bool // something has changed
}

// spot is where a call is kept.
type spot struct {
	core   int
	before unix.CPUSet // where it was allowed
}

// newSpread spreads over the cores of this process; a backend without tiers over none.
func newSpread(tr Traits) spread {
	s := spread{long: map[*Pending]struct{}{}, pinned: map[*Pending]spot{}}
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
	_, known := s.long[p]
	if is := p.added && p.place.Tier == policy.Batch && len(s.cores) > 1; is {
		s.long[p] = struct{}{}
		s.stale = true
	} else if known {
		delete(s.long, p)
		s.stale = true
	}
}

// runs reports whether a call would use a core of its own.
func (p *Pending) runs() bool {
	return p.added && !p.halted && p.seen.state != Asleep && p.seen.width <= 1
}

// settle pins calls and lets them go.
func (s *spread) settle() {
	if !s.stale {
		return
	}
	s.stale = false
	running := 0
	for p := range s.long {
		if p.runs() {
			running++
		}
	}
	enough := running >= len(s.cores)
	on := map[int]int{}
	for p, at := range s.pinned {
		if _, long := s.long[p]; enough && long && p.runs() && on[at.core] < (running+len(s.cores)-1)/len(s.cores) {
			on[at.core]++
			continue
		}
		s.free(p, at)
	}
	if !enough {
		return
	}
	for p := range s.long {
		if _, is := s.pinned[p]; is || !p.runs() {
			continue
		}
		core := s.cores[0]
		for _, c := range s.cores {
			if on[c] < on[core] {
				core = c
			}
		}
		if s.pin(p, core) {
			on[core]++
		}
	}
}

// pin keeps a call on a core, if it has one thread and may use that core.
func (s *spread) pin(p *Pending, core int) bool {
	pid := p.task.PID()
	at := spot{core: core}
	if p.task.o.Thread > 0 || unix.SchedGetaffinity(pid, &at.before) != nil || !at.before.IsSet(core) || len(threads(pid)) != 1 {
		return false
	}
	var one unix.CPUSet
	one.Set(core)
	if unix.SchedSetaffinity(pid, &one) != nil {
		return false
	}
	s.pinned[p] = at
	return true
}

// free lets a call run where it might before, with what it has made meanwhile.
func (s *spread) free(p *Pending, at spot) {
	delete(s.pinned, p)
	_ = p.task.eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, &at.before) }) // one that has ended needs nothing
}

// forget lets a call go for good.
func (s *spread) forget(p *Pending) {
	delete(s.long, p)
	if at, is := s.pinned[p]; is {
		s.free(p, at)
	}
	s.stale = true
}
