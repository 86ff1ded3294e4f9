package scheduler

import (
	"errors"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
)

// Demand says what a call is.
type Demand struct {
	App, Version, Function string
	Deadline               time.Time     // by which it should have ended; zero: none
	RunWork                time.Duration // CPU time that its run still needs along its critical path; 0: not known
	OnPath                 bool          // it is on that path
}

// Process is a process in which a call runs.
type Process struct {
	PID     int
	Init    int    // first process of its pid namespace, if only what it has orphaned is below that; 0: none
	Group   string // directory of its cgroup in the hierarchy of the cpu controller, with nothing else in it; "": none
	Freezer string // the same in version 2, for cgroup.freeze; "": none
	// Tiered says that Group has the weight of Express while tiers are groups; see Watch.
	Tiered bool
}

// options are those of a task of the process.
func (s *Scheduler) options(p Process) backend.TaskOptions {
	o := backend.TaskOptions{PID: p.PID, Init: p.Init, Group: p.Group, Freezer: p.Freezer}
	if p.Tiered && grouped(s.driver.Load()) {
		o.Born = new(policy.Tier) // Express
	}
	return o
}

// Call is a call that has not ended. A nil Call is one that nobody schedules: its methods
// do nothing, and it is admitted. One that begins while the policy is none is that too, but
// counts in the sandbox that it enters, which others may be scheduled in before it ends.
type Call struct {
	s       *Scheduler
	pending *backend.Pending // nil: nobody schedules it
	demand  Demand
	begun   time.Time

	mu      sync.Mutex
	ended   bool          // guarded by mu, as all below
	done    chan struct{} // closed by End; nil: nobody waits for that
	sandbox *Sandbox      // nil: not in one
	number  uint64        // in sandbox
	find    Find          // of a call with a process of its own
	task    *backend.Task // nil: none yet
	flags   policy.Flags  // as the policy was told last
}

// now is closed.
var now = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Begin brings a call. It may run when Admitted is closed, which may be so at once. End
// must be called for it.
func (s *Scheduler) Begin(d Demand) *Call {
	if s == nil {
		return nil
	}
	driver := s.driver.Load()
	if driver == nil {
		return &Call{s: s, flags: policy.Unstoppable}
	}
	c := &Call{s: s, demand: d, begun: time.Now(), flags: policy.Unstoppable}
	arrival := policy.Call{ID: policy.ID(s.last.Add(1)), Function: Name(d.App, d.Version, d.Function), App: d.App, RunWork: d.RunWork, OnPath: d.OnPath, Flags: c.flags}
	if !d.Deadline.IsZero() {
		arrival.Deadline = max(driver.Now()+time.Until(d.Deadline), 1)
	}
	var err error
	if c.pending, err = driver.Arrive(arrival); err != nil { // it was closed just now
		c.pending = nil
	}
	return c
}

// scheduled reports whether there is a policy for the call.
func (c *Call) scheduled() bool { return c != nil && c.pending != nil }

// Admitted is closed when the call may begin.
func (c *Call) Admitted() <-chan struct{} {
	if !c.scheduled() {
		return now
	}
	return c.pending.Admitted()
}

// Then reports whether the call may begin now. If not, it calls f when it may, in a
// goroutine, unless End comes first.
func (c *Call) Then(f func()) bool {
	select {
	case <-c.Admitted():
		return true
	default:
	}
	c.mu.Lock()
	ended := c.ended
	if c.done == nil {
		c.done = make(chan struct{})
	}
	done := c.done
	c.mu.Unlock()
	if ended {
		return false
	}
	go func() {
		select {
		case <-c.Admitted():
			f()
		case <-done:
		}
	}()
	return false
}

// Apart reports whether the call, which was admitted, is known to be long: it had better
// have a process to itself, where it can be stopped.
func (c *Call) Apart() bool { return c.scheduled() && c.pending.Tier() >= policy.Batch }

// Find finds the process of a call. False says that it is not there: not yet, or no more.
type Find func() (p Process, ok bool)

// Own tells that the call runs in a process of its own, or will soon. Find is called when
// the call has lasted for some time, now and then until it finds the process; it must not
// block.
func (c *Call) Own(find Find) {
	if !c.scheduled() {
		return
	}
	c.mu.Lock()
	first := !c.ended && c.sandbox == nil && c.find == nil
	if first {
		c.find = find
	}
	c.mu.Unlock()
	if first {
		c.s.late.add(c)
	}
}

// attachOwn gives a call with a process of its own its task, from when on it may be
// stopped.
func (c *Call) attachOwn(find Find) (ok bool) {
	p, ok := find()
	if !ok {
		return false
	}
	task, err := c.s.o.Attach(c.s.options(p))
	if err != nil {
		return errors.Is(err, backend.ErrGone) // it has ended, and that will be told
	}
	if again, _ := find(); again.PID != p.PID { // the number is another's by now
		_ = task.Close()
		return false
	}
	c.run(task)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flag(c.flags &^ policy.Unstoppable)
	return true
}

// Owes tells whether the call owes a slot that another one waits for.
func (c *Call) Owes(on bool) {
	if !c.scheduled() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := c.flags &^ policy.OwesSlot
	if on {
		flags |= policy.OwesSlot
	}
	c.flag(flags)
}

// flag tells the policy why the call may not be stopped; mu is held.
func (c *Call) flag(flags policy.Flags) {
	if c.ended || flags == c.flags || c.pending == nil {
		return
	}
	c.flags = flags
	c.pending.Flag(flags)
}

// over reports whether the call has ended.
func (c *Call) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// run gives the call its task.
func (c *Call) run(task *backend.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.task != nil {
		_ = task.Close()
		return
	}
	if err := c.pending.Run(task); err != nil { // it has ended, or the scheduler has
		_ = task.Close()
		return
	}
	c.task = task
}

// End tells that the call is over after so much CPU time; 0: what was seen last. Failed
// says that this is not what such calls need. Retire says that the kernel keeps the
// process in a lower tier, so it should not be used for another call. Only the first End
// counts.
func (c *Call) End(cpu time.Duration, failed bool) (retire bool) {
	if c == nil {
		return false
	}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.ended = true
	task, sandbox := c.task, c.sandbox
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	if c.pending != nil {
		retire = c.pending.End(cpu, failed)
	}
	if task != nil {
		if err := task.Close(); err != nil && !errors.Is(err, backend.ErrGone) {
			c.s.o.Log.Warn("a descriptor of a call was not closed", "error", err)
		}
	}
	if sandbox != nil {
		sandbox.leave(c)
	}
	if !failed && c.pending != nil {
		c.s.count(c.demand.App, cpu, time.Since(c.begun))
	}
	return retire
}
