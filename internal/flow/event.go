package flow

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// CallID, TimerID and EvalID name what a command started. They count from 1
// in each run, in the order of the commands, and are never used twice.
type (
	CallID  uint64
	TimerID uint64
	EvalID  uint64
)

// An Event is something that happened to a run. Events are all that a
// [Machine] learns, so the list of them is the run's journal. One that does
// not fit the run's state (an answer to a stopped call, a second answer, a
// timer that no longer matters) changes nothing.
type Event interface{ eventName() string }

// Started begins the run. It is its first event, except in a run that is
// cancelled before it begins.
type Started struct{}

// StepFinished says that a call succeeded.
type StepFinished struct {
	Call   CallID `json:"call"`
	Output any    `json:"output"`
}

// StepFailed says that an attempt failed.
type StepFailed struct {
	Call    CallID  `json:"call"`
	Failure Failure `json:"failure"`
}

// TimerFired says that the time of a [SetTimer] has come.
type TimerFired struct {
	Timer TimerID `json:"timer"`
}

// Evaluated answers [Evaluate]: one value for each expression, in order, or
// an error. Answers are events, and so journaled: a replayed run never
// evaluates an expression again, and cannot see another result.
type Evaluated struct {
	ID     EvalID `json:"id"`
	Values []any  `json:"values,omitempty"`
	Err    string `json:"err,omitempty"`
}

// Cancelled asks the run to end without a result.
type Cancelled struct {
	Reason string `json:"reason,omitempty"`
}

// Signalled gives the run a signal: the item at Path that waits for Name gets
// it or, without a Path, the one that has waited longest. A signal that nobody
// waits for is kept for who will, up to MaxSignals of them; further ones change
// nothing.
type Signalled struct {
	Name  string `json:"name"`
	Path  string `json:"path,omitempty"`
	Value any    `json:"value"`
}

// Retried lets a run go on that has failed or was cancelled. It begins anew, but
// items that had finished give their output again at once: nothing of theirs
// happens a second time. Numbers of calls, timers and evaluations go on.
type Retried struct{}

func (Started) eventName() string      { return "started" }
func (StepFinished) eventName() string { return "finished" }
func (StepFailed) eventName() string   { return "failed" }
func (TimerFired) eventName() string   { return "timer" }
func (Evaluated) eventName() string    { return "evaluated" }
func (Cancelled) eventName() string    { return "cancelled" }
func (Signalled) eventName() string    { return "signalled" }
func (Retried) eventName() string      { return "retried" }

// Kinds of failures that the machine makes itself. Who runs the calls adds
// its own ("exit", "trap", "lost", …).
const (
	KindTimeout    = "timeout"    // an attempt or a run took too long
	KindExpression = "expression" // an expression failed or gave something that does not fit
	KindLimit      = "limit"      // one of the limits of this package
	KindCancelled  = "cancelled"  // the run was cancelled
)

// Failure is why an attempt, a step or a run failed.
type Failure struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`

	// Step is the path of the step, such as "count[3]" or "each[1].count".
	// The machine fills it in; it is empty when the run itself failed
	// (its timeout, its output expression).
	Step string `json:"step,omitempty"`

	// Permanent says that no further attempt can help: there is no retry.
	Permanent bool `json:"permanent,omitempty"`

	// Free says that the attempt was not to blame, as when the domain host
	// that it ran in was lost to a sibling: it is repeated at once without
	// using the retry budget, up to FreeRetries times.
	Free bool `json:"free,omitempty"`

	// Alone asks that further attempts share their domain host with nobody.
	Alone bool `json:"alone,omitempty"`
}

// Error says where and what: "step count[3]: exit status 1".
func (f *Failure) Error() string {
	if f.Step == "" {
		return f.Message
	}
	return "step " + f.Step + ": " + f.Message
}

// An Entry is one line of a run's journal: an event and when it happened,
// counted from the start of the run. As JSON: {"at": nanoseconds, "event":
// name, "data": {…}}.
type Entry struct {
	At    time.Duration
	Event Event
}

type entryJSON struct {
	At    time.Duration   `json:"at"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (e Entry) MarshalJSON() ([]byte, error) {
	return AppendEntry(nil, e)
}

// AppendEntry appends the JSON of an entry to dst.
func AppendEntry(dst []byte, e Entry) ([]byte, error) {
	data, err := json.Marshal(e.Event)
	if err != nil {
		return dst, fmt.Errorf("encode event %s: %w", e.Event.eventName(), err)
	}
	dst = append(dst, `{"at":`...)
	dst = strconv.AppendInt(dst, int64(e.At), 10)
	dst = append(dst, `,"event":"`...)
	dst = append(dst, e.Event.eventName()...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, '}'), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Entry) UnmarshalJSON(src []byte) error {
	var raw entryJSON
	if err := json.Unmarshal(src, &raw); err != nil {
		return fmt.Errorf("decode journal entry: %w", err)
	}
	event, err := decodeEvent(raw.Event, raw.Data)
	if err != nil {
		return fmt.Errorf("decode journal entry %q: %w", raw.Event, err)
	}
	e.At, e.Event = raw.At, event
	return nil
}

func decodeEvent(name string, data []byte) (Event, error) {
	switch name {
	case "started":
		return Started{}, nil
	case "finished":
		return decodeAs[StepFinished](data)
	case "failed":
		return decodeAs[StepFailed](data)
	case "timer":
		return decodeAs[TimerFired](data)
	case "evaluated":
		return decodeAs[Evaluated](data)
	case "cancelled":
		return decodeAs[Cancelled](data)
	case "signalled":
		return decodeAs[Signalled](data)
	case "retried":
		return Retried{}, nil
	}
	return nil, fmt.Errorf("there is no such event")
}

func decodeAs[E Event](data []byte) (Event, error) {
	var e E
	err := json.Unmarshal(data, &e)
	return e, err
}
