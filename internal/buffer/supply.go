package buffer

import (
	"slices"
	"sync"
	"sync/atomic"
)

// SupplyOptions bound what a Supply keeps ready.
type SupplyOptions struct {
	Classes  []int64 // sizes kept ready, rounded up to classes; default 64 KiB, 256 KiB, 1 MiB, 16 MiB, 64 MiB
	Count    int     // segments kept ready per size; default 4
	Resident int64   // bytes of them that are given memory ahead of need, smallest sizes first; default 8 MiB, negative: none
}

// EnsureDefaults fills in what is not set.
func (o *SupplyOptions) EnsureDefaults() {
	if len(o.Classes) == 0 {
		o.Classes = []int64{64 << 10, 256 << 10, 1 << 20, 16 << 20, 64 << 20}
	}
	if o.Count <= 0 {
		o.Count = 4
	}
	if o.Resident == 0 {
		o.Resident = 8 << 20
	}
}

// Supply makes the segments of a node, some ahead of need, and numbers them. What it gives out it does not take
// back: a segment that left for a host may still be mapped there, so it serves one run and is then freed. It is safe
// for concurrent use.
type Supply struct {
	classes  []int64
	count    int
	resident int64
	last     atomic.Uint64 // number of the newest segment

	mu     sync.Mutex // guards what follows
	ready  map[int64][]*Segment
	warm   int64 // bytes of ready segments that have memory
	closed bool

	kick chan struct{} // holds one token when there may be something to make
	done chan struct{}
}

// NewSupply starts a supply and the one goroutine that fills it, which ends with Close.
func NewSupply(o SupplyOptions) *Supply {
	o.EnsureDefaults()
	p := &Supply{
		count:    o.Count,
		resident: o.Resident,
		ready:    make(map[int64][]*Segment),
		kick:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	for _, n := range o.Classes {
		if c := Class(n); c != 0 && !slices.Contains(p.classes, c) {
			p.classes = append(p.classes, c)
		}
	}
	slices.Sort(p.classes)
	p.kick <- struct{}{}
	go p.fill()
	return p
}

// Get returns a segment of n bytes or, rounded up to its class, slightly more: zero, with one reference. It is made
// on the spot when none is ready.
func (p *Supply) Get(n int64) (*Segment, error) {
	class := Class(n)
	if class == 0 {
		return nil, tooLarge("get", n)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &Error{Op: "get", Slot: "segment", Kind: ErrClosed}
	}
	if list := p.ready[class]; len(list) > 0 {
		s := list[0] // those with memory come first
		p.ready[class] = slices.Delete(list, 0, 1)
		if s.resident.Load() > 0 {
			p.warm -= class
		}
		p.mu.Unlock()
		p.wake()
		return s, nil
	}
	p.mu.Unlock()
	return Create(p.last.Add(1), class)
}

// Number returns the number of a segment that was made elsewhere, such as one that is adopted.
func (p *Supply) Number() uint64 { return p.last.Add(1) }

// Close frees what is ready and waits for the goroutine. What was given out is not touched.
func (p *Supply) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.kick)
	}
	p.mu.Unlock()
	<-p.done
	return nil
}

func (p *Supply) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		select {
		case p.kick <- struct{}{}:
		default:
		}
	}
}

// fill makes what is missing whenever it is woken, and frees what is ready when the supply is closed. A segment that
// cannot be made is left to Get, which can report it.
func (p *Supply) fill() {
	defer close(p.done)
	var pad *scratch
	if p.resident > 0 {
		pad, _ = newScratch() // without it segments are ready, but without memory
	}
	for range p.kick {
		for p.makeOne(pad) {
		}
	}
	if pad != nil {
		pad.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.ready {
		for _, s := range list {
			s.Release()
		}
	}
	p.ready, p.warm = nil, 0
}

// makeOne adds one segment of the smallest size of which there are too few.
func (p *Supply) makeOne(pad *scratch) bool {
	p.mu.Lock()
	var class int64
	for _, c := range p.classes {
		if len(p.ready[c]) < p.count {
			class = c
			break
		}
	}
	warm := pad != nil && p.warm+class <= p.resident
	closed := p.closed
	p.mu.Unlock()
	if class == 0 || closed {
		return false
	}
	s, err := Create(p.last.Add(1), class)
	if err != nil {
		return false
	}
	warm = warm && pad.warm(s) == nil

	p.mu.Lock()
	defer p.mu.Unlock()
	if warm {
		p.ready[class] = slices.Insert(p.ready[class], 0, s)
		p.warm += class
	} else {
		p.ready[class] = append(p.ready[class], s)
	}
	return true
}
