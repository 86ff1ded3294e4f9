package backend

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// Crew is a process that runs several calls, each on a thread, or all on whatever threads
// there are. The process has the best tier that one of its calls has, but for threads that
// have tiers without their process, and it is stopped only when all of them are to be. A
// call that has no task yet counts as one of Express.
//
// Make one with NewCrew, name it in TaskOptions, and Close it when the process has ended.
type Crew struct {
	mixed bool // calls have no threads of their own

	mu     sync.Mutex
	calls  int               // that are in the process; guarded by mu, as all below
	tasks  map[*Task]*member // those of the calls that have one
	of     *crews            // that has whole; nil: none
	whole  *Task             // the process; nil: not attached
	halted bool              // the process is stopped
	used   time.Duration     // CPU time of whole that has been divided
	each   time.Duration     // what a call would have had of it that was there all the time
}

// member is what a policy wants of a task.
type member struct {
	place   Place
	stopped bool
	before  time.Duration // each, when the call got its task
	had     time.Duration // CPU time of the call, as last seen
}

// NewCrew makes the crew of a process, which is that of the first task that names it. Mixed
// says that calls have no threads of their own there. Then no task has a Thread, and
// what the process uses is divided evenly among the calls that are in it meanwhile.
func NewCrew(mixed bool) *Crew { return &Crew{mixed: mixed, tasks: map[*Task]*member{}} }

// divide gives the calls what the process has used since the last time; mu is held.
func (c *Crew) divide(deep bool) (Usage, error) {
	if c.whole == nil {
		return Usage{}, ErrGone
	}
	u, err := c.whole.Look(deep)
	if fresh := u.CPU - c.used; fresh > 0 {
		c.used = u.CPU
		c.each += fresh / time.Duration(max(c.calls, len(c.tasks), 1))
	}
	return u, err
}

// look is Task.Look for a call without a thread of its own. Whether it sleeps is not to be
// known, only whether the process does.
func (c *Crew) look(t *Task, deep bool) (Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, err := c.divide(deep)
	m := c.tasks[t]
	if m == nil {
		return Usage{}, ErrGone
	}
	m.had = max(m.had, c.each-m.before)
	u.CPU = m.had
	return u, err
}

// Enter tells that one more call is about to run in the process. If the process is stopped or
// in a low tier, it is not on return.
func (c *Crew) Enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(1)
	return c.apply()
}

// Leave tells that a call has ended.
func (c *Crew) Leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(-1)
	return c.apply()
}

// count changes the number of calls; mu is held.
func (c *Crew) count(by int) {
	if c.mixed {
		_, _ = c.divide(false) // one that has ended has used nothing more
	}
	c.calls += by
}

// Long reports whether a call of the crew is in Batch: then others had better run elsewhere.
func (c *Crew) Long() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.tasks {
		if m.stopped || m.place.Tier >= policy.Batch {
			return true
		}
	}
	return false
}

// Close lets go of the process.
func (c *Crew) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dismiss()
}

// dismiss takes the process from its backend; mu is held.
func (c *Crew) dismiss() error {
	if c.whole == nil {
		return nil
	}
	err := c.of.Backend.Remove(c.whole)
	if errors.Is(err, ErrGone) || errors.Is(err, ErrOneWay) {
		err = nil
	}
	err = errors.Join(err, c.whole.Close())
	c.of.forget(c)
	c.whole, c.of, c.halted = nil, nil, false
	return err
}

// attach makes the process a task of a backend; mu is held.
func (c *Crew) attach(b *crews, o TaskOptions) error {
	if c.whole != nil && c.of == b {
		return nil
	}
	if err := c.dismiss(); err != nil {
		return err
	}
	o.Thread, o.Base, o.Crew = 0, 0, nil
	whole, err := Attach(o)
	if err != nil {
		return err
	}
	if err := b.Backend.Add(whole, whole.place); err != nil {
		return errors.Join(err, whole.Close())
	}
	c.whole, c.of, c.used = whole, b, 0
	b.mu.Lock()
	b.all[c] = true
	b.mu.Unlock()
	return nil
}

// apply puts the process where its calls want it; mu is held.
func (c *Crew) apply() error {
	if c.whole == nil {
		return nil
	}
	want, stop := Place{Tier: policy.Express}, c.calls <= len(c.tasks) && len(c.tasks) > 0
	if stop {
		want.Tier = policy.Batch
	}
	for _, m := range c.tasks {
		if m.place.Tier < want.Tier {
			want = m.place
		}
		stop = stop && m.stopped
	}
	var errs []error
	if !c.of.alone(c) && c.whole.place != want {
		errs = append(errs, c.of.Backend.Move(c.whole, want))
	}
	if stop != c.halted {
		act := c.of.Backend.Continue
		if stop {
			act = c.of.Backend.Stop
		}
		err := act(c.whole)
		if err == nil {
			c.halted = stop
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// crews lets a backend that knows processes have tasks that are threads.
type crews struct {
	Backend

	mu  sync.Mutex
	all map[*Crew]bool // those that have a process here; guarded by mu
}

var _ Backend = (*crews)(nil)

func newCrews(b Backend) *crews { return &crews{Backend: b, all: map[*Crew]bool{}} }

// forget takes a crew off the list; its mu is held.
func (b *crews) forget(c *Crew) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, c)
}

// Close implements Backend.
func (b *crews) Close() error {
	b.mu.Lock()
	all := slices.Collect(maps.Keys(b.all))
	b.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, b.Backend.Close())...)
}

// change notes what is wanted of a member and does it.
func (b *crews) change(t *Task, note func(m *member)) error {
	c := t.o.Crew
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.tasks[t]
	if m == nil {
		return fmt.Errorf("thread %d is not of the crew", t.o.Thread)
	}
	note(m)
	return c.apply()
}

// alone reports whether the calls of a crew have tiers without their process: threads have
// where it is each thread that has one.
func (b *crews) alone(c *Crew) bool { return b.Name() == NameSched && !c.mixed }

// Add implements Backend.
func (b *crews) Add(t *Task, p Place) error {
	c := t.o.Crew
	if c == nil {
		return b.Backend.Add(t, p)
	}
	c.mu.Lock()
	err := c.attach(b, t.o)
	if err == nil {
		if c.mixed {
			_, _ = c.divide(false)
		}
		c.tasks[t] = &member{place: p, before: c.each}
		err = c.apply()
	}
	c.mu.Unlock()
	if err == nil && b.alone(c) {
		return b.Backend.Add(t, p)
	}
	t.place = p
	return err
}

// Move implements Backend.
func (b *crews) Move(t *Task, p Place) error {
	if t.o.Crew == nil {
		return b.Backend.Move(t, p)
	}
	if err := b.change(t, func(m *member) { m.place = p }); err != nil {
		return err
	}
	if b.alone(t.o.Crew) {
		return b.Backend.Move(t, p)
	}
	t.place = p
	return nil
}

// Stop implements Backend.
func (b *crews) Stop(t *Task) error {
	if t.o.Crew == nil {
		return b.Backend.Stop(t)
	}
	return b.change(t, func(m *member) { m.stopped = true })
}

// Continue implements Backend.
func (b *crews) Continue(t *Task) error {
	if t.o.Crew == nil {
		return b.Backend.Continue(t)
	}
	return b.change(t, func(m *member) { m.stopped = false })
}

// Remove implements Backend.
func (b *crews) Remove(t *Task) error {
	c := t.o.Crew
	if c == nil {
		return b.Backend.Remove(t)
	}
	c.mu.Lock()
	delete(c.tasks, t)
	err := c.apply()
	c.mu.Unlock()
	if errors.Is(err, ErrGone) {
		err = nil
	}
	if b.alone(c) {
		err = errors.Join(err, b.Backend.Remove(t))
	}
	return err
}
