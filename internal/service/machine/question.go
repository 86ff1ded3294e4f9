package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// transaction is a part of a segment that can come to nothing by itself.
type transaction struct {
	by    *call
	start mark
	doom  string // why it can only come to nothing
}

// perform carries a question out, once its writes are in the segment.
func (m *Machine) perform(c *call, q wire.Asker) {
	switch q := q.(type) {
	case *wire.Read:
		m.read(c, q)
	case *wire.Scan:
		m.scan(c, q)
	case *wire.Invoke:
		m.invoke(c, q)
	case *wire.Transaction:
		m.edge(c, q)
	case *wire.Run:
		m.effect(c, q)
	case *wire.Timer:
		m.answer(c, wire.Answer{Now: after(m.now, q.Delay)})
	case *wire.Promise:
		if q.Name == "" || len(q.Name) > record.NameMax {
			m.refuse(c, "promise %q: a name has 1 to %d bytes", q.Name[:min(len(q.Name), 32)], record.NameMax)
			return
		}
		m.answer(c, wire.Answer{})
	case *wire.Await:
		m.await(c, q)
	case *wire.Compensate:
		what := record.Call{To: q.To, Args: q.Args}
		if err := m.allowed(c, what); err != nil {
			m.refuse(c, "%v", err)
			return
		}
		if c.r.snapshot {
			m.refuse(c, "compensate %v: %s", q.To, c.r.onlyReads())
			return
		}
		if c.r.Undoes == "" { // a compensation has to succeed: there is nothing to undo
			c.r.seg.undo = append(c.r.seg.undo, what)
		}
		m.answer(c, wire.Answer{})
	case *wire.Continue:
		m.goOn(c, q)
	case *wire.Return:
		m.returned(c, q)
	}
}

func (m *Machine) read(c *call, q *wire.Read) {
	wants, names := make([]want, len(q.Keys)), make([]string, len(q.Keys))
	for i, k := range q.Keys {
		if len(k.Field) > record.NameMax || len(k.Entry) > record.NameMax {
			m.refuse(c, "read %s…: a key of more than %d bytes", k.String()[:32], record.NameMax)
			return
		}
		names[i] = c.state(k)
		wants[i] = c.want(names[i], c.lockFor(q.Update || m.writes(c, k)))
		if !slices.Contains(c.read, k) {
			c.read = append(c.read, k)
		}
	}
	m.acquire(c.r, wants, func() {
		m.fetch(c.r, names, func(values []wire.Value) {
			m.answer(c, wire.Answer{List: fitting(values)})
		})
	})
}

// fitting puts off the values that would make an answer too large: Pending stands for
// those, to be asked for again.
func fitting(values []wire.Value) []wire.Value {
	size := 0
	for i, v := range values {
		if size += len(v.Data) + perValue; v.Code == wire.Pending || size > answerMax && i > 0 {
			values = slices.Clone(values)
			for j := i; j < len(values); j++ {
				values[j] = wire.Value{Code: wire.Pending}
			}
			break
		}
	}
	return values
}

// scan reads entries of a map, those that the request itself has written included.
// Every writer of an entry shares the map's shape, and nobody has it beside who scans:
// so there is none.
func (m *Machine) scan(c *call, q *wire.Scan) {
	r := c.r
	limit := int(min(max(q.Limit, 1), 1000))
	shape, prefix := record.Shape(c.to.Service, c.to.Object, q.Field), record.Entries(c.to.Service, c.to.Object, q.Field)
	m.acquire(r, []want{c.want(shape, c.lockForScan())}, func() {
		own := map[string]wire.Value{}
		for _, w := range r.seg.writes {
			if entry, ok := strings.CutPrefix(w.key, prefix); ok && entry > q.After {
				own[entry], _ = r.seg.get(w.key)
			}
		}
		var load func(after string)
		load = func(after string) {
			m.load(r, Scan{Prefix: prefix, After: after, Limit: limit + len(own), Bytes: answerMax}, func(values []wire.Value) {
				list, last := merge(values, own, limit+len(own))
				if len(list) == 0 && last != "" { // the request has deleted them all
					load(last)
					return
				}
				m.answer(c, entries(list, limit, last != ""))
			})
		}
		load(q.After)
	})
}

// merge puts what the request itself has written into what the store has: entries in their
// order. last is that of the store with which those that were asked for became too many
// bytes, "" if none did.
func merge(values []wire.Value, own map[string]wire.Value, limit int) (list []wire.Value, last string) {
	size := 0
	for _, v := range values {
		size += Size(v)
		if _, written := own[v.Text]; !written {
			list = append(list, v)
		}
	}
	if size > answerMax && len(values) < limit {
		last = values[len(values)-1].Text
	}
	for entry, v := range own {
		if v.Code == wire.OK && (last == "" || entry <= last) {
			list = append(list, wire.Value{Text: entry, Data: v.Data})
		}
	}
	slices.SortFunc(list, func(a, b wire.Value) int { return strings.Compare(a.Text, b.Text) })
	return list, last
}

// entries is the answer with as many entries as were asked for, and as there is room for.
func entries(list []wire.Value, limit int, more bool) wire.Answer {
	a := wire.Answer{List: list[:min(len(list), limit)]}
	size := 0
	for i, v := range a.List {
		if size += Size(v); size > answerMax && i > 0 {
			a.List, more = a.List[:i], true
			break
		}
	}
	if more && len(a.List) < limit {
		a.Value.Code = wire.Pending
	}
	return a
}

// invoke calls a method. In a transaction one that is started runs at once, as a
// part of it.
func (m *Machine) invoke(c *call, q *wire.Invoke) {
	r := c.r
	what := record.Call{To: q.To, Args: q.Args}
	if err := m.allowed(c, what); err != nil {
		m.refuse(c, "%v", err)
		return
	}
	inside := q.Mode == wire.Wait || q.Mode == wire.Async && (r.tx != nil || r.snapshot)
	switch {
	case !inside && r.snapshot:
		m.refuse(c, "send %v: %s", q.To, r.onlyReads())
	case inside && q.Delay > 0:
		m.refuse(c, "call %v: a call that is waited for, or is part of a transaction, cannot be delayed", q.To)
	case inside && len(r.stack) >= m.o.Depth:
		m.refuse(c, "call %v: %d calls within each other are the most", q.To, m.o.Depth)
	case inside:
		m.enter(r, journal.Below(c.path, c.seq), what)
	default:
		rec := record.Request{ID: r.child(journal.Below(c.path, c.seq)), Call: what, Hash: what.Hash(), Version: r.Version, Root: root(r.Request)}
		if m.requests[rec.ID] != nil { // its parent had this one's key, which was forgotten meanwhile
			m.refuse(c, "call %v: request %s, begun by an earlier request under the same key, has not ended", q.To, rec.ID)
			return
		}
		if q.Mode == wire.Async {
			rec.Parent = r.ID
		}
		if q.Delay > 0 {
			rec.Due = after(m.now, q.Delay)
		}
		if why := m.crowded(rec.Root, rec); why != "" {
			m.fail(r, fmt.Sprintf("call %v: %s", q.To, why))
			return
		}
		m.count(rec.Root, 1, cost(rec))
		r.seg.sends = append(r.seg.sends, rec)
		m.answer(c, wire.Answer{Value: wire.Value{Code: wire.Pending}})
	}
}

// edge begins or ends a transaction.
func (m *Machine) edge(c *call, q *wire.Transaction) {
	r := c.r
	if c.switches.Flat {
		m.answer(c, wire.Answer{})
		return
	}
	switch tx := r.tx; {
	case q.Edge == wire.Begin && tx == nil:
		r.tx = &transaction{by: c, start: r.seg.mark()}
		m.answer(c, wire.Answer{})
	case q.Edge == wire.Begin:
		c.joined++
		m.answer(c, wire.Answer{})
	case tx == nil:
		m.refuse(c, "%v: there is no transaction", q)
	case c.joined > 0:
		c.joined--
		if q.Edge == wire.Abort && tx.doom == "" {
			tx.doom = fmt.Sprintf("%v has aborted its part of the transaction", c.to)
		}
		m.answer(c, doomed(tx))
	case tx.by != c:
		m.refuse(c, "the transaction was begun by %v", tx.by.to)
	default:
		a := doomed(tx)
		if q.Edge == wire.Abort || tx.doom != "" {
			m.rollback(r, tx.start)
		}
		r.tx = nil
		m.answer(c, a)
	}
}

func doomed(tx *transaction) wire.Answer {
	if tx.doom == "" {
		return wire.Answer{}
	}
	return wire.Answer{Value: wire.Value{Code: wire.Failed, Text: tx.doom}}
}

// pause ends the segment because an execution is about to wait, or refuses.
func (m *Machine) pause(c *call) bool {
	r := c.r
	if r.tx != nil {
		what, _ := c.cur.asked.Describe()
		r.tx.doom = what + ": a transaction holds locks, and does not wait"
		m.refuse(c, "%s", r.tx.doom)
		return false
	}
	if c.broken != "" {
		m.refuse(c, "%s", c.broken)
		return false
	}
	if r.snapshot {
		what, _ := c.cur.asked.Describe()
		m.refuse(c, "%s: %s", what, r.onlyReads())
		return false
	}
	if err := m.commit(r); err != nil {
		m.park(r, err.Error())
		return false
	}
	return true
}

// effect has a side effect done, when all that comes before it is on disk.
func (m *Machine) effect(c *call, q *wire.Run) {
	if !m.pause(c) {
		return
	}
	key := fmt.Sprintf("%s:%s:%d", c.r.child(journal.Below(c.path, c.seq)), q.Name, c.seq)
	m.emit(Send{Message: &wire.Answer{Call: c.id, Seq: c.seq, Value: wire.Value{Code: wire.Proceed, Text: key}, Now: m.now}, Durable: !c.r.volatile})
	m.at(after(m.now, m.o.RunLimit), c.r, func() { m.emit(Kill{c.id}) })
	m.apart(c.r, true)
}

// apart notes whether a request does a side effect, or waits for its first lock without an
// instance: that may take long, and is in nobody's way.
func (m *Machine) apart(r *request, does bool) {
	switch {
	case does && !r.apart:
		m.aside++
	case !does && r.apart:
		m.aside--
	}
	r.apart = does
}

// ran records the result of a side effect.
func (m *Machine) ran(c *call, q *wire.Ran) {
	r := c.r
	if _, ok := c.cur.asked.(*wire.Run); !ok || r.state != Running {
		return
	}
	m.apart(r, false)
	v := q.Value
	if len(v.Data)+len(v.Text) > m.o.ValueMax {
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("a result of %d bytes, at most %d", len(v.Data), m.o.ValueMax)}
	}
	e := c.cur
	e.answered, e.answer, e.stale = true, wire.Answer{Value: v, Now: m.now, Fresh: true}, true
	if err := m.commit(r); err != nil {
		m.park(r, err.Error())
		return
	}
	m.watch(r)
	m.pass(c, e.answer)
}

// goOn begins the request's method anew, with an empty journal.
func (m *Machine) goOn(c *call, q *wire.Continue) {
	r := c.r
	next := r.Request
	next.Call, next.Generation, next.Chunks, next.Cuts, next.Undo = record.Call{To: r.Call.To, Args: q.Args}, r.Generation+1, 0, nil, slices.Concat(r.Undo, r.seg.undo)
	value := next.Encode()
	err := m.limited(r.Version, next.Call)
	if err == nil {
		err = tooLong(next, value)
	}
	switch {
	case c.broken != "":
	case len(r.stack) > 1:
		c.broken = fmt.Sprintf("%v was called by a method: only the method that the request is for continues", c.to)
	case r.tx != nil:
		c.broken = "a transaction is open"
	case r.snapshot:
		c.broken = "continue: " + r.onlyReads()
	case err != nil:
		c.broken = err.Error()
	}
	if c.broken != "" { // nobody is there to be answered
		m.returned(c, &wire.Return{})
		return
	}
	ops := append(r.seg.ops(), m.intents(r, r.seg.sends)...)
	sends := r.seg.sends
	if r.Chunks > 0 {
		ops = append(ops, Op{Key: record.Journal(r.ID), Delete: true, Prefix: true})
	}
	ops = append(ops, r.disown()...)
	m.count(root(next), 0, cost(next)-cost(r.Request))
	r.Request = next
	r.journal, r.logs, r.stored = 0, nil, true
	if !r.volatile {
		ops = append(ops, Op{Key: record.Open(r.ID), Value: value})
	}
	if len(ops) > 0 {
		m.emit(Append{ops})
	}
	r.seg, r.stack, r.attempt, r.failures = segment{}, nil, 0, 0
	delete(m.calls, c.id)
	m.emit(Free{Call: c.id, Clean: true})
	m.release(r)
	m.rest(r, Queued)
	for _, s := range sends {
		m.spawn(r, s)
	}
	m.enqueue(r)
}

// returned ends an execution.
func (m *Machine) returned(c *call, q *wire.Return) {
	r, v := c.r, q.Value
	switch tx := r.tx; {
	case tx != nil && (tx.by == c || c.joined > 0):
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("%v has returned in the middle of a transaction", c.to)}
		if tx.by == c {
			r.tx = nil
			m.rollback(r, tx.start)
		}
	case c.broken != "":
	case len(v.Data)+len(v.Text) > m.o.ValueMax:
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("%v: a result of %d bytes, at most %d", c.to, len(v.Data)+len(v.Text), m.o.ValueMax)}
	case v.Code != wire.OK:
		v.Code = wire.Failed
	}
	if c.broken != "" { // the first reason
		v = wire.Value{Code: wire.Failed, Text: c.broken}
	}
	for i, k := range c.log.start.Values {
		if i < 64 && q.Used>>i&1 == 1 && !slices.Contains(c.read, k.Key) {
			c.read = append(c.read, k.Key)
		}
	}
	m.leave(c, v)
}
