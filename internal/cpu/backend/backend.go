// Package backend carries out what a policy commands on real processes, and measures
// them. It is the half of the CPU scheduler that has to do with a kernel; package
// policy decides.
//
//	b, notes, err := backend.New(backend.Auto, backend.Options{})   // cgroup tiers, or what there is
//	d := backend.NewDriver(backend.DriverOptions{Strategy: s, Backend: b})
//	call := d.Arrive(policy.Call{ID: 7, Function: "resize@3", App: "shop"})
//	<-call.Admitted()                                               // the policy lets it begin
//	task, err := backend.Attach(backend.TaskOptions{PID: pid, Group: group})
//	call.Run(task)                                                  // watched, moved, stopped from here on
//	call.End(usage, false)                                          // learned
//
// A Backend knows tiers and how to stop: cgroup with groups of the kernel's cpu
// controller, sched with niceness and SCHED_IDLE, fifo with a real-time class on top of
// one of them, schedext with a scheduler of weft's in the kernel on top of one of them,
// none with nothing at all. A Task is a process with all that it starts.
// The Driver is in between: it tells the policy what happens to the tasks, looks at them
// as seldom as the budgets allow, and bounds what looking costs.
//
//	backend.go   the interface, and which one to take
//	task.go      a process with its threads and descendants
//	look.go      what a task has used, and whether it can run
//	halt.go      stopping and continuing
//	sched.go     niceness, SCHED_IDLE, slices
//	cgroup.go    tiers as groups, or as weights of groups that calls have
//	fifo.go      SCHED_FIFO with a watchdog; realtime.go its budgets in version 1
//	schedext.go  a scheduler in the kernel, for SCHED_EXT
//	driver.go    policy, backend and tasks together; watch.go when to look
//	spread.go    long calls on cores of their own
//	probe.go     what a machine gives, for people
//
// What is lent is given back: Close puts the node where it was and removes groups, and
// groups of a node that was killed are swept by the next one.
package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// The names of the backends. Auto is the first of cgroup and sched that works here.
const (
	Auto         = "auto"
	NameCgroup   = "cgroup"
	NameSched    = "sched"
	NameFIFO     = "fifo"
	NameSchedExt = "schedext"
	NameNone     = "none"
)

// Names are the backends that one can ask for.
var Names = []string{Auto, NameCgroup, NameSched, NameFIFO, NameSchedExt, NameNone}

// The errors that are decided on.
var (
	// ErrOneWay says that the kernel does not let this user undo a demotion: the process
	// stays in the lower tier, and should not be used for another call.
	ErrOneWay = errors.New("demotion cannot be undone without CAP_SYS_NICE")
	// ErrGone says that the process has ended.
	ErrGone = errors.New("process has ended")
	// ErrUnavailable says that the machine or its user lacks what a backend needs.
	ErrUnavailable = errors.New("not available here")
)

// Place is where a task is to be: the tier, and inside it the rank (the least first)
// and the slice, which are 0 when the policy has none. In Express, Until is the CPU time of
// the call at which the policy will think again; 0: it will not.
type Place struct {
	Tier  policy.Tier
	Rank  int
	Slice time.Duration
	Until time.Duration
}

// Traits say what a backend can do.
type Traits struct {
	Tiers  int  `json:"tiers"`  // that differ: 1, 2 or 3. With 2, Express and Normal are one.
	Groups bool `json:"groups"` // tiers are weights of groups
	Undo   bool `json:"undo"`   // a demoted task can be raised again
	Ranks  bool `json:"ranks"`  // Place.Rank counts
	Stops  bool `json:"stops"`  // Stop does something
}

// Backend puts tasks into tiers. Its methods may be called from any goroutine, for one
// task from one at a time. All return ErrGone for a task whose process has ended.
type Backend interface {
	// Name is one of Names.
	Name() string
	// Traits do not change.
	Traits() Traits
	// Add takes a task on, in a place. A task that is born there costs nothing.
	Add(t *Task, p Place) error
	// Move puts a task elsewhere. Moving down always works; ErrOneWay says that moving up
	// does not, and the task is where it was.
	Move(t *Task, p Place) error
	// Stop keeps every thread of the task from running until Continue.
	Stop(t *Task) error
	Continue(t *Task) error
	// Remove forgets a task. One that lives on runs again and is where it was before Add;
	// ErrOneWay says that it is still demoted.
	Remove(t *Task) error
	// Close puts everything back. Tasks that were not removed are.
	Close() error
}

// Options are what backends are made with.
type Options struct {
	// Cores is the number of processors; default: those of this process.
	Cores int
	// Share is the weight of all tier groups together beside what else runs on the
	// machine, by that of one ordinary process. Default 10.
	Share float64
	// NodeStays leaves the node's own process where it is instead of in the top tier.
	NodeStays bool
	// FIFOBudget is the CPU time that a task has in the real-time class at most, whatever
	// the policy says; default 50 ms. FIFOLimit is when the kernel ends a task there that
	// nobody took out of it; default 500 ms, at least ten times the budget.
	FIFOBudget, FIFOLimit time.Duration
	// Log hears what is given up on the way. Default: nobody.
	Log *slog.Logger
}

// EnsureDefaults fills in what is 0.
func (o *Options) EnsureDefaults() {
	if o.Cores == 0 {
		o.Cores = runtime.NumCPU()
	}
	if o.Share == 0 {
		o.Share = 10
	}
	if o.FIFOBudget == 0 {
		o.FIFOBudget = 50 * time.Millisecond
	}
	if o.FIFOLimit == 0 {
		o.FIFOLimit = max(500*time.Millisecond, 10*o.FIFOBudget)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports all that is wrong.
func (o *Options) Validate() error {
	var errs []error
	if o.Cores < 1 {
		errs = append(errs, fmt.Errorf("cores is %d: want at least 1", o.Cores))
	}
	if !(o.Share > 0 && o.Share <= 100) {
		errs = append(errs, fmt.Errorf("share is %v: want more than 0 and at most 100", o.Share))
	}
	if o.FIFOBudget < time.Millisecond || o.FIFOLimit < 2*o.FIFOBudget {
		errs = append(errs, fmt.Errorf("fifo budget %v, limit %v: want at least 1 ms, and a limit of at least twice that", o.FIFOBudget, o.FIFOLimit))
	}
	return errors.Join(errs...)
}

// New makes a backend by name. The notes say in words what Auto, fifo and schedext did without. The
// error wraps ErrUnavailable when the machine does not give what the name asks for.
func New(name string, o Options) (b Backend, notes []string, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, nil, fmt.Errorf("make CPU backend %s: %w", name, err)
	}
	fair := func() (Backend, []string, error) {
		c, err := NewCgroup(o)
		if err == nil {
			return c, nil, nil
		}
		return NewSched(o), []string{err.Error() + "; niceness is used instead"}, nil
	}
	switch name {
	case Auto:
		return fair()
	case NameCgroup:
		c, err := NewCgroup(o)
		if err != nil {
			return nil, nil, err
		}
		return c, nil, nil
	case NameSched:
		return NewSched(o), nil, nil
	case NameNone:
		return NewNone(), nil, nil
	case NameFIFO:
		under, notes, err := fair()
		if err != nil {
			return nil, nil, err
		}
		f, err := NewFIFO(under, o)
		if err != nil {
			return nil, nil, errors.Join(err, under.Close())
		}
		return f, notes, nil
	case NameSchedExt:
		under, notes, err := fair()
		if err != nil {
			return nil, nil, err
		}
		e, err := NewSchedExt(under, o)
		if err != nil {
			return nil, nil, errors.Join(err, under.Close())
		}
		return e, notes, nil
	}
	return nil, nil, fmt.Errorf("make CPU backend: there is none called %q, only %s", name, strings.Join(Names, ", "))
}

// None leaves every task to the kernel.
type None struct{}

var _ Backend = (*None)(nil)

// NewNone makes it.
func NewNone() *None { return &None{} }

// Name implements Backend.
func (*None) Name() string { return NameNone }

// Traits implements Backend.
func (*None) Traits() Traits { return Traits{Tiers: 1, Undo: true} }

// Add implements Backend.
func (*None) Add(*Task, Place) error { return nil }

// Move implements Backend.
func (*None) Move(*Task, Place) error { return nil }

// Stop implements Backend.
func (*None) Stop(*Task) error { return nil }

// Continue implements Backend.
func (*None) Continue(*Task) error { return nil }

// Remove implements Backend.
func (*None) Remove(*Task) error { return nil }

// Close implements Backend.
func (*None) Close() error { return nil }
