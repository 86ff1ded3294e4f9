package process

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
)

// Slots are the buffers of a run as one call sees them. Errors are those of
// package buffer, which the call is told by kind; others by their text. Values
// are held by a *buffer.Segment or a *buffer.Inline. The methods are called by
// one goroutine at a time, but for Wait.
type Slots interface {
	// Need returns a segment of at least n bytes for the call to fill. It stays
	// the implementation's, which releases it some time after the call's end.
	Need(n int64) (*buffer.Segment, error)
	// Put publishes a value: of at most 64 KiB inline, of a segment of Need, or of one
	// that the call has read or published before. A segment of Need can be mapped and
	// written by nobody from then on but through mappings that the call itself has
	// kept, until it ends: who hands it to others earlier than that seals it
	// (Segment.Seal).
	Put(name string, v buffer.Value) error
	Take(name string, typ uint64) (buffer.Value, error)
	Borrow(name string, typ uint64) (buffer.Value, error)
	// Len returns the length of a value and the fingerprint of its type.
	Len(name string) (size int64, typ uint64, err error)
	// Wait returns when the slot is there. Its context ends with the call, or at
	// the time that the call has set.
	Wait(ctx context.Context, name string) error
}

// The frames of a control socket; docs/processes.md describes them.
const (
	opNeed   = 1
	opPut    = 2
	opTake   = 3
	opBorrow = 4
	opWait   = 5
	opLen    = 6

	statusNotFound  = 1
	statusExists    = 2
	statusType      = 3
	statusQuota     = 4
	statusAmbiguous = 5
	statusName      = 6
	statusTooLarge  = 7
	statusMapped    = 8
	statusTimeout   = 9
	statusOther     = 10
	statusDeadlock  = 11
	statusSpace     = 12

	frameHead   = 40
	nameMax     = 1 << 10
	inlineMax   = 64 << 10
	frameMax    = frameHead + nameMax + inlineMax
	segmentsMax = 4096 // that one call may have asked for
	waitsMax    = 64   // that it may have at a time
)

// frame is a request or an answer.
type frame struct {
	op      uint32 // status of an answer
	id      uint32
	size    uint64
	typ     uint64
	segment uint64
	name    string // text of an answer that is an error
	data    []byte
}

func (f *frame) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, f.op)
	b = binary.LittleEndian.AppendUint32(b, f.id)
	b = binary.LittleEndian.AppendUint64(b, f.size)
	b = binary.LittleEndian.AppendUint64(b, f.typ)
	b = binary.LittleEndian.AppendUint64(b, f.segment)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.data)))
	return append(append(b, f.name...), f.data...)
}

var errFrame = errors.New("malformed frame")

// parseFrame reads a frame; data is part of b.
func parseFrame(b []byte) (frame, error) {
	if len(b) < frameHead {
		return frame{}, errFrame
	}
	le := binary.LittleEndian
	f := frame{op: le.Uint32(b), id: le.Uint32(b[4:]), size: le.Uint64(b[8:]), typ: le.Uint64(b[16:]), segment: le.Uint64(b[24:])}
	name, data := uint64(le.Uint32(b[32:])), uint64(le.Uint32(b[36:]))
	rest := b[frameHead:]
	if name > nameMax || data > inlineMax || name+data != uint64(len(rest)) {
		return frame{}, errFrame
	}
	f.name, f.data = string(rest[:name]), rest[name:]
	return f, nil
}

// slotServer answers one call's requests until its socket ends.
type slotServer struct {
	conn     *socket
	slots    Slots
	segments map[uint64]*buffer.Segment // of Need, that were not put
	shown    map[uint64]*buffer.Segment // that the call has read or put, and can publish by reference
	asked    int
	eager    int64 // bytes that the call may still give memory before it fills them
	fresh    *fresh
	waits    sync.WaitGroup
	waiting  chan struct{} // one for each wait
}

// fresh are the segments that calls which still run have published. Nobody can
// make a writable mapping of them any more, but their publishers may have kept
// one: for a reader of now, the kernel has to look (Segment.Seal, which costs
// 10 ns a page); when the publisher has ended, there is nothing to look for.
type fresh struct {
	mu       sync.Mutex
	segments map[*buffer.Segment]*slotServer // guarded by mu
}

// sealNow makes the bytes of a value final for a reader.
func (f *fresh) sealNow(g *buffer.Segment) error {
	f.mu.Lock()
	_, running := f.segments[g]
	f.mu.Unlock()
	if !running && sealedForFuture(g) {
		return nil
	}
	// A publisher gives its mapping up while its request is answered: what another thread of it reads may be mapped for a moment.
	err := g.Seal()
	for try := 0; running && errors.Is(err, unix.EBUSY) && try < sealTries; try++ {
		time.Sleep(time.Millisecond)
		err = g.Seal()
	}
	return err
}

const sealTries = 20

func (f *fresh) add(g *buffer.Segment, s *slotServer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments[g] = s
}

// sealAll makes final what a call has published whose process goes on.
func (f *fresh) sealAll(s *slotServer) error {
	f.mu.Lock()
	var all []*buffer.Segment
	for g, by := range f.segments {
		if by == s {
			all = append(all, g)
		}
	}
	f.mu.Unlock()
	var err error
	for _, g := range all {
		err = errors.Join(err, g.Seal())
	}
	return err
}

// settle hears that a call has ended, with all of its processes.
func (f *fresh) settle(s *slotServer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for g, by := range f.segments {
		if by == s {
			delete(f.segments, g)
		}
	}
}

const sealFutureWrite = 0x10 // F_SEAL_FUTURE_WRITE: Linux 5.1

func sealedForFuture(g *buffer.Segment) bool {
	seals, err := unix.FcntlInt(uintptr(g.FD()), unix.F_GET_SEALS, 0)
	return err == nil && seals&(sealFutureWrite|unix.F_SEAL_WRITE) != 0
}

// newSlotServer serves a call that may use so many bytes of memory.
func newSlotServer(conn *socket, s Slots, f *fresh, memory int64) *slotServer {
	return &slotServer{conn: conn, slots: s, fresh: f, eager: memory / 2, segments: map[uint64]*buffer.Segment{}, shown: map[uint64]*buffer.Segment{}, waiting: make(chan struct{}, waitsMax)}
}

// serve returns when the call has closed the socket, has ended, or has broken
// the protocol.
func (s *slotServer) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	defer s.waits.Wait()
	defer cancel()
	defer s.conn.close()
	for {
		b, fds, err := s.conn.receive()
		closeFDs(fds) // the node makes every buffer
		if err != nil {
			return
		}
		f, err := parseFrame(b)
		if err != nil || !s.handle(ctx, f) {
			return
		}
	}
}

// handle answers one request; false ends the connection.
func (s *slotServer) handle(ctx context.Context, f frame) bool {
	a := frame{id: f.id}
	var file *buffer.Segment // that the call gets
	var err error
	switch f.op {
	case opNeed:
		var g *buffer.Segment
		if s.asked == segmentsMax {
			err = errors.New("the call has asked for too many buffers: publish fewer and larger ones")
		} else if f.size == 0 || f.size > buffer.MaxSize {
			err = buffer.ErrTooLarge
		} else if g, err = s.slots.Need(int64(f.size)); err == nil {
			s.asked++
			s.segments[g.ID()] = g
			a.size, a.segment = uint64(g.Capacity()), g.ID()
			if int64(f.size) <= s.eager { // more could take the memory that the call needs besides, for what it never fills
				s.eager -= int64(f.size)
				a.typ = 1
			}
			file = g
		}
	case opPut:
		err = s.put(f)
	case opTake, opBorrow:
		read := s.slots.Take
		if f.op == opBorrow {
			read = s.slots.Borrow
		}
		var v buffer.Value
		if v, err = read(f.name, f.typ); err == nil {
			a.size, a.typ = uint64(v.Len), v.Type
			switch h := v.Holder.(type) {
			case *buffer.Inline:
				a.data = h.Bytes
			case *buffer.Segment:
				if err = s.fresh.sealNow(h); err == nil {
					s.shown[h.ID()] = h
					a.segment = h.ID()
					file = h
				}
			default:
				err = errors.New("the value is not in memory")
			}
		}
	case opLen:
		var size int64
		size, a.typ, err = s.slots.Len(f.name)
		a.size = uint64(size)
	case opWait:
		select {
		case s.waiting <- struct{}{}:
			s.waits.Go(func() { s.wait(ctx, f) })
		default:
			err = errors.New("the call waits for too many slots at a time")
			return s.reply(a, nil, err)
		}
		return true
	default:
		return false
	}
	return s.reply(a, file, err)
}

// put publishes a value.
func (s *slotServer) put(f frame) error {
	if f.segment == 0 {
		if f.size != uint64(len(f.data)) {
			return errFrame
		}
		return s.slots.Put(f.name, buffer.Value{Holder: &buffer.Inline{Bytes: append([]byte(nil), f.data...)}, Len: int64(f.size), Type: f.typ})
	}
	if g := s.shown[f.segment]; g != nil && f.size <= uint64(g.Capacity()) {
		return s.slots.Put(f.name, buffer.Value{Holder: g, Len: int64(f.size), Type: f.typ})
	}
	g := s.segments[f.segment]
	if g == nil || f.size > uint64(g.Capacity()) {
		return errors.New("the call has no such buffer")
	}
	// Whoever gets the descriptor from here on can only read.
	s.fresh.add(g, s)
	if _, err := unix.FcntlInt(uintptr(g.FD()), unix.F_ADD_SEALS, sealFutureWrite); err != nil {
		if err := g.Seal(); err != nil {
			return err
		}
	}
	if err := s.slots.Put(f.name, buffer.Value{Holder: g, Len: int64(f.size), Type: f.typ}); err != nil {
		return err
	}
	delete(s.segments, f.segment)
	s.shown[f.segment] = g
	return nil
}

func (s *slotServer) wait(ctx context.Context, f frame) {
	defer func() { <-s.waiting }()
	if f.size > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(f.size, 1<<62)))
		defer cancel()
	}
	s.reply(frame{id: f.id}, nil, s.slots.Wait(ctx, f.name))
}

// reply sends an answer, and reports whether the call could get it.
func (s *slotServer) reply(a frame, file *buffer.Segment, err error) bool {
	var fds []int
	if err != nil {
		a = frame{op: statusOf(err), id: a.id, name: err.Error()[:min(len(err.Error()), nameMax)]}
	} else if file != nil {
		fds = append(fds, file.FD())
	}
	return s.conn.sendFDs(a.append, fds) == nil
}

// statusOf is the number of an error in a frame.
func statusOf(err error) uint32 {
	for _, e := range []struct {
		err    error
		status uint32
	}{
		{buffer.ErrNotFound, statusNotFound}, {buffer.ErrTaken, statusNotFound}, {buffer.ErrExists, statusExists},
		{buffer.ErrType, statusType}, {buffer.ErrQuota, statusQuota}, {buffer.ErrAmbiguous, statusAmbiguous},
		{buffer.ErrName, statusName}, {buffer.ErrTooLarge, statusTooLarge}, {buffer.ErrSeal, statusMapped},
		{context.DeadlineExceeded, statusTimeout}, {buffer.ErrDeadlock, statusDeadlock}, {buffer.ErrSpace, statusSpace},
	} {
		if errors.Is(err, e.err) {
			return e.status
		}
	}
	return statusOther
}
