package node

import (
	"context"
	"fmt"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// RunRequest says what to run and how.
type RunRequest struct {
	App        *app.App
	Workflow   string
	Input      any
	Seed       uint64 // of the jitter of retries
	Load, Pass string // policies; empty: as the app file says
	Apart      bool   // every call in a domain host of its own
	Observer   engine.Observer
}

// Run executes a workflow and returns when it has ended, in whatever way: a run
// that fails is a result, not an error. Nothing of it is durable. Cancelling ctx
// cancels the run.
func (n *Node) Run(ctx context.Context, req RunRequest) (*engine.Result, error) {
	if req.App.Workflows[req.Workflow] == nil {
		return nil, fmt.Errorf("app %s has no workflow %s", req.App.Name, req.Workflow)
	}
	p, err := n.program(ctx, req.App, req.Observer)
	if err != nil {
		return nil, err
	}
	return n.runs.Execute(ctx, engine.Execution{
		Program: p, Workflow: req.Workflow, Input: req.Input, Seed: req.Seed, Load: req.Load, Pass: req.Pass, Apart: req.Apart, Observer: req.Observer,
	})
}

// sandboxes lets an engine use a pool.
type sandboxes struct{ *domain.Pool }

var _ engine.Sandboxes = sandboxes{}

func (s sandboxes) Domain(o domain.Options) (engine.Domain, error) {
	d, err := s.Pool.Domain(o)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (s sandboxes) Evaluate(ctx context.Context, expressions []string, scope any, done func([]any, error)) {
	go func() { done(s.Pool.Evaluate(ctx, expressions, scope)) }()
}
