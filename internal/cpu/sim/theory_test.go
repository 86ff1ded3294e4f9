package sim_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// poisson makes jobs that arrive at rate a second, with demands in seconds.
func poisson(seed uint64, n int, rate float64, demand func(*rand.Rand) float64) []sim.Job {
	rng := rand.New(rand.NewPCG(seed, 7))
	jobs := make([]sim.Job, n)
	now := 0.0
	for i := range jobs {
		now += rng.ExpFloat64() / rate
		jobs[i] = sim.Job{Arrival: time.Duration(now * 1e9), CPU: time.Duration(demand(rng) * 1e9)}
	}
	return jobs
}

func exponential(rng *rand.Rand) float64 { return rng.ExpFloat64() * 0.01 }

// twoKinds are 1 ms with a probability of 9 in 10, else 91 ms: the mean is 10 ms.
func twoKinds(rng *rand.Rand) float64 {
	if rng.Float64() < 0.9 {
		return 0.001
	}
	return 0.091
}

const (
	load   = 0.7
	rate   = load / 0.01
	served = 60_000
)

// srptMean is the mean response time of an M/G/1 queue under SRPT (Schrage and Miller, Operations Research 14, 1966):
//
//	E[T(x)] = λ (∫0..x t² dF + x² (1-F(x))) / (2 (1-ρ(x))²) + ∫0..x dt / (1-ρ(t)),  ρ(x) = λ ∫0..x t dF
//
// for demands with density f and distribution function F, integrated in steps up to top.
func srptMean(lambda float64, f, F func(float64) float64, top float64) float64 {
	const steps = 200_000
	h := top / steps
	var rho, second, residence, mean float64
	for i := range steps {
		x := (float64(i) + 0.5) * h
		rho += lambda * x * f(x) * h
		second += x * x * f(x) * h
		residence += h / (1 - rho)
		wait := lambda * (second + x*x*(1-F(x))) / (2 * (1 - rho) * (1 - rho))
		mean += (wait + residence) * f(x) * h
	}
	return mean
}

func TestAgainstQueueingTheory(t *testing.T) {
	f := func(x float64) float64 { return math.Exp(-x/0.01) / 0.01 }
	F := func(x float64) float64 { return 1 - math.Exp(-x/0.01) }
	run := func(a sim.Agent, cores int) func([]sim.Job) (*sim.Outcome, error) {
		return func(jobs []sim.Job) (*sim.Outcome, error) { return sim.Run(jobs, sim.Options{Cores: cores}, a) }
	}
	share := func(jobs []sim.Job) (*sim.Outcome, error) { return sim.Sharing(jobs, sim.Options{}) }
	const e2 = 0.9*0.001*0.001 + 0.1*0.091*0.091 // second moment of twoKinds
	tests := []struct {
		name   string
		play   func([]sim.Job) (*sim.Outcome, error)
		demand func(*rand.Rand) float64
		rate   float64
		want   float64 // mean turnaround in seconds
	}{
		{"M/M/1 first come first served: E[S]/(1-ρ)", run(sim.FIFO(), 1), exponential, rate, 0.01 / (1 - load)},
		{"M/G/1 first come first served: Pollaczek-Khinchine", run(sim.FIFO(), 1), twoKinds, rate, 0.01 + rate*e2/(2*(1-load))},
		{"M/M/1 sharing: E[S]/(1-ρ)", share, exponential, rate, 0.01 / (1 - load)},
		{"M/G/1 sharing does not mind the distribution", share, twoKinds, rate, 0.01 / (1 - load)},
		{"M/G/1 round robin with small quanta is sharing", run(sim.RoundRobin(500*time.Microsecond), 1), twoKinds, rate, 0.01 / (1 - load)},
		{"M/M/1 SRPT: Schrage and Miller", run(sim.SRPT(), 1), exponential, rate, srptMean(rate, f, F, 0.25)},
		// Erlang C with two servers: the probability to wait is 2ρ²/(1+ρ).
		{"M/M/2 first come first served: Erlang C", run(sim.FIFO(), 2), exponential, 2 * rate, 0.01 + 2*load*load/(1+load)*0.01/(2*(1-load))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.play(poisson(11, served, tt.rate, tt.demand))
			if err != nil {
				t.Fatal(err)
			}
			if got := mean(out).Seconds(); math.Abs(got-tt.want) > 0.05*tt.want {
				t.Errorf("mean %.5f s, want %.5f", got, tt.want)
			}
		})
	}
}
