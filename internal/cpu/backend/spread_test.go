package backend

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
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
