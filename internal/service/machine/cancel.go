package machine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// cancelled ends a request, or a family, because somebody wants that.
func (m *Machine) cancelled(ev Cancelled) {
	r := m.requests[ev.Request]
	if ev.Family {
		name := ev.Request
		if r != nil {
			name = root(r.Request)
		}
		if list := m.members(name); len(list) > 0 {
			m.cancelAll(list, ev)
			return
		}
	}
	if r == nil {
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("request %s is not there, or has ended", ev.Request))
		return
	}
	m.cancelAll([]*request{r}, ev)
}

// cancelAll cancels requests, and tells who has asked for it when the last one has ended.
func (m *Machine) cancelAll(list []*request, ev Cancelled) {
	left, why := len(list), "cancelled"
	if ev.Reason != "" {
		why += ": " + ev.Reason
	}
	for _, r := range list {
		r.ended = append(r.ended, func() {
			if left--; left == 0 {
				m.tell(ev.Waiter, wire.OK, "")
			}
		})
	}
	for _, r := range list {
		if !r.over {
			m.cancelRequest(r, why)
		}
	}
}

// cancelRequest cancels a request; the first reason stands.
func (m *Machine) cancelRequest(r *request, why string) {
	if r.cancel == "" {
		r.cancel = why
	}
	m.end(r)
}

// end has a request stop as soon as nothing of it runs.
func (m *Machine) end(r *request) {
	if r.state == Running && len(r.stack) > 0 && len(r.wants) == 0 && r.loading == 0 {
		m.emit(Kill{r.stack[len(r.stack)-1].id})
		return
	}
	m.unwind(r)
	m.stop(r)
}

// late ends a request whose deadline has passed.
func (m *Machine) late(r *request) {
	if r.cancel != "" {
		return
	}
	r.cancel, r.untimely = lateText(r.Request), true
	m.end(r)
}

func lateText(r record.Request) string {
	return fmt.Sprintf("%v: the deadline, %s, has passed", r.Call.To, time.Unix(0, r.Deadline).UTC().Format(time.RFC3339Nano))
}

// done reports whether a request has done anything that stands.
func (r *request) done() bool {
	return r.Chunks > 0 || r.journal > 0 || r.Generation > 0 || len(r.Cuts) > 0
}

// stop ends a request that is cancelled, and what it has begun and waits for.
func (m *Machine) stop(r *request) {
	children := slices.SortedFunc(maps.Keys(m.children[r.ID]), older)
	v, why := wire.Value{Code: wire.Failed, Text: r.cancel}, r.cancel
	if r.untimely {
		v.Code, why = wire.Late, "cancelled: "+why
		if v.Text += ": it was cancelled, and its compensations follow"; !r.done() {
			v.Text = r.cancel + ": nothing of it has happened"
		}
	}
	m.finish(r, v)
	for _, c := range children {
		m.cancelRequest(c, why)
	}
}
