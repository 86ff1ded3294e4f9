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
func Run(ctx context.Context, e Experiment, o Options) (*report.Report, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r, err := e.report(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("experiment %s: %w", e.Name, err)
	}
	if o.Out != "" {
		if err := r.Save(o.Out); err != nil {
			return nil, err
		}
	}
	if err := r.Write(o.Stdout, o.Format); err != nil {
		return nil, fmt.Errorf("experiment %s: print: %w", e.Name, err)
	}
	return r, nil
}

// report sets up, measures, cleans up and sums up.
func (e Experiment) report(ctx context.Context, o Options) (_ *report.Report, err error) {
	began := time.Now()
	machine := report.DescribeMachine(o.Version)
	folder, err := scratch.Make("")
	if err != nil {
		return nil, err
	}
	dir := folder.Path
	l := &Lab{Quick: o.Quick, Seed: o.Seed, Dir: dir, Examples: o.Examples, Program: o.Program, Peers: o.Peers, Apps: o.Apps, Rates: o.Rates, Until: began.Add(o.Budget), Log: o.Log}
	l.Cleanup(folder.Remove)
	defer func() { err = errors.Join(err, l.close()) }()
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
	done, err := measureAll(ctx, l, l.Until)
	if err != nil {
		return nil, err
	}
	r, err := sumUp(e, machine, done)
	if err != nil {
		return nil, err
	}
	r.Skipped = l.skipped
	for _, c := range l.curves {
		c.SumUp()
		r.Curves = append(r.Curves, c)
	}
	for _, f := range l.notes {
		r.Notes = append(r.Notes, f()...)
	}
	r.Took = time.Since(began)
	return r, nil
}

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
