package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/trigger"
)

// Routed is the HTTP trigger that a request is for.
type Routed struct {
	app.Trigger
	Params  map[string]string // segments of the path by their names
	Serves  bool              // the function answers requests itself
	Allowed []string          // methods, if the path has triggers for others only; then there is no trigger
}

// Route finds the HTTP trigger of an app's active version for a request. The
// path is the escaped one. It fails with engine.ErrNotFound.
func (s *Server) Route(ctx context.Context, appName, method, path string) (Routed, error) {
	d, err := s.deployed(ctx, appName, "")
	if err != nil {
		return Routed{}, err
	}
	i, params, ok, allowed := d.routes.Match(method, path)
	switch {
	case ok:
		t := d.program.App.Triggers[i]
		f := d.program.App.Functions[t.Function]
		return Routed{Trigger: t, Params: params, Serves: f != nil && f.Serves != ""}, nil
	case len(allowed) > 0:
		return Routed{Allowed: allowed}, nil
	}
	return Routed{}, fmt.Errorf("app %s has no trigger for %s %s: %w", appName, method, path, engine.ErrNotFound)
}

// routes are the HTTP triggers of an app.
func routes(a *app.App) (*trigger.Routes, error) {
	var list []trigger.Route
	for i, t := range a.Triggers {
		if t.Kind == app.TriggerHTTP {
			list = append(list, trigger.Route{Method: t.Method, Path: t.Path, Index: i})
		}
	}
	return trigger.NewRoutes(list)
}

// TriggerError says that a trigger cannot make anything of a request or an event:
// an expression of its fails, or its workflow does not take the input.
type TriggerError struct {
	Trigger string // its name
	Err     error
}

func (e *TriggerError) Error() string { return fmt.Sprintf("trigger %s: %v", e.Trigger, e.Err) }
func (e *TriggerError) Unwrap() error { return e.Err }

// Event starts the runs that an app's active version wants for an event, and
// returns their names. Repeating it starts none again. If a trigger cannot make
// anything of the event, the others start their runs nevertheless; the error is
// a *TriggerError then.
func (s *Server) Event(ctx context.Context, appName string, ev trigger.Event, traceparent string) ([]string, error) {
	d, err := s.deployed(ctx, appName, "")
	if err != nil {
		return nil, err
	}
	scope := map[string]any{"event": ev.Scope()}
	runs := []string{}
	var useless error
	for _, t := range d.program.App.Triggers {
		if t.Kind != app.TriggerEvent || !trigger.MatchType(t.Event, ev.Type) {
			continue
		}
		value, wanted, err := s.eventInput(ctx, t, scope)
		if err != nil {
			useless = errors.Join(useless, &TriggerError{t.Name, err})
		}
		if err != nil || !wanted {
			continue
		}
		r, _, err := s.Runs.Start(ctx, engine.StartRequest{
			App: appName, Version: d.program.Version, Workflow: t.Workflow, Input: value, Key: t.Name + "/" + ev.Key(), Repeat: true,
			Trigger: "event " + ev.Type, Traceparent: traceparent,
		})
		var input *engine.InputError
		if errors.As(err, &input) {
			useless = errors.Join(useless, &TriggerError{t.Name, err})
			continue
		}
		if err != nil {
			return runs, err
		}
		runs = append(runs, r.ID)
	}
	return runs, useless
}

// eventInput is the input of the run that a trigger wants for an event, if it
// wants one.
func (s *Server) eventInput(ctx context.Context, t app.Trigger, scope map[string]any) (input any, wanted bool, err error) {
	if !t.Filter.IsZero() {
		answer, err := s.Render(ctx, t.Filter, scope)
		if err != nil {
			return nil, false, fmt.Errorf("filter: %w", err)
		}
		if answer == nil || answer == false {
			return nil, false, nil
		}
	}
	input = scope["event"]
	if !t.With.IsZero() {
		if input, err = s.Render(ctx, t.With, scope); err != nil {
			return nil, false, fmt.Errorf("with: %w", err)
		}
	}
	return input, true, nil
}

// Render gives a template's value over a scope.
func (s *Server) Render(ctx context.Context, t flow.Template, scope any) (any, error) {
	return t.Render(scope, func(expressions []string) ([]any, error) { return s.pool.Evaluate(ctx, expressions, scope) })
}

// jobs are the cron triggers of an app.
func jobs(a *app.App) ([]trigger.Job, error) {
	var list []trigger.Job
	for _, t := range a.Triggers {
		if t.Kind != app.TriggerCron {
			continue
		}
		zone, err := time.LoadLocation(t.Zone)
		if err != nil {
			return nil, fmt.Errorf("trigger %s: %w", t.Name, err)
		}
		list = append(list, trigger.Job{
			App: a.Name, Name: t.Name, Schedule: trigger.Schedule{Expr: t.Cron, Zone: zone}, Overlap: trigger.Overlap(t.Overlap), Missed: trigger.Missed(t.Missed),
		})
	}
	return list, nil
}

// fire starts the run of a cron trigger that is due.
func (s *Server) fire(ctx context.Context, j trigger.Job, _ time.Time, key string) (string, error) {
	a, v, err := s.Apps.Get(j.App, "")
	if err != nil {
		return "", err
	}
	for _, t := range a.Triggers {
		if t.Kind != app.TriggerCron || t.Name != j.Name {
			continue
		}
		input, _ := t.With.Constant() // there is nothing that it could depend on
		r, _, err := s.Runs.Start(ctx, engine.StartRequest{App: j.App, Version: v.ID, Workflow: t.Workflow, Input: input, Key: key, Repeat: true, Trigger: "cron " + t.Cron})
		return r.ID, err
	}
	return "", fmt.Errorf("cron trigger %s of app %s: %w", j.Name, j.App, engine.ErrNotFound)
}
