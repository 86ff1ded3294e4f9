package backend

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
)

// allowed is the number of cores that a process may use.
func allowed(t *testing.T, pid int) int {
	t.Helper()
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &may); err != nil {
		t.Fatal(err)
	}
	return may.Count()
}

// As many long calls as there are cores have one each, and fewer have none.
func TestLongCallsHaveCoresOfTheirOwn(t *testing.T) {
	cores := allowed(t, 0)
	if cores < 2 {
		t.Skip("there is one core only")
	}
	o := policy.Defaults(cores)
	o.Weft.Reserve = 0
	strategy, err := policy.New(policy.Weft, o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDriver(DriverOptions{Strategy: strategy, Backend: NewSched(Options{})})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var calls []*Pending
	var pids []int
	for id := range cores {
		call, err := d.Arrive(policy.Call{ID: policy.ID(id), Function: "spin"})
		if err != nil {
			t.Fatal(err)
		}
		pid := script(t, spinner)
		if err := call.Run(attach(t, TaskOptions{PID: pid})); err != nil {
			t.Fatal(err)
		}
		calls, pids = append(calls, call), append(pids, pid)
	}
	until(t, "each has a core", func() bool {
		var both unix.CPUSet
		for _, pid := range pids {
			var may unix.CPUSet
			if err := unix.SchedGetaffinity(pid, &may); err != nil || may.Count() != 1 {
				return false
			}
			for i := range 64 * len(may) {
				if may.IsSet(i) {
					both.Set(i)
				}
			}
		}
		return both.Count() == cores
	})
	calls[0].End(time.Second, false)
	for i, pid := range pids {
		if n := allowed(t, pid); n != cores {
			t.Errorf("call %d may use %d cores", i, n)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// Two short calls beside as many long ones as there are cores are on different cores, and
// one alone is where the kernel wants it.
func TestShortCallsAreOnDifferentCores(t *testing.T) {
	cores := allowed(t, 0)
	if cores < 2 {
		t.Skip("there is one core only")
	}
	o := policy.Defaults(cores)
	o.Weft.Reserve, o.Weft.UnknownBudget, o.Weft.MaxBudget = 0, time.Hour, time.Hour
	o.Book = profile.NewBook(0)
	for range 20 {
		o.Book.Observe("long", time.Minute)
	}
	strategy, err := policy.New(policy.Weft, o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDriver(DriverOptions{Strategy: strategy, Backend: NewSched(Options{})})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	next := policy.ID(0)
	begin := func(function string) (call *Pending, pid int) {
		next++
		call, err := d.Arrive(policy.Call{ID: next, Function: function})
		if err != nil {
			t.Fatal(err)
		}
		pid = script(t, spinner)
		if err := call.Run(attach(t, TaskOptions{PID: pid})); err != nil {
			t.Fatal(err)
		}
		return call, pid
	}
	for range cores {
		begin("long")
	}
	first, a := begin("short")
	if n := allowed(t, a); n != cores {
		t.Errorf("one short call may use %d cores", n)
	}
	_, b := begin("short")
	var may [2]unix.CPUSet
	for i, pid := range []int{a, b} {
		if err := unix.SchedGetaffinity(pid, &may[i]); err != nil || may[i].Count() != 1 {
			t.Errorf("short call %d may use %d cores, %v", i, may[i].Count(), err)
		}
	}
	if may[0] == may[1] {
		t.Error("both are on one core")
	}
	first.End(time.Second, false)
	for i, pid := range []int{a, b} {
		if n := allowed(t, pid); n != cores {
			t.Errorf("short call %d may use %d cores when the first one has ended", i, n)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
