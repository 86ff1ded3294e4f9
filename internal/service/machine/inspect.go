package machine

import (
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
)

// View is a request, for people.
type View struct {
	record.Request
	State    State
	Attempt  int
	Failures int
	Waits    string // the key of the lock that it waits for, as record.State makes it
}

// Requests lists the requests that have not ended, the oldest first.
func (m *Machine) Requests() []View {
	list := make([]View, 0, len(m.requests))
	for _, r := range m.requests {
		v := View{Request: r.Request, State: r.state, Attempt: int(r.attempt), Failures: r.failures}
		v.Waits, _ = r.owner.Waits()
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b View) int { return int(a.Time - b.Time) })
	return list
}

// Held is a lock that a request has or waits for.
type Held struct {
	Request string
	Key     string // as record.State makes it
	Mode    lock.Mode
	Waiting bool
	For     []string // whom it waits for
}

// Locks lists the locks, by key: holders, then who waits, in their order.
func (m *Machine) Locks() []Held {
	var list []Held
	for _, l := range m.locks.Locks() {
		h := Held{Request: m.owners[l.Owner].ID, Key: l.Key, Mode: l.Mode, Waiting: l.Waiting}
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

// Deaths counts the segments that were begun anew because somebody older needed
// their locks.
func (m *Machine) Deaths() uint64 { return m.deaths }

// Version is the version of the app that a request belongs to.
func (m *Machine) Version(request string) string {
	if r := m.requests[request]; r != nil {
		return r.Request.Version
	}
	return ""
}
