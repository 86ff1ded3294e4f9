// Package wire is what travels between a server and its clients, as far as no
// other package has it: runs are engine.Run, apps registry.App, tokens auth.Token
// and so on. Everything is JSON unless it is bytes.
//
// The table of requests is in package api, which also makes the OpenAPI document
// from it (GET /v1/openapi.json); docs/api.md explains them.
package wire

import (
	"encoding/json"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/telemetry"
)

// Media types.
const (
	TypeBundle  = "application/gzip"
	TypeProblem = "application/problem+json"
	TypeEvents  = "text/event-stream"
)

// Headers of weft's own.
const (
	HeaderRequestID      = "X-Request-Id"
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderTraceparent    = "Traceparent"
	HeaderFailure        = "Weft-Failure" // a trailer of streamed output: the function's failure, as JSON
)

// ProblemMethod is the type of the problem that a method of a service has returned an
// error.
const ProblemMethod = "urn:weft:method-failed"

// Problem is the body of every answer that is an error (RFC 9457).
type Problem struct {
	Type     string     `json:"type"`  // "about:blank", or "urn:weft:" and a word: function-failed, full, conflict, rejected …
	Title    string     `json:"title"` // the same for all problems of a type
	Status   int        `json:"status"`
	Detail   string     `json:"detail,omitempty"` // what went wrong this time
	Hint     string     `json:"hint,omitempty"`   // what to do about it
	Instance string     `json:"instance,omitempty"`
	Request  string     `json:"request_id,omitempty"`
	Kind     string     `json:"kind,omitempty"`   // of a failed function: flow.Failure's
	Errors   app.Errors `json:"errors,omitempty"` // what is wrong with an app file
}

// Page is a part of a list. Next is where the next part begins, as query
// parameter after; empty at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Version describes the server.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	System  string `json:"system"` // "linux/amd64"
	Node    string `json:"node"`   // host name
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status   string   `json:"status"`             // "ok", "starting", "draining" or "failed"
	Degraded []string `json:"degraded,omitempty"` // what this machine does not give
}

// Digest asks for the deployment of content that the server has already.
type Digest struct {
	Digest string `json:"digest"`
}

// Deployed is the answer to a deployment.
type Deployed struct {
	registry.Version
	Existed bool `json:"existed"` // the same content was there before
	Active  bool `json:"active"`
}

// Activate asks for another active version.
type Activate struct {
	Version string `json:"version"`
}

// Function describes a deployed function.
type Function struct {
	Name        string   `json:"name"`
	Memory      int64    `json:"memory"`  // bytes
	Timeout     float64  `json:"timeout"` // seconds
	ContentType string   `json:"content_type"`
	Running     int      `json:"running"`
	Waiting     int      `json:"waiting"`
	Ready       int      `json:"ready,omitempty"` // sandboxes that are to be kept ready
	Max         int      `json:"max,omitempty"`   // calls at a time
	Secrets     []string `json:"secrets,omitempty"`
}

// Workflow describes a deployed workflow.
type Workflow struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Steps       []string `json:"steps"`
	Durability  string   `json:"durability"`
	Input       any      `json:"input,omitempty"` // JSON Schema
	Triggers    []string `json:"triggers,omitempty"`
}

// Run is a run with the graph of its workflow left out: where its steps are and
// what they wait for.
type Run = engine.Detail

// Event is something that happened in a run.
type Event struct {
	Seq      uint64    `json:"seq,string"` // the id of the server-sent event
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Function string    `json:"function,omitempty"`
	Step     string    `json:"step,omitempty"`
	Index    *int      `json:"index,omitempty"` // of an item of a foreach
	Attempt  int       `json:"attempt,omitempty"`
	Text     string    `json:"text,omitempty"`
	Seconds  float64   `json:"seconds,omitempty"`
}

// NewEvent writes a notice as an Event.
func NewEvent(n engine.Notice) Event {
	e := Event{
		Seq: n.Seq, At: n.At, Kind: string(n.Event.Kind), Function: n.Event.Function, Step: n.Event.Step, Attempt: n.Event.Attempt,
		Text: n.Event.Text, Seconds: n.Event.Took.Seconds(),
	}
	if n.Event.Index != telemetry.NoIndex {
		index := n.Event.Index
		e.Index = &index
	}
	return e
}

// Telemetry is the Event as observers of runs in this process see it.
func (e Event) Telemetry() telemetry.Event {
	index := telemetry.NoIndex
	if e.Index != nil {
		index = *e.Index
	}
	return telemetry.Event{
		Kind: telemetry.EventKind(e.Kind), Function: e.Function, Step: e.Step, Index: index, Attempt: e.Attempt, Text: e.Text, At: e.At,
		Took: time.Duration(e.Seconds * float64(time.Second)),
	}
}

// Cancel says why a run is cancelled.
type Cancel struct {
	Reason string `json:"reason,omitempty"`
}

// Buffer refers to bytes: as a value of a run's input, after an upload, and in
// its output.
type Buffer struct {
	Name string `json:"$buffer"`
	Size int64  `json:"size"`
}

// NewToken asks for a token.
type NewToken struct {
	Name    string    `json:"name"`
	Role    auth.Role `json:"role"`
	Expires string    `json:"expires,omitempty"` // a duration such as "720h"; empty: never
}

// MadeToken is a token with its text, which is shown this once.
type MadeToken struct {
	auth.Token
	Text string `json:"token"`
}

// Secret is what is told of a secret.
type Secret struct {
	App     string    `json:"app"`
	Name    string    `json:"name"`
	Updated time.Time `json:"updated"`
}

// Accepted answers CloudEvents: the runs that they have started.
type Accepted struct {
	Runs []string `json:"runs"`
}

// Stats is the state of a server, for weft top.
type Stats struct {
	At        time.Time       `json:"at"`
	Uptime    float64         `json:"uptime"` // seconds
	Runs      RunStats        `json:"runs"`
	Calls     CallStats       `json:"calls"`
	Sandboxes SandboxStats    `json:"sandboxes"`
	Store     StoreStats      `json:"store"`
	Process   ProcessStats    `json:"process"`
	Functions []FunctionStats `json:"functions"` // that have calls now, or had some
}

// RunStats counts runs since the server was started.
type RunStats struct {
	Active    int    `json:"active"`
	Started   uint64 `json:"started"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
}

// CallStats is the state of admission.
type CallStats struct {
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	Memory      int64  `json:"memory"`       // bytes declared by those that run
	MemoryLimit int64  `json:"memory_limit"` // bytes; 0: none
	Ended       uint64 `json:"ended"`        // since the server was started
}

// SandboxStats is the state of the pool of domain hosts.
type SandboxStats struct {
	Ready    int    `json:"ready"`
	Idle     int    `json:"idle"`
	Busy     int    `json:"busy"`
	Starting int    `json:"starting"`
	Memory   int64  `json:"memory"` // bytes
	Warm     uint64 `json:"warm"`   // starts since the server was started, by what was there
	Clean    uint64 `json:"clean"`
	Cold     uint64 `json:"cold"`
}

// StoreStats counts since the server was started.
type StoreStats struct {
	Appends   uint64  `json:"appends"`
	Flushes   uint64  `json:"flushes"`
	FlushTime float64 `json:"flush_seconds"` // of all flushes
	Bytes     uint64  `json:"bytes"`
}

// ProcessStats is what the server itself takes, its domain hosts apart.
type ProcessStats struct {
	Memory      int64   `json:"memory"` // bytes of proportional set size
	CPU         float64 `json:"cpu"`    // seconds since it was started
	Goroutines  int     `json:"goroutines"`
	Descriptors int     `json:"descriptors"`
}

// FunctionStats is the part of one function.
type FunctionStats struct {
	App      string  `json:"app"`
	Function string  `json:"function"`
	Running  int     `json:"running"`
	Waiting  int     `json:"waiting"`
	Service  float64 `json:"service"` // seconds that its latest calls took, on average
}

// End is the last event of a followed run.
type End struct {
	Status  engine.Status   `json:"status"`
	Output  json.RawMessage `json:"output,omitempty"`
	Failure *flow.Failure   `json:"failure,omitempty"`
}
