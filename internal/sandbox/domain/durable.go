package domain

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Slot is a slot that a call has published.
type Slot struct {
	Name   string // full: "STEP/x", "STEP[2]/x" or "/x"
	By     string // path of the call that published it; empty: the run itself
	Size   int64  // bytes
	Type   uint64 // fingerprint; 0: none
	Inline []byte // its bytes, if they are few; nil: Hold gives them
}

// Effects are what a committed call has changed in the run's slots. What it has
// both published and taken itself is in neither list.
type Effects struct {
	Puts  []Slot
	Takes []string // full names of slots that are gone now
}

// Commit makes the puts and takes of a call that succeeded real, and says what
// they are. It fails when another call has published one of its names first;
// Withdraw then.
func (d *Domain) Commit(id uint64) (Effects, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.calls[id]
	if k == nil {
		return Effects{}, nil
	}
	if k.conflict != nil {
		return Effects{}, k.conflict
	}
	ready, err := d.table.Commit(k.attempt)
	if err != nil {
		return Effects{}, err
	}
	d.published = true
	delete(d.calls, id)
	d.tell(k, &wire.Commit{Call: id})
	d.wake(ready)
	d.released()
	return k.effects(), nil
}

// effects lists what others see of a call.
func (k *call) effects() Effects {
	e := Effects{Puts: k.recorded, Takes: append(k.taken, k.asked...)}
	if len(e.Puts) == 0 || len(e.Takes) == 0 {
		return e
	}
	own := map[string]bool{}
	for _, s := range e.Puts {
		own[s.Name] = true
	}
	e.Takes = slices.DeleteFunc(e.Takes, func(name string) bool {
		mine := own[name]
		if mine {
			e.Puts = slices.DeleteFunc(e.Puts, func(s Slot) bool { return s.Name == name })
		}
		return mine
	})
	return e
}

// slotOf describes what an attempt publishes.
func slotOf(a buffer.Attempt, name string, v buffer.Value) Slot {
	s := Slot{Name: name, By: a.Path, Size: v.Len, Type: v.Type}
	if full, err := a.Slot(name); err == nil {
		s.Name = full.String()
	}
	if in, ok := v.Holder.(*buffer.Inline); ok {
		if s.Inline = in.Bytes; s.Inline == nil {
			s.Inline = []byte{}
		}
	}
	return s
}

// Put publishes what r gives, at most max bytes, under a full name: "/x" for
// the whole run. size is how much that is, -1 where it is not known. The bytes
// go to a memory file as they come. More than max is buffer.ErrTooLarge.
func (d *Domain) Put(name string, r io.Reader, size, max int64) (Slot, error) {
	h, n, err := d.pool.fill(r, size, max)
	if err != nil {
		return Slot{}, fmt.Errorf("publish %s: %w", name, err)
	}
	s := Slot{Name: name, Size: n}
	if in, ok := h.(*buffer.Inline); ok {
		s.Inline = in.Bytes
	}
	if err := d.publish(s, buffer.Value{Holder: h, Len: n}, false); err != nil {
		return Slot{}, err
	}
	return s, nil
}

// publish enters a value that came from outside, which it owns from then on.
// Hosts do not know it, so they have to ask.
func (d *Domain) publish(s Slot, v buffer.Value, gone bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.finished {
		drop(v.Holder)
		return &buffer.Error{Op: "publish", Slot: s.Name, Kind: buffer.ErrClosed}
	}
	d.published = true
	err := d.share()
	memory, large := v.Holder.(*buffer.Segment)
	if err == nil && large && d.supplied+memory.Capacity() > d.o.Quota {
		err = &buffer.Error{Op: "publish", Slot: s.Name, Kind: buffer.ErrQuota}
	}
	var ready []buffer.Attempt
	if err == nil {
		ready, err = d.enter(s, v)
	}
	if err != nil {
		drop(v.Holder)
		return err
	}
	if large {
		d.supplied += memory.Capacity()
		d.segments[memory.ID()] = &segment{Segment: memory, slots: 1, dropped: true}
	}
	if gone {
		a := buffer.Attempt{Path: "an earlier step"}
		d.table.Take(a, s.Name, 0)
		d.table.Commit(a)
	}
	d.wake(ready)
	return nil
}

// enter puts a value into the table in the name of who published it; d.mu is
// held.
func (d *Domain) enter(s Slot, v buffer.Value) ([]buffer.Attempt, error) {
	if s.By == "" {
		return d.table.Import(s.Name, v)
	}
	n, err := buffer.ParseName(s.Name)
	if err != nil {
		return nil, err
	}
	a, name := buffer.Attempt{Path: s.By}, n.Leaf
	if n.Wide {
		name = s.Name
	} else {
		a.Path = n.Scope
	}
	if err := d.table.Put(a, name, v); err != nil {
		return nil, err
	}
	ready, err := d.table.Commit(a)
	if err != nil {
		d.table.Withdraw(a)
		d.table.Released()
	}
	return ready, err
}

// drop gives up what no table holds.
func drop(h buffer.Holder) {
	if s, ok := h.(*buffer.Segment); ok {
		s.Release()
	}
}

// Open reads a slot of the run from outside: "STEP/name", as a value's
// reference says it. The reader is valid until the slot is taken, or Close.
func (d *Domain) Open(slot string) (io.Reader, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.find(func() (buffer.Value, error) {
		_, v, err := d.table.Peek(buffer.Attempt{}, slot, 0)
		return v, err
	})
	if err != nil {
		return nil, 0, err
	}
	return d.reader(v)
}

// Hold is Open for as long as the caller wants: until release is called the
// bytes stay as they are, also when a call takes the slot and after Close. It
// finds a slot from its Commit until the Commit of the call that takes it.
// Release may be called more than once, from any goroutine. The reader is an
// io.ReaderAt and io.Seeker too.
func (d *Domain) Hold(slot string) (r io.Reader, size int64, release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.find(func() (buffer.Value, error) { return d.table.Published(slot) })
	if err != nil {
		return nil, 0, nil, err
	}
	memory := segmentOf(v.Holder)
	if memory == nil {
		r, size, err = d.reader(v)
		return r, size, func() {}, err
	}
	s := d.segments[memory.ID()]
	s.Retain()
	made, told := s.host, false // who might fill it anew
	if _, here := d.hosts[made]; here && !made.asks {
		told = made.conn.Send(&wire.Hold{Segment: s.ID(), Slot: slot}) == nil
	}
	released := false
	return s.Reader(v.Len), v.Len, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if released {
			return
		}
		released = true
		if _, here := d.hosts[made]; told && here && !d.finished {
			made.conn.Send(&wire.Hold{Segment: s.ID(), Off: true})
		}
		s.Release()
	}, nil
}

// reader reads what a slot holds; d.mu is held.
func (d *Domain) reader(v buffer.Value) (io.Reader, int64, error) {
	f, ok := v.Holder.(*buffer.File)
	if !ok {
		return reader(v.Holder, v.Len), v.Len, nil
	}
	b := make([]byte, v.Len)
	_, err := f.Load(b)
	return bytes.NewReader(b), v.Len, err
}

// reader reads what is in memory.
func reader(h buffer.Holder, n int64) io.Reader {
	if s := segmentOf(h); s != nil {
		return s.Reader(n)
	}
	return bytes.NewReader(h.(*buffer.Inline).Bytes)
}
