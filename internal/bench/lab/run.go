package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-run/weft/internal/bench/report"
	"github.com/weft-run/weft/internal/scratch"
)

// Run runs e, prints its report in Options.Format and saves it in Options.Out.
//
// When ctx ends while it measures, Run does so with what has been measured, if there is anything, and returns it with an error that wraps that of
// ctx; Report.Interrupted says how far it came. With any other error there is no report.
func Run(ctx context.Context, e Experiment, o Options) (*report.Report, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r, interrupted := e.report(ctx, o)
	if r == nil {
		return nil, fmt.Errorf("experiment %s: %w", e.Name, interrupted)
	}
	if o.Out != "" {
		if err := r.Save(o.Out); err != nil {
			return nil, errors.Join(interrupted, err)
		}
	}
	if err := r.Write(o.Stdout, o.Format); err != nil {
		return nil, errors.Join(interrupted, fmt.Errorf("experiment %s: print: %w", e.Name, err))
	}
	if interrupted != nil {
		return r, fmt.Errorf("experiment %s: %w", e.Name, interrupted)
	}
	return r, nil
}

// report sets up, measures, cleans up and sums up. With an error there is only a report if that is an interruption.
func (e Experiment) report(ctx context.Context, o Options) (r *report.Report, err error) {
	began := time.Now()
	machine := report.DescribeMachine(o.Version)
	folder, err := scratch.Make("")
	if err != nil {
		return nil, err
	}
	dir := folder.Path
	l := &Lab{Quick: o.Quick, Seed: o.Seed, Dir: dir, Examples: o.Examples, Program: o.Program, Peers: o.Peers, Apps: o.Apps, Rates: o.Rates, Until: began.Add(o.Budget), Log: o.Log}
	l.Cleanup(folder.Remove)
	defer func() {
		failed := l.close()
		if failed != nil && err == nil {
			r = nil
		}
		if err = errors.Join(err, failed); err != nil && ctx.Err() != nil && !errors.Is(err, ErrDigest) && !errors.Is(err, ctx.Err()) {
			err = errors.Join(ctx.Err(), err) // what fails since it was interrupted need not say so
		}
	}()
	if l.Examples == "" {
		l.Examples = findExamples()
	}
	if l.Program == "" {
		if l.Program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find weft's executable: %w", err)
		}
	}
	if l.Peers == "" {
		l.Peers = filepath.Join(filepath.Dir(l.Examples), "bench", "peers", "bin")
	}
	if !e.Serves {
		if l.Weft, err = o.Start(ctx, dir); err != nil {
			return nil, fmt.Errorf("start a node: %w", err)
		}
		l.Cleanup(l.Weft.Close)
	}
	o.Log.Info("setting up", "experiment", e.Name)
	if err := e.Setup(ctx, l); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	ready := time.Since(began)
	done, err := measureAll(ctx, l, l.Until)
	var early *interruption
	if err != nil && !errors.As(err, &early) {
		return nil, err
	}
	if r, err = sumUp(e, machine, done); err != nil && early != nil {
		return nil, early // before there was anything to report
	}
	if err != nil {
		return nil, err
	}
	r.Skipped = l.skipped
	for _, c := range l.curves {
		if len(c.Points) > 0 {
			c.SumUp()
			r.Curves = append(r.Curves, c)
		}
	}
	for _, f := range l.notes {
		r.Notes = append(r.Notes, f()...)
	}
	r.Took = time.Since(began)
	if early != nil {
		r.Interrupted = early.where
		return r, early
	}
	if r.Took > o.Budget+o.Budget/10 {
		r.Notes = append(r.Notes, fmt.Sprintf("the budget of %v was not enough: setting up took %v, and what is measured at least %v", o.Budget, tenths(ready), tenths(r.Took-ready)))
	}
	return r, nil
}

// tenths rounds a time for people.
func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// findExamples looks for weft's own examples folder in the working folder and those above it. Without one it returns "examples", so that the
// error of whoever opens it names what was looked for.
func findExamples() string {
	dir, err := os.Getwd()
	for err == nil {
		candidate := filepath.Join(dir, "examples")
		if _, err := os.Stat(filepath.Join(candidate, "wordcount", "weft.yaml")); err == nil {
			return candidate
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return "examples"
}
