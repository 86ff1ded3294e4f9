package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

const (
	// taskPriority is that of tasks in the real-time class, the least there is, and
	// watchPriority that of the thread that takes them out of it.
	taskPriority, watchPriority = 1, 2
	// watchMin is how close to each other the watchdog looks; watchSleep is how long a task
	// may use no CPU time before it is asked whether it sleeps.
	watchMin, watchSleep = time.Millisecond, 2 * time.Millisecond
)

// FIFO gives tasks of Express a real-time class on top of the tiers of another backend:
// no other task delays them and none shares their core. It is the mechanism of SFS, and
// something to ask for, since a thread in that class that does not end holds its core
// against everything. What bounds it:
//
//   - at most all cores but one have such a task; the others of Express wait for a place in
//     the tier that the other backend gives them, and get it in order of arrival;
//   - only tasks of one thread: and what it makes is ordinary (SCHED_RESET_ON_FORK);
//   - a watchdog thread of higher priority takes a task out when it has used FIFOBudget
//     there or what the policy allows it, when it sleeps and others wait, and when the kernel holds it up since the
//     budget of its group is used up;
//   - RLIMIT_RTTIME: the kernel ends a task that runs there for FIFOLimit without a
//     pause, which happens only when the watchdog does not run;
//   - in version 1 with RT_GROUP_SCHED, the real-time budget of the task's group.
type FIFO struct {
	Backend // the tiers below
	budget  time.Duration
	limit   time.Duration
	places  int
	log     *slog.Logger
	budgets *realtime
	own     string // group of the node that was given a real-time budget; "": none

	event int // eventfd that wakes the watchdog
	done  sync.WaitGroup

	mu      sync.Mutex
	holders []*holder // at most places; guarded by mu
	queue   []*holder // of Express, without a place; guarded by mu
	refused uint64    // tasks that the kernel did not let in; guarded by mu
	taken   uint64    // tasks that the watchdog took out; guarded by mu
	closing bool      // guarded by mu
}

// holder is a task of Express, in the real-time class or waiting for that.
type holder struct {
	task   *Task
	pid    int
	class  uint32 // and niceness: what the tiers below make of it
	nice   int32
	end    time.Duration // CPU time of the process at which the policy thinks again, which it cannot while the task holds up the node; 0: not
	until  time.Duration // and that at which it is taken out
	cpu    time.Duration // as last seen
	moved  time.Time     // when that was seen to grow, or the task to sleep
	budget string        // group that was given a real-time budget; "": none
}

var _ Backend = (*FIFO)(nil)

// NewFIFO puts the class on top of a backend, which it closes with itself. The error wraps
// ErrUnavailable: on one core, or without the privilege.
func NewFIFO(under Backend, o Options) (*FIFO, error) {
	o.EnsureDefaults()
	if o.Cores < 2 {
		return nil, fmt.Errorf("make CPU backend fifo: %w: a real-time class on the only core would hold up everything", ErrUnavailable)
	}
	budgets := newRealtime()
	err := tryAttr(unix.SchedAttr{Policy: policyFIFO, Priority: taskPriority})
	own := ""
	if errors.Is(err, unix.EPERM) { // the node's group may have no budget
		if own, err = budgets.grant(os.Getpid(), realtimeWatch, realtimeWatch); err == nil {
			err = tryAttr(unix.SchedAttr{Policy: policyFIFO, Priority: taskPriority})
		}
	}
	if err != nil {
		budgets.revoke(own)
		return nil, errors.Join(fmt.Errorf("make CPU backend fifo: %w: SCHED_FIFO: %w", ErrUnavailable, err), budgets.close())
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		budgets.revoke(own)
		return nil, errors.Join(fmt.Errorf("make CPU backend fifo: %w", err), budgets.close())
	}
	f := &FIFO{Backend: under, budget: o.FIFOBudget, limit: o.FIFOLimit, places: o.Cores - 1, log: o.Log, event: event, budgets: budgets, own: own}
	f.done.Go(f.watch)
	return f, nil
}

// Name implements Backend.
func (*FIFO) Name() string { return NameFIFO }

// Traits implements Backend.
func (f *FIFO) Traits() Traits {
	tr := f.Backend.Traits()
	tr.Tiers = 3
	return tr
}

// Add implements Backend.
func (f *FIFO) Add(t *Task, p Place) error {
	if err := f.Backend.Add(t, p); err != nil {
		return err
	}
	f.enter(t)
	return nil
}

// Move implements Backend.
func (f *FIFO) Move(t *Task, p Place) error {
	if p.Tier != policy.Express {
		f.leave(t)
	}
	if err := f.Backend.Move(t, p); err != nil {
		return err
	}
	f.enter(t)
	return nil
}

// Stop implements Backend.
func (f *FIFO) Stop(t *Task) error {
	f.leave(t)
	return f.Backend.Stop(t)
}

// Continue implements Backend.
func (f *FIFO) Continue(t *Task) error {
	err := f.Backend.Continue(t)
	if err == nil {
		f.enter(t)
	}
	return err
}

// Remove implements Backend.
func (f *FIFO) Remove(t *Task) error {
	f.leave(t)
	return f.Backend.Remove(t)
}

// Close implements Backend.
func (f *FIFO) Close() error {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		return nil
	}
	f.closing = true
	f.queue = nil
	for len(f.holders) > 0 {
		f.drop(f.holders[0])
	}
	f.mu.Unlock()
	f.poke()
	f.done.Wait()
	f.budgets.revoke(f.own)
	err := errors.Join(f.budgets.close(), unix.Close(f.event))
	return errors.Join(err, f.Backend.Close())
}

// enter gives a task of Express a place, or a turn to get one.
func (f *FIFO) enter(t *Task) {
	if t.place.Tier != policy.Express {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	same := func(h *holder) bool { return h.task == t }
	if f.closing || slices.ContainsFunc(f.queue, same) || slices.ContainsFunc(f.holders, same) {
		return
	}
	h := &holder{task: t, pid: t.o.PID, class: policyNormal}
	if t.place.Until > 0 {
		h.end = t.gauge.began + t.place.Until
	}
	if s, ok := f.Backend.(*Sched); ok {
		h.class, h.nice, _ = s.attributes(t.place)
	}
	f.queue = append(f.queue, h)
	f.fill()
}

// leave takes a task out of the class and of the queue.
func (f *FIFO) leave(t *Task) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = slices.DeleteFunc(f.queue, func(h *holder) bool { return h.task == t })
	for _, h := range f.holders {
		if h.task == t {
			f.drop(h)
			f.fill()
			return
		}
	}
}

// fill gives free places to those that have waited longest. It is called with mu held.
func (f *FIFO) fill() {
	added := false
	for len(f.holders) < f.places && len(f.queue) > 0 {
		h := f.queue[0]
		f.queue = f.queue[1:]
		err := f.promote(h)
		switch {
		case err == nil:
			f.holders = append(f.holders, h)
			added = true
		case !errors.Is(err, ErrGone):
			if f.refused++; f.refused == 1 {
				f.log.Warn("a task stays out of the real-time class", "pid", h.pid, "error", err)
			}
		}
	}
	if added {
		f.poke()
	}
}

// promote puts a task into the class.
func (f *FIFO) promote(h *holder) error {
	if !h.task.alive() {
		return ErrGone
	}
	if n := len(threads(h.pid)); n != 1 {
		return fmt.Errorf("it has %d threads", n)
	}
	cpu, err := clockOf(h.pid)
	if err != nil {
		return err
	}
	limit := uint64(f.limit / time.Microsecond)
	if err := unix.Prlimit(h.pid, unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		return fmt.Errorf("bound its real-time use: %w", gone(err))
	}
	h.cpu, h.until, h.moved = cpu, cpu+f.budget, time.Now()
	if h.end > 0 {
		h.until = min(h.until, h.end)
	}
	h.budget = f.budgets.take(h.pid)
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policyFIFO, Priority: taskPriority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	err = unix.SchedSetAttr(h.pid, attr, 0)
	if errors.Is(err, unix.EPERM) {
		if h.budget, err = f.budgets.grant(h.pid, realtimeTasks/f.places, realtimeTasks); err == nil {
			err = unix.SchedSetAttr(h.pid, attr, 0)
		}
	}
	if err != nil {
		f.budgets.revoke(h.budget)
		h.budget = ""
		return fmt.Errorf("SCHED_FIFO: %w", gone(err))
	}
	return nil
}

// drop takes a task out of the class: it becomes what its tier below makes of it. It is
// called with mu held.
func (f *FIFO) drop(h *holder) {
	f.holders = slices.DeleteFunc(f.holders, func(x *holder) bool { return x == h })
	if h.task.alive() {
		if err := setAttr(h.pid, unix.SchedAttr{Policy: h.class, Nice: h.nice}); err != nil && !errors.Is(err, unix.ESRCH) {
			f.log.Error("a task cannot be taken out of the real-time class, and is ended", "pid", h.pid, "error", err)
			_ = h.task.signal(h.pid, unix.SIGKILL)
		}
	}
	f.budgets.release(h.pid, h.budget)
	h.budget = ""
}

func (f *FIFO) poke() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(f.event, one[:]) // a full counter wakes it too
}

// watch is the watchdog. It has a thread of its own, above the tasks, and sleeps until the
// next budget can be used up.
func (f *FIFO) watch() {
	runtime.LockOSThread() // and ends with the goroutine, since it has a priority of its own
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policyFIFO, Priority: watchPriority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		f.log.Warn("the watchdog has no priority over the real-time class", "error", err)
	}
	for {
		wait, open := f.check()
		if !open { // a group with a real-time thread cannot give its budget back
			_ = setAttr(0, unix.SchedAttr{Policy: policyNormal})
			return
		}
		var timeout *unix.Timespec
		if wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			timeout = &ts
		}
		fds := []unix.PollFd{{Fd: int32(f.event), Events: unix.POLLIN}}
		if n, _ := unix.Ppoll(fds, timeout, nil); n > 0 {
			var buf [8]byte
			_, _ = unix.Read(f.event, buf[:])
		}
	}
}

// soonest is the shorter one of two waits, of which the first may not be known yet: 0.
func soonest(wait, next time.Duration) time.Duration {
	if wait == 0 {
		return next
	}
	return min(wait, next)
}

// check takes out of the class who has used its budget or sleeps, and returns when to look
// again; 0: when something is added.
func (f *FIFO) check() (wait time.Duration, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return 0, false
	}
	now := time.Now()
	for _, h := range slices.Clone(f.holders) {
		cpu, err := clockOf(h.pid)
		if err != nil || !h.task.alive() {
			f.drop(h)
			continue
		}
		if cpu > h.cpu {
			h.cpu, h.moved = cpu, now
		}
		still := now.Sub(h.moved)
		sleeps := still >= watchSleep && asleep(h.pid)
		switch {
		case cpu >= h.until || len(threads(h.pid)) > 1:
			f.drop(h)
			f.taken++
		case sleeps && len(f.queue) > 0:
			f.drop(h)
			f.queue = append(f.queue, h)
		case sleeps: // what it waits for the processor counts from when it wakes
			h.moved = now.Add(-watchSleep)
			wait = soonest(wait, watchSleep)
		case still >= 3*watchSleep: // its group's budget is used up: the tier below has none
			f.drop(h)
			f.taken++
		default:
			wait = soonest(wait, max(min(h.until-cpu, 2*watchSleep), watchMin))
		}
	}
	f.fill()
	if wait == 0 && len(f.holders) > 0 {
		wait = watchMin
	}
	return wait, true
}

// asleep reports whether a process of one thread does not want to run.
func asleep(pid int) bool {
	s, err := statOf(pid, pid)
	return err == nil && s.state != 'R'
}
