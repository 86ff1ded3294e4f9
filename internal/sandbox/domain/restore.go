package domain

import (
	"fmt"
	"io"

	"github.com/weft-run/weft/internal/buffer"
)

// Saved is a slot of an earlier life of the run.
type Saved struct {
	Slot
	Taken bool                          // it was taken for good: only its name is in use
	Open  func() (io.ReadCloser, error) // its bytes, unless they are in Inline
}

// Restore puts the slots that finished calls of an earlier life of the run have
// published back in place, before the first Start. Small ones are read from Open
// now, others when somebody wants them: who does and cannot have them fails with
// the reason.
func (d *Domain) Restore(slots []Saved) error {
	for _, s := range slots {
		var v buffer.Value
		var err error
		switch {
		case s.Taken:
			v.Holder = &buffer.Inline{}
		case s.Open == nil:
			v.Holder = &buffer.Inline{Bytes: s.Inline}
		case s.Size > inlineMax:
			v.Holder = &stored{Saved: s}
		default:
			v.Holder, err = d.pool.load(s)
		}
		if err == nil {
			v.Len, v.Type = s.Size, s.Type
			err = d.publish(s.Slot, v, s.Taken)
		}
		if err != nil {
			return fmt.Errorf("restore slot %s: %w", s.Name, err)
		}
	}
	return nil
}

// load fills memory from what was saved of a slot.
func (p *Pool) load(s Saved) (buffer.Holder, error) {
	r, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, n, err := p.fill(r, s.Size, s.Size)
	if err == nil && n != s.Size {
		err = fmt.Errorf("it has %d bytes, %d were saved", n, s.Size)
		drop(h)
	}
	return h, err
}

// stored holds a restored slot, in a file until somebody wants it. The domain's
// mu guards what follows Saved.
type stored struct {
	Saved
	segment *buffer.Segment // its memory, once it is loaded
	err     error           // why it cannot be
	loading bool
	waiting []func() // to be called when it is loaded or cannot be, with the lock held
}

var _ buffer.Holder = (*stored)(nil)

// Size is the number of bytes.
func (s *stored) Size() int64 { return s.Saved.Size }

// waits reports whether a value has to be loaded before it can be given out. Then
// it calls f, with d.mu held, when that has come to an end; d.mu is held.
func (d *Domain) waits(h buffer.Holder, f func()) bool {
	s, ok := h.(*stored)
	if !ok || s.segment != nil || s.err != nil {
		return false
	}
	s.waiting = append(s.waiting, f)
	if !s.loading {
		s.loading = true
		d.pool.work.Go(func() { d.fetch(s) }) // slots are read after Finish too
	}
	return true
}

// fetch loads a restored slot.
func (d *Domain) fetch(s *stored) {
	h, err := d.pool.load(s.Saved)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.loading = false
	v, gone := d.table.Published(s.Name)
	memory, large := h.(*buffer.Segment)
	switch {
	case err != nil:
		s.err = fmt.Errorf("restore slot %s: %w", s.Name, err)
	case gone != nil || v.Holder != s: // discarded meanwhile, or the run is over
		s.err = &buffer.Error{Op: "restore", Slot: s.Name, Kind: buffer.ErrNotFound}
		drop(h)
	case !large:
		s.err = fmt.Errorf("restore slot %s: it has %d bytes, and not as many as were saved", s.Name, s.Saved.Size)
	default:
		s.segment = memory
		d.supplied += memory.Capacity()
		d.segments[memory.ID()] = &segment{Segment: memory, stored: s, slots: 1, dropped: true}
	}
	for _, f := range s.waiting {
		f()
	}
	s.waiting = nil
}

// find looks a value up and has it in memory. d.mu is held, but not while the
// value is read, so it is looked up again then.
func (d *Domain) find(look func() (buffer.Value, error)) (buffer.Value, error) {
	for {
		v, err := look()
		if err != nil {
			return v, err
		}
		done := make(chan struct{})
		if !d.waits(v.Holder, func() { close(done) }) {
			if s, ok := v.Holder.(*stored); ok {
				err = s.err
			}
			return v, err
		}
		d.mu.Unlock()
		<-done
		d.mu.Lock()
	}
}

// segmentOf is the memory file of a value; nil if it has none.
func segmentOf(h buffer.Holder) *buffer.Segment {
	switch h := h.(type) {
	case *buffer.Segment:
		return h
	case *stored:
		return h.segment
	}
	return nil
}
