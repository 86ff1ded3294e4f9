package backend

import (
	"fmt"
	"sync"
	"time"
)

// fakeBackend writes down what it is told. A task uses CPU time whenever it is not stopped
// and does not sleep.
type fakeBackend struct {
	mu     sync.Mutex
	log    []string
	tasks  map[*Task]*fakeTask
	move   error // what Move upwards fails with
	remove error // what Remove fails with
	closed bool
}

type fakeTask struct {
	used    time.Duration
	since   time.Time // when it began to run; zero: it does not
	asleep  bool
	stopped bool
	ended   bool
	threads int
}

func newFakeBackend() *fakeBackend { return &fakeBackend{tasks: map[*Task]*fakeTask{}} }

func (f *fakeBackend) note(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

// stopped are the processes that are.
func (f *fakeBackend) stopped() (pids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for task, x := range f.tasks {
		if x.stopped {
			pids = append(pids, task.o.PID)
		}
	}
	return pids
}

// set changes what a task does.
func (f *fakeBackend) set(t *Task, change func(x *fakeTask)) {
	x := f.tasks[t]
	if x == nil {
		x = &fakeTask{}
		f.tasks[t] = x
	}
	if !x.since.IsZero() {
		x.used += time.Since(x.since) * time.Duration(max(x.threads, 1))
		x.since = time.Time{}
	}
	change(x)
	if !x.stopped && !x.asleep && !x.ended {
		x.since = time.Now()
	}
}

// change is set from a test.
func (f *fakeBackend) change(t *Task, change func(x *fakeTask)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(t, change)
}

// wrote is what it was told since the last time.
func (f *fakeBackend) wrote() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func (f *fakeBackend) look(t *Task, deep bool) (Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(t, func(*fakeTask) {})
	x := f.tasks[t]
	if x.ended {
		return Usage{CPU: x.used}, ErrGone
	}
	u := Usage{CPU: x.used}
	if deep {
		u.State, u.Threads = Awake, x.threads
		if x.asleep {
			u.State = Asleep
		}
	}
	return u, nil
}

func (f *fakeBackend) Name() string   { return "fake" }
func (f *fakeBackend) Traits() Traits { return Traits{Tiers: 3, Stops: true} }

func (f *fakeBackend) Add(t *Task, p Place) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.o.PID == 0 {
		return ErrGone
	}
	f.note("add %d %v", t.o.PID, p.Tier)
	f.set(t, func(*fakeTask) {})
	t.place = p
	return nil
}

func (f *fakeBackend) Move(t *Task, p Place) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.move != nil && p.Tier < t.place.Tier {
		return f.move
	}
	f.note("move %d %v", t.o.PID, p.Tier)
	t.place = p
	return nil
}

func (f *fakeBackend) Stop(t *Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("stop %d", t.o.PID)
	f.set(t, func(x *fakeTask) { x.stopped = true })
	return nil
}

func (f *fakeBackend) Continue(t *Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("continue %d", t.o.PID)
	f.set(t, func(x *fakeTask) { x.stopped = false })
	return nil
}

func (f *fakeBackend) Remove(t *Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("remove %d", t.o.PID)
	f.set(t, func(x *fakeTask) { x.stopped = false })
	return f.remove
}

func (f *fakeBackend) Close() error {
	f.closed = true
	return nil
}
