package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/schedext"
)

// policyExt is the class of the scheduler that package schedext loads.
const policyExt = schedext.Class

// SchedExt lets a scheduler of weft's in the kernel decide among the tasks, on top of the
// tiers of another backend. That one is kept up to date all the time: when the kernel
// ends the scheduler, or this process dies, tasks are in its tiers with no delay.
//
// Moving a task is one call into the kernel, whatever the number of its threads, and
// counts at once for those that run. What the class costs: its threads get what all
// ordinary ones leave, and limits of cgroups (cpu.max) do not bind them; so it is something
// to ask for.
type SchedExt struct {
	Backend   // the tiers below
	scheduler *schedext.Scheduler
	log       *slog.Logger
	classes   bool // this and not the backend below gives threads the class
	done      sync.WaitGroup
	quit      chan struct{}

	mu      sync.Mutex
	calls   map[*Task]uint64 // their numbers in the scheduler; guarded by mu
	last    uint64           // guarded by mu
	ejected bool             // guarded by mu
	closed  bool             // guarded by mu
}

var _ Backend = (*SchedExt)(nil)

// NewSchedExt loads the scheduler on top of the tiers of a backend, which it closes with itself. The
// error wraps ErrUnavailable, and says what is missing.
func NewSchedExt(under Backend, o Options) (*SchedExt, error) {
	return newSchedExt(under, o, schedext.Options{})
}

func newSchedExt(under Backend, o Options, so schedext.Options) (*SchedExt, error) {
	o.EnsureDefaults()
	s, err := schedext.Load(so)
	if err != nil {
		return nil, fmt.Errorf("make CPU backend %s: %w: %w", NameSchedExt, ErrUnavailable, err)
	}
	e := &SchedExt{Backend: under, scheduler: s, log: o.Log, classes: true, quit: make(chan struct{}), calls: map[*Task]uint64{}}
	if below, ok := under.(*Sched); ok { // which sets the class of threads with their niceness
		below.ext = true
		e.classes = false
	}
	e.done.Go(e.watch)
	return e, nil
}

// watch notes that the kernel has ended the scheduler.
func (e *SchedExt) watch() {
	select {
	case <-e.quit:
	case <-e.scheduler.Ejected():
		e.mu.Lock()
		e.ejected = true
		e.mu.Unlock()
		e.log.Error("the kernel has ended weft's scheduler, calls are scheduled without it", "instead", e.Backend.Name(), "error", e.scheduler.Err())
	}
}

// Name implements Backend. It does not change when the kernel has ended the scheduler.
func (e *SchedExt) Name() string { return NameSchedExt }

// off reports whether there is no scheduler any more.
func (e *SchedExt) off() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ejected
}

// Traits implements Backend.
func (e *SchedExt) Traits() Traits {
	return Traits{Tiers: 3, Groups: e.Backend.Traits().Groups, Undo: true, Ranks: true, Stops: true}
}

// rankMax is far beyond where ranks still make a difference to the scheduler.
const rankMax = 1 << 20

// placeOf is a place as the scheduler has it.
func placeOf(p Place) schedext.Place {
	tier := map[policy.Tier]schedext.Tier{policy.Express: schedext.Express, policy.Normal: schedext.Normal}[p.Tier]
	if p.Tier >= policy.Batch {
		tier = schedext.Batch
	}
	return schedext.Place{Tier: tier, Rank: uint32(min(max(p.Rank, 0), rankMax)), Slice: max(p.Slice, 0)}
}

// Add implements Backend.
func (e *SchedExt) Add(t *Task, p Place) error {
	var err error
	if !e.off() {
		err = e.join(t, p)
	}
	return errors.Join(err, e.Backend.Add(t, p))
}

// join makes a call of a task.
func (e *SchedExt) join(t *Task, p Place) error {
	e.mu.Lock()
	e.last++
	id := e.last
	e.calls[t] = id
	e.mu.Unlock()
	if t.attr == nil {
		a, err := unix.SchedGetAttr(t.id(), 0)
		if err != nil {
			return fmt.Errorf("add process %d: %w", t.o.PID, gone(err))
		}
		t.attr = a
	}
	if err := e.scheduler.Open(id, placeOf(p)); err != nil {
		return fmt.Errorf("add process %d: %w", t.o.PID, err)
	}
	err := t.eachThread(func(tid int) error {
		if err := e.scheduler.Join(tid, id); err != nil || !e.classes {
			return err
		}
		return setAttr(tid, unix.SchedAttr{Policy: policyExt, Nice: t.attr.Nice})
	})
	if err != nil {
		return fmt.Errorf("add process %d: %w", t.o.PID, gone(err))
	}
	return nil
}

// Move implements Backend.
func (e *SchedExt) Move(t *Task, p Place) error {
	if err := e.Backend.Move(t, p); err != nil {
		return err
	}
	e.mu.Lock()
	id, ok := e.calls[t]
	ok = ok && !e.ejected
	e.mu.Unlock()
	if !ok {
		return nil
	}
	if err := e.scheduler.Move(id, placeOf(p)); err != nil && !e.off() {
		return fmt.Errorf("move process %d: %w", t.o.PID, err)
	}
	return nil
}

// Remove implements Backend.
func (e *SchedExt) Remove(t *Task) error {
	e.mu.Lock()
	id, known := e.calls[t]
	delete(e.calls, t)
	e.mu.Unlock()
	err := e.Backend.Remove(t)
	if !known {
		return err
	}
	errs := []error{err}
	if e.classes && t.attr != nil {
		back := t.eachThread(func(tid int) error { return setAttr(tid, unix.SchedAttr{Policy: t.attr.Policy, Nice: t.attr.Nice}) })
		t.attr = nil
		if !errors.Is(back, ErrGone) {
			errs = append(errs, back)
		}
	}
	return errors.Join(append(errs, e.scheduler.Drop(id))...)
}

// Close implements Backend. Tasks that were not removed get their class back first.
func (e *SchedExt) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	var tasks []*Task
	for t := range e.calls {
		tasks = append(tasks, t)
	}
	e.mu.Unlock()
	err := removeAll(e, tasks)
	close(e.quit)
	e.done.Wait()
	return errors.Join(err, e.scheduler.Close(), e.Backend.Close())
}
