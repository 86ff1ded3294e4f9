package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/lock"
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
		if err := m.limited(what); err != nil {
			m.refuse(c, "%v", err)
			return
		}
		c.r.seg.undo = append(c.r.seg.undo, what)
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
		wants[i] = want{names[i], mode(q.Update || m.writes(c, k))}
		if !slices.Contains(c.read, k) {
			c.read = append(c.read, k)
		}
	}
	m.acquire(c.r, wants, func() {
		m.fetch(c.r, names, func(values []wire.Value) {
			m.answer(c, wire.Answer{List: values})
		})
	})
}

// scan reads entries of a map, those that the request itself has written included.
// Who scans has the map's shape for itself, and every writer of an entry shares it:
// so there is none.
func (m *Machine) scan(c *call, q *wire.Scan) {
	r := c.r
	limit := int(min(max(q.Limit, 1), 1000))
	shape, prefix := record.Shape(c.to.Service, c.to.Object, q.Field), record.Entries(c.to.Service, c.to.Object, q.Field)
	m.acquire(r, []want{{shape, lock.Exclusive}}, func() {
		own := map[string]wire.Value{}
		for _, w := range r.seg.writes {
			if entry, ok := strings.CutPrefix(w.key, prefix); ok && entry > q.After {
				own[entry], _ = r.seg.get(w.key)
			}
		}
		m.load(r, Scan{Prefix: prefix, After: q.After, Limit: limit + len(own)}, func(values []wire.Value) {
			var list []wire.Value
			for _, v := range values {
				if _, written := own[v.Text]; !written {
					list = append(list, v)
				}
			}
			for entry, v := range own {
				if v.Code == wire.OK {
					list = append(list, wire.Value{Text: entry, Data: v.Data})
				}
			}
			slices.SortFunc(list, func(a, b wire.Value) int { return strings.Compare(a.Text, b.Text) })
			m.answer(c, wire.Answer{List: list[:min(len(list), limit)]})
		})
	})
}

// invoke calls a method. In a transaction one that is started runs at once, as a
// part of it.
func (m *Machine) invoke(c *call, q *wire.Invoke) {
	r := c.r
	what := record.Call{To: q.To, Args: q.Args}
	if err := m.limited(what); err != nil {
		m.refuse(c, "%v", err)
		return
	}
	inside := q.Mode == wire.Wait || q.Mode == wire.Async && r.tx != nil
	switch {
	case inside && q.Delay > 0:
		m.refuse(c, "call %v: a call that is waited for, or is part of a transaction, cannot be delayed", q.To)
	case inside && len(r.stack) >= m.o.Depth:
		m.refuse(c, "call %v: %d calls within each other are the most", q.To, m.o.Depth)
	case inside:
		m.enter(r, journal.Below(c.path, c.seq), what)
	default:
		rec := record.Request{ID: r.child(journal.Below(c.path, c.seq)), Call: what, Hash: what.Hash(), Version: r.Version}
		if q.Mode == wire.Async {
			rec.Parent = r.ID
		}
		if q.Delay > 0 {
			rec.Due = after(m.now, q.Delay)
		}
		r.seg.sends = append(r.seg.sends, rec)
		m.answer(c, wire.Answer{Value: wire.Value{Code: wire.Pending}})
	}
}

// edge begins or ends a transaction.
func (m *Machine) edge(c *call, q *wire.Transaction) {
	r := c.r
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
			r.seg.rollback(tx.start)
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
	m.emit(Send{Message: &wire.Answer{Call: c.id, Seq: c.seq, Value: wire.Value{Code: wire.Proceed, Text: key}, Now: m.now}, Durable: true})
	m.at(after(m.now, m.o.RunLimit), c.r, func() { m.emit(Kill{c.id}) })
}

// ran records the result of a side effect.
func (m *Machine) ran(c *call, q *wire.Ran) {
	r := c.r
	if _, ok := c.cur.asked.(*wire.Run); !ok || r.state != Running {
		return
	}
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
	m.pass(c)
}

// goOn begins the request's method anew, with an empty journal.
func (m *Machine) goOn(c *call, q *wire.Continue) {
	r := c.r
	what := record.Call{To: r.Call.To, Args: q.Args}
	err := m.limited(what)
	switch {
	case len(r.stack) > 1:
		m.refuse(c, "%v was called by a method: only the method that the request is for continues", c.to)
		return
	case r.tx != nil:
		m.refuse(c, "a transaction is open")
		return
	case err != nil:
		m.refuse(c, "%v", err)
		return
	case c.broken != "":
		m.returned(c, &wire.Return{})
		return
	}
	ops := append(r.seg.ops(), m.intents(r.seg.sends)...)
	sends := r.seg.sends
	r.Undo = slices.Concat(r.Undo, r.seg.undo)
	r.Call, r.Generation = what, r.Generation+1
	if r.Chunks > 0 {
		ops = append(ops, Op{Key: record.Journal(r.ID), Delete: true, Prefix: true})
	}
	r.Chunks, r.journal, r.logs, r.stored = 0, 0, nil, true
	m.emit(Append{append(ops, Op{Key: record.Open(r.ID), Value: r.Encode()})})
	r.seg, r.stack, r.attempt = segment{}, nil, 0
	delete(m.calls, c.id)
	m.emit(Free{Call: c.id, Clean: true})
	m.release(r)
	m.rest(r, Queued)
	for _, s := range sends {
		m.spawn(s)
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
			r.seg.rollback(tx.start)
		}
	case c.broken != "":
		v = wire.Value{Code: wire.Failed, Text: c.broken}
	case len(v.Data)+len(v.Text) > m.o.ValueMax:
		v = wire.Value{Code: wire.Failed, Text: fmt.Sprintf("%v: a result of %d bytes, at most %d", c.to, len(v.Data)+len(v.Text), m.o.ValueMax)}
	case v.Code != wire.OK:
		v.Code = wire.Failed
	}
	for i, k := range c.log.start.Values {
		if i < 64 && q.Used>>i&1 == 1 && !slices.Contains(c.read, k.Key) {
			c.read = append(c.read, k.Key)
		}
	}
	m.leave(c, v)
}
