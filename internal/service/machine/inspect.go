package machine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// View is a request, for people.
type View struct {
	record.Request
	State    State
	Attempt  int
	Failures int
	Waiters  int       // outside, for its result
	Failure  string    // the latest one, of a request that is tried again
	Waits    string    // the key of the lock that it waits for, as record.State makes it
	Awaits   []Awaited // what a request that waits waits for

	Calls       []wire.Target // its executions, each called by the one before
	Transaction bool          // one is open
	Writes      int           // of its segment, so far
}

// Awaited is something that a request waits for: one of these.
type Awaited struct {
	Promise, Request string
	Until            int64
}

// awaits lists what is not there yet of what a request waits for.
func (r *request) awaits(now int64) (list []Awaited) {
	if r.wait == nil {
		return nil
	}
	for _, t := range r.wait.things {
		_, ended := r.results[t.child]
		_, resolved := r.promises[t.promise]
		switch {
		case t.child != "" && !ended && !r.away[t.child]:
			list = append(list, Awaited{Request: t.child})
		case t.promise != "" && !resolved:
			list = append(list, Awaited{Promise: t.promise})
		case t.due > now:
			list = append(list, Awaited{Until: t.due})
		}
	}
	return list
}

// Requests lists the requests that have not ended, the oldest first.
func (m *Machine) Requests() []View {
	list := make([]View, 0, len(m.requests))
	for _, r := range m.requests {
		list = append(list, m.view(r))
	}
	slices.SortFunc(list, func(a, b View) int { return cmp.Compare(a.Time, b.Time) })
	return list
}

// Request is a request that has not ended.
func (m *Machine) Request(id string) (v View, ok bool) {
	r := m.requests[id]
	if r == nil {
		return v, false
	}
	return m.view(r), true
}

func (m *Machine) view(r *request) View {
	v := View{Request: r.Request, State: r.state, Attempt: int(r.attempt), Failures: r.failures, Waiters: len(r.waiters), Awaits: r.awaits(m.now)}
	if r.state == Backing {
		v.Failure = r.failure
	}
	v.Waits, _ = r.owner.Waits()
	v.Transaction, v.Writes = r.tx != nil, len(r.seg.writes)
	for _, c := range r.stack {
		v.Calls = append(v.Calls, c.to)
	}
	return v
}

// Using counts the requests of an app, which its services' full names begin with, that
// began on a version of it.
func (m *Machine) Using(app, version string) int {
	n := 0
	for _, r := range m.requests {
		if r.Version == version && strings.HasPrefix(r.Call.To.Service, app+".") {
			n++
		}
	}
	return n
}

// Held is a lock that a request has or waits for.
type Held struct {
	Request string
	Target  wire.Target
	Key     string // as record.State makes it
	Mode    lock.Mode
	Waiting bool
	For     []string // whom it waits for
}

// Locks lists the locks, by key: holders, then who waits, in their order.
func (m *Machine) Locks() []Held {
	var list []Held
	for _, l := range m.locks.Locks() {
		r := m.owners[l.Owner]
		h := Held{Request: r.ID, Target: r.Call.To, Key: l.Key, Mode: l.Mode, Waiting: l.Waiting}
		if l.Waiting {
			for _, o := range m.locks.Blockers(l.Owner) {
				h.For = append(h.For, m.owners[o].ID)
			}
		}
		list = append(list, h)
	}
	slices.SortStableFunc(list, func(a, b Held) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// Has reports whether a request is there, and has not ended.
func (m *Machine) Has(request string) bool { return m.requests[request] != nil }

// Version is the version of the app that a request belongs to.
func (m *Machine) Version(request string) string {
	if r := m.requests[request]; r != nil {
		return r.Request.Version
	}
	return ""
}
