package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/bench/data"
)

// Experiment is one question about weft, and how it is put to the machine.
type Experiment struct {
	Name        string   // as on the command line: "cold-start"
	Description string   // one line, for lists
	Baselines   []string // variants that every other one is compared with, in the order of the table's columns
	// Required says what weft is to reach, in words, by measure and variant; it is printed beside what was measured.
	Required []Requirement
	// Serves says that the experiment starts servers (Lab.Serve) and needs no node in this process: Lab.Weft is nil.
	Serves bool

	// Setup prepares what is to be measured: it makes the inputs, builds the functions, starts the processes and adds groups of cases to the
	// lab. What it starts it hands to Lab.Cleanup. Its time is not measured but counts against the budget.
	Setup func(ctx context.Context, lab *Lab) error
}

// Requirement is what a variant is to reach in a measure: "median ≤ 0.5, p99 ≤ 2", in the measure's unit. A report shows it and judges nothing.
type Requirement struct{ Measure, Variant, Text string }

// Case is one variant of one piece of work, measured again and again beside the other cases of its group.
type Case struct {
	Variant string // the policy's name: lazy, eager, reference, file, limit, …
	Expect  string // the digest that every sample's output must have
	Last    bool   // sampled behind the others of each round, since it is made of what they measured
	// Sample does the work once, times it itself, and says what came out.
	Sample func(ctx context.Context) (Sample, error)
}

// Sample is the outcome of doing a case's work once.
type Sample struct {
	Digest string  // of the output; compared with Case.Expect
	Values []Value // what was measured; one measure may have several values
}

// Value is one measured number.
type Value struct {
	Measure string  // what was measured, with the size of the work: "take 4 KiB"
	Unit    string  // µs, ms, s, MiB, 1/s
	Number  float64 // in that unit
	// Against names the measure whose baselines this one is compared with; default Measure. A function in Go and one in C have measures of
	// their own but share the baselines.
	Against string
}

// Micros is a value in microseconds, for times of calls and hand-overs.
func Micros(measure string, d time.Duration) Value {
	return Value{Measure: measure, Unit: "µs", Number: float64(d.Nanoseconds()) / 1e3}
}

// Millis is a value in milliseconds, for times of whole runs.
func Millis(measure string, d time.Duration) Value {
	return Value{Measure: measure, Unit: "ms", Number: float64(d.Nanoseconds()) / 1e6}
}

// Rounds bounds how often the cases of a group are sampled. In one round each case is sampled once.
type Rounds struct {
	WarmUp int     // rounds whose samples are checked but not counted; default 1, none when negative
	Min    int     // counted rounds even when the budget is spent; default 1
	Max    int     // counted rounds even when there is time left; default 1000
	Weight float64 // share of the budget relative to the other groups; default 1
}

// EnsureDefaults replaces zero fields by their defaults.
func (r *Rounds) EnsureDefaults() {
	if r.WarmUp == 0 {
		r.WarmUp = 1
	}
	if r.Min <= 0 {
		r.Min = 1
	}
	if r.Max <= 0 {
		r.Max = 1000
	}
	r.Max = max(r.Max, r.Min)
	if r.Weight <= 0 {
		r.Weight = 1
	}
}

// Group holds cases that are compared with one another. They alternate, so that a slow minute of the machine slows all of them.
type Group struct {
	name   string
	rounds Rounds
	cases  []Case
}

// Add puts a case into the group.
func (g *Group) Add(c Case) { g.cases = append(g.cases, c) }

// Skip is a variant that could not be measured here, and why.
type Skip struct{ Variant, Reason string }

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
	Until    time.Time // when the budget is used
	Log      *slog.Logger

	groups  []*Group
	skipped []Skip
	cleanup []func() error
	notes   []func() []string
	curves  []*Curve
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
		if s == (Skip{variant, reason}) {
			return
		}
	}
	l.skipped = append(l.skipped, Skip{variant, reason})
}

// Conclude has f called when all is measured; what it returns is said below the table.
func (l *Lab) Conclude(f func() []string) { l.notes = append(l.notes, f) }

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

// Options says how an experiment is run and where its results go.
type Options struct {
	Quick  bool          // finish within a minute
	Budget time.Duration // of set-up and measuring together; default 5 minutes, 50 s when Quick
	Seed   uint64        // of inputs and of the order of the variants; default 1
	Out    string        // folder for NAME.csv, NAME.json and NAME.svg; empty: none are written
	Format string        // what Run prints: table (default), json or csv

	Apps   []string  // applications of the experiments on services; default: all
	Rates  []float64 // at which services asks them, in requests a second; default: some that suit each application
	Stdout io.Writer // where it prints; default nowhere

	Program  string       // weft's executable, which serves as `PROGRAM serve`; default that of this process
	Peers    string       // folder of what `make peers` has built; default bench/peers/bin beside the examples
	Examples string       // folder of weft's example apps; default the one found above the working folder
	Version  string       // of weft, for the machine's description; default from the build
	Log      *slog.Logger // progress; default nowhere

	// Start makes the node that runs weft's variants. It is called once for an experiment, with a folder that is removed afterwards.
	// Default: a node of this process.
	Start func(ctx context.Context, dir string) (Weft, error)
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	if o.Budget <= 0 {
		o.Budget = 5 * time.Minute
		if o.Quick {
			o.Budget = 50 * time.Second
		}
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Format == "" {
		o.Format = "table"
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Start == nil {
		o.Start = StartNode
	}
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	for _, a := range o.Apps {
		if !slices.Contains(serviceNames(), a) {
			return fmt.Errorf("application %q: there are only %s", a, strings.Join(serviceNames(), ", "))
		}
	}
	for _, r := range o.Rates {
		if !(r > 0 && r <= 1e6) {
			return fmt.Errorf("rate %v: want more than 0 requests a second, and at most a million", r)
		}
	}
	switch o.Format {
	case "table", "json", "csv":
		return nil
	}
	return fmt.Errorf("output format %q: want table, json or csv", o.Format)
}
