package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/engine"
)

// Measures of steps.
const (
	stepsAlone       = "a run of 10 steps, alone"
	stepsRate        = "steps, 64 runs at a time"
	stepsTransitions = "transitions, 64 runs at a time"
	stepsProcessor   = "processor time, a step"
)

const (
	stepsInRun = 10
	stepsRuns  = 64 // at a time
)

// steps asks what keeping a run costs: ten steps that do nothing, one after the other, each of whose starts and ends is in the journal. weft
// is asked over HTTP at its unix socket and runs sandboxed functions; engine is weft's engine alone, in this process, over a store that syncs, with
// calls that return at once; dbos is DBOS Go over a PostgreSQL of this machine, in a process with its steps, which it journals once each, at
// their ends.
func steps() lab.Experiment {
	return lab.Experiment{
		Name:        "steps",
		Description: "durable runs of ten steps that do nothing",
		Baselines:   []string{"dbos"},
		Serves:      true,
		Required: []lab.Requirement{
			{Measure: stepsAlone, Variant: "weft", Text: "median ≤ 3"}, {Measure: stepsTransitions, Variant: "weft", Text: "≥ 8000"}, {Measure: stepsTransitions, Variant: "engine", Text: "≥ 40000"},
		},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			if l.Quick {
				return setUpSteps(ctx, l, 10, 200*time.Millisecond)
			}
			return setUpSteps(ctx, l, 100, 2*time.Second)
		},
	}
}

// stepRunner starts runs of ten steps and waits for their ends: so many, or as many as a time allows, a number of them at once. It gives the times of
// all runs. process is the one that does the work, or that what does stems from.
type stepRunner interface {
	PID() int
	Run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error)
}

var _ stepRunner = (*lab.Peer)(nil)

// setUpSteps makes samples of so many runs one after the other, and of so long a time with many.
func setUpSteps(ctx context.Context, l *lab.Lab, count int, window time.Duration) error {
	dir := filepath.Join(l.Dir, "ten")
	if err := writeStepsApp(dir, stepsInRun); err != nil {
		return err
	}
	s, err := l.Serve(ctx, "steps")
	if err != nil {
		return err
	}
	if err := s.Deploy(ctx, dir); err != nil {
		return err
	}
	alone, err := openEngine(filepath.Join(l.Dir, "engine"), filepath.Join(dir, "weft.yaml"))
	if err != nil {
		return err
	}
	l.Cleanup(alone.Close)
	type variant struct {
		name        string
		runner      stepRunner
		transitions float64 // that are journaled, a step
	}
	variants := []variant{{"weft", &serverRunner{s}, 2}, {"engine", alone, 2}}
	peer, err := lab.StartPeer(ctx, filepath.Join(l.Peers, "dbos"))
	switch {
	case errors.Is(err, lab.ErrNoPeer):
		l.Skip("dbos", err.Error())
	case err != nil:
		return err
	default:
		l.Cleanup(peer.Close)
		variants = append(variants, variant{"dbos", peer, 1})
	}
	one := l.Group("alone", lab.Rounds{WarmUp: 2, Min: 3, Max: 50})
	many := l.Group("many", lab.Rounds{WarmUp: 1, Min: 3, Max: 20})
	for _, v := range variants {
		one.Add(lab.Case{Variant: v.name, Expect: "1", Sample: func(ctx context.Context) (lab.Sample, error) {
			done, err := v.runner.Run(ctx, count, 0, 1)
			sample := lab.Sample{Digest: "1"}
			for _, took := range done.Latencies {
				sample.Values = append(sample.Values, lab.Millis(stepsAlone, took))
			}
			return sample, err
		}})
		many.Add(lab.Case{Variant: v.name, Expect: "1", Sample: func(ctx context.Context) (lab.Sample, error) {
			before, err := lab.ProcessorTime(v.runner.PID())
			if err != nil {
				return lab.Sample{}, err
			}
			done, err := v.runner.Run(ctx, 0, window, stepsRuns)
			if err != nil {
				return lab.Sample{}, err
			}
			after, err := lab.ProcessorTime(v.runner.PID())
			if err != nil {
				return lab.Sample{}, err
			}
			steps := done.Rate() * stepsInRun
			return lab.Sample{Digest: "1", Values: []lab.Value{
				{Measure: stepsRate, Unit: "1/s", Number: steps},
				{Measure: stepsTransitions, Unit: "1/s", Number: steps * v.transitions},
				lab.Micros(stepsProcessor, (after-before)/time.Duration(len(done.Latencies)*stepsInRun)),
			}}, nil
		}})
	}
	return nil
}

// serverRunner asks a server for runs.
type serverRunner struct{ server *lab.Server }

// PID implements stepRunner.
func (r *serverRunner) PID() int { return r.server.PID() }

// Run implements stepRunner. Of the last run, the server is asked whether its steps have been carried out.
func (r *serverRunner) Run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error) {
	c, err := r.server.Dial("unix", at)
	if err != nil {
		return load.Done{}, err
	}
	defer c.Close()
	var last engine.Run
	done, err := c.Run(ctx, load.Order{
		Request: lab.HTTPRequest("POST", "/v1/apps/steps/workflows/main/runs?wait=30s", "", "{}"), Count: count, For: window,
		Check: func(status int, body []byte) error {
			if err := json.Unmarshal(body, &last); err != nil {
				return err
			}
			if status != http.StatusOK || last.Status != engine.Succeeded || last.Output != 1.0 || last.Durability != "journal" {
				return fmt.Errorf("%w: status %d, body %.300s", lab.ErrDigest, status, body)
			}
			return nil
		},
	})
	if err != nil {
		return done, err
	}
	d, err := r.server.Client.Run(ctx, last.ID)
	if err != nil {
		return done, err
	}
	if len(d.Steps) != stepsInRun {
		return done, fmt.Errorf("%w: run %s has %d steps", lab.ErrDigest, last.ID, len(d.Steps))
	}
	return done, nil
}
