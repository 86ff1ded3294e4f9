// Package cpu has the experiments on the processor: the same calls, which are real processes that compute, under each policy (cpu.go), without
// each of the policies' mechanisms and with other parameters (parts.go), and what the scheduler itself costs (cost.go).
package cpu

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/replay"
	"github.com/weft-run/weft/internal/bench/report"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/trace"
	"github.com/weft-run/weft/internal/cpu/whatif"
	"github.com/weft-run/weft/internal/cpu/work"
)

// Variants of the processor's experiments that are no policies' names.
const (
	variantFIFO   = "weft-fifo"
	variantBare   = "weft-unprivileged"
	variantOracle = "oracle"
	rightCalls    = "every call ran and gave its result" // the digest of a run
)

// Experiments are the experiments on the processor, in the order of the documentation.
func Experiments() []lab.Experiment {
	return []lab.Experiment{policies(), ablation(), sensitivity()}
}

// policies asks what each policy of the processor makes of the same calls, which are real processes that compute on all cores. The oracle is
// SRPT on a simulated machine with the demands that were measured.
func policies() lab.Experiment {
	return lab.Experiment{
		Name:        "cpu",
		Description: "the same calls under each policy of the processor",
		Baselines:   []string{policy.None, variantOracle},
		Serves:      true,
		Required:    required("short-long, load 2", "short-long, load 0.5"),
		Setup: func(ctx context.Context, l *lab.Lab) error {
			f, err := newArena(l)
			if err != nil {
				return err
			}
			window, second := 4*time.Second, 10*time.Second
			if l.Quick {
				window, second = quickWindow, 300*time.Millisecond
			}
			variants := variants(f.cores)
			for _, s := range scenes(l.Quick) {
				s.length = window
				f.add(s, variants)
			}
			f.addOverhead(second)
			return nil
		},
	}
}

// required is what weft is to reach at a high and a low load, of the medians by those of none.
func required(high, low string) []lab.Requirement {
	var out []lab.Requirement
	for variant, want := range map[string][2]string{policy.Weft: {"≤ 0.30", "≤ 0.30"}, variantFIFO: {"≤ 0.25", "≤ 0.20"}, variantBare: {"≤ 0.35", "≤ 0.35"}} {
		out = append(out, lab.Requirement{Measure: high + ": short, mean", Variant: variant, Text: want[0] + " of none"}, lab.Requirement{Measure: high + ": short, p99", Variant: variant, Text: want[1] + " of none"})
	}
	return append(out,
		lab.Requirement{Measure: high + ": all, mean by the oracle's", Variant: policy.Weft, Text: "≤ 1.15"},
		lab.Requirement{Measure: high + ": long, mean", Variant: policy.Weft, Text: "≤ 0.75 of none"},
		lab.Requirement{Measure: high + ": long, worst", Variant: policy.Weft, Text: "≤ 3 of none"},
		lab.Requirement{Measure: low + ": all, mean by none's", Variant: policy.Weft, Text: "≤ 1 or not told from it"},
		lab.Requirement{Measure: overheadTotal, Variant: policy.Weft, Text: "≤ 3"},
	)
}

// variants are the policies with the backends that they are meant for.
func variants(cores int) []replay.Variant {
	o := policy.Defaults(cores)
	return []replay.Variant{
		{Name: policy.None, Policy: policy.None, Backend: backend.NameNone, Options: o},
		{Name: policy.ALPS, Policy: policy.ALPS, Backend: backend.Auto, Options: o},
		{Name: policy.SFS, Policy: policy.SFS, Backend: backend.NameFIFO, Options: o},
		{Name: policy.Weft, Policy: policy.Weft, Backend: backend.Auto, Options: o},
		{Name: variantFIFO, Policy: policy.Weft, Backend: backend.NameFIFO, Options: o},
		{Name: variantBare, Policy: policy.Weft, Backend: backend.NameSched, Options: o, Unprivileged: true},
	}
}

// scene is a mix of calls at a load.
type scene struct {
	name     string
	make     func(trace.Window) []sim.Job
	arrivals trace.Arrivals // "": those of the mix
	load     float64
	length   time.Duration
	weight   float64 // of the budget
}

// quickWindow is how long calls of smallShortAndLong arrive.
const quickWindow = 150 * time.Millisecond

// smallShortAndLong is trace.ShortAndLong with a tenth of the work in each long call, and some that sleep: for runs that show that all works.
func smallShortAndLong(w trace.Window) []sim.Job {
	const ms = time.Millisecond
	return trace.Generate(w, []trace.Kind{
		{Function: "short", Class: "short", Share: 20, Draw: trace.Between(ms/2, 2*ms)},
		{Function: "waiting", Class: "waiting", Share: 2, Draw: trace.Between(ms, 2*ms), Sleep: 5 * ms},
		{Function: "long", Class: "long", Share: 2, Draw: trace.Between(20*ms, 60*ms)},
	})
}

// scenes are those of the experiment.
func scenes(quick bool) []scene {
	if quick {
		return []scene{
			{name: "small short-long, load 2", make: smallShortAndLong, load: 2},
			{name: "small short-long, load 0.5", make: smallShortAndLong, load: 0.5},
		}
	}
	var out []scene
	for _, load := range []float64{2, 0.5, 1, 1.5} {
		out = append(out, scene{name: fmt.Sprintf("short-long, load %v", load), make: trace.ShortAndLong, load: load, weight: 1})
	}
	out[0].weight, out[1].weight = 4, 4
	return append(out,
		scene{name: "bursty short-long, load 1.5", make: trace.ShortAndLong, arrivals: trace.Bursty, load: 1.5},
		scene{name: "huawei, load 2", make: trace.Huawei, load: 2},
		scene{name: "azure, load 2", make: trace.Azure, load: 2},
		scene{name: "heavy-tail, load 1", make: trace.HeavyTail, load: 1},
		scene{name: "sleepers, load 1.5", make: trace.Sleepers, arrivals: trace.Poisson, load: 1.5},
	)
}

// arena is where the processor's experiments are made, and what they have found.
type arena struct {
	lab   *lab.Lab
	stage *replay.Stage
	rates *work.Rates
	fresh map[string]map[int]*work.Rates // of a scene's round
	cores int

	runs, again, noisy int                             // that counted, that were repeated, and that were disturbed for all that
	worst              replay.Noise                    // of those that counted
	demands            map[string]map[int][]replayed   // of a scene's round
	ratios             map[string]map[string][]float64 // means of all calls by none's, of a scene under a variant
	costs              []float64                       // of the scheduler, in percent of a core
}

// replayed are the calls of a run, with the demands that were measured, and the mean turnaround of all.
type replayed struct {
	variant string
	jobs    []sim.Job
	mean    time.Duration
}

// newArena calibrates the work and starts the processes.
func newArena(l *lab.Lab) (*arena, error) {
	f := &arena{lab: l, cores: runtime.NumCPU(), fresh: map[string]map[int]*work.Rates{}, demands: map[string]map[int][]replayed{}, ratios: map[string]map[string][]float64{}}
	attempts := 3
	if l.Quick {
		attempts = 1
	}
	var err error
	if f.stage, err = replay.NewStage(replay.Options{Program: l.Program, Arguments: []string{baseline.Command, crew.Role}, Attempts: attempts, Log: l.Log}); err != nil {
		return nil, err
	}
	l.Cleanup(f.stage.Close)
	f.rates = f.calibrate()
	l.Conclude(f.conclude)
	return f, nil
}

// calibrate measures how fast the machine is now.
func (f *arena) calibrate() *work.Rates {
	each := 3 * time.Millisecond
	if f.lab.Quick {
		each = time.Millisecond
	}
	return work.Calibrate(f.cores, each)
}

// calls are those of a scene's round, and what was learned before it: the demands of as many others. They compute for as long as the scene says
// at the speed that the machine has when the round begins: that of a virtual one may double within minutes, and its load with it.
func (f *arena) calls(s scene, round int) (now, before []replay.Call) {
	rates := f.fresh[s.name][round]
	if rates == nil {
		rates = f.calibrate()
		f.fresh[s.name][round] = rates
	}
	make := func(seed uint64) []replay.Call {
		return replay.Calls(s.make(trace.Window{Seed: seed, Cores: f.cores, Load: s.load, Length: s.length, Arrivals: s.arrivals}), rates)
	}
	seed := f.lab.Seed*1_000_000 + uint64(round)
	return make(seed), make(seed + 500_000)
}

// add makes a group of a scene: each variant has the same calls in one round, and others in the next. The oracle has them behind all, with the
// means of the demands that were measured.
func (f *arena) add(s scene, variants []replay.Variant) {
	g := f.lab.Group(s.name, lab.Rounds{WarmUp: -1, Weight: s.weight})
	f.fresh[s.name], f.demands[s.name], f.ratios[s.name] = map[int]*work.Rates{}, map[int][]replayed{}, map[string][]float64{}
	for _, v := range variants {
		if v.Backend == backend.NameFIFO || v.Unprivileged {
			if err := f.possible(v); err != nil {
				f.lab.Skip(v.Name, err.Error())
				continue
			}
		}
		round := 0
		g.Add(lab.Case{Variant: v.Name, Expect: rightCalls, Sample: func(ctx context.Context) (lab.Sample, error) {
			sample, err := f.sample(ctx, s, v, round)
			round++
			return sample, err
		}})
	}
	round := 0
	g.Add(lab.Case{Variant: variantOracle, Expect: rightCalls, Last: true, Sample: func(context.Context) (lab.Sample, error) {
		sample, err := f.oracle(s, round)
		round++
		return sample, err
	}})
}

// possible reports why a variant cannot be measured here.
func (f *arena) possible(v replay.Variant) error {
	if v.Unprivileged {
		if err := replay.Nice(false); err != nil {
			return err
		}
		return replay.Nice(true)
	}
	b, _, err := backend.New(v.Backend, backend.Options{NodeStays: true})
	if err != nil {
		return err
	}
	return b.Close()
}

// sample plays the calls of a round under a variant.
func (f *arena) sample(ctx context.Context, s scene, v replay.Variant, round int) (lab.Sample, error) {
	calls, before := f.calls(s, round)
	v.Options.Book = profile.NewBook(0)
	for i := range before {
		v.Options.Book.Observe(before[i].Job.Function, before[i].Job.CPU)
	}
	out, err := f.stage.Play(ctx, calls, v)
	if err != nil {
		return lab.Sample{}, err
	}
	f.note(out)
	sample := lab.Sample{Digest: digestOf(out.Calls, len(calls))}
	stats := out.Stats()
	best, err := whatif.Play(out.Jobs(), whatif.SRPT, whatif.Options{Policy: v.Options})
	if err != nil {
		return lab.Sample{}, err
	}
	all := best.Of(sim.All).Mean
	sample.Values = append(sample.Values, lab.Value{Measure: s.name + ": all, mean by the oracle's", Unit: "×", Number: float64(stats[len(stats)-1].Mean) / float64(all)})
	sample.Values = append(sample.Values, turnarounds(s.name, stats)...)
	n := float64(len(calls))
	sample.Values = append(sample.Values,
		lab.Value{Measure: s.name + ": switches a call, waiting", Unit: "1", Number: float64(out.Yields) / n},
		lab.Value{Measure: s.name + ": switches a call, losing the core", Unit: "1", Number: float64(out.Losses) / n},
		lab.Value{Measure: s.name + ": scheduler's processor time", Unit: "% of a core", Number: 100 * out.Scheduler.Seconds() / out.Span.Seconds()},
	)
	done := f.demands[s.name]
	done[round] = append(done[round], replayed{v.Name, out.Jobs(), stats[len(stats)-1].Mean})
	return sample, nil
}

// digestOf is rightCalls when all calls were right.
func digestOf(right, all int) string {
	if right != all {
		return fmt.Sprintf("%d of %d calls were right", right, all)
	}
	return rightCalls
}

// turnarounds are the values of all classes.
func turnarounds(scene string, stats []sim.Stats) []lab.Value {
	var out []lab.Value
	for i := len(stats) - 1; i >= 0; i-- { // all calls first
		t := stats[i]
		name := scene + ": " + t.Class
		out = append(out, lab.Millis(name+", mean", t.Mean), lab.Millis(name+", p50", t.P50), lab.Millis(name+", p95", t.P95), lab.Millis(name+", p99", t.P99), lab.Millis(name+", worst", t.Worst),
			lab.Value{Measure: name + ", slowdown", Unit: "×", Number: t.Slowdown}, lab.Value{Measure: name + ", run-time effectiveness", Unit: "1", Number: t.RTE})
	}
	return out
}

// oracle simulates a round with the demands that its runs measured, and compares the runs with that of none.
func (f *arena) oracle(s scene, round int) (lab.Sample, error) {
	runs := f.demands[s.name][round]
	delete(f.demands[s.name], round)
	if len(runs) == 0 {
		return lab.Sample{}, fmt.Errorf("round %d of %s has no runs", round, s.name)
	}
	jobs := slices.Clone(runs[0].jobs)
	var none time.Duration
	for i := range jobs {
		sum := time.Duration(0)
		for _, r := range runs {
			sum += r.jobs[i].CPU
		}
		jobs[i].CPU = sum / time.Duration(len(runs))
		for k := range jobs[i].Sleeps {
			jobs[i].Sleeps[k].At = min(jobs[i].Sleeps[k].At, jobs[i].CPU-1)
		}
	}
	for _, r := range runs {
		if r.variant == policy.None {
			none = r.mean
		}
	}
	for _, r := range runs {
		if none > 0 && r.variant != policy.None {
			f.ratios[s.name][r.variant] = append(f.ratios[s.name][r.variant], float64(r.mean)/float64(none))
		}
	}
	best, err := whatif.Play(jobs, whatif.SRPT, whatif.Options{Policy: policy.Defaults(f.cores)})
	if err != nil {
		return lab.Sample{}, err
	}
	return lab.Sample{Digest: digestOf(len(best.Outcome.Results), len(jobs)), Values: turnarounds(s.name, best.Stats)}, nil
}

// note counts a run.
func (f *arena) note(out *replay.Outcome) {
	f.runs++
	f.again += out.Attempts - 1
	if out.Noise.Disturbed() {
		f.noisy++
	}
	f.worst.Foreign, f.worst.Stolen = max(f.worst.Foreign, out.Noise.Foreign), max(f.worst.Stolen, out.Noise.Stolen)
}

// conclude says how quiet the machine was, and what is compared in pairs.
func (f *arena) conclude() []string {
	notes := []string{fmt.Sprintf("%d runs; %d more were disturbed by other load and repeated; %d count although they were disturbed; at most %v", f.runs, f.again, f.noisy, f.worst)}
	for _, scene := range slices.Sorted(maps.Keys(f.ratios)) {
		for _, variant := range slices.Sorted(maps.Keys(f.ratios[scene])) {
			samples := f.ratios[scene][variant]
			if mean, half, err := report.Interval(samples); err == nil {
				notes = append(notes, fmt.Sprintf("%s: mean of all calls under %s by that under none: %.3f, 95 %% between %.3f and %.3f (%d pairs)", scene, variant, mean, mean-half, mean+half, len(samples)))
			}
		}
	}
	if mean, half, err := report.Interval(f.costs); err == nil {
		notes = append(notes, fmt.Sprintf("scheduler at 1,000 calls a second: %.2f %% of a core, 95 %% between %.2f and %.2f (%d pairs)", mean, mean-half, mean+half, len(f.costs)))
	}
	return notes
}
