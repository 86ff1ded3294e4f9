package backend

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// Crew is a process that runs several calls, each on a thread. Where tiers are groups the
// process has the best tier that one of its calls has, and everywhere it is stopped only
// when all of them are to be. A call that has no task yet counts as one of Express.
//
// Make one with NewCrew, name it in TaskOptions, and Close it when the process has ended.
type Crew struct {
	o TaskOptions

	mu     sync.Mutex
	calls  int               // that are in the process; guarded by mu, as all below
	tasks  map[*Task]*member // those of the calls that have one
	of     *crews            // that has whole; nil: none
	whole  *Task             // the process; nil: not attached
	halted bool              // the process is stopped
}

// member is what a policy wants of a task.
type member struct {
	place   Place
	stopped bool
}

// NewCrew makes the crew of a process, of which o says PID, Group, Freezer and Born.
func NewCrew(o TaskOptions) *Crew {
	o.Thread, o.Base, o.Crew = 0, 0, nil
	return &Crew{o: o, tasks: map[*Task]*member{}}
}

// Enter tells that one more call is about to run in the process. If the process is stopped or
// in a low tier, it is not on return.
func (c *Crew) Enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return c.apply()
}

// Leave tells that a call has ended.
func (c *Crew) Leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls--
	return c.apply()
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
func (c *Crew) attach(b *crews) error {
	if c.whole != nil && c.of == b {
		return nil
	}
	if err := c.dismiss(); err != nil {
		return err
	}
	whole, err := Attach(c.o)
	if err != nil {
		return err
	}
	if err := b.Backend.Add(whole, whole.place); err != nil {
		return errors.Join(err, whole.Close())
	}
	c.whole, c.of = whole, b
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
	if !c.of.alone() && c.whole.place != want {
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

// alone reports whether threads have tiers without their processes.
func (b *crews) alone() bool { return b.Name() == NameSched }

// Add implements Backend.
func (b *crews) Add(t *Task, p Place) error {
	c := t.o.Crew
	if c == nil {
		return b.Backend.Add(t, p)
	}
	c.mu.Lock()
	c.o.Born = t.o.Born
	err := c.attach(b)
	if err == nil {
		c.tasks[t] = &member{place: p}
		err = c.apply()
	}
	c.mu.Unlock()
	if err == nil && b.alone() {
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
	if b.alone() {
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
	if b.alone() {
		err = errors.Join(err, b.Backend.Remove(t))
	}
	return err
}
