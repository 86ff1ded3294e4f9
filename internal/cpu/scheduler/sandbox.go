package scheduler

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
)

// Sandbox is a process that runs calls on threads, one each: a domain host. While a call
// runs, the name of its thread is its number in the sandbox, a colon, and the CPU time in
// microseconds that the thread had used when it began, both to the base 36. Or it is one
// that stays and serves calls as it likes: then what it uses is divided evenly among
// those that are in it.
//
// All calls of a sandbox are in the tier of the best of them, and they are stopped
// together or not at all. So a call may be stopped only while it is alone there.
type Sandbox struct {
	s     *Scheduler
	find  Find
	mixed bool // calls have no threads of their own
	crew  *backend.Crew

	marking sync.Mutex // held while calls are told whether they may be stopped

	mu    sync.Mutex
	calls map[*Call]bool // guarded by mu
}

// Sandbox makes one of a process. Close it when the process has ended.
func (s *Scheduler) Sandbox(p Process) *Sandbox {
	if s == nil {
		return nil
	}
	return &Sandbox{s: s, find: func() (Process, bool) { return p, true }, crew: backend.NewCrew(false), calls: map[*Call]bool{}}
}

// Worker makes one of a process that stays and serves calls without threads of their own,
// one or many at a time. Find is as for Call.Own. Close it when the process has ended.
func (s *Scheduler) Worker(find Find) *Sandbox {
	if s == nil {
		return nil
	}
	return &Sandbox{s: s, find: find, mixed: true, crew: backend.NewCrew(true), calls: map[*Call]bool{}}
}

// Close lets go of the process.
func (b *Sandbox) Close() {
	if b != nil {
		b.report(b.crew.Close())
	}
}

// Long reports whether a long call runs there: others had better run elsewhere.
func (b *Sandbox) Long() bool { return b != nil && b.crew.Long() }

// Awake has the sandbox run, as if a short call were in it, until done is called.
func (b *Sandbox) Awake() (done func()) {
	if b == nil {
		return func() {}
	}
	b.report(b.crew.Enter())
	return func() { b.report(b.crew.Leave()) }
}

// report logs what went wrong with a process that has not just ended. That it stays
// demoted is what End says.
func (b *Sandbox) report(err error) {
	if err != nil && !errors.Is(err, backend.ErrGone) && !errors.Is(err, backend.ErrOneWay) {
		b.s.o.Log.Warn("a sandbox could not be put where it should be", "error", err)
	}
}

// Enter tells that the call is about to run in a sandbox, as its call of a number. On
// return the sandbox is not stopped.
func (c *Call) Enter(b *Sandbox, number uint64) {
	if c == nil || b == nil {
		return
	}
	c.mu.Lock()
	if c.ended || c.sandbox != nil {
		c.mu.Unlock()
		return
	}
	c.sandbox, c.number = b, number
	c.mu.Unlock()
	b.mu.Lock()
	b.calls[c] = true
	first, second := len(b.calls) == 1, len(b.calls) == 2
	b.mu.Unlock()
	if second {
		b.mark() // who was alone may not be stopped any longer
	}
	b.report(b.crew.Enter())
	if c.pending == nil {
		return
	}
	if !first || !c.Apart() || !b.attachTo(c, func(*backend.TaskOptions) bool { return true }) {
		b.s.late.add(c)
	}
}

// Leave tells that the call does not run in its sandbox after all.
func (c *Call) Leave() {
	if c == nil {
		return
	}
	c.mu.Lock()
	b := c.sandbox
	if c.task == nil { // else only End can take it back
		c.sandbox = nil
	}
	c.mu.Unlock()
	if b != nil {
		b.leave(c)
	}
}

// leave takes a call out.
func (b *Sandbox) leave(c *Call) {
	b.mu.Lock()
	there := b.calls[c]
	delete(b.calls, c)
	one := len(b.calls) == 1
	b.mu.Unlock()
	if !there {
		return
	}
	b.report(b.crew.Leave())
	if one {
		b.mark()
	}
}

// mark tells the calls that have a task whether they may be stopped.
func (b *Sandbox) mark() {
	b.marking.Lock()
	defer b.marking.Unlock()
	b.mu.Lock()
	calls := make([]*Call, 0, len(b.calls))
	for c := range b.calls {
		calls = append(calls, c)
	}
	b.mu.Unlock()
	for _, c := range calls {
		c.mu.Lock()
		flags := c.flags | policy.Unstoppable
		if len(calls) == 1 && c.task != nil {
			flags &^= policy.Unstoppable
		}
		c.flag(flags)
		c.mu.Unlock()
	}
}

// thread finds the thread of a call by its name.
func thread(pid int, number uint64) (tid int, base time.Duration, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	d, err := os.Open(dir)
	if err != nil {
		return 0, 0, false
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	want := strconv.AppendUint(nil, number, 36)
	for _, name := range names {
		text, err := os.ReadFile(dir + "/" + name + "/comm")
		if err != nil {
			continue
		}
		before, after, found := bytes.Cut(bytes.TrimSpace(text), []byte{':'})
		if !found || !bytes.Equal(before, want) {
			continue
		}
		used, err := strconv.ParseInt(string(after), 36, 64)
		if err != nil || used < 0 {
			continue
		}
		if tid, err = strconv.Atoi(name); err == nil {
			return tid, time.Duration(used) * time.Microsecond, true
		}
	}
	return 0, 0, false
}

// attach gives a call that shares the sandbox its task. False says that its thread was not
// found.
func (b *Sandbox) attach(c *Call) bool {
	return b.attachTo(c, func(o *backend.TaskOptions) (ok bool) {
		if !b.mixed {
			o.Thread, o.Base, ok = thread(o.PID, c.number)
		}
		return ok || b.mixed
	})
}

// attachTo gives a call its task: a part of the process, or all of it.
func (b *Sandbox) attachTo(c *Call, part func(o *backend.TaskOptions) bool) bool {
	p, ok := b.find()
	if !ok {
		return false
	}
	o := b.s.options(p)
	o.Crew = b.crew
	if !part(&o) {
		return false
	}
	task, err := b.s.o.Attach(o)
	if err != nil {
		return errors.Is(err, backend.ErrGone)
	}
	c.run(task)
	b.mark()
	return true
}
