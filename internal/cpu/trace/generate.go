package trace

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// Arrivals is how calls are spread over a window.
type Arrivals string

// The ways.
const (
	Poisson Arrivals = "poisson" // independent, with exponential gaps
	Even    Arrivals = "even"    // gaps that are Poisson numbers of mean 25, as in the traces of ALPS: nearly regular
	Bursty  Arrivals = "bursty"  // nine tenths of the calls in a fifth of the time, in bursts
	Uniform Arrivals = "uniform" // each anywhere in the window
)

// Window says how many calls a generator makes.
type Window struct {
	Seed   uint64
	Cores  int           // that the load refers to. Default 1.
	Load   float64       // work that arrives, by what the cores can do meanwhile. Default 1.
	Length time.Duration // of the time in which calls arrive. Default 10 s.
	// Arrivals is how they are spread. Default Poisson.
	Arrivals Arrivals
}

// ensureDefaults sets what is not set.
func (w *Window) ensureDefaults() {
	w.Cores = max(w.Cores, 1)
	w.Load = cmp.Or(w.Load, 1)
	w.Length = cmp.Or(w.Length, 10*time.Second)
	w.Arrivals = cmp.Or(w.Arrivals, Poisson)
}

// Validate refuses windows that make no sense, or more work than a month of a core.
func (w *Window) Validate() error {
	switch {
	case w.Cores < 1 || w.Cores > 1024:
		return fmt.Errorf("generate trace: cores is %d: want 1 to 1024", w.Cores)
	case !(w.Load > 0 && w.Load <= 100):
		return fmt.Errorf("generate trace: load is %v: want more than 0 and at most 100", w.Load)
	case w.Length <= 0 || float64(w.Length)*w.Load*float64(w.Cores) > float64(30*24*time.Hour):
		return fmt.Errorf("generate trace: length is %v: want more than 0, and at most 30 days of work in all", w.Length)
	}
	return nil
}

// Kind is a sort of calls in a mix.
type Kind struct {
	Function string
	Class    string  // "": by the CPU time of each call
	Share    float64 // of the calls, by the sum of all shares
	Draw     func(*rand.Rand) time.Duration
	Sleep    time.Duration // half way through the CPU time; 0: none
}

// Constant draws d.
func Constant(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

// Between draws from low to high, all alike.
func Between(low, high time.Duration) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration { return low + time.Duration(rng.Float64()*float64(high-low)) }
}

// Pareto draws from low to high so that P(X > x) falls as x^-alpha.
func Pareto(low, high time.Duration, alpha float64) func(*rand.Rand) time.Duration {
	ratio := math.Pow(float64(low)/float64(high), alpha)
	return func(rng *rand.Rand) time.Duration {
		return time.Duration(float64(low) * math.Pow(1-rng.Float64()*(1-ratio), -1/alpha))
	}
}

// Generate makes the calls of a window: as many as bring the load, drawn by the shares of
// the kinds. The number of calls of each kind follows its share as nearly as whole numbers
// can, and their order is random, so windows of one load differ little in work.
func Generate(w Window, kinds []Kind) []sim.Job {
	w.ensureDefaults()
	rng := rand.New(rand.NewPCG(w.Seed, 0x7765667400))
	var shares, mean float64
	for _, k := range kinds {
		shares += k.Share
		const draws = 2000
		for range draws {
			mean += k.Share * float64(k.Draw(rng)) / draws
		}
	}
	work := w.Load * float64(w.Cores) * float64(w.Length)
	n := max(work/(mean/shares), 1)
	var jobs []sim.Job
	for _, k := range kinds {
		count := int(n*k.Share/shares + rng.Float64())
		for range count {
			j := sim.Job{Function: k.Function, CPU: k.Draw(rng), Class: k.Class}
			if k.Sleep > 0 {
				j.Sleeps = []sim.Sleep{{At: j.CPU / 2, For: k.Sleep}}
			}
			if j.Class == "" {
				j.Class = Classify(j.CPU)
			}
			jobs = append(jobs, j)
		}
	}
	rng.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	at := w.times(rng, len(jobs))
	for i := range jobs {
		jobs[i].Arrival = at[i]
	}
	return jobs
}

// times are n arrivals in order, spread over the window.
func (w *Window) times(rng *rand.Rand, n int) []time.Duration {
	at := make([]float64, n)
	switch w.Arrivals {
	case Uniform:
		for i := range at {
			at[i] = rng.Float64()
		}
		slices.Sort(at)
	default:
		now, crowd, left := 0.0, false, 0
		for i := range at {
			switch w.Arrivals {
			case Even:
				now += float64(poisson(rng, 25))
			case Bursty:
				// Bursts of 45 calls on average alternate with 5 single ones whose gaps are 36 times as long.
				if left == 0 {
					crowd = !crowd
					left = 1 + int(rng.ExpFloat64()*map[bool]float64{true: 45, false: 5}[crowd])
				}
				left--
				gap := rng.ExpFloat64()
				if !crowd {
					gap *= 36
				}
				now += gap
			default:
				now += rng.ExpFloat64()
			}
			at[i] = now
		}
		for i := range at {
			at[i] /= now
		}
	}
	out := make([]time.Duration, n)
	for i, x := range at {
		out[i] = time.Duration(x * float64(w.Length))
	}
	return out
}

// poisson draws a Poisson number by counting how many exponential gaps fit.
func poisson(rng *rand.Rand, mean float64) int {
	n := 0
	for sum := rng.ExpFloat64(); sum < mean; sum += rng.ExpFloat64() {
		n++
	}
	return n
}

// ShortAndLong is a mix of many short calls with few long ones: 1 to 10 ms, of which there
// are 97 in 100 and a tenth of the work, and 1 to 2 s. They arrive uniformly unless the
// window says otherwise.
func ShortAndLong(w Window) []sim.Job {
	w.Arrivals = cmp.Or(w.Arrivals, Uniform)
	const ms = time.Millisecond
	return Generate(w, []Kind{
		{Function: "short", Class: "short", Share: 292, Draw: Between(ms, 10*ms)},
		{Function: "long", Class: "long", Share: 10, Draw: Between(time.Second, 2*time.Second)},
	})
}

// job is a kind of ALPS's workload.
func job(name string, n int, share float64) Kind {
	cpu, _ := Cost(name, n)
	return Kind{Function: fmt.Sprintf("%s-%d", name, n), Share: share, Draw: Constant(cpu)}
}

// Huawei is the mix of the trace that ALPS calls Huawei's: a third fib of 23 to 36, the
// rest graph and feature functions, arriving nearly regularly.
func Huawei(w Window) []sim.Job {
	w.Arrivals = cmp.Or(w.Arrivals, Even)
	return Generate(w, []Kind{job("fib", 23, 3.4), job("fib", 24, 3.7), job("fib", 25, 3.5), job("fib", 26, 3.2), job("fib", 28, 8.9), job("fib", 29, 5.6),
		job("fib", 31, 6), job("fib", 35, 0.5), job("fib", 36, 0.5), job("graphMst", 9, 14.3), job("graphPagerank", 9, 14), job("featureExtractor", 1, 13.9),
		job("graphBfs", 100, 13.8), job("floatOperation", 100_000, 8.8)})
}

// Azure is the mix of the trace that ALPS calls Azure's: fib more often, and long ones
// among them.
func Azure(w Window) []sim.Job {
	w.Arrivals = cmp.Or(w.Arrivals, Even)
	return Generate(w, []Kind{job("fib", 23, 2.4), job("fib", 24, 2.6), job("fib", 25, 2.5), job("fib", 26, 2.3), job("fib", 28, 6.2), job("fib", 29, 4),
		job("fib", 31, 24), job("fib", 35, 8.5), job("fib", 36, 8.5), job("graphMst", 9, 8.6), job("graphPagerank", 9, 8.4), job("featureExtractor", 1, 8.4),
		job("graphBfs", 100, 8.3), job("floatOperation", 100_000, 5.3)})
}

// HeavyTail is a mix of twenty functions whose demands reach from 1 ms to 20 s each, with
// P(X > x) falling as 1/x^1.1: a hundredth of the calls is most of the work.
func HeavyTail(w Window) []sim.Job {
	var kinds []Kind
	for i := range 20 {
		low := time.Duration(float64(time.Millisecond) * math.Pow(1.2, float64(i)))
		kinds = append(kinds, Kind{Function: fmt.Sprintf("f%02d", i), Share: 1 / float64(i+1), Draw: Pareto(low, 20*time.Second, 1.1)})
	}
	return Generate(w, kinds)
}

// Mixes are the generators by name.
var Mixes = map[string]func(Window) []sim.Job{"short-long": ShortAndLong, "huawei": Huawei, "azure": Azure, "heavy-tail": HeavyTail, "sleepers": Sleepers}

// Sleepers is a mix of calls that compute and calls that wait for something half way: 2 to
// 8 ms that compute, as many that sleep for 20 ms, some of 100 to 200 ms that sleep for 50,
// and a few of half a second that do not.
func Sleepers(w Window) []sim.Job {
	const ms = time.Millisecond
	return Generate(w, []Kind{
		{Function: "quick", Class: "short", Share: 40, Draw: Between(2*ms, 8*ms)},
		{Function: "waiting", Class: "waiting", Share: 40, Draw: Between(2*ms, 8*ms), Sleep: 20 * ms},
		{Function: "medium", Class: "medium", Share: 8, Draw: Between(100*ms, 200*ms), Sleep: 50 * ms},
		{Function: "heavy", Class: "long", Share: 1, Draw: Constant(500 * ms)},
	})
}
