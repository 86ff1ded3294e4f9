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
		if t.value == nil && (r.tx != nil || r.snapshot) {
			m.pause(c) // which refuses
			return
		}
		w.things = append(w.things, t)
	}
	if ids := m.ended(r, w); len(ids) > 0 {
		if there, _ := m.look(r, w); sizeOf(there) > answerMax { // what is left need not be read
			m.answer(c, tooManyResults(q, len(w.things), "more than ", sizeOf(there)))
			return
		}
		m.load(r, Load{Keys: ids, Bytes: answerMax}, func(values []wire.Value) {
			for i, v := range values {
				if v.Code != wire.Pending {
					m.remember(r, w, ids[i], v)
				}
			}
			m.await(c, q)
		})
		return
	}
	if list, ready := m.look(r, w); ready {
		m.answer(c, results(q, list))
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
			if v, ok = r.results[t.child]; !ok {
				ok = r.away[t.child] // its value is read before it is of use
			}
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

// ended lists the results of children that are in the store only.
func (m *Machine) ended(r *request, w *waiting) (keys []string) {
	if !r.restored && len(r.away) == 0 {
		return nil
	}
	for _, t := range w.things {
		if r.away[t.child] {
			keys = append(keys, record.Done(t.child))
			continue
		}
		if _, known := r.results[t.child]; !r.restored || t.child == "" || known || m.requests[t.child] != nil ||
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

// remember notes the result of a child that the store had.
func (m *Machine) remember(r *request, w *waiting, key string, v wire.Value) {
	res := record.Result{Value: wire.Value{Code: wire.Refused, Text: "the result was forgotten"}}
	if v.Code == wire.OK {
		if known, err := record.DecodeResult(v.Data); err == nil {
			res = known
		}
	}
	for _, t := range w.things {
		if t.child != "" && record.Done(t.child) == key {
			r.learn(t.child, res.Value)
			if v.Code == wire.OK && !slices.ContainsFunc(r.kept, func(k kept) bool { return k.id == t.child }) {
				r.kept = append(r.kept, kept{t.child, res.Until})
			}
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
		m.uncount(r.seg.sends[at : at+1])
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
	if _, ready := m.look(r, r.wait); !ready {
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
	c := r.stack[len(r.stack)-1]
	m.await(c, c.cur.asked.(*wire.Await))
}

// results is the answer with what was waited for.
func results(q wire.Asker, list []wire.Value) wire.Answer {
	if size := sizeOf(list); size > answerMax && len(list) > 1 {
		return tooManyResults(q, len(list), "", size)
	}
	return wire.Answer{List: list}
}

// tooManyResults refuses to wait for so many results at a time.
func tooManyResults(q wire.Asker, n int, about string, size int) wire.Answer {
	what, _ := q.Describe()
	return wire.Answer{Value: wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%s: %d results of %s%d bytes together, at most %d: wait for fewer at a time", what, n, about, size, answerMax)}}
}

// sizeOf is what values take in an answer, in bytes.
func sizeOf(list []wire.Value) (n int) {
	for _, v := range list {
		n += Size(v)
	}
	return n
}

// evict takes the instances of a request that waits. It is replayed when it goes on.
func (m *Machine) evict(r *request) {
	m.idle = slices.DeleteFunc(m.idle, func(i *request) bool { return i == r })
	m.unwind(r)
	m.shelve(r)
	m.alarm(r)
	m.wake(r) // a time may have come since
}

// promisesMax bounds the promises of a request that were resolved.
const promisesMax = 1000

// pressed takes the instances of requests that wait where memory is short.
func (m *Machine) pressed(ev Pressed) {
	for _, r := range slices.Clone(m.idle) {
		if r.state == Waiting && slices.ContainsFunc(r.stack, func(c *call) bool { return ev.Short(c.to.Service) }) {
			m.evict(r)
		}
	}
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
		size := len(ev.Name)
		for name, v := range r.promises {
			size += len(name) + len(v.Data) + len(v.Text)
		}
		if size += len(ev.Value.Data) + len(ev.Value.Text); len(r.promises) >= promisesMax || size > m.o.JournalMax {
			m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("promises of request %s: %d were resolved, with %d bytes together; at most %d, with %d bytes", ev.Request, len(r.promises)+1, size, promisesMax, m.o.JournalMax))
			return
		}
		if r.promises == nil {
			r.promises = map[string]wire.Value{}
		}
		r.promises[ev.Name] = ev.Value
		res := record.Result{Value: ev.Value}
		ops := []Op{{Key: record.Promise(r.ID, ev.Name), Value: res.Encode()}}
		if !r.stored { // the promise goes when the request does
			r.stored = true
			ops = append(ops, Op{Key: record.Open(r.ID), Value: r.Encode()})
		}
		if !r.volatile {
			m.emit(Append{ops})
		}
		m.wake(r)
	}
	m.tell(ev.Waiter, wire.OK, "")
}

// recovered takes in a request from an earlier life. It runs anew: what it has asked
// before gets the same answers.
func (m *Machine) recovered(ev Recovered) {
	r := &request{Request: ev.Request, stored: true, restored: true, promises: ev.Promises, shelved: ev.Request.Chunks > 0}
	m.lastTime = max(m.lastTime, r.Time)
	m.add(r)
}
