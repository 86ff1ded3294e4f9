package policy

import (
	"slices"
	"time"
)

// sfs is the scheduler of Y. Fu, L. Liu, H. Wang, Y. Cheng and S. Chen, SFS: Smart OS
// Scheduling for Serverless Functions (SC 2022), as its code has it. Each core has a
// worker that runs one call of a common queue in a real-time class for a slice S; when
// that is used the call is left to the kernel's fair class. S is the mean of the last
// inter-arrival times times the cores: so long a call may have a core if all are to
// have their turn. A call that sleeps frees its worker and comes back with the rest of
// its slice; one that has waited for more than three slices is left to the kernel at once.
type sfs struct {
	desk
	calls   map[ID]*sfsCall
	queue   []*sfsCall
	workers int // that have a call
	last    time.Duration
	seen    uint64
	gaps    []time.Duration // the last inter-arrival times, in a ring
	slice   time.Duration
}

// sfsCall is a call under sfs.
type sfsCall struct {
	slip
	since  time.Duration // when it came into the queue
	used   time.Duration
	credit time.Duration // what is left of its slice; 0 before it has one
	worker bool
	fair   bool // left to the kernel
}

var _ Strategy = (*sfs)(nil)

// newSFS makes the strategy.
func newSFS(o Options) *sfs {
	return &sfs{desk: newDesk(o), calls: map[ID]*sfsCall{}, slice: o.SFS.Initial}
}

// Name implements Strategy.
func (*sfs) Name() string { return SFS }

// Next implements Strategy.
func (*sfs) Next() time.Duration { return 0 }

// Step implements Strategy.
func (s *sfs) Step(now time.Duration, e Event) []Command {
	s.out = s.out[:0]
	switch e := e.(type) {
	case Arrived:
		if _, ok := s.calls[e.Call.ID]; ok {
			return nil
		}
		s.measure(now)
		c := &sfsCall{slip: s.admit(now, e.Call), since: now}
		s.calls[e.Call.ID] = c
		s.queue = append(s.queue, c)
		s.serve(now)
	case Used:
		if c, ok := s.calls[e.ID]; ok {
			if c.worker {
				c.credit -= max(e.CPU-c.used, 0)
			}
			c.used = max(e.CPU, c.used)
			if c.worker && c.credit <= 0 {
				s.release(c)
				c.fair = true
				s.do(now, &c.slip, Command{Op: Demote, Tier: Normal})
				s.serve(now)
			}
		}
	case Slept:
		if c, ok := s.calls[e.ID]; ok && !c.asleep {
			c.asleep = true
			if c.worker {
				s.release(c)
				s.do(now, &c.slip, Command{Op: Demote, Tier: Normal})
			}
			s.queue = slices.DeleteFunc(s.queue, func(q *sfsCall) bool { return q == c })
			s.serve(now)
		}
	case Woke:
		if c, ok := s.calls[e.ID]; ok && c.asleep {
			c.asleep = false
			if !c.fair {
				c.since = now
				s.queue = append(s.queue, c)
				s.serve(now)
			}
		}
	case Deadline:
		if c, ok := s.calls[e.ID]; ok {
			c.call.Deadline = e.At
		}
	case Ended:
		if c, ok := s.calls[e.ID]; ok {
			delete(s.calls, e.ID)
			s.queue = slices.DeleteFunc(s.queue, func(q *sfsCall) bool { return q == c })
			if c.worker {
				s.release(c)
			}
			s.end(now, &c.slip, e)
			s.serve(now)
		}
	}
	return s.out
}

// measure learns the slice from the time since the last arrival.
func (s *sfs) measure(now time.Duration) {
	o := s.options.SFS
	if s.seen > 0 {
		if len(s.gaps) < o.Window {
			s.gaps = append(s.gaps, now-s.last)
		} else {
			s.gaps[int(s.seen-1)%o.Window] = now - s.last
		}
		var sum time.Duration
		for _, g := range s.gaps {
			sum += g
		}
		s.slice = max(sum/time.Duration(len(s.gaps))*time.Duration(s.options.Cores), o.Floor)
	}
	s.seen++
	s.last = now
}

// release frees the worker of c.
func (s *sfs) release(c *sfsCall) {
	c.worker = false
	s.workers--
}

// serve gives free workers the calls that have waited longest.
func (s *sfs) serve(now time.Duration) {
	for len(s.queue) > 0 && s.workers < s.options.Cores {
		c := s.queue[0]
		s.queue = s.queue[1:]
		if float64(now-c.since) > s.options.SFS.Overload*float64(s.slice) {
			c.fair = true
			if !c.began {
				s.do(now, &c.slip, Command{Op: Start, Tier: Normal})
			}
			continue
		}
		if c.credit <= 0 {
			c.credit = s.slice
		}
		c.worker = true
		s.workers++
		op := Boost
		if !c.began {
			op = Start
		}
		s.do(now, &c.slip, Command{Op: op, Tier: Express, Budget: c.used + c.credit})
	}
}

// View implements Strategy.
func (s *sfs) View() View {
	v := s.summary(SFS)
	v.Slice = s.slice
	for _, c := range s.calls {
		v.count(&c.slip, !c.began)
	}
	return v
}
