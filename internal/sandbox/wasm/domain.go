package wasm

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// domain is what the sandboxes of one run share in this host.
//
// While the run has one host the table here decides who gets a slot, so a
// hand-over is a lock and a map, and the node hears of it when the call is done.
// After Share the node's table decides, and this one only counts what the calls
// of this host hold.
type domain struct {
	wire.Assign
	host   *host
	folder *buffer.Folder // of pass: file; nil: by reference
	arena  *buffer.Arena

	mu      sync.Mutex
	table   *buffer.Table            // guarded by mu, as all below
	calls   map[uint64]*call         // until Commit or Withdraw
	running map[uint64]*call         // until their code has ended
	blocked map[buffer.Attempt]*call // calls that wait for a slot
	watched bool                     // the watcher runs
	held    map[uint64]*hold         // segments that the node reads

	watcher sync.WaitGroup
	over    chan struct{} // closed at the end of the run

	dropping sync.Mutex
	dropped  []uint64 // segments closed since the last Dropped; guarded by dropping
}

func newDomain(h *host, m *wire.Assign, folder *buffer.Folder) *domain {
	d := &domain{
		Assign: *m, host: h, folder: folder,
		table: buffer.NewTable(m.Quota), over: make(chan struct{}),
		calls: map[uint64]*call{}, running: map[uint64]*call{}, blocked: map[buffer.Attempt]*call{},
	}
	d.arena = buffer.NewArena(buffer.ArenaOptions{Return: d.discard})
	return d
}

// discard closes a segment that the arena does not keep, and remembers to say so.
func (d *domain) discard(s *buffer.Segment) {
	s.Close()
	d.dropping.Lock()
	d.dropped = append(d.dropped, s.ID())
	d.dropping.Unlock()
}

// tellDropped lets the node close its descriptors of discarded segments.
func (d *domain) tellDropped() {
	d.dropping.Lock()
	dropped := d.dropped
	d.dropped = nil
	d.dropping.Unlock()
	if len(dropped) > 0 {
		d.host.conn.Send(&wire.Dropped{Segments: dropped})
	}
}

// hold is a segment that the node reads, from so many readers.
type hold struct {
	*buffer.Segment
	readers int
}

// hold keeps a segment from being used again, or ends that.
func (d *domain) hold(m *wire.Hold) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[m.Segment]
	switch {
	case m.Off && h != nil:
		if h.readers--; h.readers == 0 {
			delete(d.held, m.Segment)
			d.release([]buffer.Holder{h.Segment})
		}
	case m.Off:
	case h != nil:
		h.readers++
	default:
		v, err := d.table.Published(m.Slot)
		if s, ok := v.Holder.(*buffer.Segment); err == nil && ok && s.ID() == m.Segment {
			if d.held == nil {
				d.held = map[uint64]*hold{}
			}
			d.held[m.Segment] = &hold{Segment: s.Retain(), readers: 1}
		}
	}
}

// close ends the run. No call runs any more. The node may be reading what was
// published, and goes on with that, so the arena gets nothing more to write
// zeros over.
func (d *domain) close() {
	close(d.over)
	d.watcher.Wait()
	d.arena.Close()
	d.mu.Lock()
	for _, h := range d.held {
		h.Release()
	}
	d.held = nil
	d.table.Drop()
	d.free()
	d.mu.Unlock()
}

// free gives back what nothing holds any longer; d.mu is held.
func (d *domain) free() { d.release(d.table.Released()) }

func (d *domain) release(holders []buffer.Holder) {
	for _, h := range holders {
		switch h := h.(type) {
		case *buffer.Segment:
			if d.Shared { // the node may still hand it to another host
				h.OnRelease(d.discard)
			}
			h.Release()
		case *buffer.File:
			if !d.Shared {
				h.Remove()
			}
		}
	}
}

// commit makes the puts and takes of a call final and wakes who waited for them.
func (d *domain) commit(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.calls[id]
	if c == nil {
		return
	}
	delete(d.calls, id)
	if d.Shared {
		d.wake(d.table.Withdraw(c.attempt))
	} else if ready, err := d.table.Commit(c.attempt); err == nil {
		d.wake(ready)
	}
	d.free()
}

// withdraw undoes the puts and takes of a call.
func (d *domain) withdraw(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.calls[id]
	if c == nil {
		return
	}
	delete(d.calls, id)
	if d.running[id] == c { // it may still write where it was going to put
		c.withdrawn = true
		d.wake(d.table.Withdraw(c.attempt))
		c.late = slices.Clone(d.table.Released())
		return
	}
	d.wake(d.table.Withdraw(c.attempt))
	d.free()
}

// ended frees what a call held that was withdrawn while it ran. Its windows are
// gone.
func (d *domain) ended(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.withdrawn {
		return
	}
	d.release(c.late)
	d.wake(d.table.Withdraw(c.attempt)) // what it did since
	d.free()
}

// forget undoes what calls below path have published.
func (d *domain) forget(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table.Discard(path)
	d.free()
}

func (d *domain) wake(ready []buffer.Attempt) {
	for _, a := range ready {
		if c := d.blocked[a]; c != nil {
			delete(d.blocked, a)
			close(c.ready)
		}
	}
}

// stop interrupts a call: what it waits for, and every later wait, fails.
func (d *domain) stop(id uint64, errno wasi.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.running[id]
	if c == nil || c.stopErrno != 0 {
		return
	}
	c.stopErrno = errno
	close(c.stopped)
	if c.sandbox != nil {
		c.sandbox.sys.Interrupt()
	}
}

// share hands the decisions over to the node and tells what is open.
func (d *domain) share() []wire.Open {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Shared = true
	var open []wire.Open
	for _, id := range slices.Sorted(maps.Keys(d.running)) {
		c := d.running[id]
		if len(c.takes) > 0 {
			open = append(open, wire.Open{Call: id, Takes: slices.Clone(c.takes)})
		}
		if c.ready != nil { // let it ask the node instead
			d.table.Unwait(c.attempt)
			if d.blocked[c.attempt] == c {
				delete(d.blocked, c.attempt)
				close(c.ready)
			}
		}
	}
	return open
}

// segment gets memory for n bytes: kept by the arena, or from the node.
func (c *call) segment(n int64) (*buffer.Segment, error) {
	d := c.domain
	if s := d.arena.Get(n); s != nil {
		return s, nil
	}
	s, err := d.host.need(c, n)
	if errors.Is(err, buffer.ErrQuota) && d.arena.Trim() > 0 { // what is kept for later counts too
		d.tellDropped()
		s, err = d.host.need(c, n)
	}
	if err != nil {
		return nil, err
	}
	s.OnRelease(d.arena.Put)
	return s, nil
}

// sandbox is one instance with its operating system.
type sandbox struct {
	inst *engine.Instance
	sys  *wasi.System
	call *call // the one it serves

	started  bool // _initialize has run
	resident bool // it can serve further calls

	credit atomic.Int64 // bytes by which linear memory may exceed the function's, for views
}

func (s *sandbox) close() {
	s.sys.Close()
	s.inst.Close()
}

// call is one attempt of one function.
type call struct {
	*domain
	fn      *function
	start   *wire.Start
	fds     []int // that came with start
	attempt buffer.Attempt
	begun   time.Time
	sandbox *sandbox // nil until there is one; written under domain.mu
	thread  int      // kernel thread that runs it

	views map[uint32]*window // by guest address
	base  uintptr            // of linear memory
	cpu   int64              // of the thread when the call began, in nanoseconds
	out   *capture

	// What Done reports.
	puts   []wire.Put
	loaded []wire.Loaded
	moved  []wire.Moved

	takes     []string        // full names; guarded by domain.mu
	withdrawn bool            // while its code ran; guarded by domain.mu
	late      []buffer.Holder // what it held then; guarded by domain.mu
	ready     chan struct{}   // of the wait under way; guarded by domain.mu
	stopped   chan struct{}   // closed by Stop
	stopErrno wasi.Errno      // guarded by domain.mu
	exceeded  bool            // the watcher's
	over      string          // how the call broke its limit of memory, when that was seen at a release
}

// window is a range of linear memory that shows a buffer.
type window struct {
	ptr     uint32
	length  int64 // whole granules
	holder  buffer.Holder
	filling bool // the producer's writable mapping
	plain   bool // pass: file: ordinary memory that is to be written to a file
}
