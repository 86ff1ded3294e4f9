package flow

import (
	"maps"
	"strings"
)

// finished is how an item has finished: enough to do so again.
type finished struct {
	output any
	caught *Failure
}

// Retryable reports whether [Retried] would let the run go on.
func (m *Machine) Retryable() bool { return m.status == Failed || m.status == CancelledRun }

// restart begins the run anew, with what has finished.
func (m *Machine) restart() {
	m.retried, m.status, m.starts = true, "", 0
	clear(m.calls)
	clear(m.timers)
	clear(m.evals)
	clear(m.awaiting)
	m.awaiting = m.awaiting[:0]
	clear(m.ready)
	m.ready = m.ready[:0]
	m.root = m.enter(m.main, nil, m.spec.Input)
}

// again finishes an item that had finished before the run was retried. It
// reports whether it had.
func (m *Machine) again(it *item) bool {
	if !m.retried {
		return false
	}
	f, ok := m.finished[it.id()]
	if !ok {
		return false
	}
	it.catching = f.caught
	m.finishItem(it, f.output)
	return true
}

// forget drops what has finished below an item whose attempt has failed: it
// happens again.
func (m *Machine) forget(it *item) {
	below := it.id() + "."
	maps.DeleteFunc(m.finished, func(id string, _ finished) bool { return strings.HasPrefix(id, below) })
	maps.DeleteFunc(m.given, func(id string, _ any) bool { return strings.HasPrefix(id, below) })
}
