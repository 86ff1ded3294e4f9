package bench

import (
	"context"
	"fmt"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
)

// p99 asks what users wait for when requests come whether or not earlier ones are answered. Latency counts from the time at which a request
// was due, so a machine that cannot keep up shows it in every later request, and in the rate that it achieves.
func p99() lab.Experiment {
	return lab.Experiment{
		Name:        "p99",
		Description: "latency of parallel sort under an open load, from the time each request is due",
		Baselines:   []string{"file"},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			s := p99Sizes{sort: []int64{1e6, 25e6}, rates: []float64{10, 20, 40, 80}, requests: 100, arrivals: []load.Arrivals{load.Poisson, load.Fixed}}
			if l.Quick {
				s.sort, s.requests, s.arrivals = s.sort[:1], 25, s.arrivals[:1]
			}
			return setUpP99(ctx, l, s)
		},
	}
}

// p99InFlight bounds the runs that are under way at a time: a machine that is asked for ten times what it can do must not be out of memory
// before it has been measured. Waiting for room counts as latency.
const p99InFlight = 64

// p99Sizes are the bytes to sort, and the loads.
type p99Sizes struct {
	sort     []int64
	rates    []float64
	requests int
	arrivals []load.Arrivals
}

func setUpP99(ctx context.Context, l *lab.Lab, sizes p99Sizes) error {
	const ways = 3
	for _, size := range sizes.sort {
		w, err := sort(ctx, l, languageC, size, ways)
		if err != nil {
			return err
		}
		for _, variant := range []string{"reference", "file"} {
			if _, _, _, err := w.run(ctx, lab.Request{Pass: variant}); err != nil { // nothing is started or compiled while the load runs
				return fmt.Errorf("%s: %w", variant, err)
			}
		}
		for _, rate := range sizes.rates {
			for _, a := range sizes.arrivals {
				name := fmt.Sprintf("sort %s, %s %.0f/s", sizeName(size), a, rate)
				g := l.Group(name, lab.Rounds{WarmUp: -1, Max: 5})
				for _, variant := range []string{"reference", "file"} {
					spec := load.Spec{Rate: rate, Count: sizes.requests, Arrivals: a, Seed: l.Seed, InFlight: p99InFlight}
					g.Add(lab.Case{Variant: variant, Expect: w.expect, Sample: func(ctx context.Context) (lab.Sample, error) {
						return underLoad(ctx, spec, name, w, lab.Request{Pass: variant})
					}})
				}
			}
		}
	}
	return nil
}

// underLoad sends one load of runs. Each output is checked; one that is wrong or missing fails the sample.
func underLoad(ctx context.Context, spec load.Spec, name string, w *workload, r lab.Request) (lab.Sample, error) {
	result, err := load.Run(ctx, spec, func(ctx context.Context) error {
		digest, _, _, err := w.run(ctx, r)
		if err == nil && digest != w.expect {
			err = fmt.Errorf("%w: digest %q, expected %q", lab.ErrDigest, digest, w.expect)
		}
		return err
	})
	if err != nil {
		return lab.Sample{}, err
	}
	if result.Failed > 0 {
		return lab.Sample{}, fmt.Errorf("%d of %d requests failed, the first: %w", result.Failed, spec.Count, result.Err)
	}
	s := lab.Sample{Digest: w.expect}
	for _, l := range result.Latencies() {
		s.Values = append(s.Values, lab.Millis("latency of "+name, l))
	}
	s.Values = append(s.Values, lab.Value{Measure: "achieved, " + name, Unit: "1/s", Number: result.Achieved()})
	return s, nil
}
