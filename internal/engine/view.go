package engine

import (
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
)

// Status is where a run is.
type Status string

// The states of a run. The last three are final, until somebody retries the
// run.
const (
	Running   Status = "running"
	Paused    Status = "paused" // its clock stands still: nothing new starts and no timer fires
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Ended reports whether a run in this state is over.
func (s Status) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Run is what is known of a run.
type Run struct {
	ID          string        `json:"id"`
	App         string        `json:"app"`
	Version     string        `json:"version"` // of the app
	Workflow    string        `json:"workflow"`
	Status      Status        `json:"status"`
	Input       any           `json:"input,omitempty"`
	Output      any           `json:"output,omitempty"`  // once it has succeeded
	Failure     *flow.Failure `json:"failure,omitempty"` // once it has failed or was cancelled
	Created     time.Time     `json:"created"`
	Ended       time.Time     `json:"ended,omitzero"`
	Key         string        `json:"key,omitempty"`     // idempotency key that it was started with
	Trigger     string        `json:"trigger,omitempty"` // who started it: "api", "http POST /count", "cron 0 3 * * *", "event order.created"
	Durability  string        `json:"durability"`        // app.DurabilityJournal or app.DurabilityNone
	Retries     int           `json:"retries,omitempty"` // times that the run was retried after its end
	Traceparent string        `json:"traceparent,omitempty"`
}

// Detail is a run together with where its steps are.
type Detail struct {
	Run
	Steps   []flow.StepView      `json:"steps"`
	Signals []flow.WaitingSignal `json:"signals,omitempty"` // that steps wait for
}

// StartRequest asks for a run of a workflow of a deployed app.
type StartRequest struct {
	App      string
	Version  string // empty: the active one
	Workflow string
	Input    any
	// Key makes the request idempotent: a second request with the same key for
	// the same workflow gives the run that the first one started, and is refused
	// with ErrConflict if its input differs. At most 256 bytes.
	Key string
	// Repeat says that the key alone tells which requests are the same one, and
	// that another input is no conflict: it is made of what the key names, maybe by
	// another version of the app.
	Repeat      bool
	Trigger     string
	Seed        uint64 // of the jitter of retries; 0: drawn
	Traceparent string // W3C trace context that the run belongs to
}

// Filter selects runs. Zero fields select everything.
type Filter struct {
	App      string
	Workflow string
	Status   Status
	Trigger  string    // prefix: "cron"
	Since    time.Time // created then or later
	Until    time.Time // created before
	After    string    // the ID that the previous page ended with
	Limit    int       // default 50, at most 1000
}

// Notice is something that happened in a run, told to those who watch it once
// it is durable. Seq grows from notice to notice, and is the same every time a
// run is watched.
type Notice struct {
	Seq   uint64          `json:"seq"`
	At    time.Time       `json:"at"`
	Event telemetry.Event `json:"event"`
}

// LogLine is a line that a function wrote to standard error.
type LogLine struct {
	At      time.Time `json:"at"`
	Step    string    `json:"step"`
	Index   int       `json:"index"` // -1 outside a foreach
	Attempt int       `json:"attempt"`
	Text    string    `json:"text"`
}
