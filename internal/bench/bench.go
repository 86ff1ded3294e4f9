// Package bench measures weft and what weft is compared with, in one run on one machine.
//
// An Experiment asks one question: how long does a cold start take, what does handing over 256 MiB cost. Its Setup makes Groups of Cases; a
// case is one variant of one piece of work, named after the policy under test (lazy, eager, reference, file) or the baseline (unix-socket,
// http, process, limit). The frame warms up, samples all cases of a group in rounds, in a new order each round, compares every output with
// the expected one, and sums up:
//
//	report, err := bench.Run(ctx, "data-transfer", bench.Options{Quick: true, Out: "results", Stdout: os.Stdout})
//
// A wrong output ends the experiment: there is no report of unchecked work. Rounds are as many as the time budget allows.
//
// Below it are data (seeded inputs with their answers), load (an open-loop load generator), baseline (the same work without weft), crew
// (processes that compute on demand) and replay (lists of calls, played on them under a policy of the processor).
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/scratch"
)

// Experiments returns all experiments in the order of the documentation.
func Experiments() []Experiment {
	return []Experiment{
		coldStart(),
		dataTransfer(),
		endToEnd(),
		breakdown(),
		p99(),
		resources(),
		overhead(),
		host(),
		invoke(),
		steps(),
		recovery(),
		coldProcess(),
		processor(),
		processorAblation(),
		processorSensitivity(),
		services(),
		sequential(),
	}
}

// Names returns the names of all experiments.
func Names() []string {
	var names []string
	for _, e := range Experiments() {
		names = append(names, e.Name)
	}
	return names
}

// Run runs the experiment called name, prints its report in Options.Format and saves it in Options.Out.
func Run(ctx context.Context, name string, o Options) (*Report, error) {
	for _, e := range Experiments() {
		if e.Name == name {
			return RunExperiment(ctx, e, o)
		}
	}
	return nil, fmt.Errorf("experiment %q: there is none of that name, only %s", name, strings.Join(Names(), ", "))
}

// RunExperiment runs e, prints its report in Options.Format and saves it in Options.Out.
func RunExperiment(ctx context.Context, e Experiment, o Options) (*Report, error) {
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
func (e Experiment) report(ctx context.Context, o Options) (_ *Report, err error) {
	began := time.Now()
	machine := DescribeMachine(o.Version)
	folder, err := scratch.Make("")
	if err != nil {
		return nil, err
	}
	dir := folder.Path
	lab := &Lab{Quick: o.Quick, Seed: o.Seed, Dir: dir, Examples: o.Examples, Program: o.Program, Peers: o.Peers, Apps: o.Apps, Rates: o.Rates, Until: began.Add(o.Budget), Log: o.Log}
	lab.Cleanup(folder.Remove)
	defer func() { err = errors.Join(err, lab.close()) }()
	if lab.Examples == "" {
		lab.Examples = findExamples()
	}
	if lab.Program == "" {
		if lab.Program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find weft's executable: %w", err)
		}
	}
	if lab.Peers == "" {
		lab.Peers = filepath.Join(filepath.Dir(lab.Examples), "bench", "peers", "bin")
	}
	if !e.Serves {
		if lab.Weft, err = o.Start(ctx, dir); err != nil {
			return nil, fmt.Errorf("start a node: %w", err)
		}
		lab.Cleanup(lab.Weft.Close)
	}
	o.Log.Info("setting up", "experiment", e.Name)
	if err := e.Setup(ctx, lab); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	done, err := measureAll(ctx, lab, lab.Until)
	if err != nil {
		return nil, err
	}
	r, err := newReport(e, machine, done)
	if err != nil {
		return nil, err
	}
	r.Skipped = lab.skipped
	for _, c := range lab.curves {
		c.sumUp()
		r.Curves = append(r.Curves, c)
	}
	for _, f := range lab.notes {
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

// ChildCommand is the first argument with which baselines start this executable as another process of theirs. The program calls ChildMain
// then, before it looks at anything else of its command line.
const ChildCommand = baseline.Command

// ChildMain is the main function of such a process; args are what follows ChildCommand. It returns the exit status.
func ChildMain(args []string) int {
	if len(args) > 0 && args[0] == crew.Role {
		return crew.Serve(args[1:])
	}
	return baseline.ChildMain(args)
}
