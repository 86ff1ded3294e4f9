package machine

import (
	"fmt"
	"slices"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// waiting is what a request waits for.
type waiting struct {
	things []thing
	any    bool
}

// thing is what a handle stands for: one of these.
type thing struct {
	value   *wire.Value // of a call that was part of a segment
	child   string
	promise string
	due     int64
}

// await waits for handles. One call that was not sent yet, and is the only thing that
// is waited for, runs in the segment of who waits.
func (m *Machine) await(c *call, q *wire.Await) {
	r := c.r
	if len(q.Handles) == 0 {
		m.refuse(c, "wait: for nothing")
		return
	}
	w := &waiting{any: q.Any}
	for _, h := range q.Handles {
		t, err := r.thing(c, h)
		if err != nil {
			m.refuse(c, "%v", err)
			return
		}
		if t.value == nil && r.tx != nil {
			m.pause(c) // which refuses
			return
		}
		w.things = append(w.things, t)
	}
	if ids := m.ended(r, w); len(ids) > 0 {
		m.load(r, Load{Keys: ids}, func(values []wire.Value) {
			for i, v := range values {
				m.remember(r, w, ids[i], v)
			}
			m.await(c, q)
		})
		return
	}
	if list, ready := m.look(r, w); ready {
		m.answer(c, wire.Answer{List: list})
		return
	}
	if len(q.Handles) == 1 && w.things[0].child != "" && m.inline(c, q.Handles[0], w.things[0].child) {
		return
	}
	if !m.pause(c) {
		return
	}
	r.wait = w
	m.rest(r, Waiting)
	m.idle = append(m.idle, r)
	m.alarm(r)
	m.wake(r) // a child may have ended while it was spawned
}

// thing finds what a handle stands for.
func (r *request) thing(c *call, h uint64) (thing, error) {
	if h == 0 || h >= c.seq {
		return thing{}, fmt.Errorf("wait: %d is not a handle", h)
	}
	e := c.log.entries[h-1]
	switch q := e.asked.(type) {
	case *wire.Invoke:
		if q.Mode != wire.Async {
			break
		}
		if e.answer.Value.Code != wire.Pending {
			return thing{value: &e.answer.Value}, nil
		}
		return thing{child: r.child(journal.Below(c.path, h))}, nil
	case *wire.Timer:
		return thing{due: e.answer.Now}, nil
	case *wire.Promise:
		return thing{promise: q.Name}, nil
	}
	return thing{}, fmt.Errorf("wait: question %d was not one whose result comes later", h)
}

// look collects what is there.
func (m *Machine) look(r *request, w *waiting) (list []wire.Value, ready bool) {
	list = make([]wire.Value, len(w.things))
	n := 0
	for i, t := range w.things {
		v, ok := wire.Value{}, true
		switch {
		case t.value != nil:
			v = *t.value
		case t.child != "":
			v, ok = r.results[t.child]
		case t.promise != "":
			v, ok = r.promises[t.promise]
		default:
			ok = m.now >= t.due
		}
		if !ok {
			v = wire.Value{Code: wire.Pending}
		} else {
			n++
		}
		list[i] = v
	}
	return list, n == len(list) || w.any && n > 0
}

// ended lists the results of children that have ended in an earlier life.
func (m *Machine) ended(r *request, w *waiting) (keys []string) {
	if !r.restored {
		return nil
	}
	for _, t := range w.things {
		if _, known := r.results[t.child]; t.child == "" || known || m.requests[t.child] != nil ||
			slices.ContainsFunc(r.seg.sends, func(s record.Request) bool { return s.ID == t.child }) || r.nested(t.child) {
			continue
		}
		keys = append(keys, record.Done(t.child))
	}
	return keys
}

// nested reports whether a child runs as a part of the request.
func (r *request) nested(child string) bool {
	for path := range r.logs {
		if path != "" && r.child(path) == child {
			return true
		}
	}
	return false
}

// remember notes the result of a child that ended in an earlier life.
func (m *Machine) remember(r *request, w *waiting, key string, v wire.Value) {
	res := record.Result{Value: wire.Value{Code: wire.Refused, Text: "the result was forgotten"}}
	if v.Code == wire.OK {
		if known, err := record.DecodeResult(v.Data); err == nil {
			res = known
		}
	}
	if r.results == nil {
		r.results = map[string]wire.Value{}
	}
	for _, t := range w.things {
		if t.child != "" && record.Done(t.child) == key {
			r.results[t.child] = res.Value
		}
	}
}

// inline runs a call that was not sent yet, or that ran like this before.
func (m *Machine) inline(c *call, handle uint64, id string) bool {
	r := c.r
	path := journal.Below(c.path, handle)
	at := slices.IndexFunc(r.seg.sends, func(s record.Request) bool { return s.ID == id && s.Due == 0 })
	if at < 0 && r.logs[path] == nil || len(r.stack) >= m.o.Depth {
		return false
	}
	if at >= 0 {
		r.seg.sends = slices.Delete(r.seg.sends, at, at+1)
	}
	q := c.log.entries[handle-1].asked.(*wire.Invoke)
	m.enter(r, path, record.Call{To: q.To, Args: q.Args})
	return true
}

// alarm wakes a request when the first of the times has come that it waits for.
func (m *Machine) alarm(r *request) {
	for _, t := range r.wait.things {
		if t.due > m.now {
			m.at(t.due, r, func() { m.wake(r) })
		}
	}
}

// wake goes on with a request whose wait may be over.
func (m *Machine) wake(r *request) {
	if r.wait == nil || r.state != Waiting {
		return
	}
	list, ready := m.look(r, r.wait)
	if !ready {
		return
	}
	r.wait = nil
	if len(r.stack) == 0 { // it has lost its instances
		m.rest(r, Queued)
		m.enqueue(r)
		return
	}
	m.rest(r, Running)
	m.running++
	r.turn++
	m.watch(r)
	m.answer(r.stack[len(r.stack)-1], wire.Answer{List: list, Fresh: true})
}

// evict takes the instances of a request that waits. It is replayed when it goes on.
func (m *Machine) evict(r *request) {
	m.idle = slices.DeleteFunc(m.idle, func(i *request) bool { return i == r })
	m.unwind(r)
	m.alarm(r)
}

// resolved notes what a promise was resolved with.
func (m *Machine) resolved(ev Resolved) {
	r := m.requests[ev.Request]
	switch {
	case r == nil:
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("request %s is not there, or has ended", ev.Request))
		return
	case ev.Name == "" || len(ev.Name) > record.NameMax || len(ev.Value.Data)+len(ev.Value.Text) > m.o.ValueMax:
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("promise of request %s: a name has 1 to %d bytes, a value at most %d", ev.Request, record.NameMax, m.o.ValueMax))
		return
	}
	if _, known := r.promises[ev.Name]; !known {
		if r.promises == nil {
			r.promises = map[string]wire.Value{}
		}
		r.promises[ev.Name] = ev.Value
		res := record.Result{Value: ev.Value}
		m.emit(Append{[]Op{{Key: record.Promise(r.ID, ev.Name), Value: res.Encode()}}})
		m.wake(r)
	}
	m.tell(ev.Waiter, wire.OK, "")
}

// recovered takes in a request from an earlier life. It runs anew: what it has asked
// before gets the same answers.
func (m *Machine) recovered(ev Recovered) {
	r := &request{Request: ev.Request, stored: true, restored: true, promises: ev.Promises}
	for _, e := range ev.Entries {
		if r.logs == nil {
			r.logs = map[string]*log{}
		}
		l := r.logs[e.Path]
		if l == nil {
			l = &log{}
			r.logs[e.Path] = l
		}
		switch at := int(e.Seq) - 1; {
		case e.Seq == 0:
			*l = log{start: e.Start, saved: true}
		case at < len(l.entries):
			l.entries[at] = &entry{was: e, answered: e.Answered, answer: e.Answer}
		case at == len(l.entries):
			l.entries = append(l.entries, &entry{was: e, answered: e.Answered, answer: e.Answer})
			l.kept = len(l.entries)
		}
	}
	m.lastTime = max(m.lastTime, r.Time)
	m.add(r)
}
