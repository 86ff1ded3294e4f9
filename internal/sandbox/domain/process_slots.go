package domain

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/process"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// processSlots are the run's slots as one process sees them: the same table that
// domain hosts ask, under the call's attempt. What it puts others see when its
// call is committed, and what it takes comes back when it is withdrawn.
type processSlots struct {
	d *Domain
	k *call
}

var _ process.Slots = (*processSlots)(nil)

// alive reports whether the call may still do something; d.mu is held.
func (s *processSlots) alive(op, name string) error {
	if s.k.stopped || s.d.finished || s.d.calls[s.k.ID] != s.k {
		return &buffer.Error{Op: op, Slot: name, Kind: buffer.ErrClosed}
	}
	return nil
}

// Need makes a segment for the call to fill.
func (s *processSlots) Need(n int64) (*buffer.Segment, error) {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.alive("alloc", ""); err != nil {
		return nil, err
	}
	size := buffer.Class(n)
	if size == 0 {
		return nil, &buffer.Error{Op: "alloc", Kind: buffer.ErrTooLarge, Detail: fmt.Sprintf("no buffer has %d bytes", n)}
	}
	if d.supplied+size > d.o.Quota {
		return nil, &buffer.Error{Op: "alloc", Kind: buffer.ErrQuota,
			Detail: fmt.Sprintf("the run holds %d MiB of buffers, %d MiB more are over its quota of %d MiB", d.supplied>>20, size>>20, d.o.Quota>>20)}
	}
	g, err := d.pool.supply.Get(n)
	if err != nil {
		return nil, err
	}
	d.supplied += g.Capacity()
	d.segments[g.ID()] = &segment{Segment: g}
	x := s.k.process
	x.needs, x.own = append(x.needs, g.ID()), append(x.own, g.Retain())
	return g, nil
}

// Put publishes a value.
func (s *processSlots) Put(name string, v buffer.Value) error {
	d, k := s.d, s.k
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.alive("put", name); err != nil {
		return err
	}
	if len(k.recorded) == slotsMax {
		return &buffer.Error{Op: "put", Slot: name, Kind: buffer.ErrQuota, Detail: fmt.Sprintf("a call publishes at most %d slots", slotsMax)}
	}
	begun := time.Now()
	if err := d.table.Put(k.attempt, name, v); err != nil {
		return err
	}
	if g, ok := v.Holder.(*buffer.Segment); ok {
		known := d.segments[g.ID()]
		if known == nil { // passed on by reference, and read from a file
			known = &segment{Segment: g.Retain()}
			d.supplied += g.Capacity()
			d.segments[g.ID()] = known
		}
		known.slots++
		known.dropped = true
	}
	k.recorded = append(k.recorded, slotOf(k.attempt, name, v))
	s.moves(wire.Moved{Put: true, Name: name, Bytes: v.Len}, begun)
	return nil
}

// Len looks a slot up.
func (s *processSlots) Len(name string) (int64, uint64, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if err := s.alive("len", name); err != nil {
		return 0, 0, err
	}
	return s.d.table.Len(s.k.attempt, name)
}

// Take reads a slot and consumes it.
func (s *processSlots) Take(name string, typ uint64) (buffer.Value, error) {
	return s.read(name, typ, true)
}

// Borrow reads a slot.
func (s *processSlots) Borrow(name string, typ uint64) (buffer.Value, error) {
	return s.read(name, typ, false)
}

func (s *processSlots) read(name string, typ uint64, consume bool) (buffer.Value, error) {
	d, k := s.d, s.k
	begun := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.alive("read", name); err != nil {
		return buffer.Value{}, err
	}
	var full buffer.Name
	_, err := d.find(func() (v buffer.Value, err error) {
		full, v, err = d.table.Peek(k.attempt, name, typ)
		return v, err
	})
	if err == nil {
		err = s.alive("read", name)
	}
	if err == nil && len(k.asked) == slotsMax {
		err = &buffer.Error{Op: "read", Slot: name, Kind: buffer.ErrQuota, Detail: fmt.Sprintf("a call takes at most %d slots", slotsMax)}
	}
	if err != nil {
		return buffer.Value{}, err
	}
	var v buffer.Value
	if consume {
		if v, err = d.table.Take(k.attempt, full.String(), typ); err == nil {
			k.asked = append(k.asked, full.String())
		}
	} else {
		v, err = d.table.Borrow(k.attempt, full.String(), typ)
	}
	if err == nil {
		v.Holder, err = s.inMemory(v)
	}
	if err == nil {
		s.moves(wire.Moved{Name: full.String(), Bytes: v.Len}, begun)
	}
	return v, err
}

// inMemory is the holder of a value that has been read, such that a process can
// have it; d.mu is held.
func (s *processSlots) inMemory(v buffer.Value) (buffer.Holder, error) {
	x := s.k.process
	switch h := v.Holder.(type) {
	case *buffer.Inline:
		return h, nil
	case *buffer.File: // the run passes values by files
		r, _, err := s.d.reader(v)
		if err != nil {
			return nil, err
		}
		loaded, _, err := s.d.pool.fill(r, v.Len, v.Len)
		if g, ok := loaded.(*buffer.Segment); ok {
			x.own = append(x.own, g)
		}
		return loaded, err
	default:
		g := segmentOf(h)
		x.own = append(x.own, g.Retain())
		return g, nil
	}
}

// Wait returns when a slot is there.
func (s *processSlots) Wait(ctx context.Context, name string) error {
	d, k, x := s.d, s.k, s.k.process
	_, timed := ctx.Deadline()
	d.mu.Lock()
	defer d.mu.Unlock()
	x.waits++
	if timed {
		x.timed++
	}
	defer func() {
		x.waits--
		if timed {
			x.timed--
		}
		if k.limited = x.timed > 0; x.waits == 0 {
			d.awaits(k, "")
		}
	}()
	for {
		if err := s.alive("wait for", name); err != nil {
			return err
		}
		if k.deadlock != nil {
			return k.deadlock
		}
		there, err := d.table.Wait(k.attempt, name)
		d.table.Unwait(k.attempt)
		if there || err != nil {
			return err
		}
		k.limited = x.timed > 0
		d.awaits(k, name)
		if d.moved == nil {
			d.moved = make(chan struct{})
		}
		moved := d.moved
		d.stalled()
		d.mu.Unlock()
		select {
		case <-moved:
			err = nil
		case <-ctx.Done():
			err = ctx.Err()
		}
		d.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// stir has the processes that wait for slots look again; d.mu is held.
func (d *Domain) stir() {
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}

// movedMax bounds the hand-overs that a process reports for the trace.
const movedMax = 200

// moves notes a hand-over; d.mu is held.
func (s *processSlots) moves(m wire.Moved, begun time.Time) {
	if x := s.k.process; len(x.moved) < movedMax {
		m.At, m.Took = int64(begun.Sub(s.k.begun)), int64(time.Since(begun))
		x.moved = append(x.moved, m)
	}
}
