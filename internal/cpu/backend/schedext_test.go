package backend

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/schedext"
)

func TestSchedExtAttributes(t *testing.T) {
	for place, want := range map[Place]int32{
		{Tier: policy.Express}:                  -10,
		{Tier: policy.Express, Rank: 9}:         -1,
		{Tier: policy.Normal, Slice: 1}:         0,
		{Tier: policy.Normal, Rank: 2}:          6,
		{Tier: policy.Batch, Rank: 2, Slice: 1}: 19,
	} {
		s := &Sched{nice: -20, ext: true}
		if class, nice, slice := s.attributes(place); class != policyExt || nice != want || slice != 0 {
			t.Errorf("%+v: class %d, niceness %d, slice %v", place, class, nice, slice)
		}
	}
	for place, want := range map[Place]schedext.Place{
		{Tier: policy.Express, Rank: -1}:         {Tier: schedext.Express},
		{Tier: policy.Normal, Rank: 3, Slice: 7}: {Tier: schedext.Normal, Rank: 3, Slice: 7},
		{Tier: policy.Batch, Rank: 3, Slice: -7}: {Tier: schedext.Batch, Rank: 3},
		{Tier: policy.Batch + 1, Rank: 1 << 40}:  {Tier: schedext.Batch, Rank: 1 << 20},
	} {
		if got := placeOf(place); got != want {
			t.Errorf("%+v: %+v", place, got)
		}
	}
}

func TestSchedExtIsNotHere(t *testing.T) {
	if _, err := schedext.State(); err == nil {
		t.Skip("this kernel has it")
	}
	b, _, err := New(NameSchedExt, Options{})
	if b != nil || err == nil || !strings.Contains(err.Error(), "not available here: load scheduler: the kernel has no such class") {
		t.Errorf("%v, %v", b, err)
	}
}

// needSchedExt makes a backend on top of cgroup or sched. Tests with it run in the virtual
// machine of `make schedext`, since ordinary programs go before the tasks.
func needSchedExt(t *testing.T, under string, o schedext.Options) *SchedExt {
	t.Helper()
	if os.Getenv("WEFT_SCHEDEXT") == "" {
		t.Skip("it wants a machine to itself: `make schedext` runs it in a virtual one")
	}
	below, _, err := New(under, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := newSchedExt(below, Options{}, o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if state, err := schedext.State(); state != "disabled" {
			t.Errorf("the class is %s, %v", state, err)
		}
	})
	return e
}

func add(t *testing.T, b Backend, pid int, p Place) *Task {
	t.Helper()
	task := attach(t, TaskOptions{PID: pid})
	if err := b.Add(task, p); err != nil {
		t.Fatal(err)
	}
	return task
}

func shift(t *testing.T, b Backend, task *Task, p Place) {
	t.Helper()
	if err := b.Move(task, p); err != nil {
		t.Fatal(err)
	}
}

func spinning(t *testing.T, b Backend, p Place) *Task {
	t.Helper()
	pid := script(t, spinner)
	pin(t, pid)
	return add(t, b, pid, p)
}

// Tiers go before each other on a core, also after tasks that run and that wait have changed theirs,
// and a task is as it was when it is removed.
func TestSchedExtTiers(t *testing.T) {
	for _, under := range []string{NameSched, NameCgroup} {
		t.Run(under, func(t *testing.T) {
			e := needSchedExt(t, under, schedext.Options{})
			first, second := spinning(t, e, Place{Tier: policy.Express}), spinning(t, e, Place{Tier: policy.Batch})
			for _, task := range []*Task{first, second} {
				if class, _ := classOf(t, task.PID()); class != policyExt {
					t.Errorf("class %d", class)
				}
			}
			ahead(t, "express before batch", first, second)
			shift(t, e, first, Place{Tier: policy.Batch})
			shift(t, e, second, Place{Tier: policy.Normal})
			ahead(t, "normal before batch", second, first)
			shift(t, e, first, Place{Tier: policy.Express})
			ahead(t, "express before normal", first, second)
			if err := e.Stop(first); err != nil {
				t.Error(err)
			}
			before := cpu(t, second)
			until(t, "the second has the core", func() bool { return cpu(t, second)-before > 100*time.Millisecond })
			if err := e.Remove(first); err != nil {
				t.Error(err)
			}
			if class, nice := classOf(t, first.PID()); class != policyNormal || nice != 0 {
				t.Errorf("class %d, niceness %d", class, nice)
			}
			ahead(t, "an ordinary program before all tiers", first, second)
		})
	}
}

// Of long calls the one with the least rank goes first, whatever the order in which they
// came.
func TestSchedExtShortestFirst(t *testing.T) {
	e := needSchedExt(t, NameCgroup, schedext.Options{})
	long := spinning(t, e, Place{Tier: policy.Batch, Rank: 20})
	middle := spinning(t, e, Place{Tier: policy.Batch, Rank: 4})
	short := spinning(t, e, Place{Tier: policy.Batch})
	for _, order := range [][]*Task{{short, middle, long}, {middle, long}} {
		var before []time.Duration
		for _, task := range order {
			before = append(before, cpu(t, task))
		}
		until(t, "the first has had something", func() bool { return cpu(t, order[0])-before[0] > 200*time.Millisecond })
		for i, task := range order[1:] {
			if had := cpu(t, task) - before[i+1]; had > 100*time.Millisecond {
				t.Errorf("of %d the one that is %d behind had %v", len(order), i+1, had)
			}
		}
		if err := unix.Kill(order[0].PID(), unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// Of long calls with the same rank one that has used little goes before one that has used
// much.
func TestSchedExtLeastUsedFirst(t *testing.T) {
	e := needSchedExt(t, NameCgroup, schedext.Options{})
	old := spinning(t, e, Place{Tier: policy.Batch})
	until(t, "it has used much", func() bool { return cpu(t, old) > 1200*time.Millisecond })
	fresh := spinning(t, e, Place{Tier: policy.Batch})
	had, used := cpu(t, fresh), cpu(t, old)
	until(t, "the new one has had something", func() bool { return cpu(t, fresh)-had > 300*time.Millisecond })
	if used = cpu(t, old) - used; used > 150*time.Millisecond {
		t.Errorf("the old one had %v meanwhile", used)
	}
}

// A long call gets on although short ones could use the core all the time, and nobody is
// ejected for that.
func TestSchedExtStarvesNobody(t *testing.T) {
	e := needSchedExt(t, NameCgroup, schedext.Options{Patience: 4 * time.Second})
	short := spinning(t, e, Place{Tier: policy.Express})
	long := spinning(t, e, Place{Tier: policy.Batch, Rank: 50})
	before, had := cpu(t, short), cpu(t, long)
	until(t, "the long one gets on", func() bool { return cpu(t, long)-had > 50*time.Millisecond })
	if short := cpu(t, short) - before; short < 200*time.Millisecond {
		t.Errorf("the short one had %v meanwhile", short)
	}
	if e.off() {
		t.Error(e.scheduler.Err())
	}
}

// Threads belong to the call of who makes them, in its tier.
func TestSchedExtThreads(t *testing.T) {
	e := needSchedExt(t, NameCgroup, schedext.Options{})
	pid := launch(t, act(t, "threads"))
	many := add(t, e, pid, Place{Tier: policy.Batch})
	until(t, "it has threads", func() bool { return len(threads(pid)) > 4 })
	for _, tid := range threads(pid) {
		if a, err := unix.SchedGetAttr(tid, 0); err == nil && a.Policy != policyExt {
			t.Errorf("thread %d has class %d", tid, a.Policy)
		}
	}
	pin(t, pid)
	one := spinning(t, e, Place{Tier: policy.Normal})
	ahead(t, "one before many", one, many)
	shift(t, e, many, Place{Tier: policy.Express})
	ahead(t, "many before one", many, one)
}

// A task finds another core when an ordinary program takes its own.
func TestSchedExtLeavesACore(t *testing.T) {
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil || cpus.Count() < 2 {
		t.Skip("one core")
	}
	e := needSchedExt(t, NameCgroup, schedext.Options{})
	call := add(t, e, script(t, spinner), Place{Tier: policy.Batch})
	pin(t, script(t, spinner))
	before, begun := cpu(t, call), time.Now()
	until(t, "it runs", func() bool { return cpu(t, call)-before > 500*time.Millisecond })
	if all := time.Since(begun); all > 2*time.Second {
		t.Errorf("500 ms took %v", all)
	}
}

// When the kernel ends the scheduler, tasks are in the tiers below at once.
func TestSchedExtIsEjected(t *testing.T) {
	for _, under := range []string{NameSched, NameCgroup} {
		t.Run(under, func(t *testing.T) {
			e := needSchedExt(t, under, schedext.Options{})
			first, second := spinning(t, e, Place{Tier: policy.Batch}), spinning(t, e, Place{Tier: policy.Express})
			if err := os.WriteFile("/proc/sysrq-trigger", []byte("S"), 0); err != nil {
				t.Fatal(err)
			}
			until(t, "it is ejected", e.off)
			if err := e.scheduler.Err(); err == nil || !strings.Contains(err.Error(), "sysrq") {
				t.Errorf("the reason is %v", err)
			}
			ahead(t, "express before batch", second, first)
			shift(t, e, second, Place{Tier: policy.Batch})
			shift(t, e, first, Place{Tier: policy.Express})
			ahead(t, "the other way round", first, second)
			third := spinning(t, e, Place{Tier: policy.Batch})
			ahead(t, "one that comes later", first, third)
			for _, task := range []*Task{first, second, third} {
				if err := e.Remove(task); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The kernel ends a scheduler that lets a thread wait for too long.
func TestSchedExtStalls(t *testing.T) {
	e := needSchedExt(t, NameSched, schedext.Options{Patience: time.Second})
	server := "/sys/kernel/debug/sched/ext_server/cpu0/runtime" // of newer kernels: keeps a share for the class
	if text, err := os.ReadFile(server); err == nil {
		if err := os.WriteFile(server, []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.WriteFile(server, text, 0) })
	}
	call := spinning(t, e, Place{Tier: policy.Express})
	pin(t, script(t, spinner)) // an ordinary program goes before it
	until(t, "it is ejected", e.off)
	if err := e.scheduler.Err(); err == nil || !strings.Contains(err.Error(), "stall") {
		t.Errorf("since %v", err)
	}
	before := cpu(t, call)
	until(t, "the call runs on", func() bool { return cpu(t, call) > before })
}

// When a node is killed, its scheduler goes and its calls run on.
func TestSchedExtDies(t *testing.T) {
	if err := needSchedExt(t, NameSched, schedext.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	pid := script(t, spinner)
	pin(t, pid)
	cmd := act(t, "scheduler")
	cmd.Args = append(cmd.Args, strconv.Itoa(pid))
	read := line(t, cmd)
	node := launch(t, cmd)
	if said := read(); said != "enabled" {
		t.Fatal(said)
	}
	if class, _ := classOf(t, pid); class != policyExt {
		t.Errorf("class %d", class)
	}
	if err := unix.Kill(node, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is gone", func() bool {
		state, err := schedext.State()
		return err == nil && state == "disabled"
	})
	task := attach(t, TaskOptions{PID: pid})
	pin(t, script(t, spinner))
	before := cpu(t, task)
	until(t, "it runs beside an ordinary program", func() bool { return cpu(t, task)-before > 200*time.Millisecond })
}

// beScheduler has a scheduler in the kernel, with one process.
func beScheduler(process string) error {
	pid, err := strconv.Atoi(process)
	if err != nil {
		return err
	}
	e, err := NewSchedExt(NewSched(Options{}), Options{})
	if err != nil {
		return err
	}
	task, err := Attach(TaskOptions{PID: pid})
	if err != nil {
		return err
	}
	if err := e.Add(task, Place{Tier: policy.Express}); err != nil {
		return err
	}
	state, err := schedext.State()
	if err != nil {
		return err
	}
	fmt.Println(state)
	select {}
}
