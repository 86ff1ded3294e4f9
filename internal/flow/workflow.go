package flow

import "time"

// A Workflow is a directed graph of steps. It is data: building one checks
// nothing, [Check] does. A Workflow must not change once a run uses it.
type Workflow struct {
	Name    string
	Steps   []Step        // in the order of the file; the order decides nothing but ties
	Output  Template      // what a run gives; absent: the outputs of the steps that nothing needs, see [Graph.Sinks]
	Timeout time.Duration // of a whole run of this workflow, 0: none
}

// A Step is one node of a workflow: it calls a function, a method of a
// service or another workflow once, or once for each item of a list.
//
// What happens, in this order: all of Needs are done; When is evaluated;
// Foreach is evaluated; and then for each item the Signal comes, With, Stdin and Wait are
// evaluated, the wait passes, and Call is attempted until it succeeds or
// Retry is used up, after which Catch may replace the failure by a value.
type Step struct {
	Name        string        // [a-z][a-z0-9_]{0,62}, and none of [Reserved]
	Call        Target        // zero: the step gives its input as its output (a value, a join or only a wait)
	Needs       []string      // steps that are done before this one
	With        Template      // the input; absent: the item, without foreach {need: its output, …}, without needs the run's input
	Stdin       Template      // text or a buffer: what the function reads instead of its input as JSON
	When        Template      // gives true or false; null counts as false: the step is skipped
	Foreach     Template      // gives a list, an object of lists of one length (zip) or a number n (items 0 to n-1)
	Concurrency int           // items at a time, 0: all of them
	Retry       Retry         // further attempts of an item
	Timeout     time.Duration // of one attempt, 0: none but the function's own
	Catch       *Catch        // nil: a failure fails the run
	Wait        Template      // gives a duration ("5s", or a number of seconds) that passes before the first attempt
	Signal      Signal        // zero: none; each item waits for one of its own
}

// Signal is what an item waits for before its expressions are evaluated, which
// see its value as .signal. Without With and Stdin the value is the item's
// input, so a step without a call gives it as its output.
type Signal struct {
	Name    string        // like the name of a step
	Timeout time.Duration // after which the item fails with KindTimeout, 0: none
}

// TargetKind says what a name that a step calls stands for.
type TargetKind string

// The kinds of targets.
const (
	Function      TargetKind = "function" // a function of the app
	ServiceMethod TargetKind = "service"  // "service.method"
	SubWorkflow   TargetKind = "workflow" // another workflow, or the same one: depth is bounded by [MaxDepth]
)

// A Target is what a step calls. The zero Target is no call.
type Target struct {
	Kind TargetKind `json:"kind"`
	Name string     `json:"name"`
}

// IsZero reports whether t is no call at all.
func (t Target) IsZero() bool { return t == Target{} }

// Retry says how often a failed attempt is repeated, and after how long. The
// zero Retry is no further attempt. The n-th further attempt starts
// Backoff·Factorⁿ⁻¹ after the failure, at most MaxBackoff, and up to Jitter of
// that earlier or later. Fields mean what they say, so start from
// [DefaultRetry] rather than from zero.
type Retry struct {
	Max        int           // further attempts, at most [MaxRetries]
	Backoff    time.Duration // before the first further attempt
	Factor     float64       // at least 1; 0 counts as 1
	MaxBackoff time.Duration // 0: no limit
	Jitter     float64       // between 0 and 1
}

// DefaultRetry is a retry with the documented defaults and no attempts: 100 ms,
// doubled each time up to 30 s, 20 % earlier or later.
var DefaultRetry = Retry{Backoff: 100 * time.Millisecond, Factor: 2, MaxBackoff: 30 * time.Second, Jitter: 0.2}

// Catch replaces the failure of an item by a value, or by the output of a
// call. Its expressions see the failure as .error: {message, kind, step,
// index}. Exactly one of Value and Call is set.
type Catch struct {
	Value Template
	Call  Target
	With  Template // input of Call; absent: the error
}

// Limits that keep a run finite whatever its workflow says.
const (
	MaxDepth    = 16        // workflows nested in one another
	MaxWidth    = 100_000   // items of one foreach
	MaxRetries  = 1_000     // further attempts of one item
	MaxStarts   = 1_000_000 // items and further attempts in one run
	FreeRetries = 10        // attempts of an item that may be lost without using its budget
	MaxSignals  = 1_000     // signals of a run that nobody waits for yet
)

// Reserved lists the names that expressions use for something other than a
// step's output, so no step may bear them.
var Reserved = []string{"input", "item", "index", "run", "error", "signal"}
