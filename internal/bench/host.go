package bench

import (
	"context"
	"errors"
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
	g.Add(Case{Variant: "weft", Expect: ready, Sample: func(ctx context.Context) (Sample, error) {
		started, memory, err := lab.Weft.IdleHost(ctx)
		if err != nil {
			return Sample{}, err
		}
		if memory <= 0 {
			return Sample{}, errors.New("the domain host is gone")
		}
		return Sample{Digest: ready, Values: []Value{
			Micros(start, started),
			{Measure: "memory", Unit: "MiB", Number: float64(memory) / (1 << 20)},
		}}, nil
	}})
	addSpawns(g, lab, start)
	return nil
}
