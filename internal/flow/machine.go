package flow

import "time"

// Spec is what a run is made from. Runs with equal specs and equal events are
// equal.
type Spec struct {
	Workflow *Workflow
	Library  map[string]*Workflow // the workflows that steps may call, by name; Workflow itself need not be in it
	RunID    string
	Seed     uint64 // of the jitter of retries
	Input    any
}

// A Machine is one run.
type Machine struct{ spec Spec }

// New returns a run that has not begun. The error of a workflow that cannot
// run is of type [*InvalidError].
func New(spec Spec) (*Machine, error) { return &Machine{spec: spec}, nil }

// Apply takes in an event that happened at now, counted from the start of the
// run, and returns what is to be done because of it.
func (m *Machine) Apply(ev Event, now time.Duration) []Command { return nil }

// Done reports whether the run has ended.
func (m *Machine) Done() bool { return false }

// Replay makes a machine and applies a journal to it. It returns also the
// commands that the journal does not answer: they are to be carried out again.
func Replay(spec Spec, journal []Entry) (*Machine, []Command, error) { return nil, nil, nil }
