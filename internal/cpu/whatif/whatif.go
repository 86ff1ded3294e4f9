// Package whatif predicts what each CPU policy would give on a trace of calls: it
// plays the policy's commands on the simulated machine of package sim, as a backend
// carries them out on a real one.
//
//	reports, err := whatif.Compare(jobs, []string{"srpt", "none", "weft"}, whatif.Options{Policy: policy.Defaults(2)})
//	fmt.Print(reports[2].Stats[0].Mean)
//
// Besides the policies of package policy it knows the disciplines of theory: srpt, the
// oracle; ps, ideal processor sharing; fifo, rr and mlfq. What a policy learns of a
// function it learns during the run, from calls that have ended, so the first calls of
// each function are those of an unknown one.
//
// A tier is a level of strict priority here, inside which calls take turns of one
// quantum (or run to their end in Express, with Options.FIFO). A kernel's tiers are a
// little less strict: package docs/cpu.md says what is measured.
package whatif

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/cpu/sim"
)

// The disciplines that are no policies.
const (
	SRPT = "srpt"
	PS   = "ps"
	FIFO = "fifo"
	RR   = "rr"
	MLFQ = "mlfq"
)

// Names are all that can be compared, the oracle first.
func Names() []string { return append([]string{SRPT, PS, FIFO, RR, MLFQ}, policy.Names...) }

// Options are those of a comparison.
type Options struct {
	// Policy are the parameters of the policies; Policy.Cores is the number of cores.
	// Its Book is not used: each policy begins with an empty one, unless Learned is set.
	Policy policy.Options
	// Quantum is how long a call runs while others of its tier wait. Default 1.4 ms, the
	// slice of a stock kernel on two cores.
	Quantum time.Duration
	// SwitchCost is what a core needs to begin with another call. Default 0.
	SwitchCost time.Duration
	// FIFO says that calls in Express run without turns, as in a real-time class. The
	// policy sfs has it always.
	FIFO bool
	// Learned are calls that have ended before the trace begins, for the profiles.
	Learned []sim.Job
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() {
	if o.Policy.Cores == 0 {
		o.Policy = policy.Defaults(1)
	}
	if o.Quantum <= 0 {
		o.Quantum = 1400 * time.Microsecond
	}
}

// Report is what a policy gives.
type Report struct {
	Policy   string        `json:"policy"`
	Cores    int           `json:"cores"`
	Stats    []sim.Stats   `json:"stats"` // by class, and last of all calls
	Span     time.Duration `json:"span_ns"`
	Busy     time.Duration `json:"busy_ns"`
	Switches int           `json:"switches"`
	Commands int           `json:"commands"` // that the policy gave
	View     *policy.View  `json:"decisions,omitempty"`
	Outcome  *sim.Outcome  `json:"-"`
}

// Of is the sum of a class; its zero value when there is no such class.
func (r *Report) Of(class string) sim.Stats {
	for _, s := range r.Stats {
		if s.Class == class {
			return s
		}
	}
	return sim.Stats{}
}

// Compare plays the trace under each of names, in that order.
func Compare(jobs []sim.Job, names []string, o Options) ([]Report, error) {
	var out []Report
	for _, name := range names {
		r, err := Play(jobs, name, o)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// Play plays the trace, which is in order of arrival, under one policy or discipline.
func Play(jobs []sim.Job, name string, o Options) (*Report, error) {
	o.EnsureDefaults()
	mo := sim.Options{Cores: o.Policy.Cores, SwitchCost: o.SwitchCost}
	r := &Report{Policy: name, Cores: mo.Cores}
	var err error
	switch name {
	case SRPT:
		r.Outcome, err = sim.Run(jobs, mo, sim.SRPT())
	case PS:
		r.Outcome, err = sim.Sharing(jobs, mo)
	case FIFO:
		r.Outcome, err = sim.Run(jobs, mo, sim.FIFO())
	case RR:
		r.Outcome, err = sim.Run(jobs, mo, sim.RoundRobin(o.Quantum))
	case MLFQ:
		r.Outcome, err = sim.Run(jobs, mo, &sim.Levels{Budgets: []time.Duration{o.Policy.Weft.UnknownBudget}, Slots: o.Policy.Weft.Slots, Quantum: o.Quantum})
	default:
		if !slices.Contains(policy.Names, name) {
			return nil, fmt.Errorf("simulate policy %q: there are only %s", name, strings.Join(Names(), ", "))
		}
		o.Policy.Book = profile.NewBook(0)
		for i := range o.Learned {
			o.Policy.Book.Observe(o.Learned[i].Function, o.Learned[i].CPU)
		}
		var s policy.Strategy
		if s, err = policy.New(name, o.Policy); err != nil {
			return nil, err
		}
		d := &driver{strategy: s, options: o}
		if r.Outcome, err = sim.Run(jobs, mo, d); err == nil {
			v := s.View()
			r.View, r.Commands = &v, d.commands
		}
	}
	if err != nil {
		return nil, fmt.Errorf("simulate policy %s: %w", name, err)
	}
	r.Stats, r.Span, r.Busy, r.Switches = r.Outcome.Stats(), r.Outcome.Span, r.Outcome.Busy, r.Outcome.Switches
	return r, nil
}
