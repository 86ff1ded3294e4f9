package flow

import "time"

// A Command is something that the owner of a run is to do. Commands are
// carried out in the order in which they were returned; none needs an answer
// at once, and each answer is an [Event]. The values in commands are the
// run's own: they are not to be changed.
type Command interface{ isCommand() }

// StartCall starts one attempt. The answer is [StepFinished] or [StepFailed],
// unless [StopCall] comes first.
type StartCall struct {
	Call    CallID        `json:"call"`
	Path    string        `json:"path"`              // "map[2]"; inside a sub-workflow "each[1].map[2]"
	Step    string        `json:"step"`              // Path without its last index: "map", "each[1].map"
	Index   int           `json:"index"`             // in a foreach from 0, otherwise -1
	Attempt int           `json:"attempt"`           // from 1
	Key     string        `json:"key"`               // idempotency key: the same for every attempt, "RUN/PATH"
	Target  Target        `json:"target"`            // never a workflow: those run inside the machine
	Input   any           `json:"input"`             // nil when Stdin is set
	Stdin   any           `json:"stdin,omitempty"`   // a string or {"$buffer": …}; nil: the function reads Input
	Timeout time.Duration `json:"timeout,omitempty"` // of this attempt; the machine watches it, 0: none
	Alone   bool          `json:"alone,omitempty"`   // in a domain host of its own
	Catch   bool          `json:"catch,omitempty"`   // the call of the step's catch, in the step's place
}

// StopCall ends an attempt whose result no longer matters. There may be one
// for a call that has just ended by itself.
type StopCall struct {
	Call CallID `json:"call"`
	Path string `json:"path"`
}

// TimerReason says what a timer is for. Nothing depends on it.
type TimerReason string

// Reasons of timers.
const (
	TimerWait    TimerReason = "wait"    // the step's wait
	TimerBackoff TimerReason = "backoff" // the pause before a further attempt
	TimerAttempt TimerReason = "attempt" // the timeout of an attempt
	TimerRun     TimerReason = "run"     // the timeout of a run or of a sub-workflow
	TimerSignal  TimerReason = "signal"  // the timeout of a wait for a signal
)

// SetTimer asks for [TimerFired] at or after At. There is no command to drop
// a timer: one that no longer matters is ignored when it fires.
type SetTimer struct {
	Timer  TimerID       `json:"timer"`
	At     time.Duration `json:"at"` // since the start of the run
	Path   string        `json:"path,omitempty"`
	Reason TimerReason   `json:"reason"`
}

// Evaluate asks for the values of jq expressions. Each must give exactly one
// value for the input Scope; anything else is an error of the evaluation.
type Evaluate struct {
	ID          EvalID         `json:"id"`
	Path        string         `json:"path,omitempty"`
	Expressions []string       `json:"expressions"`
	Scope       map[string]any `json:"scope"` // the input of each expression; not to be changed
}

// Discard says that an attempt of the sub-workflow called at Path failed, and
// that another one or a catch follows: what the steps below Path ("PATH.…") have published is withdrawn.
type Discard struct {
	Path string `json:"path"`
}

// Status is how a step or a run ended.
type Status string

// The ways to end. A run ends as Succeeded, Failed or CancelledRun.
const (
	Succeeded    Status = "succeeded"
	Failed       Status = "failed"
	Skipped      Status = "skipped"   // of a step: its condition was false, or all that it needs was skipped
	Caught       Status = "caught"    // of a step: an item failed and the catch gave its output
	CancelledRun Status = "cancelled" // of a run
	Waiting      Status = "waiting"   // of a step, in a StepView: something that it needs is not done
	Running      Status = "running"   // of a step, in a StepView
)

// StepDone tells observers that a step (all of its items) is done. Steps that
// were still running when their run ended are not mentioned.
type StepDone struct {
	Step    string   `json:"step"` // path without index
	Status  Status   `json:"status"`
	Output  any      `json:"output,omitempty"`
	Failure *Failure `json:"failure,omitempty"` // of a failed step, or the last one that was caught
}

// FinishRun ends the run. It is the last command.
type FinishRun struct {
	Status  Status   `json:"status"`
	Output  any      `json:"output,omitempty"`
	Failure *Failure `json:"failure,omitempty"` // unless the run succeeded
}

func (StartCall) isCommand() {}
func (StopCall) isCommand()  {}
func (SetTimer) isCommand()  {}
func (Evaluate) isCommand()  {}
func (Discard) isCommand()   {}
func (StepDone) isCommand()  {}
func (FinishRun) isCommand() {}
