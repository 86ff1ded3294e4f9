package metrics

import "sync/atomic"

// Totals counts over all apps since the node was started.
type Totals struct {
	Started, Succeeded, Failed, Cancelled uint64 // runs
	Calls                                 uint64 // attempts in runs, and invocations
}

// totals are Totals as they grow.
type totals struct {
	started, succeeded, failed, cancelled, calls atomic.Uint64
}

// Totals says what has been counted. It is cheap.
func (m *Metrics) Totals() Totals {
	t := &m.totals
	return Totals{t.started.Load(), t.succeeded.Load(), t.failed.Load(), t.cancelled.Load(), t.calls.Load()}
}

// ended counts a run by its status.
func (t *totals) ended(status string) {
	switch status {
	case "succeeded":
		t.succeeded.Add(1)
	case "failed":
		t.failed.Add(1)
	default:
		t.cancelled.Add(1)
	}
}
