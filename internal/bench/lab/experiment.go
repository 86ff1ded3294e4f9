// Package lab carries out experiments: it warms up, measures in rounds, checks every output, and sums up.
//
// An Experiment asks one question: how long does a cold start take, what does handing over 256 MiB cost. Its Setup makes Groups of Cases; a
// case is one variant of one piece of work, named after the policy under test (lazy, eager, reference, file) or the baseline (unix-socket,
// http, process, limit). Run samples all cases of a group in rounds, in a new order each round, compares every output with the expected one,
// and sums up in a report.Report:
//
//	e := lab.Experiment{Name: "naps", Setup: func(ctx context.Context, l *lab.Lab) error {
//		g := l.Group("naps", lab.Rounds{Max: 100})
//		g.Add(lab.Case{Variant: "short", Expect: "awake", Sample: nap})
//		return nil
//	}}
//	report, err := lab.Run(ctx, e, lab.Options{Stdout: os.Stdout})
//
// A wrong output ends the experiment: there is no report of unchecked work. Rounds are as many as the time budget allows.
//
// Besides, it has what experiments are made with: a node in this process (Weft), a server as a process of its own (Server), programs that
// drive other systems (Peer), and what processes use of the machine (ProcessorTime, Footprint, Observe).
package lab

import (
	"context"
	"time"
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
	Setup func(ctx context.Context, l *Lab) error
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
