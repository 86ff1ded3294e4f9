package metrics

import (
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/engine"
)

var _ engine.Meter = (*Metrics)(nil)

// RunStarted counts a run that was accepted.
func (m *Metrics) RunStarted(app, workflow string) {
	m.totals.started.Add(1)
	m.workflows.get(name{app, workflow}).started.Inc()
}

// RunEnded counts a run that has ended durably.
func (m *Metrics) RunEnded(app, workflow, status string, took time.Duration) {
	m.totals.ended(status)
	w := m.workflows.get(name{app, workflow})
	w.ended.get(status).Inc()
	w.seconds.Observe(seconds(took))
}

// StepEnded counts a step with all of its items.
func (m *Metrics) StepEnded(status string) { m.steps.get(status).Inc() }

// CallEnded counts an attempt of a call in a run.
func (m *Metrics) CallEnded(app, function, outcome string, queued, took time.Duration) {
	m.totals.calls.Add(1)
	c := m.calls.get(name{app, function})
	c.ended.get(outcome).Inc()
	c.queue.Observe(seconds(queued))
	c.seconds.Observe(seconds(took))
}

// ModulesLoaded counts modules of the system interface.
func (m *Metrics) ModulesLoaded(n int) { m.modules.Add(float64(max(n, 0))) }

// BufferBytes counts what a call was handed.
func (m *Metrics) BufferBytes(how string, n int64) { m.moved.get(how).Add(float64(max(n, 0))) }

// BytesSaved counts what was written to the data folder.
func (m *Metrics) BytesSaved(n int64) { m.saved.Add(float64(max(n, 0))) }

// JournalBytes counts what was written to the store.
func (m *Metrics) JournalBytes(n int) { m.journal.Add(float64(max(n, 0))) }

// Invocation counts an invocation of a function without a run: code is the HTTP
// status of its answer. Call it for functions that are deployed alone, since
// every name takes a place.
func (m *Metrics) Invocation(app, function, code string, took time.Duration) {
	m.totals.calls.Add(1)
	i := m.invocations.get(name{app, function})
	i.codes.get(code).Inc()
	i.seconds.Observe(seconds(took))
}

// Request counts a request of the API. route is the pattern that has matched
// ("GET /v1/runs/{id}"), not the path, and something fixed where none has; code
// is the HTTP status.
func (m *Metrics) Request(route string, code int, took time.Duration) {
	r := m.routes.get(route)
	r.codes.get(status(code)).Inc()
	r.seconds.Observe(seconds(took))
}

// status writes a code without an allocation where it is a usual one.
func status(code int) string {
	switch code {
	case 200:
		return "200"
	case 202:
		return "202"
	case 204:
		return "204"
	}
	if code < 100 || code > 999 {
		return Other
	}
	return strconv.Itoa(code)
}

// Reasons of refusals.
const (
	RefusedRuns     = "runs"      // as many runs are under way as the node or the app may have
	RefusedQueue    = "queue"     // the function's queue is full, or the wait was too long
	RefusedMemory   = "memory"    // it declares more memory than it could ever get
	RefusedDraining = "draining"  // the node is about to end
	RefusedTooLarge = "too_large" // of a body, an input or an upload
	RefusedAuth     = "auth"      // no identity
	RefusedRole     = "role"      // the identity may not do this
	RefusedOrigin   = "origin"    // Host or Origin
)

// Refused counts what was turned away; reason is one of the constants Refused….
func (m *Metrics) Refused(reason string) { m.refused.get(reason).Inc() }

// seconds is the unit of Prometheus. A clock that was set back counts nothing.
func seconds(d time.Duration) float64 { return float64(max(d, 0)) / 1e9 }
