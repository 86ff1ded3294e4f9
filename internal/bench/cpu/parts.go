package cpu

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/replay"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/trace"
	"github.com/weft-run/weft/internal/cpu/work"
)

// change is a variant of a policy's options.
type change struct {
	name string
	make func(*policy.Options)
}

// never is longer than any run.
const never = 100 * time.Hour

// weftWithout are the mechanisms of weft, each one taken away.
var weftWithout = []change{
	{"weft", func(*policy.Options) {}},
	{"weft without slots", func(o *policy.Options) { o.Weft.Slots = 10_000 }},
	{"weft without demotion", func(o *policy.Options) {
		o.Weft.UnknownBudget, o.Weft.MinBudget, o.Weft.MaxBudget = never, never, never
	}},
	{"weft without prediction", func(o *policy.Options) {
		o.Weft.Short, o.Weft.MinBudget, o.Weft.MaxBudget = never, o.Weft.UnknownBudget, o.Weft.UnknownBudget
	}},
	{"weft without taking slots", func(o *policy.Options) { o.Weft.Lead = math.MaxFloat64 }},
	{"weft without reserve", func(o *policy.Options) { o.Weft.Reserve = 0 }},
	{"weft without ageing", func(o *policy.Options) { o.Weft.AgeMin = never }},
	{"weft without crowding", func(o *policy.Options) { o.Weft.Crowd = 10_000 }},
}

// alpsWithout are the ablations of ALPS, with the meaning of its flags, and its learners.
var alpsWithout = []change{
	{"alps", func(*policy.Options) {}},
	{"alps --no-unpredictability", func(o *policy.Options) { o.ALPS.NoUnpredictability = true }},
	{"alps --no-overload", func(o *policy.Options) { o.ALPS.NoOverload = true }},
	{"alps --no-unpredictability --no-overload", func(o *policy.Options) { o.ALPS.NoUnpredictability, o.ALPS.NoOverload = true, true }},
	{"alps --learner lr", func(o *policy.Options) { o.ALPS.Learner = policy.Linear }},
	{"alps --learner rf", func(o *policy.Options) { o.ALPS.Learner = policy.Forest }},
	{"alps --learner ewma", func(o *policy.Options) { o.ALPS.Learner = policy.Exponential }},
	{"alps --learner quantile", func(o *policy.Options) { o.ALPS.Learner = policy.QuantileOnly }},
}

// ablation asks what each mechanism of weft is worth, and each of ALPS.
func ablation() lab.Experiment {
	return lab.Experiment{
		Name:        "cpu-ablation",
		Description: "the policies of the processor without each of their mechanisms",
		Baselines:   []string{policy.None, policy.Weft, policy.ALPS},
		Serves:      true,
		Setup: func(ctx context.Context, l *lab.Lab) error {
			return setUpChanges(l, weftWithout, alpsWithout)
		},
	}
}

// swept are the parameters with the values that are tried; the defaults are in the first.
func swept() (weft, alps []change) {
	add := func(to *[]change, format string, value any, make func(*policy.Options)) {
		*to = append(*to, change{fmt.Sprintf(format, value), make})
	}
	weft, alps = append(weft, weftWithout[0]), append(alps, alpsWithout[0])
	for _, d := range []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond} {
		add(&weft, "weft short %v", d, func(o *policy.Options) { o.Weft.Short = d })
	}
	for _, d := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond} {
		add(&weft, "weft unknown-budget %v", d, func(o *policy.Options) { o.Weft.UnknownBudget = d })
	}
	for _, n := range []int{1, 3, 4} {
		add(&weft, "weft slots %v", n, func(o *policy.Options) { o.Weft.Slots = n })
	}
	for _, x := range []float64{1, 4} {
		add(&weft, "weft lead %v", x, func(o *policy.Options) { o.Weft.Lead = x })
	}
	for _, x := range []float64{0.05, 0.3} {
		add(&weft, "weft reserve %v", x, func(o *policy.Options) { o.Weft.Reserve = x })
	}
	for _, x := range []float64{0.5, 2} {
		add(&alps, "alps alpha %v", x, func(o *policy.Options) { o.ALPS.Alpha = x })
		add(&alps, "alps beta %v", x, func(o *policy.Options) { o.ALPS.Beta = x })
		add(&alps, "alps gamma %v", x, func(o *policy.Options) { o.ALPS.Gamma = x })
	}
	for _, x := range []float64{25, 90} {
		add(&alps, "alps theta %v", x, func(o *policy.Options) { o.ALPS.Theta = x })
	}
	return weft, alps
}

// sensitivity asks how much the parameters matter, and how soon a change of demand is followed.
func sensitivity() lab.Experiment {
	return lab.Experiment{
		Name:        "cpu-sensitivity",
		Description: "the policies of the processor with other parameters, and functions whose demand changes",
		Baselines:   []string{policy.None, policy.Weft, policy.ALPS},
		Serves:      true,
		Required:    []lab.Requirement{{Measure: followedUp, Variant: policy.Weft, Text: "≤ 20"}, {Measure: followedDown, Variant: policy.Weft, Text: "≤ 20"}},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			weft, alps := swept()
			return setUpChanges(l, weft, alps)
		},
	}
}

// setUpChanges makes a group of all changes at twice the load, and one of a function that changes.
func setUpChanges(l *lab.Lab, weft, alps []change) error {
	f, err := newArena(l)
	if err != nil {
		return err
	}
	s := scene{name: "short-long, load 2", make: trace.ShortAndLong, load: 2, length: 2 * time.Second, weight: 20}
	if l.Quick {
		s.name, s.make, s.length = "small short-long, load 2", smallShortAndLong, quickWindow
	}
	variants := variants(f.cores)[:1]
	for _, c := range append(weft[:len(weft):len(weft)], alps...) {
		name := policy.ALPS
		if len(variants) <= len(weft) {
			name = policy.Weft
		}
		v := replay.Variant{Name: c.name, Policy: name, Backend: backend.Auto, Options: policy.Defaults(f.cores)}
		c.make(&v.Options)
		variants = append(variants, v)
	}
	f.add(s, variants)
	return f.addChanging()
}

// Measures of a function that changes.
const (
	followedUp   = "calls until a tenfold demand is followed"
	followedDown = "calls until a tenth of the demand is followed"
)

// addChanging adds a function whose calls need 2 ms each, then 20, then 2 again: after how many calls is what the profile expects within a
// half of what they need?
func (f *arena) addChanging() error {
	const most, small, factor = 100, 2 * time.Millisecond, 10
	c, err := crew.Start(1, f.lab.Program, baseline.Command, crew.Role)
	if err != nil {
		return err
	}
	f.lab.Cleanup(c.Close)
	g := f.lab.Group("change", lab.Rounds{WarmUp: -1, Max: 10})
	g.Add(lab.Case{Variant: policy.Weft, Expect: rightCalls, Sample: func(ctx context.Context) (lab.Sample, error) {
		book := profile.NewBook(0)
		right, all := 0, 0
		call := func(d time.Duration) (used time.Duration, err error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			j := crew.Job{Kernel: work.Float, Units: f.rates.Units(work.Float, d)}
			done, err := c.Workers[0].Do(j)
			if err != nil {
				return 0, err
			}
			if all++; done.Sum == j.Answer() {
				right++
			}
			book.Observe("changing", done.CPU)
			return done.CPU, nil
		}
		until := func(d time.Duration) (int, error) {
			for n := 1; ; n++ {
				used, err := call(d)
				if err != nil {
					return 0, err
				}
				p := book.Estimate("changing")
				if ratio := float64(p.Mean()) / float64(used); n == most || ratio > 1/1.5 && ratio < 1.5 {
					return n, nil
				}
			}
		}
		for range 50 {
			if _, err := call(small); err != nil {
				return lab.Sample{}, err
			}
		}
		up, err := until(factor * small)
		if err != nil {
			return lab.Sample{}, err
		}
		for range 50 - up {
			if _, err := call(factor * small); err != nil {
				return lab.Sample{}, err
			}
		}
		down, err := until(small)
		if err != nil {
			return lab.Sample{}, err
		}
		return lab.Sample{Digest: digestOf(right, all), Values: []lab.Value{
			{Measure: followedUp, Unit: "calls", Number: float64(up)}, {Measure: followedDown, Unit: "calls", Number: float64(down)},
		}}, nil
	}})
	return nil
}
