package whatif

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/trace"
)

const ms = time.Millisecond

// witness is a strategy that checks the commands of another.
type witness struct {
	policy.Strategy
	t     failer
	calls map[policy.ID]*seen
	flags bool // some calls may not be stopped
	slots int  // that bound the calls in Batch; 0: not looked at
}

type failer interface{ Fatalf(string, ...any) }

// seen is what a witness knows of a call.
type seen struct {
	began, stopped bool
	asleep         bool
	tier           policy.Tier
	flags          policy.Flags
}

// Step implements policy.Strategy.
func (w *witness) Step(now time.Duration, event policy.Event) []policy.Command {
	var over policy.ID
	ended := false
	switch e := event.(type) {
	case policy.Arrived:
		if w.flags && e.Call.ID%4 == 0 {
			e.Call.Flags = policy.HoldsLock
		}
		w.calls[e.Call.ID] = &seen{flags: e.Call.Flags}
		event = e
	case policy.Slept:
		w.calls[e.ID].asleep = true
	case policy.Woke:
		w.calls[e.ID].asleep = false
	case policy.Ended:
		over, ended = e.ID, true
	}
	out := w.Strategy.Step(now, event)
	if ended {
		delete(w.calls, over)
	}
	for _, c := range out {
		s := w.calls[c.Call]
		switch {
		case s == nil:
			w.t.Fatalf("%v: %v, a call that is over", now, c)
		case c.Op == policy.Start && s.began, c.Op != policy.Start && !s.began:
			w.t.Fatalf("%v: %v, begun %v", now, c, s.began)
		case c.Op == policy.Continue != s.stopped && c.Op != policy.Start:
			w.t.Fatalf("%v: %v, stopped %v", now, c, s.stopped)
		case c.Op == policy.Stop && s.flags != 0:
			w.t.Fatalf("%v: %v, which must not be stopped", now, c)
		case c.Op == policy.Demote && c.Tier <= s.tier, c.Op == policy.Boost && c.Tier >= s.tier, c.Op == policy.Adjust && c.Tier != s.tier:
			w.t.Fatalf("%v: %v from %v", now, c, s.tier)
		}
		s.began = true
		s.stopped = c.Op == policy.Stop
		if c.Op != policy.Stop {
			s.tier = c.Tier
		}
	}
	if next := w.Next(); next != 0 && next <= now {
		w.t.Fatalf("at %v a tick is wanted at %v", now, next)
	}
	long := 0
	for _, s := range w.calls {
		if s.began && !s.stopped && !s.asleep && s.tier == policy.Batch {
			long++
		}
	}
	if w.slots > 0 && long > w.slots {
		w.t.Fatalf("%v: %d long calls run, with %d slots", now, long, w.slots)
	}
	if v := w.View(); v.Calls != len(w.calls) || v.Express+v.Normal+v.Batch+v.Waiting != v.Calls {
		w.t.Fatalf("%v: %d calls are here, and the view is %+v", now, len(w.calls), v)
	}
	return out
}

// play plays jobs under a policy with a witness.
func play(t failer, jobs []sim.Job, name string, flags bool, o Options) *sim.Outcome {
	o.EnsureDefaults()
	s, err := policy.New(name, o.Policy)
	if err != nil {
		t.Fatalf("%v", err)
	}
	w := &witness{Strategy: s, t: t, calls: map[policy.ID]*seen{}, flags: flags}
	if !flags && !slices.ContainsFunc(jobs, func(j sim.Job) bool { return j.Deadline > 0 }) {
		w.slots = o.Policy.Weft.Slots
	}
	out, err := sim.Run(jobs, sim.Options{Cores: o.Policy.Cores}, &driver{strategy: w, options: o})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// TestEveryCallEnds plays random calls under each policy with random parameters: each one ends, with commands that make
// sense, and cores are never idle while a call waits for one (but where slots are fewer).
func TestEveryCallEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.IntRange(1, 3).Draw(t, "cores")
		var now, work time.Duration
		jobs := make([]sim.Job, rapid.IntRange(1, 40).Draw(t, "jobs"))
		pauses, deadlines, flags := rapid.Bool().Draw(t, "pauses"), rapid.Bool().Draw(t, "deadlines"), rapid.Bool().Draw(t, "flags")
		for i := range jobs {
			now += time.Duration(rapid.IntRange(0, 40).Draw(t, "gap")) * ms
			kind := rapid.IntRange(0, 3).Draw(t, "kind")
			j := sim.Job{Function: fmt.Sprint("f", kind), App: fmt.Sprint("a", kind%2), Arrival: now,
				CPU: time.Duration(rapid.IntRange(1, 100).Draw(t, "cpu")) * []time.Duration{ms / 10, ms, 5 * ms, 30 * ms}[kind]}
			if pauses && rapid.Bool().Draw(t, "sleeps") {
				j.Sleeps = []sim.Sleep{{At: j.CPU / 2, For: time.Duration(rapid.IntRange(0, 50).Draw(t, "for")) * ms}}
			}
			if deadlines && rapid.IntRange(0, 4).Draw(t, "deadline") == 0 {
				j.Deadline = time.Duration(rapid.IntRange(1, 3000).Draw(t, "by")) * ms
			}
			jobs[i], work = j, work+j.CPU
		}
		o := Options{Policy: policy.Defaults(cores), FIFO: rapid.Bool().Draw(t, "fifo")}
		w := &o.Policy.Weft
		w.Reserve = float64(rapid.IntRange(0, 5).Draw(t, "reserve")) / 10
		w.AgeMin = time.Duration(rapid.IntRange(1, 1000).Draw(t, "age")) * ms
		w.AgeFactor = 0.1
		w.Turn = time.Duration(rapid.IntRange(1, 200).Draw(t, "turn")) * ms
		w.Weights = map[string]float64{"a1": 3}
		if rapid.Bool().Draw(t, "known") {
			o.Learned = jobs
		}
		for _, name := range policy.Names {
			out := play(t, jobs, name, flags, o)
			if out.Busy != work {
				t.Fatalf("%s: %v of work, done %v", name, work, out.Busy)
			}
			if cores == 1 && !pauses {
				fifo, err := sim.Run(jobs, sim.Options{}, sim.FIFO())
				if err != nil {
					t.Fatal(err)
				}
				if out.Span != fifo.Span {
					t.Fatalf("%s: the core was idle while there was work: it ends at %v, not at %v", name, out.Span, fifo.Span)
				}
			}
		}
	})
}

// TestTheSameTraceGivesTheSame: nothing depends on the order of maps or on the clock.
func TestTheSameTraceGivesTheSame(t *testing.T) {
	jobs := trace.HeavyTail(trace.Window{Seed: 9, Cores: 2, Load: 1.3, Length: 3 * time.Second})
	for _, name := range policy.Names {
		var first *Report
		for range 3 {
			r, err := Play(jobs, name, Options{Policy: policy.Defaults(2)})
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = r
			} else if !reflect.DeepEqual(first.Stats, r.Stats) || r.Commands != first.Commands || r.Switches != first.Switches {
				t.Errorf("%s gives two results", name)
			}
		}
	}
}

// stream is short calls that never leave a core free, from time 0 to end, and the long calls among them.
func stream(seed uint64, load float64, end time.Duration, long ...sim.Job) []sim.Job {
	rng := rand.New(rand.NewPCG(seed, 3))
	jobs := long
	for at := 0.0; at < end.Seconds(); at += rng.ExpFloat64() * 0.005 / load {
		jobs = append(jobs, sim.Job{Function: "short", Class: "short", Arrival: time.Duration(at * 1e9), CPU: time.Duration((0.5 + rng.Float64()) * 5e6)})
	}
	slices.SortStableFunc(jobs, func(a, b sim.Job) int { return cmp.Compare(a.Arrival, b.Arrival) })
	return jobs
}

// TestNothingStarves: short calls alone are more than the core can do, for a minute, and yet a long call of 2 s is over
// when it has had its tenth of the time; and when there are more long calls than slots, all get on.
func TestNothingStarves(t *testing.T) {
	long := sim.Job{Function: "long", Class: "long", Arrival: time.Second, CPU: 2 * time.Second}
	for seed := range uint64(3) {
		for _, fifo := range []bool{false, true} {
			jobs := stream(seed, 1.1, time.Minute, long)
			for _, learned := range [][]sim.Job{nil, jobs} {
				r, err := Play(jobs, policy.Weft, Options{Policy: policy.Defaults(1), FIFO: fifo, Learned: learned})
				if err != nil {
					t.Fatal(err)
				}
				// Once the queue of short calls has grown, a share of the reserve in Express is one among many; in order of
				// arrival it waits for those ahead of it, each time.
				if got := r.Of("long").Worst; got > 50*time.Second {
					t.Errorf("seed %d, fifo %v, learned %v: the long call took %v", seed, fifo, learned != nil, got)
				}
			}
		}
		// A greedy function of 500 ms comes again and again and is always the better choice; the call of 3 s gets its turns.
		var many []sim.Job
		for i := range 120 {
			many = append(many, sim.Job{Function: "greedy", Class: "greedy", Arrival: time.Duration(i) * 450 * ms, CPU: 500 * ms})
		}
		many = append(many, sim.Job{Function: "patient", Class: "patient", Arrival: time.Duration(120) * 450 * ms, CPU: ms})
		many = append([]sim.Job{{Function: "patient", Class: "patient", CPU: 3 * time.Second}}, many...)
		o := Options{Policy: policy.Defaults(1)}
		for range 10 {
			o.Learned = append(o.Learned, sim.Job{Function: "greedy", CPU: 500 * ms}, sim.Job{Function: "patient", CPU: 3 * time.Second})
		}
		o.Policy.Weft.AgeMin, o.Policy.Weft.AgeFactor = 5*time.Second, 1
		out := play(t, many, policy.Weft, false, o)
		if got := out.Results[0].Turnaround(); got > 25*time.Second {
			t.Errorf("seed %d: the patient call took %v", seed, got)
		}
	}
}

// ratios are means of a class under some policies, by that under another.
func ratios(t *testing.T, mix string, w trace.Window, cold bool, class, by string, names ...string) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	for seed := range uint64(6) {
		w.Seed = seed
		jobs := trace.Mixes[mix](w)
		o := Options{Policy: policy.Defaults(w.Cores)}
		if !cold {
			o.Learned = jobs
		}
		reports, err := Compare(jobs, append([]string{by}, names...), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			sums[r.Policy] += float64(r.Of(class).Mean)
		}
	}
	out := map[string]float64{}
	for _, name := range names {
		out[name] = sums[name] / sums[by]
	}
	return out
}

// TestWhatPoliciesGive has the relations that hold whatever the machine: how near each policy comes to the oracle, and what
// it gives short and long calls by what a stock kernel gives them.
func TestWhatPoliciesGive(t *testing.T) {
	one := trace.Window{Cores: 1, Load: 2, Length: 8 * time.Second}
	two := trace.Window{Cores: 2, Load: 2, Length: 4 * time.Second}
	half := trace.Window{Cores: 2, Load: 0.5, Length: 16 * time.Second}
	over := trace.Window{Cores: 2, Load: 1.2, Length: 20 * time.Second}
	tests := []struct {
		mix    string
		window trace.Window
		cold   bool
		class  string
		policy string
		by     string
		low    float64 // the ratio is at least
		high   float64 // and at most
	}{
		{"short-long", two, false, sim.All, policy.Weft, SRPT, 1, 1.15},
		{"short-long", two, true, sim.All, policy.Weft, SRPT, 1, 1.15},
		{"short-long", one, false, sim.All, policy.Weft, SRPT, 1, 1.15},
		{"short-long", two, false, "short", policy.Weft, policy.None, 0.1, 0.45},
		{"short-long", one, false, "short", policy.Weft, policy.None, 0.05, 0.3},
		{"short-long", two, false, "long", policy.Weft, policy.None, 0.5, 0.75},
		{"short-long", two, false, "short", policy.SFS, policy.None, 0.1, 0.45},
		{"short-long", two, false, "long", policy.SFS, policy.None, 0.95, 1.1}, // SFS and ALPS only let others go first
		{"short-long", two, false, "long", policy.ALPS, policy.None, 0.9, 1.1},
		{"short-long", two, false, "short", policy.ALPS, policy.None, 0.1, 0.9},
		{"short-long", two, false, sim.All, policy.None, PS, 0.97, 1.05}, // turns of 1.4 ms are nearly sharing
		{"short-long", half, false, sim.All, policy.Weft, policy.None, 0.3, 1},
		{"short-long", half, false, "short", policy.Weft, policy.None, 0.3, 1},
		{"azure", over, false, sim.All, policy.Weft, SRPT, 0.99, 1.1},
		{"azure", over, false, sim.All, policy.Weft, policy.ALPS, 0.3, 0.95},
		{"huawei", over, false, sim.All, policy.Weft, policy.None, 0.2, 0.7},
		{"heavy-tail", over, false, sim.All, policy.Weft, policy.None, 0.2, 0.8},
		{"heavy-tail", over, true, "short", policy.Weft, policy.None, 0.05, 0.7},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s x%v on %d, %s of %s by %s, cold %v", tt.mix, tt.window.Load, tt.window.Cores, tt.class, tt.policy, tt.by, tt.cold), func(t *testing.T) {
			got := ratios(t, tt.mix, tt.window, tt.cold, tt.class, tt.by, tt.policy)[tt.policy]
			t.Logf("%.3f", got)
			if got < tt.low || got > tt.high {
				t.Errorf("%.3f, want %v to %v", got, tt.low, tt.high)
			}
		})
	}
}

// TestTheWorstIsBounded: in no seed is the worst long call more than three times as late as without a policy.
func TestTheWorstIsBounded(t *testing.T) {
	for seed := range uint64(6) {
		jobs := trace.ShortAndLong(trace.Window{Seed: seed, Cores: 2, Load: 2, Length: 4 * time.Second})
		reports, err := Compare(jobs, []string{policy.None, policy.Weft}, Options{Policy: policy.Defaults(2)})
		if err != nil {
			t.Fatal(err)
		}
		if none, weft := reports[0].Of("long").Worst, reports[1].Of("long").Worst; weft > 3*none {
			t.Errorf("seed %d: worst %v, without a policy %v", seed, weft, none)
		}
	}
}

func TestUnknownPoliciesAreNamed(t *testing.T) {
	if _, err := Compare([]sim.Job{{CPU: ms}}, []string{"fastest"}, Options{}); err == nil {
		t.Error("it knows fastest")
	}
	for _, name := range Names() {
		if r, err := Play([]sim.Job{{CPU: ms}}, name, Options{}); err != nil || r.Outcome.Results[0].Turnaround() != ms {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeadlinesAreMet(t *testing.T) {
	var jobs []sim.Job
	for i := range 20 { // medium calls fill the core; the long one would be last
		jobs = append(jobs, sim.Job{Function: "medium", Arrival: time.Duration(i) * 100 * ms, CPU: 100 * ms})
	}
	jobs = append([]sim.Job{{Function: "long", Class: "long", CPU: 600 * ms, Deadline: 900 * ms}}, jobs...)
	var o Options
	for range 10 {
		o.Learned = append(o.Learned, sim.Job{Function: "medium", CPU: 100 * ms}, sim.Job{Function: "long", CPU: 600 * ms})
	}
	r, err := Play(jobs, policy.Weft, o)
	if err != nil {
		t.Fatal(err)
	}
	if late := r.Of("long"); late.Late != 0 || r.View.Met != 1 {
		t.Errorf("late: %+v", late)
	}
	jobs[0].Deadline = 0
	if r, err = Play(jobs, policy.Weft, o); err != nil || r.Of("long").Mean < 2*time.Second {
		t.Errorf("without a deadline it is over after %v, so the test shows nothing", r.Of("long").Mean)
	}
}
