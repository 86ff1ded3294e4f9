package bench

import (
	"context"
	"errors"

	"github.com/weft-run/weft/internal/bench/lab"
)

// host asks what a domain host costs that is ready and has nothing to do, and how long it takes to have one more.
func host() lab.Experiment {
	return lab.Experiment{
		Name:        "host",
		Description: "start and memory of a domain host that is ready and idle",
		Baselines:   []string{"namespaced-process", "python3"},
		Setup:       setUpHost,
	}
}

func setUpHost(_ context.Context, l *lab.Lab) error {
	const ready = "ready"
	start := "start"
	g := l.Group("host", lab.Rounds{WarmUp: 2, Min: 3, Max: 200})
	g.Add(lab.Case{Variant: "weft", Expect: ready, Sample: func(ctx context.Context) (lab.Sample, error) {
		started, memory, err := l.Weft.IdleHost(ctx)
		if err != nil {
			return lab.Sample{}, err
		}
		if memory <= 0 {
			return lab.Sample{}, errors.New("the domain host is gone")
		}
		return lab.Sample{Digest: ready, Values: []lab.Value{
			lab.Micros(start, started),
			{Measure: "memory", Unit: "MiB", Number: float64(memory) / (1 << 20)},
		}}, nil
	}})
	addSpawns(g, l, start)
	return nil
}
