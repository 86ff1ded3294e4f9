package machine

import (
	"slices"

	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// habit is what the latest execution of a method has read: what the next one is
// given when it starts.
type habit struct{ places []place }

// place is a key that was read. An entry that was an argument is likely to be the
// same argument next time.
type place struct {
	key      wire.Key
	argument int // the entry is that argument; below 0: it is the key's
	writes   bool
}

// What is given at a start: at most so many keys, and bytes of values.
const (
	habitMax   = 16
	habitBytes = 256 << 10
)

func habitOf(t wire.Target) string { return t.Service + "." + t.Method }

// key is the place in an execution with some arguments.
func (p place) in(args [][]byte) (wire.Key, bool) {
	k := p.key
	if p.argument >= 0 {
		if p.argument >= len(args) {
			return k, false
		}
		k.Entry = string(args[p.argument])
	}
	return k, true
}

// learn notes what an execution has read.
func (m *Machine) learn(c *call) {
	h := m.habits[habitOf(c.to)]
	if h == nil {
		h = &habit{}
		m.habits[habitOf(c.to)] = h
	}
	h.places = h.places[:0]
	read := c.read
	if len(read) > 0 && read[0] == versionKey { // nobody waits for that: it is not to come first
		read = append(slices.Clone(read[1:min(len(read), habitMax)]), versionKey)
	}
	for _, k := range read {
		if len(h.places) == habitMax {
			break
		}
		p := place{key: k, argument: -1, writes: c.r.seg.latest[c.state(k)] > 0}
		if k.Item {
			for i, a := range c.args {
				if string(a) == k.Entry {
					p.argument, p.key.Entry = i, ""
					break
				}
			}
		}
		h.places = append(h.places, p)
	}
}

// foresee gets what a method is likely to read. The first of it may be waited for by
// a request that has no lock yet: it waits without an instance.
func (m *Machine) foresee(c *call, then func([]wire.Known)) {
	r := c.r
	h := m.habits[habitOf(c.to)]
	if h == nil || len(h.places) == 0 || !m.knows(c) {
		then(nil)
		return
	}
	places := make([]place, 0, habitMax)
	places = append(places, h.places...)
	given := make([]wire.Key, 0, len(places))
	names := make([]string, 0, len(places))
	rest := func() {
		for _, p := range places {
			k, ok := p.in(c.args)
			if !ok {
				continue
			}
			if w := c.want(c.state(k), c.lockFor(p.writes)); !r.lockless() {
				if !m.locks.Free(r.owner, w.key, w.mode) {
					continue
				}
				m.locks.Acquire(r.owner, w.key, w.mode)
			}
			given, names = append(given, k), append(names, c.state(k))
		}
		m.fetch(r, names, func(values []wire.Value) {
			known, size := make([]wire.Known, 0, len(given)), 0
			for i, k := range given {
				if size += len(values[i].Data); size > habitBytes || values[i].Code == wire.Pending { // it asks, if it needs them
					break
				}
				known = append(known, wire.Known{Key: k, Value: values[i]})
			}
			then(known)
		})
	}
	k, ok := places[0].in(c.args)
	if r.owner.Locks() > 0 || !ok {
		rest()
		return
	}
	m.acquire(r, []want{c.want(c.state(k), c.lockFor(places[0].writes))}, rest)
}

// writes reports whether the method is likely to write what it reads.
func (m *Machine) writes(c *call, k wire.Key) bool {
	if h := m.habits[habitOf(c.to)]; h != nil {
		for _, p := range h.places {
			if q, ok := p.in(c.args); ok && q == k {
				return p.writes
			}
		}
	}
	return false
}

// state is the store's key of a place in the object of an execution.
func (c *call) state(k wire.Key) string { return record.State(c.to.Service, c.to.Object, k) }
