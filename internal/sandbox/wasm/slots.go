package wasm

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// mapMin is the smallest value that is mapped instead of copied, in bytes:
// below it a copy is cheaper than a mapping and its page faults.
const mapMin = 16 << 10

// slotFunction is one import of module "weft" that works on buffers.
type slotFunction struct {
	name   string
	params []engine.Kind
	call   func(c *call, mem []byte, a []uint64) wasi.Errno
}

var slotFunctions = []slotFunction{
	{"put", sig("iiLii"), (*call).put},
	{"take", sig("iiLiii"), (*call).take},
	{"borrow", sig("iiLiii"), (*call).borrow},
	{"wait", sig("iiL"), (*call).wait},
	{"len", sig("iiii"), (*call).length},
	{"alloc", sig("ii"), (*call).alloc},
	{"release", sig("i"), (*call).release},
}

func sig(s string) []engine.Kind {
	var k []engine.Kind
	for _, c := range s {
		if c == 'L' {
			k = append(k, engine.I64)
		} else {
			k = append(k, engine.I32)
		}
	}
	return k
}

// within reports whether [ptr, ptr+n) lies in linear memory.
func within(mem []byte, ptr uint32, n int64) bool {
	return n >= 0 && int64(ptr)+n <= int64(len(mem))
}

func text(mem []byte, ptr, n uint32) (string, wasi.Errno) {
	if !within(mem, ptr, int64(n)) {
		return "", wasi.Efault
	}
	if n > maxName {
		return "", wasi.Einval
	}
	return string(mem[ptr : ptr+n]), wasi.Success
}

// maxName bounds a slot name as a function gives it, in bytes.
const maxName = 1024

// errnoOf tells a guest what a buffer operation failed with.
func errnoOf(err error) wasi.Errno {
	if errno, ok := err.(wasi.Errno); ok {
		return errno
	}
	for _, e := range slotErrnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return wasi.Eio
}

var slotErrnos = []struct {
	err   error
	errno wasi.Errno
}{
	{nil, wasi.Success},
	{buffer.ErrNotFound, wasi.Enoent},
	{buffer.ErrExists, wasi.Eexist},
	{buffer.ErrType, wasi.Eprototype},
	{buffer.ErrQuota, wasi.Edquot},
	{buffer.ErrTaken, wasi.Enoent},
	{buffer.ErrAmbiguous, wasi.Emlink},
	{buffer.ErrName, wasi.Einval},
	{buffer.ErrTooSmall, wasi.Eoverflow},
	{buffer.ErrTooLarge, wasi.Efbig},
	{buffer.ErrSpace, wasi.Enospc},
	{buffer.ErrDeadlock, wasi.Edeadlk},
	{buffer.ErrRange, wasi.Einval},
}

// prepare sets up module "buffer" on a call's first use of it.
func (c *call) prepare() {
	if c.views == nil {
		begun := time.Now()
		c.views = map[uint32]*window{}
		c.note("buffer", time.Since(begun))
	}
}

// alloc makes [ptr, ptr+len) of linear memory a fresh buffer to be filled and
// put. With ptr 0 it only lets the memory grow by that much beyond its limit,
// for the range that the guest is about to reserve.
func (c *call) alloc(mem []byte, a []uint64) wasi.Errno {
	c.prepare()
	ptr, n := uint32(a[0]), int64(uint32(a[1]))
	if n == 0 {
		return wasi.Einval
	}
	size := buffer.RoundUp(n)
	if ptr == 0 {
		return c.grant(size)
	}
	if ptr%buffer.Granule != 0 || c.overlaps(ptr, size) {
		return wasi.Einval
	}
	if !within(mem, ptr, size) {
		return wasi.Efault
	}
	if c.folder != nil {
		clear(mem[ptr : int64(ptr)+size])
		c.views[ptr] = &window{ptr: ptr, length: size, plain: true}
		return wasi.Success
	}
	s, err := c.segment(size)
	if err != nil {
		return errnoOf(err)
	}
	c.mu.Lock()
	err = c.table.Alloc(c.attempt, s)
	c.mu.Unlock()
	if err != nil {
		s.Release()
		return errnoOf(err)
	}
	if err := buffer.MapWritable(at(mem, ptr), s, size, true); err != nil {
		buffer.Clear(at(mem, ptr), size)
		c.letGo(s)
		return errnoOf(err)
	}
	c.views[ptr] = &window{ptr: ptr, length: size, holder: s, filling: true}
	return wasi.Success
}

// grant lets linear memory grow for a range of n bytes that is about to show a
// buffer. It is generous, because a guest's heap fragments and never shrinks:
// what a function really uses of its own is measured (see watch.go).
func (c *call) grant(n int64) wasi.Errno {
	if c.sandbox.inst == nil { // a module's start function: there is no memory yet
		return wasi.Enosys
	}
	live := n
	for _, w := range c.views {
		live += w.length
	}
	if live > c.Quota {
		return wasi.Edquot
	}
	room := int64(buffer.Granule) // for the range to be aligned
	if n >= buffer.HugePage/2 {
		room = 2 * buffer.HugePage // and to be whole huge pages
	}
	if credit := 2*live + room; credit > c.sandbox.credit.Load() {
		c.sandbox.credit.Store(credit)
		c.sandbox.inst.Limit(min(c.fn.Memory+credit, 4<<30))
	}
	return wasi.Success
}

func at(mem []byte, ptr uint32) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) + uintptr(ptr)
}

func (c *call) overlaps(ptr uint32, size int64) bool {
	for _, w := range c.views {
		if int64(ptr) < int64(w.ptr)+w.length && int64(w.ptr) < int64(ptr)+size {
			return true
		}
	}
	return false
}

// release gives a window up: the range is ordinary zero memory again.
func (c *call) release(mem []byte, a []uint64) wasi.Errno {
	c.prepare()
	w := c.views[uint32(a[0])]
	if w == nil {
		return wasi.Einval
	}
	c.settle()
	delete(c.views, w.ptr)
	if w.plain {
		clear(mem[w.ptr : int64(w.ptr)+w.length])
		return wasi.Success
	}
	if err := buffer.Clear(at(mem, w.ptr), w.length); err != nil {
		return errnoOf(err)
	}
	c.letGo(w.holder)
	return wasi.Success
}

// letGo gives up one hold of the call on what a slot or a window held.
func (c *call) letGo(h buffer.Holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.Release(c.attempt, h)
	c.domain.free()
}

// put publishes [ptr, ptr+len): by reference when the range is a buffer or an
// unmodified view, else by one copy.
func (c *call) put(mem []byte, a []uint64) wasi.Errno {
	c.prepare()
	begun := time.Now()
	name, errno := text(mem, uint32(a[0]), uint32(a[1]))
	if errno != 0 {
		return errno
	}
	typ, ptr, n := a[2], uint32(a[3]), int64(uint32(a[4]))
	if !within(mem, ptr, n) {
		return wasi.Efault
	}
	if len(c.puts) >= maxSlots {
		return wasi.Edquot
	}
	v, fresh, err := c.value(name, mem, ptr, n)
	if err != nil {
		return errnoOf(err)
	}
	v.Type = typ
	c.mu.Lock()
	err = c.table.Put(c.attempt, name, v)
	c.mu.Unlock()
	if err != nil {
		if fresh {
			abandon(v.Holder)
		}
		return errnoOf(err)
	}
	c.puts = append(c.puts, wire.Put{Name: name, Value: wireValue(v)})
	c.moves(wire.Moved{Put: true, Name: name, Bytes: n, At: int64(begun.Sub(c.begun)), Took: int64(time.Since(begun))})
	return wasi.Success
}

// value finds or makes what holds [ptr, ptr+n). fresh says that the table does
// not know the holder yet.
func (c *call) value(name string, mem []byte, ptr uint32, n int64) (v buffer.Value, fresh bool, err error) {
	v.Len = n
	bytes := mem[ptr : int64(ptr)+n]
	if c.folder != nil {
		v.Holder, err = c.folder.Put(c.attempt.Path+"#"+strconv.Itoa(c.attempt.Number)+"/"+name, bytes)
		return v, true, err
	}
	if w := c.views[ptr]; w != nil && n <= w.length {
		s := w.holder.(*buffer.Segment)
		if w.filling {
			if err := buffer.Freeze(at(mem, ptr), s, w.length); err != nil {
				return v, false, err
			}
			w.filling = false
			v.Holder = s
			return v, false, nil
		}
		dirty, err := buffer.Dirtied(c.host.pagemap, at(mem, ptr), w.length)
		if err == nil && dirty == 0 {
			v.Holder = s
			return v, false, nil
		}
	}
	if n < mapMin {
		v.Holder = &buffer.Inline{Bytes: slices.Clone(bytes)}
		return v, true, nil
	}
	s, err := c.segment(n)
	if err != nil {
		return v, false, err
	}
	if _, err := s.WriteAt(bytes, 0); err != nil {
		s.Release()
		return v, false, err
	}
	v.Holder = s
	return v, true, nil
}

// abandon gives up a holder that no table has.
func abandon(h buffer.Holder) {
	switch h := h.(type) {
	case *buffer.Segment:
		h.Release()
	case *buffer.File:
		h.Remove()
	}
}

func wireValue(v buffer.Value) wire.Value {
	w := wire.Value{Len: v.Len, Type: v.Type}
	switch h := v.Holder.(type) {
	case *buffer.Inline:
		w.Inline = h.Bytes
	case *buffer.Segment:
		w.Segment = wire.Segment{ID: h.ID(), Capacity: h.Capacity()}
	case *buffer.File:
		w.File = h.Name()
	}
	return w
}

func (c *call) take(mem []byte, a []uint64) wasi.Errno   { return c.read(mem, a, true) }
func (c *call) borrow(mem []byte, a []uint64) wasi.Errno { return c.read(mem, a, false) }

// read delivers a slot into [ptr, ptr+cap): mapped when it is large and the
// range is whole granules, else copied.
func (c *call) read(mem []byte, a []uint64, consume bool) wasi.Errno {
	c.prepare()
	begun := time.Now()
	name, errno := text(mem, uint32(a[0]), uint32(a[1]))
	if errno != 0 {
		return errno
	}
	typ, ptr, room, out := a[2], uint32(a[3]), int64(uint32(a[4])), uint32(a[5])
	if !within(mem, ptr, room) || !within(mem, out, 4) {
		return wasi.Efault
	}
	if consume && len(c.takes) >= maxSlots {
		return wasi.Edquot
	}
	full, v, err := c.obtain(name, typ, room, consume)
	binary.LittleEndian.PutUint32(mem[out:], uint32(min(v.Len, 1<<32-1)))
	if err != nil {
		if errors.Is(err, buffer.ErrTooSmall) && v.Len >= mapMin {
			c.grant(buffer.RoundUp(v.Len)) // for the range that the guest will bring next
		}
		return errnoOf(err)
	}
	if err := c.deliver(mem, ptr, room, v); err != nil {
		return errnoOf(err)
	}
	c.moves(wire.Moved{Name: full, Bytes: v.Len, At: int64(begun.Sub(c.begun)), Took: int64(time.Since(begun))})
	return wasi.Success
}

// find resolves a name and learns the length and type of its value.
func (c *call) find(name string) (v buffer.Value, err error) {
	c.mu.Lock()
	n, v, err := c.table.Peek(c.attempt, name, 0)
	elsewhere := c.Shared && (err != nil || n.Scope != c.attempt.Path)
	c.mu.Unlock()
	if elsewhere {
		_, v, err = c.askSlot(&wire.Ask{Op: wire.OpLen, Name: name})
	}
	return v, err
}

// obtain takes or borrows a slot whose value has at most room bytes, and tells
// its full name. A value that is longer is left where it is: then the error is
// ErrTooSmall, and v.Len says how much room it needs.
func (c *call) obtain(name string, typ uint64, room int64, consume bool) (full string, v buffer.Value, err error) {
	c.mu.Lock()
	n, v, err := c.table.Peek(c.attempt, name, typ)
	if c.Shared && (err != nil || n.Scope != c.attempt.Path) {
		c.mu.Unlock()
		op := wire.OpBorrow
		if consume {
			op = wire.OpTake
		}
		if full, v, err = c.askSlot(&wire.Ask{Op: op, Name: name, Type: typ, Room: room}); err != nil {
			return full, v, err
		}
		if s, ok := v.Holder.(*buffer.Segment); ok { // until the call is done
			c.mu.Lock()
			c.table.Hold(c.attempt, s)
			c.mu.Unlock()
		}
		return full, v, nil
	}
	defer c.mu.Unlock()
	if err != nil {
		return "", v, err
	}
	full = n.String()
	if v.Len > room {
		return full, v, buffer.TooSmall("read", full, v.Len, room)
	}
	if !consume {
		v, err = c.table.Borrow(c.attempt, full, typ)
		return full, v, err
	}
	if v, err = c.table.Take(c.attempt, full, typ); err == nil {
		c.takes = append(c.takes, full)
	}
	return full, v, err
}

// askSlot asks the node about a slot.
func (c *call) askSlot(m *wire.Ask) (string, buffer.Value, error) {
	m.Call = c.start.Call
	a, ok := c.host.ask(c, m, c.stopped)
	if !ok {
		return "", buffer.Value{}, c.stopReason()
	}
	v := buffer.Value{Len: a.Value.Len, Type: a.Value.Type}
	switch {
	case wasi.Errno(a.Errno) == wasi.Eoverflow:
		return a.Name, v, buffer.TooSmall("read", a.Name, v.Len, m.Room)
	case a.Errno != 0:
		return a.Name, v, wasi.Errno(a.Errno)
	case a.segment != nil:
		v.Holder = a.segment
	case a.Value.File != "" && c.folder != nil:
		v.Holder = c.folder.File(a.Value.File, a.Value.Len)
	default:
		v.Holder = &buffer.Inline{Bytes: a.Value.Inline}
	}
	return a.Name, v, nil
}

func (c *call) stopReason() wasi.Errno {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.stopErrno, 1)
}

// deliver maps or copies a value that the call holds into linear memory.
func (c *call) deliver(mem []byte, ptr uint32, room int64, v buffer.Value) error {
	dst := mem[ptr : int64(ptr)+v.Len]
	switch h := v.Holder.(type) {
	case *buffer.Segment:
		size := buffer.RoundUp(v.Len)
		if huge := (size + buffer.HugePage - 1) &^ (buffer.HugePage - 1); huge <= room && huge <= h.Capacity() {
			size = huge // one entry of the page table shows it all
		}
		if v.Len >= mapMin && ptr%buffer.Granule == 0 && size <= room && !c.overlaps(ptr, size) {
			if err := buffer.MapView(at(mem, ptr), h, size, false); err != nil {
				buffer.Clear(at(mem, ptr), size)
				return err
			}
			c.views[ptr] = &window{ptr: ptr, length: size, holder: h}
			return nil
		}
		if _, err := h.ReadAt(dst, 0); err != nil {
			return err
		}
	case *buffer.File:
		if _, err := h.Load(dst); err != nil {
			return err
		}
	case *buffer.Inline:
		copy(dst, h.Bytes)
	}
	c.letGo(v.Holder)
	return nil
}

// length tells the size and type of a slot, and lets the memory grow by that
// much for a view of it.
func (c *call) length(mem []byte, a []uint64) wasi.Errno {
	c.prepare()
	name, errno := text(mem, uint32(a[0]), uint32(a[1]))
	if errno != 0 {
		return errno
	}
	outLen, outType := uint32(a[2]), uint32(a[3])
	if !within(mem, outLen, 8) || !within(mem, outType, 8) {
		return wasi.Efault
	}
	v, err := c.find(name)
	if err != nil {
		return errnoOf(err)
	}
	binary.LittleEndian.PutUint64(mem[outLen:], uint64(v.Len))
	binary.LittleEndian.PutUint64(mem[outType:], v.Type)
	if v.Len >= mapMin {
		return c.grant(buffer.RoundUp(v.Len))
	}
	return wasi.Success
}

// wait blocks until a slot is published, the time is over, or the call is
// stopped.
func (c *call) wait(mem []byte, a []uint64) wasi.Errno {
	c.prepare()
	name, errno := text(mem, uint32(a[0]), uint32(a[1]))
	if errno != 0 {
		return errno
	}
	var timeout <-chan time.Time
	if limit := int64(a[2]); limit >= 0 {
		t := time.NewTimer(time.Duration(limit))
		defer t.Stop()
		timeout = t.C
	}
	for told := false; ; {
		c.mu.Lock()
		if c.stopErrno != 0 {
			c.mu.Unlock()
			return c.stopReason()
		}
		if c.Shared {
			c.mu.Unlock()
			return c.waitElsewhere(name, timeout, told)
		}
		there, err := c.table.Wait(c.attempt, name)
		if there || err != nil {
			c.mu.Unlock()
			if told {
				c.host.conn.Send(&wire.Resumed{Call: c.start.Call})
			}
			return errnoOf(err)
		}
		if c.start.Single && timeout == nil { // nobody else can publish it
			c.table.Unwait(c.attempt)
			c.mu.Unlock()
			return wasi.Edeadlk
		}
		ready := make(chan struct{})
		c.ready = ready
		c.blocked[c.attempt] = c
		c.mu.Unlock()
		if !told {
			told = true
			c.host.conn.Send(&wire.Waiting{Call: c.start.Call, Name: name, Limited: timeout != nil})
		}
		errno := wasi.Success
		c.host.follow(c)
		select {
		case <-ready:
			continue
		case <-timeout:
			errno = wasi.Etimedout
		case <-c.stopped:
			errno = c.stopReason()
		}
		c.mu.Lock()
		c.table.Unwait(c.attempt)
		delete(c.blocked, c.attempt)
		c.ready = nil
		c.mu.Unlock()
		c.host.conn.Send(&wire.Resumed{Call: c.start.Call})
		return errno
	}
}

// waitElsewhere waits for a slot that the node's table decides about. The node
// answers when it is there; it knows by the question that the call waits. told
// says that the call has said so before.
func (c *call) waitElsewhere(name string, timeout <-chan time.Time, told bool) wasi.Errno {
	if told {
		c.host.conn.Send(&wire.Resumed{Call: c.start.Call})
	}
	if _, err := c.find(name); err == nil {
		return wasi.Success
	}
	stop := make(chan struct{})
	over := make(chan struct{})
	defer close(over)
	expired := false
	go func() {
		select {
		case <-timeout:
			expired = true
			close(stop)
		case <-c.stopped:
			close(stop)
		case <-over:
		}
	}()
	a, ok := c.host.ask(c, &wire.Ask{Call: c.start.Call, Op: wire.OpWait, Name: name, Limited: timeout != nil}, stop)
	if !ok {
		c.host.conn.Send(&wire.Resumed{Call: c.start.Call})
		if expired {
			return wasi.Etimedout
		}
		return c.stopReason()
	}
	return wasi.Errno(a.Errno)
}
