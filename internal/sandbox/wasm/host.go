// Package wasm is the domain host: the confined process in which the
// WebAssembly sandboxes of one run live. It is told what to run over a control
// connection (package wire), runs functions in instances of the engine (package
// engine) whose system interface is package wasi, and passes what one function
// publishes to the next by mapping memory files (package buffer) into linear
// memory.
//
// The process serves one run at a time, and after Reset only runs of the same
// app version. It knows nothing of workflows, the store or the network; all
// that it may touch was sent to it as a descriptor.
//
//	host.go    the control loop
//	domain.go  what the sandboxes of a run share: slots, segments
//	call.go    one attempt of one function
//	slots.go   the imports put, take, borrow, wait, len, alloc, release
//	stdio.go   standard streams
//	watch.go   CPU time and memory of running calls
//	roles.go   the other roles of the executable: compile, expr
package wasm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wasm/confine"
	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi/image"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Main is the whole life of a host process: it starts the engine, closes the
// last door (seccomp), says Ready and serves until the node is gone. It returns
// the exit status.
func Main(applied confine.Report, control *os.File) int {
	err := serve(applied, control)
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "weft-host:", err)
	return 1
}

func serve(applied confine.Report, control *os.File) error {
	open := wire.NewConn
	if applied.Role != "compile" && applied.Role != "expr" {
		open = wire.Blocking
	} else {
		runtime.UnlockOSThread() // of cmd/weft-host: this goroutine does the work
	}
	conn, err := open(control)
	if err != nil {
		return err
	}
	var loop func() error
	switch applied.Role {
	case "compile":
		loop, err = newCompiler(conn)
	case "expr":
		loop = newEvaluator(conn)
	default:
		loop, err = newHost(conn, applied.Pagemap)
	}
	if err != nil {
		return err
	}
	if applied.Host {
		if err := confine.Seccomp(applied.Role); err != nil {
			return err
		}
	}
	report, err := json.Marshal(applied)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if err := conn.Send(&wire.Ready{Version: wire.Version, Images: wire.Images, Report: report}); err != nil {
		return err
	}
	return loop()
}

// host is the state of a host in the role run.
type host struct {
	conn    *wire.Conn
	engine  *engine.Engine
	images  *image.Cache
	pagemap int // descriptor for buffer.Dirtied; -1: none

	functions map[uint32]*function // the leader's alone
	domain    *domain              // the leader's alone; nil between runs
	calls     sync.WaitGroup       // calls whose cleanup has not ended

	inside atomic.Pointer[call] // the call that the leader carries out itself; nil: it receives
	failed chan error           // why there is no leader any more

	needing sync.Mutex // held from the entry in needs until Need is sent, which may take its time

	mu    sync.Mutex
	asked map[uint64]chan answer // requests under way; guarded by mu
	needs []chan answer          // requests for segments, in order; guarded by mu
	next  uint64                 // ID of the last Ask; guarded by mu
}

// answer is what came for an Ask or a Need.
type answer struct {
	wire.Answer
	segment *buffer.Segment
	fd      int // of a connection; -1: none
	refused string
}

// function is a function that the node has described.
type function struct {
	wire.Function
	module *engine.Module
	mounts []wasi.Mount
	listen []wasi.Listener
	idle   []*sandbox  // resident instances that wait for their next call; guarded by the domain's mu
	quick  atomic.Bool // its last call was short
}

func newHost(conn *wire.Conn, pagemap int) (func() error, error) {
	h := &host{conn: conn, pagemap: pagemap, functions: map[uint32]*function{}, asked: map[uint64]chan answer{}, images: &image.Cache{}, failed: make(chan error, 1)}
	var err error
	h.engine, err = engine.New(engine.Options{Imports: imports(), Host: dispatch})
	return h.loop, err
}

// loop receives until the node is gone. Whatever still runs then ends with the
// process.
func (h *host) loop() error {
	go h.lead()
	return <-h.failed
}

// lead receives messages and carries them out, in their order. One goroutine at
// a time is the leader. It carries out a short call itself: the packet has woken
// its thread, and no other one has to be. Before a call that may take longer, it
// makes another goroutine the leader.
func (h *host) lead() {
	for {
		m, fds, err := h.conn.Receive()
		start, ok := m.(*wire.Start)
		switch {
		case err != nil:
		case ok:
			var c *call
			if c, err = h.begin(start, fds); err != nil {
				break
			}
			if !c.short() {
				go h.lead()
				c.run()
				return
			}
			h.inside.Store(c)
			c.run()
			if !h.inside.CompareAndSwap(c, nil) {
				return
			}
			continue
		default:
			err = h.handle(m, fds)
		}
		if err != nil {
			h.failed <- err
			return
		}
	}
}

// follow makes another goroutine the leader, if this call is what the leader is
// at: it is about to wait, or takes long.
func (h *host) follow(c *call) {
	if h.inside.CompareAndSwap(c, nil) {
		go h.lead()
	}
}

// begin makes a call of what the node has sent.
func (h *host) begin(m *wire.Start, fds []int) (*call, error) {
	f := h.functions[m.Function]
	if f == nil || h.domain == nil {
		return nil, fmt.Errorf("start call %d: function %d is not defined", m.Call, m.Function)
	}
	h.calls.Add(1)
	return h.domain.newCall(m, f, fds), nil
}

// handle carries out one message. An error is a broken protocol and ends the
// process: the node runs the calls elsewhere.
func (h *host) handle(m wire.Message, fds []int) error {
	switch m.(type) {
	case *wire.Commit, *wire.Withdraw, *wire.Discard, *wire.Stop, *wire.Share, *wire.Hold:
		if h.domain == nil {
			return fmt.Errorf("%T outside a run", m)
		}
	}
	switch m := m.(type) {
	case *wire.Assign:
		return h.assign(m, fds)
	case *wire.Function:
		return h.define(m, fds)
	case *wire.Commit:
		h.domain.commit(m.Call)
	case *wire.Withdraw:
		h.domain.withdraw(m.Call)
	case *wire.Discard:
		h.domain.forget(m.Path)
	case *wire.Stop:
		h.domain.stop(m.Call, wasi.Errno(m.Errno))
	case *wire.Share:
		return h.conn.Send(&wire.Shared{Open: h.domain.share()})
	case *wire.Hold:
		h.domain.hold(m)
	case *wire.Supply:
		return h.supplied(m, fds)
	case *wire.Answer:
		return h.answered(m, fds)
	case *wire.Reset:
		return h.reset()
	default:
		return fmt.Errorf("unexpected message %T", m)
	}
	return nil
}

func (h *host) assign(m *wire.Assign, fds []int) error {
	if h.domain != nil {
		return fmt.Errorf("assign run %s: run %s is still here", m.Run, h.domain.Run)
	}
	var folder *buffer.Folder
	if m.PassFile {
		if len(fds) != 1 {
			return fmt.Errorf("assign run %s: %d descriptors for its folder", m.Run, len(fds))
		}
		folder = buffer.NewFolder(fds[0])
	}
	h.domain = newDomain(h, m, folder)
	return nil
}

func (h *host) define(m *wire.Function, fds []int) error {
	if len(fds) != 1+len(m.Mounts)+len(m.Listen) {
		return fmt.Errorf("define function %s: %d descriptors", m.Name, len(fds))
	}
	f := &function{Function: *m}
	for i, g := range m.Mounts {
		kind, ok := mountKinds[g.Form]
		if !ok {
			return fmt.Errorf("define function %s: mount of kind %q", m.Name, g.Form)
		}
		f.mounts = append(f.mounts, wasi.Mount{Guest: g.Guest, Kind: kind, FD: fds[1+i], ReadOnly: g.ReadOnly})
	}
	for i, port := range m.Listen {
		f.listen = append(f.listen, wasi.Listener{Port: uint16(port), FD: fds[1+len(m.Mounts)+i]})
	}
	var err error
	f.module, err = h.engine.LoadFD(fds[0])
	unix.Close(fds[0])
	if err != nil {
		return fmt.Errorf("define function %s: %w", m.Name, err)
	}
	h.functions[m.ID] = f
	return nil
}

var mountKinds = map[string]wasi.MountKind{"dir": wasi.Dir, "file": wasi.File, "zip": wasi.Zip, "fat": wasi.FAT}

// reset forgets the run: instances, slots and segments. Loaded functions stay
// for the next run of the same app version.
func (h *host) reset() error {
	h.calls.Wait()
	if h.domain != nil {
		for _, f := range h.functions {
			for _, s := range f.idle {
				s.close()
			}
			f.idle = nil
		}
		h.closePorts()
		h.domain.close()
		h.domain = nil
	}
	return h.conn.Send(&wire.Idle{})
}

// closePorts forgets functions with listening sockets: a port is the run's.
func (h *host) closePorts() {
	for id, f := range h.functions {
		if len(f.listen) == 0 {
			continue
		}
		for _, l := range f.listen {
			unix.Close(l.FD)
		}
		for _, m := range f.mounts {
			unix.Close(m.FD)
		}
		f.module.Close()
		delete(h.functions, id)
	}
}

// need asks the node for a segment of at least n bytes, for a call.
func (h *host) need(c *call, n int64) (*buffer.Segment, error) {
	h.follow(c)
	ch := make(chan answer, 1)
	h.needing.Lock() // answers come in order
	h.mu.Lock()
	h.needs = append(h.needs, ch)
	h.mu.Unlock()
	err := h.conn.Send(&wire.Need{Bytes: n})
	h.needing.Unlock()
	if err != nil {
		return nil, err
	}
	a := <-ch
	if a.segment == nil {
		return nil, &buffer.Error{Op: "allocate", Kind: buffer.ErrQuota, Detail: a.refused}
	}
	return a.segment, nil
}

func (h *host) supplied(m *wire.Supply, fds []int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.needs) == 0 {
		return errors.New("a segment came that was not asked for")
	}
	ch := h.needs[0]
	h.needs = h.needs[1:]
	if len(fds) == 0 {
		ch <- answer{refused: m.Refused}
		return nil
	}
	s, err := buffer.Adopt(fds[0], m.Segment.ID, m.Segment.Capacity)
	if err != nil {
		return err
	}
	ch <- answer{segment: s}
	return nil
}

// ask sends a request of a call to the node and waits for its answer, or for stop.
func (h *host) ask(c *call, m *wire.Ask, stop <-chan struct{}) (answer, bool) {
	h.follow(c)
	select {
	case <-stop:
		return answer{}, false
	default:
	}
	ch := make(chan answer, 1)
	h.mu.Lock()
	h.next++
	m.ID = h.next
	h.asked[m.ID] = ch
	h.mu.Unlock()
	if h.conn.Send(m) == nil {
		select {
		case a := <-ch:
			return a, true
		case <-stop:
		}
	}
	h.mu.Lock()
	delete(h.asked, m.ID)
	h.mu.Unlock()
	select {
	case a := <-ch: // it came at the same time
		a.drop()
	default:
	}
	return answer{}, false
}

func (h *host) answered(m *wire.Answer, fds []int) error {
	a := answer{Answer: *m, fd: -1}
	if len(fds) > 0 {
		if m.Value.Segment.ID != 0 {
			s, err := buffer.Adopt(fds[0], m.Value.Segment.ID, m.Value.Segment.Capacity)
			if err != nil {
				return err
			}
			a.segment = s
		} else {
			a.fd = fds[0]
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ch := h.asked[m.ID]; ch != nil {
		delete(h.asked, m.ID) // the only answer
		ch <- a
		return nil
	}
	a.drop() // the call was stopped meanwhile
	return nil
}

// drop gives up what came with an answer that nobody reads.
func (a answer) drop() {
	if a.segment != nil {
		a.segment.Release()
	}
	if a.fd >= 0 {
		unix.Close(a.fd)
	}
}
