package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

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
func steps() Experiment {
	return Experiment{
		Name:        "steps",
		Description: "durable runs of ten steps that do nothing",
		Baselines:   []string{"dbos"},
		Serves:      true,
		Required: []Requirement{
			{stepsAlone, "weft", "median ≤ 3"}, {stepsTransitions, "weft", "≥ 8000"}, {stepsTransitions, "engine", "≥ 40000"},
		},
		Setup: func(ctx context.Context, lab *Lab) error {
			if lab.Quick {
				return setUpSteps(ctx, lab, 10, 200*time.Millisecond)
			}
			return setUpSteps(ctx, lab, 100, 2*time.Second)
		},
	}
}

// stepRunner starts runs of ten steps and waits for their ends: so many, or as many as a time allows, a number of them at once. It gives the times of
// all runs. process is the one that does the work, or that what does stems from.
type stepRunner interface {
	process() int
	run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error)
}

// setUpSteps makes samples of so many runs one after the other, and of so long a time with many.
func setUpSteps(ctx context.Context, lab *Lab, count int, window time.Duration) error {
	dir := filepath.Join(lab.Dir, "ten")
	if err := writeStepsApp(dir, stepsInRun); err != nil {
		return err
	}
	s, err := lab.serve(ctx, "steps")
	if err != nil {
		return err
	}
	if err := s.deploy(ctx, dir); err != nil {
		return err
	}
	alone, err := openEngine(filepath.Join(lab.Dir, "engine"), filepath.Join(dir, "weft.yaml"))
	if err != nil {
		return err
	}
	lab.Cleanup(alone.Close)
	type variant struct {
		name        string
		runner      stepRunner
		transitions float64 // that are journaled, a step
	}
	variants := []variant{{"weft", &serverRunner{s}, 2}, {"engine", alone, 2}}
	peer, err := startPeer(ctx, filepath.Join(lab.Peers, "dbos"))
	switch {
	case errors.Is(err, errNoPeer):
		lab.Skip("dbos", err.Error())
	case err != nil:
		return err
	default:
		lab.Cleanup(peer.Close)
		variants = append(variants, variant{"dbos", peer, 1})
	}
	one := lab.Group("alone", Rounds{WarmUp: 2, Min: 3, Max: 50})
	many := lab.Group("many", Rounds{WarmUp: 1, Min: 3, Max: 20})
	for _, v := range variants {
		one.Add(Case{Variant: v.name, Expect: "1", Sample: func(ctx context.Context) (Sample, error) {
			done, err := v.runner.run(ctx, count, 0, 1)
			sample := Sample{Digest: "1"}
			for _, took := range done.Latencies {
				sample.Values = append(sample.Values, Millis(stepsAlone, took))
			}
			return sample, err
		}})
		many.Add(Case{Variant: v.name, Expect: "1", Sample: func(ctx context.Context) (Sample, error) {
			before, err := processorTimeOf(v.runner.process())
			if err != nil {
				return Sample{}, err
			}
			done, err := v.runner.run(ctx, 0, window, stepsRuns)
			if err != nil {
				return Sample{}, err
			}
			after, err := processorTimeOf(v.runner.process())
			if err != nil {
				return Sample{}, err
			}
			steps := done.Rate() * stepsInRun
			return Sample{Digest: "1", Values: []Value{
				{Measure: stepsRate, Unit: "1/s", Number: steps},
				{Measure: stepsTransitions, Unit: "1/s", Number: steps * v.transitions},
				Micros(stepsProcessor, (after-before)/time.Duration(len(done.Latencies)*stepsInRun)),
			}}, nil
		}})
	}
	return nil
}

// serverRunner asks a server for runs.
type serverRunner struct{ server *served }

// process implements stepRunner.
func (r *serverRunner) process() int { return r.server.command.Process.Pid }

// run implements stepRunner. Of the last run, the server is asked whether its steps have been carried out.
func (r *serverRunner) run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error) {
	c, err := r.server.dial("unix", at)
	if err != nil {
		return load.Done{}, err
	}
	defer c.Close()
	var last engine.Run
	done, err := c.Run(ctx, load.Order{
		Request: request("POST", "/v1/apps/steps/workflows/main/runs?wait=30s", "", "{}"), Count: count, For: window,
		Check: func(status int, body []byte) error {
			if err := json.Unmarshal(body, &last); err != nil {
				return err
			}
			if status != http.StatusOK || last.Status != engine.Succeeded || last.Output != 1.0 || last.Durability != "journal" {
				return fmt.Errorf("%w: status %d, body %.300s", errDigest, status, body)
			}
			return nil
		},
	})
	if err != nil {
		return done, err
	}
	d, err := r.server.client.Run(ctx, last.ID)
	if err != nil {
		return done, err
	}
	if len(d.Steps) != stepsInRun {
		return done, fmt.Errorf("%w: run %s has %d steps", errDigest, last.ID, len(d.Steps))
	}
	return done, nil
}
