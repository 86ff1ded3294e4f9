package bench

import (
	"context"
	"errors"
	"fmt"
)

// host asks what a domain host costs that is ready and has nothing to do, and how long it takes to have one more.
func host() Experiment {
	return Experiment{
		Name:        "host",
		Description: "start and memory of a domain host that is ready and idle",
		Baselines:   []string{"namespaced-process", "python3"},
		Setup:       setUpHost,
	}
}

func setUpHost(_ context.Context, lab *Lab) error {
	const ready = "ready"
	start := "start"
	g := lab.Group("host", Rounds{WarmUp: 2, Min: 3, Max: 200})
	g.Add(Case{Variant: "weft", Expect: ready, Sample: func(ctx context.Context) (s Sample, err error) {
		h, err := lab.Weft.StartHost(ctx)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, h.Close()) }()
		memory, err := pss(h.PID)
		if err != nil {
			return s, fmt.Errorf("memory of the domain host (root may read that of all processes): %w", err)
		}
		if memory == 0 {
			return s, fmt.Errorf("domain host %d is gone", h.PID)
		}
		return Sample{Digest: ready, Values: []Value{
			Micros(start, h.Started),
			{Measure: "memory", Unit: "MiB", Number: float64(memory) / (1 << 20)},
		}}, nil
	}})
	addSpawns(g, lab, start)
	return nil
}
