package backend

import (
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// newFIFO makes the backend for two cores: one place.
func newFIFO(t *testing.T, under Backend, budget time.Duration) *FIFO {
	t.Helper()
	f, err := NewFIFO(under, Options{Cores: 2, FIFOBudget: budget, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFIFONeedsTwoCores(t *testing.T) {
	if _, err := NewFIFO(NewNone(), Options{Cores: 1}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("on one core: %v", err)
	}
}

func TestFIFOTakesATaskOutAtItsBudget(t *testing.T) {
	f := newFIFO(t, NewSched(Options{}), 20*time.Millisecond)
	defer f.Close() // before the task
	pid := script(t, "sleep 0.3; "+spinner)
	task := attach(t, TaskOptions{PID: pid})
	if err := f.Add(task, Place{Tier: policy.Express}); err != nil {
		t.Fatal(err)
	}
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil || attr.Policy != policyFIFO || attr.Flags&unix.SCHED_FLAG_RESET_ON_FORK == 0 {
		t.Errorf("%+v, %v", attr, err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit); err != nil || limit.Max > uint64(time.Second/time.Microsecond) {
		t.Errorf("limit %+v, %v", limit, err)
	}
	until(t, "it is out", func() bool { class, _ := classOf(t, pid); return class == policyNormal })
	if used := cpu(t, task); used < 20*time.Millisecond {
		t.Errorf("after %v", used)
	}
	f.mu.Lock()
	taken := f.taken
	f.mu.Unlock()
	if taken != 1 || !task.alive() {
		t.Errorf("taken out %d times, alive %v", taken, task.alive())
	}
	if _, nice := classOf(t, pid); nice != expressNice {
		t.Errorf("niceness is %d, not that of express", nice)
	}
}

// A task is out when it has used what the policy gave it, also while the policy cannot say so.
func TestFIFOTakesATaskOutAtThePolicysBudget(t *testing.T) {
	f := newFIFO(t, NewSched(Options{}), time.Minute)
	defer f.Close()
	pid := script(t, "sleep 0.1; "+spinner)
	task := attach(t, TaskOptions{PID: pid})
	if err := f.Add(task, Place{Tier: policy.Express, Until: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if class, _ := classOf(t, pid); class != policyFIFO {
		t.Errorf("class %d", class)
	}
	until(t, "it is out", func() bool { class, _ := classOf(t, pid); return class == policyNormal })
	if used := cpu(t, task); used < 5*time.Millisecond {
		t.Errorf("after %v", used)
	}
}

func TestFIFOGivesPlacesInOrder(t *testing.T) {
	f := newFIFO(t, NewNone(), time.Second)
	defer f.Close()
	var tasks []*Task
	for range 3 {
		task := attach(t, TaskOptions{PID: script(t, "sleep 60 & wait")})
		until(t, "it sleeps", func() bool { return stateOf(task.PID()) == 'S' && len(processes(task.PID(), 0, "")) == 2 })
		tasks = append(tasks, task)
	}
	holds := func(task *Task) bool {
		class, _ := classOf(t, task.PID())
		return class == policyFIFO
	}
	f.mu.Lock() // until it is looked at: who sleeps and has a place gives it to the next
	for _, task := range tasks {
		f.queue = append(f.queue, &holder{task: task, pid: task.PID()})
	}
	f.fill()
	one, n, held := f.holders[0].task, len(f.holders), holds(tasks[0])
	f.mu.Unlock()
	if n != 1 || one != tasks[0] || !held {
		t.Errorf("%d places taken, first by %d", n, one.PID())
	}
	// It sleeps, and others wait: they get their turns.
	seen := map[int]bool{}
	f.poke()
	until(t, "each had a turn", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.holders) > 1 {
			t.Fatalf("%d places are taken", len(f.holders))
		}
		for _, h := range f.holders {
			seen[h.pid] = true
		}
		return len(seen) == 3
	})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if holds(task) {
			t.Errorf("%d is still in the class", task.PID())
		}
	}
}

func TestFIFORefusesSeveralThreads(t *testing.T) {
	f := newFIFO(t, NewNone(), 20*time.Millisecond)
	defer f.Close()
	pid := launch(t, act(t, "threads"))
	until(t, "it has threads", func() bool { return len(threads(pid)) > 2 })
	task := attach(t, TaskOptions{PID: pid})
	task.place.Tier = policy.Express
	f.enter(task)
	f.mu.Lock()
	holders, refused := len(f.holders), f.refused
	f.mu.Unlock()
	if holders != 0 || refused != 1 {
		t.Errorf("%d places, %d refused", holders, refused)
	}
}

func TestFIFOWithGroups(t *testing.T) {
	c := newTiers(t)
	if _, err := os.Stat(c.tree.Dir() + "/" + realtimeFile); err != nil {
		t.Skip("groups have no real-time budgets here")
	}
	f := newFIFO(t, c, 10*time.Millisecond)
	defer f.Close()
	dir, err := c.tree.Make("call")
	if err != nil {
		t.Fatal(err)
	}
	pid := script(t, "sleep 0.2; "+spinner)
	if err := writeFile(dir+"/cgroup.procs", itoa(pid)); err != nil {
		t.Fatal(err)
	}
	task := attach(t, TaskOptions{PID: pid, Group: dir})
	if err := f.Add(task, Place{Tier: policy.Express}); err != nil {
		t.Fatal(err)
	}
	if f.refused > 0 {
		t.Skip("the kernel has no budget left: groups that were just removed give theirs back late")
	}
	if class, _ := classOf(t, pid); class != policyFIFO {
		t.Errorf("class %d", class)
	}
	until(t, "it is out", func() bool { class, _ := classOf(t, pid); return class == policyNormal })
	if text, err := c.tree.Read(dir + "/" + realtimeFile); err != nil || text == "0" {
		t.Errorf("budget is %s, %v: it is kept for the next time", text, err)
	}
	_ = unix.Kill(pid, unix.SIGSTOP) // so that it does not use its time before that is seen
	until(t, "it is stopped", func() bool { s, err := statOf(pid, pid); return err == nil && s.state == 'T' })
	for _, tier := range []policy.Tier{policy.Normal, policy.Express} {
		if err := f.Move(task, Place{Tier: tier}); err != nil {
			t.Fatal(err)
		}
	}
	if class, _ := classOf(t, pid); class != policyFIFO {
		t.Errorf("class %d the second time", class)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	until(t, "it has ended", func() bool { return !task.alive() })
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
