package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
)

// Execution says what to execute and how.
type Execution struct {
	Program    *Program
	Workflow   string
	Input      any
	Seed       uint64 // of the jitter of retries
	Load, Pass string // policies; empty: as the app file says
	Apart      bool   // every call in a domain host of its own
	Observer   Observer
}

// Result is the outcome of an execution. Close gives back its buffers.
type Result struct {
	ID      string
	Status  flow.Status
	Output  any
	Failure *flow.Failure // unless it succeeded
	Trace   *telemetry.Trace

	run *run
}

// Open reads a buffer that the output names. It is valid until Close.
func (r *Result) Open(slot string) (io.ReadCloser, int64, error) {
	if r.run.domain == nil {
		return nil, 0, fmt.Errorf("open buffer %s: the run has none", slot)
	}
	rd, size, err := r.run.domain.Open(slot)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(rd), size, nil
}

// Close frees the run's buffers.
func (r *Result) Close() error {
	if r.run.domain == nil {
		return nil
	}
	return r.run.domain.Close()
}

// Execute runs a workflow for a caller in this process and returns when it has
// ended, in whatever way: a run that fails is a result, not an error. Nothing
// of it is durable. Cancelling ctx cancels the run.
func (e *Engine) Execute(ctx context.Context, x Execution) (*Result, error) {
	if x.Program.App.Workflows[x.Workflow] == nil {
		return nil, fmt.Errorf("app %s has no workflow %s", x.Program.App.Name, x.Workflow)
	}
	if err := unanswered(x.Program.App, x.Workflow, map[string]bool{}); err != nil {
		return nil, err
	}
	if err := e.enter(x.Program.edition()); err != nil {
		return nil, err
	}
	now := e.o.World.Now()
	r := e.newRun(record{Run: Run{
		ID: newID(now, e.o.World.Random()), App: x.Program.App.Name, Version: x.Program.Version, Workflow: x.Workflow, Status: Running,
		Input: x.Input, Created: now, Durability: app.DurabilityNone,
	}, Seed: x.Seed}, false)
	r.options = local{own: true, observer: x.Observer, load: x.Load, pass: x.Pass, apart: x.Apart}
	failed := make(chan error, 1)
	r.box.post(func() {
		failed <- r.begin(x.Program, StartRequest{}, "", func(Run, bool, error) {})
	})
	if err := <-failed; err != nil {
		e.leave(x.Program.edition())
		r.cancel()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		r.post(func() { r.apply(flow.Cancelled{Reason: context.Cause(ctx).Error()}) })
	})
	defer stop()
	select {
	case <-r.over:
	case <-e.ctx.Done():
		return nil, e.why()
	}
	return &Result{ID: r.id, Status: r.outcome.Status, Output: r.outcome.Output, Failure: r.outcome.Failure, Trace: r.spans.Trace(), run: r}, nil
}

// unanswered finds a step that would wait for ever, because nobody can give a
// signal to a run of Execute.
func unanswered(a *app.App, workflow string, seen map[string]bool) error {
	w := a.Workflows[workflow]
	if w == nil || seen[workflow] {
		return nil
	}
	seen[workflow] = true
	for _, s := range w.Steps {
		if s.Signal.Name != "" && s.Signal.Timeout == 0 {
			return fmt.Errorf("step %s of workflow %s waits for signal %s, which nobody can give to a single run: write `signal: {name: %s, timeout: 1m}`, and a catch for when it does not come", s.Name, workflow, s.Signal.Name, s.Signal.Name)
		}
		targets := []flow.Target{s.Call}
		if s.Catch != nil {
			targets = append(targets, s.Catch.Call)
		}
		for _, t := range targets {
			if t.Kind == flow.SubWorkflow {
				if err := unanswered(a, t.Name, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
