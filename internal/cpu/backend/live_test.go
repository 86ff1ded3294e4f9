package backend

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// Two long calls and a slot for one of them: one runs, the other is stopped, and when the
// first has ended the second goes on. All is as before when the driver closes.
func TestPolicyOnRealProcesses(t *testing.T) {
	for _, name := range []string{NameSched, NameCgroup} {
		t.Run(name, func(t *testing.T) {
			b, _, err := New(name, Options{})
			if err != nil {
				t.Skip(err)
			}
			// On a machine that gives the test less than a tenth of a core, the reserve would keep
			// the call that runs in Express, and after a while the calls would change places.
			o := policy.Defaults(1)
			o.Weft.Reserve, o.Weft.AgeMin = 0, time.Hour
			strategy, err := policy.New(policy.Weft, o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := NewDriver(DriverOptions{Strategy: strategy, Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var calls []*Pending
			var pids []int
			for id := range 2 {
				call, err := d.Arrive(policy.Call{ID: policy.ID(id), Function: "spin"})
				if err != nil {
					t.Fatal(err)
				}
				<-call.Admitted()
				pid := script(t, spinner)
				if err := call.Run(attach(t, TaskOptions{PID: pid})); err != nil {
					t.Fatal(err)
				}
				calls, pids = append(calls, call), append(pids, pid)
			}
			stopped := func(i int) bool { return stateOf(pids[i]) == 'T' }
			until(t, "one is stopped", func() bool { return stopped(0) != stopped(1) })
			runs := 0
			if stopped(0) {
				runs = 1
			}
			until(t, "the other one is in batch", func() bool {
				class, _ := classOf(t, pids[runs])
				return class == policyIdle || cpuGroupOf(pids[runs]) == d.group(policy.Batch)
			})
			_ = unix.Kill(pids[runs], unix.SIGKILL)
			calls[runs].End(0, false)
			until(t, "the second goes on", func() bool { return !stopped(1 - runs) })
			if s := d.Status(); s.Stats.Failed > 0 || s.Stats.Looks == 0 || s.Policy.Stops == 0 {
				t.Errorf("%+v", s)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if stopped(1 - runs) {
				t.Error("it is still stopped")
			}
		})
	}
}

// group is where the cgroup backend has a tier, as /proc says it.
func (d *Driver) group(tier policy.Tier) string {
	c, ok := d.backend.(*crews).Backend.(*Cgroup)
	if !ok {
		return "none"
	}
	_, point := mountOf("cgroup", "cpu")
	if point == "" {
		_, point = mountOf("cgroup2", "")
	}
	return c.Dir(tier)[len(point):]
}

// BenchmarkDriver is what a call costs the scheduler: it arrives, runs for 5 ms, is looked
// at like all others, and ends. Tasks are processes that sleep or spin at the lowest priority,
// 16 at a time, and the calls come at 1,000 a second. cpu-%/core is what all of this process takes
// of a core, less what the same loop takes without a driver.
func BenchmarkDriver(b *testing.B) {
	const live, rate = 16, 1000
	for _, name := range []string{NameNone, NameSched, NameCgroup} {
		for _, born := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/born=%v", name, born), func(b *testing.B) {
				under, _, err := New(name, Options{NodeStays: true})
				if err != nil {
					b.Skip(err)
				}
				o := policy.Defaults(2)
				strategy, err := policy.New(policy.Weft, o)
				if err != nil {
					b.Fatal(err)
				}
				d, err := NewDriver(DriverOptions{Strategy: strategy, Backend: under})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				express := policy.Express
				groups := make([]string, live)
				pids := make([]int, live)
				for i := range live {
					pids[i] = script(b, "exec sleep 60")
					if c, ok := under.(*Cgroup); ok {
						if groups[i], err = c.tree.Make(fmt.Sprint("call", i)); err != nil {
							b.Fatal(err)
						}
						if err := writeFile(groups[i]+"/cgroup.procs", itoa(pids[i])); err != nil {
							b.Fatal(err)
						}
						if born {
							if err := writeFile(groups[i]+"/"+weights[c.version].file, itoa(Weight(c.version, express))); err != nil {
								b.Fatal(err)
							}
						}
					}
				}
				idle := loopCost(live, rate, func(int) {}, func(int) {})
				calls, tasks := make([]*Pending, live), make([]*Task, live)
				id := policy.ID(0)
				start := func(i int) {
					id++
					call, err := d.Arrive(policy.Call{ID: id, Function: "short", App: "bench"})
					if err != nil {
						b.Fatal(err)
					}
					<-call.Admitted()
					to := TaskOptions{PID: pids[i], Group: groups[i]}
					if born {
						to.Born = &express
					}
					task, err := Attach(to)
					if err != nil {
						b.Fatal(err)
					}
					if err := call.Run(task); err != nil {
						b.Fatal(err)
					}
					calls[i], tasks[i] = call, task
				}
				end := func(i int) {
					calls[i].End(5*time.Millisecond, false)
					tasks[i].Close()
				}
				b.ResetTimer()
				var with time.Duration
				for b.Loop() {
					with += loopCost(live, rate, start, end)
				}
				perCall := (with/time.Duration(b.N) - idle) / rate
				b.ReportMetric(float64(perCall)/1e3, "µs/call")
				b.ReportMetric(100*perCall.Seconds()*rate, "cpu-%/core")
				st := d.Status().Stats
				b.ReportMetric(100*st.CPU.Seconds()/float64(b.N), "own-%")
				b.ReportMetric(float64(st.Looks)/float64(b.N), "looks")
				b.ReportMetric(float64(st.Questions)/float64(b.N), "questions")
				b.ReportMetric(float64(st.Cost)/1e3, "µs/question")
				b.ReportMetric(st.Stretch, "stretch")
				b.StopTimer()
				for i := range pids {
					_ = unix.Kill(pids[i], unix.SIGKILL)
				}
				for i := range pids {
					until(b, "they end", func() bool { s := stateOf(pids[i]); return s == 0 || s == 'Z' })
				}
			})
		}
	}
}

// loopCost is the CPU time that this process takes for a second of calls, rate of them, live
// at a time.
func loopCost(live, rate int, start, end func(i int)) time.Duration {
	before := ownCPU()
	began := time.Now()
	for n := range rate + live {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate))))
		if n >= live {
			end(n % live)
		}
		if n < rate {
			start(n % live)
		}
	}
	return ownCPU() - before
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	d, err := clockOf(os.Getpid())
	if err != nil {
		panic(err)
	}
	return d
}
