package buffer

import (
	"slices"
	"sync"
)

// ArenaOptions bound what an Arena keeps.
type ArenaOptions struct {
	Resident int64          // bytes kept, those still to be zeroed included; default 512 MiB
	Count    int            // segments kept; default 256
	Return   func(*Segment) // gets, without a reference, what is not kept; default: the segment is closed
}

// EnsureDefaults fills in what is not set.
func (o *ArenaOptions) EnsureDefaults() {
	if o.Resident <= 0 {
		o.Resident = 512 << 20
	}
	if o.Count <= 0 {
		o.Count = 256
	}
	if o.Return == nil {
		o.Return = (*Segment).Close
	}
}

// Arena gives the segments of one host out again after their last release. Their pages stay, which is what makes a
// second use several times cheaper than a first; their bytes do not: one goroutine writes zeros over them, off the
// path of any step, before Get can return them. A sealed segment can never be written again and is not kept. Arena
// is safe for concurrent use.
//
// A host makes the arena the owner of every segment that it is sent: s.OnRelease(arena.Put).
type Arena struct {
	o   ArenaOptions
	put func(*Segment)

	mu     sync.Mutex // guards what follows
	clean  []*Segment // zero; the longest unused first
	dirty  []*Segment // to be zeroed, in order of release
	held   int64      // bytes of both, and of the one being zeroed
	number int        // segments of both, and the one being zeroed
	closed bool

	zeroing bool       // a segment is being zeroed
	idle    *sync.Cond // told when it is not

	kick chan struct{} // holds one token when there may be something to zero
	done chan struct{}
}

// NewArena starts an arena and the one goroutine that zeroes, which ends with Close.
func NewArena(o ArenaOptions) *Arena {
	o.EnsureDefaults()
	a := &Arena{o: o, kick: make(chan struct{}, 1), done: make(chan struct{})}
	a.put = a.Put
	a.idle = sync.NewCond(&a.mu)
	go a.work()
	return a
}

// Get returns a kept segment for n bytes, zero and with one reference, or nil when none fits: ask the node then. The
// segment has the class of n or one of the two above it.
func (a *Arena) Get(n int64) *Segment {
	least := Class(n)
	if least == 0 {
		return nil
	}
	most := Class(min(Class(min(least+1, MaxSize))+1, MaxSize))
	a.mu.Lock()
	best := -1
	for i, s := range slices.Backward(a.clean) {
		if s.capacity < least || s.capacity > most {
			continue
		}
		if best < 0 || s.capacity < a.clean[best].capacity {
			best = i
		}
		if s.capacity == least {
			break
		}
	}
	if best < 0 {
		a.mu.Unlock()
		return nil
	}
	s := a.clean[best]
	a.clean = slices.Delete(a.clean, best, best+1)
	a.held -= s.capacity
	a.number--
	a.mu.Unlock()
	s.refs.Store(1)
	s.owner.Store(&a.put)
	return s
}

// Put takes a segment without a reference: what OnRelease hands over. No window may show it any more, and no other
// process may be about to get it. When the arena is full, the segments that were unused the longest make room.
func (a *Arena) Put(s *Segment) {
	a.mu.Lock()
	if a.closed || s.Sealed() || s.capacity > a.o.Resident {
		a.mu.Unlock()
		a.o.Return(s)
		return
	}
	var surplus []*Segment
	for len(a.clean) > 0 && !a.fits(s) {
		old := a.clean[0]
		a.clean = slices.Delete(a.clean, 0, 1)
		a.held -= old.capacity
		a.number--
		surplus = append(surplus, old)
	}
	if a.fits(s) {
		a.dirty = append(a.dirty, s)
		a.held += s.capacity
		a.number++
		select {
		case a.kick <- struct{}{}:
		default:
		}
	} else {
		surplus = append(surplus, s)
	}
	a.mu.Unlock()
	for _, s := range surplus {
		a.o.Return(s)
	}
}

func (a *Arena) fits(s *Segment) bool {
	return a.held+s.capacity <= a.o.Resident && a.number < a.o.Count
}

// Trim returns everything that is kept, and how many bytes that was. It waits for a segment that is being zeroed.
func (a *Arena) Trim() int64 {
	a.mu.Lock()
	for a.zeroing {
		a.idle.Wait()
	}
	rest, bytes := slices.Concat(a.clean, a.dirty), a.held
	a.clean, a.dirty, a.held, a.number = nil, nil, 0, 0
	a.mu.Unlock()
	for _, s := range rest {
		a.o.Return(s)
	}
	return bytes
}

// Resident is how many bytes the arena keeps, those still to be zeroed included.
func (a *Arena) Resident() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

// Close returns everything that is kept and waits for the goroutine. What is released later is returned at once.
func (a *Arena) Close() error {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.kick)
	}
	a.mu.Unlock()
	<-a.done
	return nil
}

// work zeroes what is released until the arena is closed, and then returns all that is kept.
func (a *Arena) work() {
	defer close(a.done)
	var pad *scratch
	for range a.kick {
		for {
			s := a.next()
			if s == nil {
				break
			}
			if pad == nil {
				pad, _ = newScratch()
			}
			ok := pad != nil && pad.zero(s) == nil
			a.zeroed(s, ok)
		}
	}
	if pad != nil {
		pad.close()
	}
	a.Trim()
}

func (a *Arena) next() *Segment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.dirty) == 0 || a.closed {
		return nil
	}
	s := a.dirty[0]
	a.dirty = slices.Delete(a.dirty, 0, 1)
	a.zeroing = true
	return s
}

// zeroed keeps a segment that is zero again; one that could not be zeroed must not be given out.
func (a *Arena) zeroed(s *Segment, ok bool) {
	a.mu.Lock()
	a.zeroing = false
	a.idle.Broadcast()
	if ok {
		a.clean = append(a.clean, s)
		a.mu.Unlock()
		return
	}
	a.held -= s.capacity
	a.number--
	a.mu.Unlock()
	a.o.Return(s)
}
