package bench

import (
	"context"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// coldStart asks how long a function takes from the request to its output when it was compiled earlier but no instance of it exists, and what
// setting up the modules that it does not use would add. The baselines start something comparable without weft.
func coldStart() Experiment {
	return Experiment{
		Name:        "cold-start",
		Description: "from the request to the output of a function that was compiled earlier, no instance of it anywhere",
		Baselines:   []string{"eager", "process", "namespaced-process", "python3"},
		Setup:       setUpColdStart,
	}
}

func setUpColdStart(ctx context.Context, lab *Lab) error {
	g := lab.Group("cold start", Rounds{WarmUp: 5, Min: 3, Max: 500})
	const reference = "cold start of hello"
	for _, f := range []struct{ app, workflow, measure string }{
		{"hello", "c", reference},
		{"hello", "go", reference + " in Go"},
		{"load-all", "c", "cold start of load-all"},
	} {
		app, err := lab.open(ctx, f.app, "")
		if err != nil {
			return err
		}
		// What the function prints is the same every time; the first run says what.
		out, _, _, err := output(ctx, app, Request{Workflow: f.workflow})
		if err != nil {
			return err
		}
		expect := canonical(out)
		for _, load := range []string{"lazy", "eager"} {
			g.Add(timed(load, expect, app, Request{Workflow: f.workflow, Load: load}, canonical, func(d time.Duration) Value {
				v := Micros(f.measure, d)
				v.Against = reference
				return v
			}))
		}
		if f.measure == reference {
			addSpawns(g, lab, reference)
		}
	}
	return nil
}

// addSpawns adds the starts of processes to a group.
func addSpawns(g *Group, lab *Lab, measure string) {
	for _, b := range []struct {
		variant string
		start   func() (*baseline.Spawn, error)
	}{
		{"process", func() (*baseline.Spawn, error) { return baseline.NewProcess(lab.Dir) }},
		{"namespaced-process", func() (*baseline.Spawn, error) { return baseline.NewNamespacedProcess(lab.Dir) }},
		{"python3", baseline.NewPython},
	} {
		s, err := b.start()
		if err != nil {
			lab.Skip(b.variant, err.Error())
			continue
		}
		g.Add(Case{Variant: b.variant, Expect: baseline.Hello, Sample: func(ctx context.Context) (Sample, error) {
			start := time.Now()
			out, err := s.Run(ctx)
			took := time.Since(start)
			return Sample{Digest: string(out), Values: []Value{Micros(measure, took)}}, err
		}})
	}
}
