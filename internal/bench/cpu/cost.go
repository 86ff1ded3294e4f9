package cpu

import (
	"context"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/replay"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/trace"
)

// Measures of the scheduler's own cost.
const (
	overheadTotal    = "1,000 calls a second: processor time with a scheduler less that without"
	overheadAttached = "1,000 calls a second: the same, where each call has a task from its start"
	overheadCalls    = "1,000 calls a second: the same of the calls' processes"
	overheadDriver   = "1,000 calls a second: the driver's own processor time"
)

// addOverhead adds the cost of the scheduler at 1,000 calls a second of half a millisecond each: what this process, which is the node, takes more
// than for the same calls without a scheduler, in the same round, and which part of it the driver knows of. The calls go through package scheduler,
// as those of a node do. With a task from the start, as in the other scenes, each one is attached to, measured and watched besides.
func (f *arena) addOverhead(length time.Duration) {
	const demand, rate = 500 * time.Microsecond, 1000
	g := f.lab.Group("cost", lab.Rounds{WarmUp: -1, Weight: 1, Max: 20})
	scheduled := replay.Variant{Name: policy.Weft, Policy: policy.Weft, Backend: backend.Auto, Options: policy.Defaults(f.cores)}
	variants := []replay.Variant{{Name: "no scheduler"}, scheduled, scheduled}
	variants[1].Live = true
	round := 0
	g.Add(lab.Case{Variant: policy.Weft, Expect: rightCalls, Sample: func(ctx context.Context) (lab.Sample, error) {
		round++
		load := demand.Seconds() * rate / float64(f.cores)
		jobs := trace.Generate(trace.Window{Seed: f.lab.Seed + uint64(round), Cores: f.cores, Load: load, Length: length, Arrivals: trace.Even},
			[]trace.Kind{{Function: "fib", Class: "short", Share: 1, Draw: trace.Constant(demand)}})
		calls := replay.Calls(jobs, f.rates)
		outs := make([]*replay.Outcome, len(variants))
		right := 0
		for turn := range variants {
			i := (turn + round) % len(variants)
			v := variants[i]
			v.Options.Book = profile.NewBook(0)
			out, err := f.stage.Play(ctx, calls, v)
			if err != nil {
				return lab.Sample{}, err
			}
			f.note(out)
			right += out.Calls
			outs[i] = out
		}
		percent := func(d time.Duration) float64 { return 100 * d.Seconds() / length.Seconds() }
		more := percent(outs[1].Program - outs[0].Program)
		f.costs = append(f.costs, more)
		sample := lab.Sample{Digest: digestOf(right, len(variants)*len(calls))}
		for _, v := range []lab.Value{
			{Measure: overheadTotal, Number: more},
			{Measure: overheadAttached, Number: percent(outs[2].Program - outs[0].Program)},
			{Measure: overheadCalls, Number: percent(outs[1].Busy - outs[0].Busy)},
			{Measure: overheadDriver, Number: percent(outs[1].Scheduler)},
		} {
			v.Unit = "% of a core"
			sample.Values = append(sample.Values, v)
		}
		return sample, nil
	}})
}
