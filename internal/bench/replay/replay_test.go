package replay

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/trace"
	"github.com/weft-run/weft/internal/cpu/work"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == crew.Role {
		os.Exit(crew.Serve(os.Args[2:]))
	}
	os.Exit(m.Run())
}

const ms = time.Millisecond

// rates are those of a machine that does not matter.
func rates() *work.Rates {
	var r work.Rates
	for k := range r {
		r[k] = 50 * time.Microsecond
	}
	return &r
}

func TestCalls(t *testing.T) {
	calls := Calls([]sim.Job{
		{Function: "fib-23", CPU: 5 * ms},
		{Function: "graphMst-9", CPU: ms, Sleeps: []sim.Sleep{{At: ms / 2, For: 7 * ms}}},
		{Function: "short", CPU: 2 * ms}, {Function: "short", CPU: 2 * ms},
	}, rates())
	if c := calls[0]; c.Task.Kernel != work.Fib || c.Task.Units != 100 || c.Job.Function != "fib-23" {
		t.Errorf("%+v", c)
	}
	if c := calls[1]; c.Task.Kernel != work.MST || c.Task.Before != 10 || c.Task.Pause != 7*ms {
		t.Errorf("%+v", c)
	}
	if a, b := calls[2], calls[3]; a.Task.Kernel == b.Task.Kernel || a.Job.Function != "short-"+a.Task.Kernel.String() || b.Task.Units != 40 {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// stage is one that is closed with the test.
func stage(t *testing.T) *Stage {
	t.Helper()
	s, err := NewStage(Options{Program: "/proc/self/exe", Arguments: []string{crew.Role}, Workers: 2, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEveryPolicyDoesAllCalls(t *testing.T) {
	s := stage(t)
	jobs := trace.Generate(trace.Window{Seed: 3, Cores: 2, Load: 1.5, Length: 150 * ms}, []trace.Kind{
		{Function: "short", Class: "short", Share: 20, Draw: trace.Between(ms/2, 2*ms)},
		{Function: "fib", Class: "long", Share: 2, Draw: trace.Constant(40 * ms)},
		{Function: "sleepy", Class: "sleepy", Share: 2, Draw: trace.Constant(2 * ms), Sleep: 10 * ms},
	})
	calls := Calls(jobs, rates())
	variants := []Variant{{Policy: policy.None, Backend: backend.NameNone}, {Policy: policy.Weft, Backend: backend.NameSched}, {Policy: policy.Weft, Backend: backend.NameSched, Unprivileged: true}}
	variants = append(variants, Variant{Policy: policy.Weft, Backend: backend.Auto, Live: true})
	for _, p := range policy.Names {
		variants = append(variants, Variant{Policy: p, Backend: backend.Auto})
	}
	for _, v := range variants {
		v.Name, v.Options = fmt.Sprint(v.Policy, "/", v.Backend, "/", v.Live), policy.Defaults(2)
		v.Options.Book = profile.NewBook(0)
		t.Run(v.Name, func(t *testing.T) {
			out, err := s.Play(t.Context(), calls, v)
			if v.Unprivileged && errors.Is(err, syscall.ENOTSUP) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if out.Calls != len(calls) || out.View.Policy != v.Policy || out.Attempts != 1 {
				t.Errorf("%+v", out)
			}
			for i := range out.Results {
				r := &out.Results[i]
				if r.Job.CPU <= 0 || r.Turnaround() < r.Job.CPU+r.Job.Asleep() {
					t.Errorf("call %d of %s: %v of CPU time in %v", i, r.Job.Function, r.Job.CPU, r.Turnaround())
				}
			}
			if _, err := sim.Run(out.Jobs(), sim.Options{Cores: 2}, sim.SRPT()); err != nil {
				t.Errorf("the calls cannot be simulated: %v", err)
			}
			if v.Live { // it has a book of its own
				return
			}
			if p := v.Options.Book.Get(calls[0].Job.Function); p.Calls() == 0 {
				t.Error("nothing was learned")
			}
		})
	}
}

func TestWrongResult(t *testing.T) {
	s := stage(t)
	calls := Calls([]sim.Job{{Function: "fib", CPU: ms}, {Function: "fib", CPU: ms}}, rates())
	calls[1].Want++
	if out, err := s.Play(t.Context(), calls, Variant{Policy: policy.None, Backend: backend.NameNone, Options: policy.Defaults(1)}); !errors.Is(err, ErrWrong) {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestNoise(t *testing.T) {
	const line = "cpu  100 20 30 400 50 6 7 80 9 0"
	from, err := parse([]byte(line))
	if err != nil || from.idle != 4500*ms || from.stolen != 800*ms {
		t.Fatalf("%+v, %v", from, err)
	}
	from.at = time.Now()
	to := from
	to.at, to.idle, to.own = from.at.Add(time.Second), from.idle+500*ms, from.own+100*ms
	if n := noise(from, to, 2, 1300*ms); n.Foreign < 0.0499 || n.Foreign > 0.0501 || n.Stolen != 0 {
		t.Errorf("%+v", n)
	}
	to.stolen += 100 * ms
	if n := noise(from, to, 2, 1300*ms); n.Foreign > 1e-9 || n.Stolen != 0.05 || !n.Disturbed() {
		t.Errorf("%+v", n)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpu0 1 2 3 4 5 6 7 8 9"} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
