package domain

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// WASI error numbers of answers to hosts.
const (
	errnoCanceled  = 11
	errnoDeadlock  = 16
	errnoQuota     = 19
	errnoExist     = 20
	errnoInvalid   = 28
	errnoIO        = 29
	errnoAmbiguous = 34
	errnoNotFound  = 44
	errnoOverflow  = 61
	errnoType      = 67
	errnoNotGrant  = 76
	errnoRefused   = 14
)

// segment is a memory file that the node made and gave to hosts.
type segment struct {
	*buffer.Segment
	host    *host   // that it was made for
	stored  *stored // what the table holds instead of the segment; nil: that itself
	slots   int     // slots of the table that it holds
	dropped bool    // no host keeps it for reuse
}

// segmentsMax is how many segments a host may have at a time: each is one of its
// descriptors, of which it may have hostFiles.
const segmentsMax = hostFiles - 512

// slotsMax bounds the slots that one call may publish, and those that it may
// take: a host refuses more, before the node has to.
const slotsMax = 1 << 17

// dialsMax bounds the connections that are made for one call at a time: its code
// asks for one after the other.
const dialsMax = 8

// supply gives a host a segment; d.mu is held.
func (d *Domain) supply(h *host, n int64) error {
	refuse := func(why string) error { return h.conn.Send(&wire.Supply{Refused: why}) }
	size := buffer.Class(n)
	if n <= 0 || size == 0 {
		return refuse(fmt.Sprintf("no buffer of %d bytes", n))
	}
	if d.supplied+size > d.o.Quota {
		return refuse(fmt.Sprintf("the run holds %d MiB of buffers, %d MiB more are over its quota of %d MiB", d.supplied>>20, size>>20, d.o.Quota>>20))
	}
	if h.files >= segmentsMax {
		return refuse(fmt.Sprintf("a host holds at most %d buffers: publish fewer and larger ones", segmentsMax))
	}
	s, err := d.pool.supply.Get(n)
	if err != nil {
		return refuse(err.Error())
	}
	d.supplied += s.Capacity()
	d.segments[s.ID()] = &segment{Segment: s, host: h}
	h.gets(s.ID())
	return h.conn.Send(&wire.Supply{Segment: wire.Segment{ID: s.ID(), Capacity: s.Capacity()}}, s.FD())
}

// gets notes that a host is given a descriptor of a segment.
func (h *host) gets(id uint64) {
	h.known[id]++
	h.files++
}

// drop hears that a host has closed a descriptor of each of these segments. It
// may have others: a segment that two of its calls read came twice. Those that it
// only borrowed are another host's.
func (d *Domain) drop(h *host, ids []uint64) {
	for _, id := range ids {
		if h.known[id] == 0 {
			continue
		}
		h.files--
		if h.known[id]--; h.known[id] > 0 {
			continue
		}
		delete(h.known, id)
		if s := d.segments[id]; s != nil && s.host == h {
			d.dropOne(id, s)
		}
	}
}

func (d *Domain) dropOne(id uint64, s *segment) {
	if s.dropped = true; s.slots == 0 {
		d.discard(id)
	}
}

func (d *Domain) discard(id uint64) {
	s := d.segments[id]
	delete(d.segments, id)
	d.supplied -= s.Capacity()
	s.Release()
}

// released frees what no slot holds any longer.
func (d *Domain) released() {
	for _, h := range d.table.Released() {
		switch h := h.(type) {
		case *buffer.Segment:
			if s := d.segments[h.ID()]; s != nil {
				s.slots = 0
				if s.dropped || d.shared {
					d.discard(h.ID())
				}
			}
		case *stored:
			if h.segment != nil && d.segments[h.segment.ID()] != nil {
				d.discard(h.segment.ID())
			}
		case *buffer.File:
			if d.shared {
				h.Remove()
			}
		}
	}
}

// record enters the puts and takes that a call reports into the run's table,
// where they wait for Commit.
func (d *Domain) record(h *host, k *call, m *wire.Done) error {
	puts, takes := append(k.puts, m.Puts...), append(k.takes, m.Takes...)
	if m.Spilled.Segment.ID != 0 {
		puts = append(puts, wire.Put{Name: "stdout", Value: m.Spilled})
	}
	for _, p := range puts {
		v, err := d.value(h, p.Value)
		if err != nil {
			return err
		}
		switch err := d.table.Put(k.attempt, p.Name, v); {
		case err == nil:
			if s := d.segments[p.Value.Segment.ID]; s != nil {
				s.slots++
			}
			k.recorded = append(k.recorded, slotOf(k.attempt, p.Name, v))
		case errors.Is(err, buffer.ErrExists), errors.Is(err, buffer.ErrQuota):
			k.conflict = err // another call was faster; Commit says so
		case err != nil:
			return fmt.Errorf("call %s: %w", k.Path, err)
		}
	}
	if k.conflict != nil {
		return nil
	}
	return d.take(k, takes)
}

// take enters what a host says that a call of it has taken by the host's own
// decision; it may say so more than once.
func (d *Domain) take(k *call, names []string) error {
	for _, name := range names[min(len(k.taken), len(names)):] {
		if _, err := d.table.Take(k.attempt, name, 0); err != nil {
			return fmt.Errorf("call %s took what is not there: %w", k.Path, err)
		}
		k.taken = append(k.taken, name)
	}
	return nil
}

// value finds what a host says that a slot holds.
func (d *Domain) value(h *host, w wire.Value) (buffer.Value, error) {
	v := buffer.Value{Len: w.Len, Type: w.Type}
	switch {
	case w.Segment.ID != 0:
		s := d.segments[w.Segment.ID]
		if s == nil || w.Len < 0 || w.Len > s.Capacity() {
			return v, fmt.Errorf("host %s published segment %d with %d bytes, which it does not have", h.name, w.Segment.ID, w.Len)
		}
		if _, ok := h.known[w.Segment.ID]; !ok {
			return v, fmt.Errorf("host %s published segment %d, which is another host's", h.name, w.Segment.ID)
		}
		if v.Holder = s.Segment; s.stored != nil {
			v.Holder = s.stored
		}
	case w.File != "" && d.folder != nil:
		var st unix.Stat_t
		if strings.ContainsRune(w.File, '/') || unix.Fstatat(int(d.scratch.Fd()), w.File, &st, unix.AT_SYMLINK_NOFOLLOW) != nil ||
			st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != w.Len {
			return v, fmt.Errorf("host %s published file %q with %d bytes, which it does not have", h.name, w.File, w.Len)
		}
		v.Holder = d.folder.File(w.File, w.Len)
	default:
		v.Holder, v.Len = &buffer.Inline{Bytes: w.Inline}, int64(len(w.Inline))
	}
	return v, nil
}

// answer decides about a slot for a host of a shared run, or connects.
func (d *Domain) answer(h *host, k *call, m *wire.Ask) error {
	if m.Op == wire.OpDial {
		if k.dials == dialsMax {
			return fmt.Errorf("call %s makes more than %d connections at a time", k.Path, dialsMax)
		}
		k.dials++
		d.work.Go(func() { d.dial(h, k, m) })
		return nil
	}
	if !h.asks {
		return fmt.Errorf("host %s asks for slot %q, and decides about slots itself", h.name, m.Name)
	}
	name, v, err := d.table.Peek(k.attempt, m.Name, m.Type)
	switch {
	case m.Op == wire.OpWait:
		there, werr := d.table.Wait(k.attempt, m.Name)
		if werr == nil && !there {
			k.ask, k.limited = m, m.Limited
			d.awaits(k, m.Name)
			d.stalled()
			return nil
		}
		return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errno(werr)})
	case err != nil:
		return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errno(err)})
	case m.Op != wire.OpLen && v.Len > m.Room:
		return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errnoOverflow, Name: name.String(), Value: wire.Value{Len: v.Len, Type: v.Type}})
	case m.Op != wire.OpLen && h.files >= segmentsMax && mayBeSegment(v.Holder):
		return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errnoQuota})
	case m.Op != wire.OpLen && d.waits(v.Holder, func() {
		if h.calls[k.ID] == k {
			d.answer(h, k, m) // what it is asked for was asked before
		}
	}):
		return nil
	case m.Op != wire.OpLen && unreadable(v.Holder) != nil:
		k.unread = unreadable(v.Holder)
		return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errnoIO})
	case m.Op == wire.OpTake:
		if v, err = d.table.Take(k.attempt, name.String(), m.Type); err == nil {
			k.asked = append(k.asked, name.String())
		}
	case m.Op == wire.OpBorrow:
		v, err = d.table.Borrow(k.attempt, name.String(), m.Type)
	}
	a := &wire.Answer{ID: m.ID, Errno: errno(err), Name: name.String(), Value: wire.Value{Len: v.Len, Type: v.Type}}
	if err != nil || m.Op == wire.OpLen {
		return h.conn.Send(a)
	}
	switch holder := v.Holder.(type) {
	case *buffer.Inline:
		a.Value.Inline = holder.Bytes
	case *buffer.File:
		a.Value.File = holder.Name()
	default:
		memory := segmentOf(holder)
		// A reader outside the producer's host: nobody may write any more.
		if err := memory.Seal(); err != nil {
			return h.conn.Send(&wire.Answer{ID: m.ID, Errno: errnoIO})
		}
		a.Value.Segment = wire.Segment{ID: memory.ID(), Capacity: memory.Capacity()}
		h.gets(memory.ID())
		return h.conn.Send(a, memory.FD())
	}
	return h.conn.Send(a)
}

// mayBeSegment reports whether a value costs its reader a descriptor.
func mayBeSegment(h buffer.Holder) bool {
	_, saved := h.(*stored)
	return saved || segmentOf(h) != nil
}

// unreadable says why a restored value cannot be had.
func unreadable(h buffer.Holder) error {
	if s, ok := h.(*stored); ok {
		return s.err
	}
	return nil
}

// dial connects for a call to an address that its function is granted.
func (d *Domain) dial(h *host, k *call, m *wire.Ask) {
	a := &wire.Answer{ID: m.ID}
	f, err := sandbox.Dial(d.ctx, k.Function.Dial, m.Name, int(m.Type))
	d.mu.Lock()
	k.dials--
	d.mu.Unlock()
	switch {
	case errors.Is(err, sandbox.ErrNotGranted):
		a.Errno = errnoNotGrant
	case err != nil:
		a.Errno = errnoRefused
	default:
		defer f.Close()
		h.conn.Send(a, int(f.Fd()))
		return
	}
	h.conn.Send(a)
}

// wake answers the hosts of calls whose wait is over, and has processes that
// wait look again.
func (d *Domain) wake(ready []buffer.Attempt) {
	d.stir()
	for _, a := range ready {
		for _, k := range d.calls {
			if k.attempt == a && k.ask != nil {
				k.host.conn.Send(&wire.Answer{ID: k.ask.ID})
				k.ask = nil
				d.awaits(k, "")
			}
		}
	}
}

// stalled tells the run when every running call waits, without a time-out, for
// a slot that is not there.
func (d *Domain) stalled() {
	if d.o.Stalled != nil && d.deadlock() != nil {
		d.work.Go(d.o.Stalled)
	}
}

// Stuck reports whether all calls of a run, which counts n that have not ended,
// wait without a time-out for slots that are not there. A call that is done but
// still to be committed is not among those that wait.
func (d *Domain) Stuck(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	dead := d.deadlock()
	return dead != nil && len(dead.Waits) == n
}

// deadlock returns who waits for what when no running call can go on; d.mu is
// held.
func (d *Domain) deadlock() *buffer.Deadlock {
	var waits []buffer.Wait
	for _, k := range d.calls {
		if !k.running || k.stopped {
			continue
		}
		if k.waiting == "" || k.limited || k.deadlock != nil && k.ask == nil {
			return nil
		}
		if k.ask == nil { // the host's own table may be ahead of its message
			there, err := d.table.Wait(k.attempt, k.waiting)
			d.table.Unwait(k.attempt)
			if there || err != nil {
				return nil
			}
		}
		waits = append(waits, buffer.Wait{Attempt: k.attempt, Name: k.waiting})
	}
	if len(waits) == 0 {
		return nil
	}
	slices.SortFunc(waits, func(a, b buffer.Wait) int { return strings.Compare(a.Attempt.Path, b.Attempt.Path) })
	return &buffer.Deadlock{Waits: waits}
}

// Break ends the waits of a deadlock of n calls, if there still is one: each of
// them gets the error, and what it fails with names the slots.
func (d *Domain) Break(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dead := d.deadlock()
	if dead == nil || len(dead.Waits) != n {
		return
	}
	for _, k := range d.calls {
		if !k.running || k.waiting == "" {
			continue
		}
		k.deadlock = dead
		if k.process != nil {
			d.stir()
		} else if k.ask != nil {
			k.host.conn.Send(&wire.Answer{ID: k.ask.ID, Errno: errnoDeadlock})
			k.ask = nil
			d.awaits(k, "")
			d.table.Unwait(k.attempt)
		} else {
			k.host.conn.Send(&wire.Stop{Call: k.ID, Errno: errnoDeadlock})
		}
	}
}

// errno tells a host what an operation on the table failed with.
func errno(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, buffer.ErrNotFound), errors.Is(err, buffer.ErrTaken):
		return errnoNotFound
	case errors.Is(err, buffer.ErrType):
		return errnoType
	case errors.Is(err, buffer.ErrAmbiguous):
		return errnoAmbiguous
	case errors.Is(err, buffer.ErrExists):
		return errnoExist
	case errors.Is(err, buffer.ErrQuota):
		return errnoQuota
	case errors.Is(err, buffer.ErrName):
		return errnoInvalid
	}
	return errnoIO
}
