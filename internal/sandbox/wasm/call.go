package wasm

import (
	"errors"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Names of the exports that make a function: a command, or a handler that
// stays resident between the calls of a run.
const (
	exportStart      = "_start"
	exportInitialize = "_initialize"
	exportHandle     = "weft_handle"
)

// newCall makes a call that is about to run.
func (d *domain) newCall(m *wire.Start, f *function, fds []int) *call {
	c := &call{
		domain: d, fn: f, start: m, fds: fds, begun: time.Now(),
		attempt: buffer.Attempt{Path: m.Path, Number: int(m.Attempt)},
		stopped: make(chan struct{}),
	}
	if m.Single { // calls of the same function at the same time are not attempts of one step
		c.attempt.Number = int(m.Call)
	}
	c.out = &capture{call: c}
	return c
}

// Bounds of a call that is short: beyond the first in processor time, or beyond
// the second in all, the next one of its function gets a goroutine of its own.
const (
	shortTime = 100 * time.Microsecond
	shortWall = time.Millisecond
)

// short says whether the call is likely to be over soon.
func (c *call) short() bool { return c.fn.quick.Load() && len(c.fds) == 0 && c.start.Stdin == "" }

// run carries out one call to Done, and cleans up behind it.
func (c *call) run() {
	defer c.host.calls.Done()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, m, f := c.domain, c.start, c.fn
	c.thread, c.cpu = unix.Gettid(), threadTime()
	nameThread(m.Call, c.cpu)
	defer nameThread(0, 0)
	done := &wire.Done{Call: m.Call}
	keep := c.execute(done)
	c.unfill()
	if c.sandbox != nil {
		done.Memory = int64(len(c.sandbox.inst.Memory()))
	}
	if !m.Single {
		done.Puts, done.Loaded, done.Moved = c.puts, c.loaded, c.moved
	}
	d.mu.Lock()
	if !m.Single {
		done.Takes = c.takes
	}
	keep = keep && c.stopErrno == 0 && !m.Single // once stopped, its system answers every call with that
	delete(d.running, m.Call)
	d.mu.Unlock()
	done.CPU = threadTime() - c.cpu
	done.Wall = int64(time.Since(c.begun))
	c.publishOverflow(done)
	f.quick.Store(done.CPU < int64(shortTime) && done.Wall < int64(shortWall))
	d.host.conn.Send(done) // when the node is gone the control loop ends the process

	// Off the critical path: the node goes on while this sandbox is taken down.
	if len(c.views) > 0 {
		c.host.follow(c)
	}
	c.clear()
	c.out.abandon()
	d.ended(c)
	if m.Single {
		d.withdraw(m.Call)
	}
	if c.sandbox != nil {
		if keep {
			c.sandbox.call = nil
			d.mu.Lock()
			f.idle = append(f.idle, c.sandbox)
			d.mu.Unlock()
		} else {
			c.sandbox.close()
		}
	}
	d.tellDropped()
}

// execute prepares a sandbox, runs the function in it and fills in how that
// ended. It reports whether the instance can serve another call.
func (c *call) execute(done *wire.Done) (keep bool) {
	fds := c.fds
	defer func() { // the descriptors of a stream belong to the call
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	refuse := func(err error) bool {
		done.Status, done.Message = wire.StatusRefused, err.Error()
		return false
	}
	c.mu.Lock()
	c.calls[c.start.Call], c.running[c.start.Call] = c, c
	if !c.serves() { // an instance has no limit of CPU time and no views, and is there for long
		c.watch()
	}
	c.mu.Unlock()
	stdin, err := c.stdin(fds)
	if err == nil {
		err = c.open(stdin, fds)
	}
	if err != nil {
		return refuse(err)
	}

	code, err := c.invoke()
	c.settle()
	keep = c.sandbox.resident
	var trap *engine.Trap
	switch {
	case errors.Is(err, engine.ErrExit): // in the midst of its code: it cannot be called again
		code, _ = c.sandbox.sys.ExitCode()
		keep = false
	case errors.As(err, &trap):
		done.Status, done.Message = wire.StatusTrap, trap.Reason
		for _, f := range trap.Frames[:min(len(trap.Frames), maxFrames)] {
			done.Frames = append(done.Frames, wire.Frame{Offset: f.Offset, Function: f.Function})
		}
		return false
	case err != nil:
		return refuse(err)
	}
	if c.over != "" {
		done.Status, done.Message = wire.StatusLimit, c.over
		return false
	}
	if err := c.out.finish(done); err != nil {
		done.Status, done.Message = wire.StatusOutput, err.Error()
		return false
	}
	if code != 0 {
		done.Status, done.Code = wire.StatusExit, code
	}
	return keep
}

// serves reports whether the call is an instance of a service: beside its standard
// streams it has one to the node.
func (c *call) serves() bool { return c.fn.Output == wire.OutputStream && len(c.fds) == 4 }

// maxFrames bounds the stack that a trap reports.
const maxFrames = 32

// open takes an idle resident instance, or makes a new one.
func (c *call) open(stdin input, fds []int) error {
	s := &sandbox{call: c}
	cfg := wasi.Config{
		Args: append([]string{c.fn.Name}, c.fn.Args...), Env: c.environment(),
		Stdin: stdin, Stdout: c.out, Stderr: &logger{call: c},
		Mounts: c.fn.mounts, Listeners: c.fn.listen, Eager: c.Eager, Images: c.host.images,
		Loaded: func(module string, took time.Duration) { s.call.note(module, took) },
	}
	if c.fn.Output == wire.OutputStream && len(fds) >= 3 {
		cfg.Stdin, cfg.Stdout, cfg.Stderr = wasi.Terminal{FD: fds[0]}, wasi.Terminal{FD: fds[1]}, wasi.Terminal{FD: fds[2]}
	}
	if c.serves() {
		cfg.Stream = fds[3]
		cfg.Env = append(cfg.Env, "WEFT_SERVICE_FD="+strconv.Itoa(cfg.StreamFD()))
	}
	if c.start.Stream && len(fds) > 0 {
		cfg.Stdout = wasi.Terminal{FD: fds[len(fds)-1]}
	}
	if c.fn.Dial {
		cfg.Dial = func(name string, port uint16) (int, wasi.Errno) { return s.call.dial(name, port) }
	}
	c.mu.Lock()
	if n := len(c.fn.idle); n > 0 {
		s = c.fn.idle[n-1]
		c.fn.idle = c.fn.idle[:n-1]
		s.call, c.base = c, at(s.inst.Memory(), 0)
		c.use(s)
	}
	c.mu.Unlock()
	if s.inst != nil {
		s.sys.SetStreams(cfg.Stdin, cfg.Stdout, cfg.Stderr)
		s.sys.SetEnv(cfg.Args, cfg.Env)
		return nil
	}
	s.sys = wasi.New(cfg)
	if c.Eager {
		c.views = map[uint32]*window{}
		c.note("buffer", 0)
	}
	c.mu.Lock()
	c.use(s)
	c.mu.Unlock()
	inst, err := c.fn.module.Instantiate(c.fn.Memory, s)
	if err != nil {
		c.mu.Lock()
		c.sandbox = nil
		c.mu.Unlock()
		s.sys.Close()
		return err
	}
	s.inst = inst
	if mem := s.inst.Memory(); mem != nil {
		c.base = at(mem, 0)
	}
	return nil
}

// use makes a sandbox the call's, which may have been stopped before; c.mu is
// held.
func (c *call) use(s *sandbox) {
	c.sandbox = s
	if c.stopErrno != 0 {
		s.sys.Interrupt()
	}
}

// invoke calls the function's entry and returns its exit code.
func (c *call) invoke() (uint32, error) {
	i := c.sandbox.inst
	_, err := i.Call(exportStart)
	if !errors.Is(err, engine.ErrNoExport) {
		return 0, err
	}
	if !c.sandbox.started {
		c.sandbox.started = true
		if _, err := i.Call(exportInitialize); err != nil && !errors.Is(err, engine.ErrNoExport) {
			return 0, err
		}
	}
	c.sandbox.resident = true
	code, err := i.Call(exportHandle)
	return uint32(code), err
}

// environment is what a function finds in its environment.
func (c *call) environment() []string {
	run, step := c.Run, c.start.Step
	if c.start.Single {
		run, step = step, c.fn.Name
	}
	env := []string{"WEFT_RUN=" + run, "WEFT_STEP=" + step, "WEFT_ATTEMPT=" + strconv.FormatUint(c.start.Attempt, 10), "WEFT_KEY=" + c.start.Key}
	if c.start.Index >= 0 {
		env = append(env, "WEFT_INDEX="+strconv.FormatInt(c.start.Index, 10))
	}
	if c.start.Trace != "" {
		env = append(env, "TRACEPARENT="+c.start.Trace)
	}
	env = append(env, c.fn.Env...)
	// Near this limit Go collects harder. Without it, it would let garbage grow to the size of the views; its SDK adds their size.
	return append(env, "GOMEMLIMIT="+strconv.FormatInt(c.fn.Memory/8*7, 10))
}

// moves records a hand-over for the trace, which shows the first ones.
func (c *call) moves(m wire.Moved) {
	if len(c.moved) < maxMoved {
		c.moved = append(c.moved, m)
	}
}

// note records that a module was set up.
func (c *call) note(module string, took time.Duration) {
	at := time.Since(c.begun) - took
	c.loaded = append(c.loaded, wire.Loaded{Module: module, At: int64(max(at, 0)), Took: int64(took)})
}

// dial asks the node for a connection.
func (c *call) dial(name string, port uint16) (int, wasi.Errno) {
	a, ok := c.host.ask(c, &wire.Ask{Call: c.start.Call, Op: wire.OpDial, Name: name, Type: uint64(port)}, c.stopped)
	if !ok {
		return -1, wasi.Ecanceled
	}
	if a.Errno != 0 || a.fd < 0 {
		return -1, wasi.Errno(max(a.Errno, 1))
	}
	return a.fd, wasi.Success
}

// unfill ends the writable mappings of buffers that were never published: a
// segment can be sealed or used again only without them.
func (c *call) unfill() {
	for ptr, w := range c.views {
		if w.filling {
			buffer.Clear(c.address(ptr), w.length)
			delete(c.views, ptr)
		}
	}
}

// clear replaces every window by ordinary memory. It must come before the
// instance is dropped: the engine's pool would show them to the next tenant.
func (c *call) clear() {
	for ptr, w := range c.views {
		if !w.plain {
			buffer.Clear(c.address(ptr), w.length)
		}
	}
	clear(c.views)
}

// address is where a guest address lies in this process.
func (c *call) address(ptr uint32) uintptr {
	return at(c.sandbox.inst.Memory(), ptr)
}

// nameThread names the calling thread after the call that it carries out, of which none
// has the number 0, and the CPU time that it has used before. So the node finds the
// threads of calls that last; see internal/cpu/scheduler.
func nameThread(call uint64, cpu int64) {
	var buf [32]byte
	name := append(buf[:0], "idle"...)
	if call > 0 {
		name = append(strconv.AppendUint(buf[:0], call, 36), ':')
		name = strconv.AppendInt(name, cpu/1000, 36)
	}
	name = append(name, 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0) // a longer one is cut, and not found
	runtime.KeepAlive(name)
}

// threadTime is the CPU time of the calling thread, in nanoseconds.
func threadTime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// imports lists what every module may import: WASI, the network calls and the
// buffer calls, in the order that dispatch counts.
func imports() []engine.Import {
	var all []engine.Import
	add := func(module string, functions []wasi.Function) {
		for _, f := range functions {
			im := engine.Import{Module: module, Name: f.Name}
			for _, p := range f.Params {
				im.Params = append(im.Params, kinds[p])
			}
			for _, r := range f.Results {
				im.Results = append(im.Results, kinds[r])
			}
			all = append(all, im)
		}
	}
	add("wasi_snapshot_preview1", wasi.Functions)
	add("weft", wasi.NetFunctions)
	for _, f := range slotFunctions {
		all = append(all, engine.Import{Module: "weft", Name: f.name, Params: f.params, Results: []engine.Kind{engine.I32}})
	}
	return all
}

var kinds = map[wasi.Kind]engine.Kind{wasi.I32: engine.I32, wasi.I64: engine.I64}

// dispatch serves one import of one instance.
func dispatch(i *engine.Instance, index int, mem []byte, args []uint64) bool {
	s := i.Owner.(*sandbox)
	var errno wasi.Errno
	if n := len(wasi.Functions); index < n {
		errno = wasi.Functions[index].Call(s.sys, mem, args)
	} else if index -= n; index < len(wasi.NetFunctions) {
		errno = wasi.NetFunctions[index].Call(s.sys, mem, args)
	} else {
		errno = slotFunctions[index-len(wasi.NetFunctions)].call(s.call, mem, args)
	}
	if errno == wasi.ErrnoExit {
		return false
	}
	if cap(args) > 0 {
		args[:1][0] = uint64(errno)
	}
	return true
}
