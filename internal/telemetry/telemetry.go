// Package telemetry holds what a run leaves behind for people to look at: the spans of its trace and the
// events of its progress. It also draws traces: a Gantt picture (WriteSVG), the Chrome trace format
// (WriteChrome) and a timeline of text (WriteText).
//
// The node records into a Recorder while a run goes on and hands out the finished Trace:
//
//	rec := telemetry.NewRecorder("r-7f3a")
//	from := rec.Now()
//	// … the attempt runs …
//	rec.Add(telemetry.Span{Kind: telemetry.KindAttempt, Step: "count", Index: 2, Attempt: 1, Start: from, End: rec.Now()})
//	trace := rec.Trace()
//
// The types are plain data and import nothing of weft's. Recording a span takes a mutex and an append, about
// 50 ns; a nil Recorder records nothing.
package telemetry

import (
	"slices"
	"strconv"
	"sync"
	"time"
)

// Kind says what a Span measures.
type Kind string

// The kinds of spans. A run contains steps, a step its attempts, an attempt what happened in its sandbox. Building
// functions comes before a run and is no part of it: events tell of it.
const (
	KindRun     Kind = "run"     // the whole run
	KindStep    Kind = "step"    // one step, or one item of a foreach, from ready to done
	KindAttempt Kind = "attempt" // one call of a function, from launch to result
	KindModule  Kind = "module"  // a module of the system interface loaded on first use; Name is the module
	KindPut     Kind = "put"     // a buffer published; Name is the slot
	KindTake    Kind = "take"    // a buffer taken or borrowed; Name is the slot
	KindCall    Kind = "call"    // a method of a service that a request has called as its part; Step is the questions that lead there, Name the method
	KindHost    Kind = "host"    // a domain host assigned to the run, until it was given back
)

// NoIndex is the Index of whatever does not belong to an item of a foreach.
const NoIndex = -1

// Span is something that took time during a run. Start and End count from Trace.Start.
type Span struct {
	Kind    Kind          `json:"kind"`
	Name    string        `json:"name,omitempty"`    // function, module or slot, as Kind says
	Step    string        `json:"step,omitempty"`    // step name; "outer.inner", "each[1].inner" within a sub-workflow; empty for the run itself
	Index   int           `json:"index"`             // position in the step's foreach, or NoIndex
	Attempt int           `json:"attempt,omitempty"` // 1 for the first attempt, 0 where there is none
	Host    string        `json:"host,omitempty"`    // domain host it happened in, "" when in the node
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Attrs   []Attr        `json:"attrs,omitempty"`
}

// Attr is one more fact about a span, ready to be shown: "bytes" "1048576", "error" "exit status 2".
// A span with the key "error" is drawn as failed.
type Attr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Path names the step or item that a span belongs to: "count", "count[2]".
func (s Span) Path() string { return path(s.Step, s.Index) }

// Duration is how long the span took, never negative.
func (s Span) Duration() time.Duration { return max(s.End-s.Start, 0) }

// Attr returns the value of the attribute named key, or "".
func (s Span) Attr(key string) string {
	for _, a := range s.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Trace is all that was recorded of one run.
type Trace struct {
	Run   string    `json:"run"`
	Start time.Time `json:"start"`
	Spans []Span    `json:"spans"` // ordered by Start, the longer first
}

// Duration is the end of the last span.
func (t *Trace) Duration() time.Duration {
	var end time.Duration
	for _, s := range t.Spans {
		end = max(end, s.End)
	}
	return end
}

// EventKind says what an Event reports.
type EventKind string

// The kinds of events, in the order in which they can occur.
const (
	EventBuildStarted  EventKind = "build-started"  // Function
	EventBuildFinished EventKind = "build-finished" // Function, Took; Text is "cached" when nothing had to be done
	EventBuildFailed   EventKind = "build-failed"   // Function, Text is the error
	EventRunStarted    EventKind = "run-started"    // Text is the run's ID
	EventStepStarted   EventKind = "step-started"   // Step, Index, Attempt, Function
	EventStepFinished  EventKind = "step-finished"  // Step, Index, Attempt, Took
	EventStepRetried   EventKind = "step-retried"   // Step, Index, Attempt (the failed one, which another follows), Took, Text is the failure
	EventStepStopped   EventKind = "step-stopped"   // Step, Index, Attempt, Took, Text is why the result does not matter any longer
	EventStepFailed    EventKind = "step-failed"    // Step, Index, Attempt (the last one; 0: the step, with all its items), Took, Text is the failure
	EventStepSkipped   EventKind = "step-skipped"   // Step
	EventLog           EventKind = "log"            // Step, Index, Attempt, Text is one line of the function's stderr, without its newline
	EventRunFinished   EventKind = "run-finished"   // Took, Text is the status
)

// Event is one piece of news about a build or a run under way, told to an observer as it happens.
type Event struct {
	Kind     EventKind
	Function string
	Step     string
	Index    int // position in the step's foreach, or NoIndex
	Attempt  int
	Text     string
	At       time.Time
	Took     time.Duration
}

// Path names the step or item that an event belongs to: "count", "count[2]".
func (e Event) Path() string { return path(e.Step, e.Index) }

// path joins a step and an index.
func path(step string, index int) string {
	if index < 0 || step == "" {
		return step
	}
	return step + "[" + strconv.Itoa(index) + "]"
}

// Recorder collects the spans of one run. It may be used from several goroutines; a nil Recorder does nothing.
type Recorder struct {
	run   string
	start time.Time

	mu    sync.Mutex
	spans []Span // guarded by mu
}

// NewRecorder starts recording run now.
func NewRecorder(run string) *Recorder { return NewRecorderAt(run, time.Now()) }

// NewRecorderAt records run as one that has begun at start: spans count from
// then, also if the run goes on after a restart.
func NewRecorderAt(run string, start time.Time) *Recorder {
	return &Recorder{run: run, start: start}
}

// Start returns the instant that all spans count from.
func (r *Recorder) Start() time.Time {
	if r == nil {
		return time.Time{}
	}
	return r.start
}

// Now returns the time since the start, for Span.Start and Span.End.
func (r *Recorder) Now() time.Duration {
	if r == nil {
		return 0
	}
	return time.Since(r.start)
}

// Add records spans.
func (r *Recorder) Add(spans ...Span) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.spans = append(r.spans, spans...)
	r.mu.Unlock()
}

// Trace returns what was recorded until now, ordered by start. Later spans do not appear in it.
func (r *Recorder) Trace() *Trace {
	if r == nil {
		return &Trace{}
	}
	r.mu.Lock()
	spans := slices.Clone(r.spans)
	r.mu.Unlock()
	slices.SortStableFunc(spans, func(a, b Span) int {
		switch {
		case a.Start != b.Start:
			return int(min(max(a.Start-b.Start, -1), 1))
		default:
			return int(min(max(b.End-a.End, -1), 1))
		}
	})
	return &Trace{Run: r.run, Start: r.start, Spans: spans}
}
