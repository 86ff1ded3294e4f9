package bench

import (
	"context"
	"time"

	"github.com/weft-run/weft/internal/bench/replay"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/trace"
)

// Measures of the scheduler's own cost.
const (
	overheadTotal  = "1,000 calls a second: processor time with a scheduler less that without"
	overheadDriver = "1,000 calls a second: the driver's own processor time"
)

// addOverhead adds the cost of the scheduler at 1,000 calls a second of half a millisecond each: what this process takes more than for the same
// calls without a scheduler, in the same round, and which part of it the driver knows of. The first one also has what the callers' goroutines
// take, as attaching to a process.
func (f *arena) addOverhead(length time.Duration) {
	const demand, rate = 500 * time.Microsecond, 1000
	g := f.lab.Group("cost", Rounds{WarmUp: -1, Weight: 1, Max: 20})
	round := 0
	g.Add(Case{Variant: policy.Weft, Expect: rightCalls, Sample: func(ctx context.Context) (Sample, error) {
		round++
		load := demand.Seconds() * rate / float64(f.cores)
		jobs := trace.Generate(trace.Window{Seed: f.lab.Seed + uint64(round), Cores: f.cores, Load: load, Length: length, Arrivals: trace.Even},
			[]trace.Kind{{Function: "fib", Class: "short", Share: 1, Draw: trace.Constant(demand)}})
		calls := replay.Calls(jobs, f.rates)
		var spent [2]time.Duration // without, with
		var own time.Duration
		right := 0
		for turn := range 2 {
			v := replay.Variant{Name: "no scheduler"}
			with := (turn + round) % 2
			if with == 1 {
				v = replay.Variant{Name: policy.Weft, Policy: policy.Weft, Backend: backend.Auto, Options: policy.Defaults(f.cores)}
				v.Options.Book = profile.NewBook(0)
			}
			out, err := f.stage.Play(ctx, calls, v)
			if err != nil {
				return Sample{}, err
			}
			f.note(out)
			right += out.Calls
			spent[with] = out.Program
			own += out.Scheduler
		}
		percent := func(d time.Duration) float64 { return 100 * d.Seconds() / length.Seconds() }
		f.costs = append(f.costs, percent(spent[1]-spent[0]))
		return Sample{Digest: digestOf(right, 2*len(calls)), Values: []Value{
			{Measure: overheadTotal, Unit: "% of a core", Number: percent(spent[1] - spent[0])},
			{Measure: overheadDriver, Unit: "% of a core", Number: percent(own)},
		}}, nil
	}})
}
