package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/weft-run/weft/internal/bench/data"
	"github.com/weft-run/weft/internal/bench/report"
)

// Lab is what an experiment's Setup works with, and collects what it made.
type Lab struct {
	Quick    bool      // smaller inputs and fewer levels where the full ones would not fit in a minute
	Seed     uint64    // of every generated input
	Dir      string    // scratch folder, removed at the end
	Examples string    // the folder of weft's example apps
	Weft     Weft      // the node
	Program  string    // weft's executable, for Serve
	Peers    string    // folder of programs that drive other systems
	Apps     []string  // Options.Apps
	Rates    []float64 // Options.Rates
	Until    time.Time // when the budget is used; while a group is measured, when its share of it is
	Log      *slog.Logger

	groups  []*Group
	skipped []report.Skip
	cleanup []func() error
	notes   []func() []string
	curves  []*report.Curve
	answers map[string]*data.Answers // of the data sets made so far, by folder
}

// Group adds an empty group of cases.
func (l *Lab) Group(name string, rounds Rounds) *Group {
	rounds.EnsureDefaults()
	g := &Group{name: name, rounds: rounds}
	l.groups = append(l.groups, g)
	return g
}

// Skip records that a variant cannot be measured on this machine. The report says so.
func (l *Lab) Skip(variant, reason string) {
	for _, s := range l.skipped {
		if s == (report.Skip{Variant: variant, Reason: reason}) {
			return
		}
	}
	l.skipped = append(l.skipped, report.Skip{Variant: variant, Reason: reason})
}

// Conclude has f called when all is measured; what it returns is said below the table.
func (l *Lab) Conclude(f func() []string) { l.notes = append(l.notes, f) }

// Curve is that of a subject under a variant, a new one in the report if there is none.
func (l *Lab) Curve(subject, variant string) *report.Curve {
	for _, c := range l.curves {
		if c.Subject == subject && c.Variant == variant {
			return c
		}
	}
	c := &report.Curve{Subject: subject, Variant: variant}
	l.curves = append(l.curves, c)
	return c
}

// Cleanup has f called after the measuring, failed or not; the last one first.
func (l *Lab) Cleanup(f func() error) { l.cleanup = append(l.cleanup, f) }

// close calls the clean-ups and joins their errors.
func (l *Lab) close() error {
	var errs []error
	for i := len(l.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, l.cleanup[i]())
	}
	l.cleanup = nil
	return errors.Join(errs...)
}

// Open builds an example app. What its functions see at each guest path in mounts is the host folder beside it.
func (l *Lab) Open(ctx context.Context, app string, mounts map[string]string) (App, error) {
	a, err := l.Weft.Open(ctx, filepath.Join(l.Examples, app), mounts)
	if err != nil {
		return nil, fmt.Errorf("open example %s: %w", app, err)
	}
	return a, nil
}

// Generate makes a data set in the lab's folder, unless it is there already.
func (l *Lab) Generate(ctx context.Context, kind data.Kind, size int64, parts int) (dir string, answers *data.Answers, err error) {
	dir = filepath.Join(l.Dir, fmt.Sprintf("%s-%d-%d", kind, size, parts))
	if a := l.answers[dir]; a != nil {
		return dir, a, nil
	}
	l.Log.Info("generating", "kind", kind, "bytes", size, "parts", parts)
	answers, err = data.Generate(ctx, data.Spec{Kind: kind, Size: size, Parts: parts, Seed: l.Seed, Dir: dir})
	if err != nil {
		return "", nil, err
	}
	if l.answers == nil {
		l.answers = map[string]*data.Answers{}
	}
	l.answers[dir] = answers
	return dir, answers, nil
}
