package bench

import (
	"context"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
)

// coldStart asks how long a function takes from the request to its output when it was compiled earlier but no instance of it exists, and what
// setting up the modules that it does not use would add. The baselines start something comparable without weft.
func coldStart() lab.Experiment {
	return lab.Experiment{
		Name:        "cold-start",
		Description: "from the request to the output of a function that was compiled earlier, no instance of it anywhere",
		Baselines:   []string{"eager", "process", "namespaced-process", "python3"},
		Setup:       setUpColdStart,
	}
}

func setUpColdStart(ctx context.Context, l *lab.Lab) error {
	g := l.Group("cold start", lab.Rounds{WarmUp: 5, Min: 3, Max: 500})
	const reference = "cold start of hello"
	for _, f := range []struct {
		app, workflow, measure string
		language               language
	}{
		{"hello", "main", reference, languageC},
		{"hello", "go", reference, languageGo},
		{"load-all", "main", "cold start of load-all", languageC},
	} {
		app, err := l.Open(ctx, f.app, nil)
		if err != nil {
			return err
		}
		measure, against := f.language.measure(f.measure)
		if against == "" {
			against = reference
		}
		r := lab.Request{Workflow: f.workflow, Input: map[string]any{"name": "you"}}
		for _, load := range []string{"lazy", "eager"} {
			r := r
			r.Load = load
			g.Add(lab.Case{Variant: load, Expect: coldStartOutputs[f.app], Sample: func(ctx context.Context) (lab.Sample, error) {
				out, _, took, err := output(ctx, app, r)
				v := lab.Micros(measure, took)
				v.Against = against
				return lab.Sample{Digest: greeting(out), Values: []lab.Value{v}}, err
			}})
		}
		if measure == reference {
			addSpawns(g, l, reference)
		}
	}
	return nil
}

// coldStartOutputs is what greeting makes of the right output of each app.
var coldStartOutputs = map[string]string{"hello": "Hello, you!", "load-all": "used clock_ns fs_ns buffer_ns net_ns"}

// greeting is a text as it is; of load-all's report, which holds times, it is the modules that were used.
func greeting(out any) string {
	if s, ok := out.(string); ok {
		return s
	}
	used := "used"
	for _, module := range []string{"clock_ns", "fs_ns", "buffer_ns", "net_ns"} {
		if _, err := nanoseconds(out, module); err == nil {
			used += " " + module
		}
	}
	return used
}

// addSpawns adds the starts of processes to a group.
func addSpawns(g *lab.Group, l *lab.Lab, measure string) {
	for _, b := range []struct {
		variant string
		start   func() (*baseline.Spawn, error)
	}{
		{"process", func() (*baseline.Spawn, error) { return baseline.NewProcess(l.Dir) }},
		{"namespaced-process", func() (*baseline.Spawn, error) { return baseline.NewNamespacedProcess(l.Dir) }},
		{"python3", baseline.NewPython},
	} {
		s, err := b.start()
		if err != nil {
			l.Skip(b.variant, err.Error())
			continue
		}
		g.Add(lab.Case{Variant: b.variant, Expect: baseline.Hello, Sample: func(ctx context.Context) (lab.Sample, error) {
			start := time.Now()
			out, err := s.Run(ctx)
			took := time.Since(start)
			return lab.Sample{Digest: string(out), Values: []lab.Value{lab.Micros(measure, took)}}, err
		}})
	}
}
