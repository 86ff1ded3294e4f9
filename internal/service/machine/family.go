package machine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-run/weft/internal/service/record"
)

// family is the requests that have not ended and go back to one from outside, those
// included that a segment has begun and not stored yet.
type family struct {
	open  int
	bytes int // cost of them
}

// root is the request from outside that a request goes back to: itself, or the one
// without which it would not be.
func root(r record.Request) string { return cmp.Or(r.Root, r.ID) }

// cost is what the call of a request takes in memory, in bytes.
func cost(r record.Request) int {
	n := 0
	for _, a := range r.Call.Args {
		n += len(a)
	}
	return n
}

// count adds requests to a family, or takes them out.
func (m *Machine) count(root string, requests, bytes int) {
	f := m.families[root]
	if f == nil {
		f = &family{}
		m.families[root] = f
	}
	f.open += requests
	f.bytes += bytes
	m.open.open += requests
	m.open.bytes += bytes
	if f.open == 0 {
		delete(m.families, root)
	}
}

// uncount takes requests out that will not be.
func (m *Machine) uncount(list []record.Request) {
	for _, r := range list {
		m.count(root(r), -1, -cost(r))
	}
}

// rollback forgets what the segment of a request has written and sent after a mark.
func (m *Machine) rollback(r *request, to mark) {
	m.uncount(r.seg.sends[to.sends:])
	r.seg.rollback(to)
}

// crowded says why there is no room for what a request would begin, "" if there is.
func (m *Machine) crowded(root string, next record.Request) string {
	f, bytes := m.families[root], cost(next)
	switch {
	case f != nil && f.open >= m.o.Family:
		return fmt.Sprintf("%d requests that request %s has begun, or those that it has begun, have not ended, which is the most", f.open, root)
	case f != nil && f.bytes+bytes > m.o.FamilyBytes:
		return fmt.Sprintf("the arguments of the requests that request %s has begun, or those that it has begun, and which have not ended, would have %d bytes, at most %d", root, f.bytes+bytes, m.o.FamilyBytes)
	case m.open.open >= m.o.Open:
		return fmt.Sprintf("%d requests have not ended, which is the most", m.open.open)
	case m.open.bytes+bytes > m.o.OpenBytes:
		return fmt.Sprintf("the arguments of requests that have not ended would have %d bytes, at most %d", m.open.bytes+bytes, m.o.OpenBytes)
	}
	return ""
}

// older orders requests by their age.
func older(a, b *request) int { return cmp.Compare(a.Time, b.Time) }

// members lists the requests that go back to one from outside, the oldest first, without
// compensations.
func (m *Machine) members(name string) (list []*request) {
	for _, r := range m.requests {
		if root(r.Request) == name && r.Undoes == "" {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, older)
	return list
}
