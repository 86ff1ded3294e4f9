package backend

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// named is a fake backend under the name of another one.
type named struct {
	*fakeBackend
	name string
}

func (n named) Name() string { return n.name }

// crewStand is a crew of a real process under a fake backend. The process is %d in what
// that is told, and so are its threads.
func crewStand(t *testing.T, name string, mixed bool) (b *crews, s *stand, c *Crew, enter func(p Place) *Task) {
	t.Helper()
	pid := script(t, "sleep 60")
	s = &stand{t: t, fake: newFakeBackend()}
	b, c = newCrews(named{s.fake, name}), NewCrew(mixed)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, s, c, func(p Place) *Task {
		t.Helper()
		o := TaskOptions{PID: pid, Crew: c, Born: new(policy.Tier)}
		if !mixed {
			o.Thread = pid
		}
		if err := c.Enter(); err != nil {
			t.Fatal(err)
		}
		task := attach(t, o)
		if err := b.Add(task, p); err != nil {
			t.Fatal(err)
		}
		return task
	}
}

// The process of a crew has the best tier of its calls, one without a task counts as
// Express, and it is stopped when all of them are to be.
func TestCrewIsWhereItsBestCallIs(t *testing.T) {
	batch := Place{Tier: policy.Batch}
	for _, mixed := range []bool{false, true} {
		b, s, c, enter := crewStand(t, "fake", mixed)
		told := func(want ...string) {
			t.Helper()
			for whole := range s.fake.tasks {
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], "PID", itoa(whole.o.PID))
				}
			}
			s.wants(want...)
		}
		first := enter(Place{})
		told("add PID express")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(b.Move(first, batch))
		told("move PID batch")
		must(c.Enter()) // a call without a task
		told("move PID express")
		must(b.Stop(first))
		told()
		must(c.Leave())
		told("move PID batch", "stop PID")
		if !c.Long() {
			t.Error("it is not long")
		}
		second := enter(batch) // it is continued first, and stays in batch with two long ones
		told("move PID express", "continue PID", "move PID batch")
		must(b.Stop(second))
		told("stop PID")
		must(b.Continue(first))
		told("continue PID")
		must(b.Remove(second))
		told("move PID express") // it has not left
		must(c.Leave())
		told("move PID batch")
		must(b.Remove(first))
		told("move PID express")
		must(c.Leave())
		told()
		if c.Long() {
			t.Error("it is long without a call")
		}
		must(c.Close())
		told("remove PID")
	}
}

// Where threads have tiers, each has its own; a process whose calls have no threads of
// their own has one tier there too.
func TestCrewUnderSched(t *testing.T) {
	for mixed, want := range map[bool]int{false: 3, true: 1} { // the process, and its threads
		b, s, _, enter := crewStand(t, NameSched, mixed)
		first, second := enter(Place{}), enter(Place{})
		if n := len(s.fake.tasks); n != want {
			t.Errorf("mixed %v: the backend has %d tasks, want %d", mixed, n, want)
		}
		s.fake.wrote()
		if err := b.Move(first, Place{Tier: policy.Batch}); err != nil {
			t.Fatal(err)
		}
		if n := len(s.fake.wrote()); n != map[bool]int{false: 1, true: 0}[mixed] {
			t.Errorf("mixed %v: %d changes for one call", mixed, n)
		}
		if first.Place().Tier != policy.Batch || second.Place().Tier != policy.Express {
			t.Errorf("places %v and %v", first.Place(), second.Place())
		}
	}
}

// What a process uses is divided evenly among the calls that are in it meanwhile.
func TestCrewDividesWhatItUses(t *testing.T) {
	pid := script(t, spinner)
	fake := newFakeBackend()
	b, c := newCrews(fake), NewCrew(true)
	join := func() *Task {
		t.Helper()
		if err := c.Enter(); err != nil {
			t.Fatal(err)
		}
		task := attach(t, TaskOptions{PID: pid, Crew: c})
		if err := b.Add(task, Place{}); err != nil {
			t.Fatal(err)
		}
		return task
	}
	first := join()
	until(t, "it uses something alone", func() bool { return cpu(t, first) > 10*time.Millisecond })
	second := join()
	alone := c.tasks[second].before - c.tasks[first].before
	until(t, "both have had something", func() bool { return cpu(t, second) > 10*time.Millisecond })
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "it stops", func() bool { return stateOf(pid) == 'T' })
	until(t, "all is counted", func() bool { before := c.used; cpu(t, first); return c.used == before })
	a, z := cpu(t, first), cpu(t, second)
	if a-z < alone-time.Microsecond || a-z > alone+time.Microsecond {
		t.Errorf("alone it had %v, and then both: %v and %v", alone, a, z)
	}
	if used := c.used; a+z > used || a+z < used-time.Millisecond {
		t.Errorf("they have had %v and %v of %v", a, z, used)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := first.Look(false); err != ErrGone {
		t.Errorf("a look without a backend: %v", err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// The thread of a call is measured from what it had used before.
func TestThreadIsMeasuredFromItsBeginning(t *testing.T) {
	pid := script(t, spinner)
	var before time.Duration
	until(t, "it uses something", func() bool {
		before, _ = clockOf(pid)
		return before > 20*time.Millisecond
	})
	task := attach(t, TaskOptions{PID: pid, Thread: pid, Base: before, Crew: NewCrew(false)})
	until(t, "more is seen", func() bool { return cpu(t, task) > 0 })
	all, _ := clockOf(pid)
	if u := cpu(t, task); u > all-before+5*time.Millisecond { // it has gone on since
		t.Errorf("it used %v of %v", u, all-before)
	}
	if _, err := Attach(TaskOptions{PID: os.Getpid(), Thread: 1 << 22}); err == nil {
		t.Error("attached to a thread that is not there")
	}
}

// Whatever the policy was when a call was stopped, another one that lets it run has it
// continued; and no policy stops one that may not be.
func TestDriverReplacesThePolicyOfStoppedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		defer s.Close()
		for range 20 {
			s.book.Observe("long", time.Second)
		}
		s.begin(1, "short")
		second, _ := s.begin(2, "short")
		time.Sleep(100 * ms) // both turn out to be long, and there is one slot
		s.fake.wrote()
		for _, name := range []string{policy.SFS, policy.ALPS, policy.None} {
			s.Replace(s.strategy(policy.Weft, 1))
			s.fake.wrote()
			s.Replace(s.strategy(name, 1))
			time.Sleep(2 * time.Second)
			if pids := s.fake.stopped(); len(pids) > 0 && name != policy.ALPS { // which serves in order
				t.Errorf("%s: %d are still stopped", name, pids)
			}
		}
		second.Flag(policy.OwesSlot)
		for _, name := range policy.Names {
			s.Replace(s.strategy(name, 1))
			if slices.Contains(s.fake.stopped(), 2) {
				t.Errorf("%s: a call that owes a slot is stopped", name)
			}
		}
		s.Replace(s.strategy(policy.Weft, 1))
		second.Flag(0)
		time.Sleep(100 * ms)
		if pids := s.fake.stopped(); len(pids) != 1 {
			t.Errorf("one slot, and stopped are %d", pids)
		}
		second.Flag(policy.OwesSlot) // also when it is stopped
		if slices.Contains(s.fake.stopped(), 2) {
			t.Error("a stopped call came to owe a slot, and was not continued")
		}
	})
}
