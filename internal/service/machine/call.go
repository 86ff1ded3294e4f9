package machine

import (
	"fmt"
	"slices"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// call is one execution of a method: the request's own, or one that another
// execution of the request waits for.
type call struct {
	id     uint64
	r      *request
	path   string
	to     wire.Target
	args   [][]byte
	log    *log
	seq    uint64 // of the latest question
	cur    *entry // the question that has no answer yet
	inbox  []wire.Asker
	start  mark       // of the segment, when it began; zero once the request has waited
	read   []wire.Key // that it has asked for, or used
	fresh  bool       // what it has read may not be so any more
	joined int        // transactions within another one that are open
	broken string     // why it can only fail
}

// log is what an execution has asked so far.
type log struct {
	start   wire.Start // what is given
	entries []*entry   // question i+1
	kept    int        // entries that are in the store
	saved   bool       // so is the start
}

// entry is a question of this life, or one of the journal.
type entry struct {
	asked    wire.Asker // nil: not in this attempt
	was      journal.Entry
	answered bool
	answer   wire.Answer
	stale    bool // it is in the store, without its answer
}

// enter begins an execution on top of a request's stack.
func (m *Machine) enter(r *request, path string, what record.Call) {
	c := &call{r: r, path: path, to: what.To, args: what.Args, start: r.seg.mark()}
	r.stack = append(r.stack, c)
	m.lastCall++
	c.id = m.lastCall
	m.calls[c.id] = c
	if c.log = r.logs[path]; c.log != nil {
		m.begin(c)
		return
	}
	c.log = &log{}
	if r.logs == nil {
		r.logs = map[string]*log{}
	}
	r.logs[path] = c.log
	m.foresee(c, func(known []wire.Known) {
		c.log.start = wire.Start{Now: m.now, Seed: m.seed(), Values: known}
		m.begin(c)
	})
}

func (m *Machine) begin(c *call) {
	s := c.log.start
	s.Call, s.Request, s.Attempt, s.To, s.Args = c.id, c.r.ID, c.r.attempt, c.to, c.args
	m.emit(Send{Message: &s})
}

// asked takes in what an instance says.
func (m *Machine) asked(msg wire.Message) {
	switch q := msg.(type) {
	case *wire.Ran:
		if c := m.calls[q.Call]; c != nil && c.cur != nil && c.seq == q.Seq {
			m.ran(c, q)
		}
	case wire.Asker:
		c := m.calls[q.Head().Call]
		if c == nil || q.Head().Seq != c.seq+1+uint64(len(c.inbox)) {
			return
		}
		if c.cur != nil {
			if c.inbox = append(c.inbox, q); len(c.inbox) > inboxMax {
				m.emit(Kill{c.id})
			}
			return
		}
		m.question(c, q)
	}
}

// inboxMax bounds the questions that come before earlier ones are carried out.
const inboxMax = 1024

// question takes the next question of an execution: one that was answered before
// gets the same answer, a new one is carried out.
func (m *Machine) question(c *call, q wire.Asker) {
	r, head := c.r, q.Head()
	if end, ok := q.(*wire.Return); ok && end.Value.Code == wire.Panicked && c.broken == "" {
		m.fail(r, fmt.Sprintf("%v: %s", c.to, end.Value.Text)) // wherever it has come to
		return
	}
	c.seq++
	if c.seq <= uint64(len(c.log.entries)) {
		e := c.log.entries[c.seq-1]
		if d := journal.Compare(c.to, e.was, q); d != nil {
			m.park(r, d.Error())
			return
		}
		e.asked, c.cur = q, e
		if !e.answered {
			c.fresh = true  // the segment ended here
			m.perform(c, q) // its writes are in the store
			return
		}
		m.pass(c)
		return
	}
	e := &entry{asked: q}
	c.log.entries = append(c.log.entries, e)
	c.cur = e
	if c.seq > questionsMax {
		c.broken = fmt.Sprintf("%v has asked %d questions: let it continue with a new journal", c.to, questionsMax)
	}
	for _, w := range head.Writes {
		if err := m.writable(w); err != nil {
			c.broken = err.Error()
		}
	}
	if doom := r.doomed(c); doom != "" {
		if ends(q) {
			m.perform(c, q)
			return
		}
		m.answer(c, wire.Answer{Value: wire.Value{Code: wire.Refused, Text: doom}})
		return
	}
	wants := make([]want, 0, 2*len(head.Writes))
	for _, w := range head.Writes {
		wants = append(wants, want{c.state(w.Key), lock.Exclusive})
		if w.Key.Item {
			wants = append(wants, want{record.Shape(c.to.Service, c.to.Object, w.Key.Field), lock.Shared})
		}
	}
	m.acquire(r, wants, func() {
		for _, w := range head.Writes {
			r.seg.put(c.state(w.Key), w)
		}
		if r.seg.size > m.o.WritesMax {
			c.broken = fmt.Sprintf("%d bytes are written at a time, at most %d", r.seg.size, m.o.WritesMax)
		}
		m.perform(c, q)
	})
}

// questionsMax bounds what an execution asks.
const questionsMax = 1 << 16

// writable finds what is too large in a write.
func (m *Machine) writable(w wire.Write) error {
	switch {
	case len(w.Key.Field) > record.NameMax || len(w.Key.Entry) > record.NameMax:
		return fmt.Errorf("write %s…: a key of more than %d bytes", w.Key.String()[:32], record.NameMax)
	case len(w.Value) > m.o.ValueMax:
		return fmt.Errorf("write %v: a value of %d bytes, at most %d", w.Key, len(w.Value), m.o.ValueMax)
	}
	return nil
}

// doomed says why an execution can only fail, "" if it need not.
func (r *request) doomed(c *call) string {
	if r.tx != nil && r.tx.doom != "" {
		return r.tx.doom
	}
	return c.broken
}

// ends reports whether a question is carried out even if nothing can come of the
// execution.
func ends(q wire.Asker) bool {
	switch q.(type) {
	case *wire.Return, *wire.Transaction:
		return true
	}
	return false
}

// answer answers the question of an execution.
func (m *Machine) answer(c *call, a wire.Answer) {
	e := c.cur
	if a.Now == 0 {
		a.Now = m.now
	}
	if !wire.Silent(e.asked) {
		a.Fresh = a.Fresh || c.fresh
		c.fresh = false
	}
	e.answered, e.answer, e.stale = true, a, true
	m.pass(c)
}

// pass sends the answer on, and goes on with the next question.
func (m *Machine) pass(c *call) {
	e := c.cur
	c.cur = nil
	if !wire.Silent(e.asked) {
		a := e.answer
		a.Call, a.Seq = c.id, c.seq
		m.emit(Send{Message: &a})
	}
	if len(c.inbox) > 0 && m.calls[c.id] == c {
		q := c.inbox[0]
		c.inbox = c.inbox[1:]
		m.question(c, q)
	}
}

// refuse answers a question that the node does not do. Where no answer is sent, the
// execution fails.
func (m *Machine) refuse(c *call, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if wire.Silent(c.cur.asked) {
		c.broken = text
	}
	m.answer(c, wire.Answer{Value: wire.Value{Code: wire.Refused, Text: text}})
}

// leave ends an execution, and gives the one below it the outcome.
func (m *Machine) leave(c *call, v wire.Value) {
	r := c.r
	delete(m.calls, c.id)
	m.emit(Free{Call: c.id, Clean: true})
	if v.Code == wire.OK {
		m.learn(c)
	}
	if len(r.stack) == 1 {
		r.stack = nil
		m.finish(r, v)
		return
	}
	r.stack = r.stack[:len(r.stack)-1]
	if !c.log.saved {
		delete(r.logs, c.path)
	} // otherwise it is needed if this segment comes to nothing
	below := r.stack[len(r.stack)-1]
	below.fresh = below.fresh || r.seg.touched(c.start, record.Object(below.to.Service, below.to.Object))
	if v.Code == wire.Failed {
		r.seg.rollback(c.start)
		if r.tx != nil && r.tx.doom == "" {
			r.tx.doom = fmt.Sprintf("%v has failed: %s", c.to, v.Text)
		}
	}
	if q, ok := below.cur.asked.(*wire.Await); ok {
		handle := below.log.entries[q.Handles[0]-1]
		handle.answer.Value, handle.stale = v, true
		m.await(below, q)
		return
	}
	if r.tx != nil && r.tx.doom != "" { // whoever is in it learns so at once
		v = wire.Value{Code: wire.Refused, Text: r.tx.doom}
	}
	m.answer(below, wire.Answer{Value: v})
}

// commit ends a segment before the request has ended: it is about to wait. What it
// has done is appended, with the journal of its executions, and its locks are free.
func (m *Machine) commit(r *request) error {
	var entries []journal.Entry
	for _, c := range r.stack {
		if !c.log.saved {
			entries = append(entries, journal.Entry{Path: c.path, Start: c.log.start})
			c.log.saved = true
		}
		for i, e := range c.log.entries {
			if i >= c.log.kept || e.stale {
				entries = append(entries, e.record(c.path))
			}
		}
		c.log.kept = len(c.log.entries)
		c.start, c.fresh = mark{}, true
	}
	for path := range r.logs {
		if !slices.ContainsFunc(r.stack, func(c *call) bool { return c.path == path }) {
			delete(r.logs, path)
		}
	}
	ops := r.seg.ops()
	if len(entries) > 0 {
		for _, chunk := range journal.Encode(entries) {
			if r.journal += len(chunk); r.journal > m.o.JournalMax || len(chunk) > chunkMax {
				return fmt.Errorf("its journal has %d bytes, at most %d: let the method continue with a new one", r.journal, m.o.JournalMax)
			}
			ops = append(ops, Op{Key: record.Chunk(r.ID, r.Chunks), Value: chunk})
			r.Chunks++
		}
	}
	sends := r.seg.sends
	r.Undo = slices.Concat(r.Undo, r.seg.undo)
	if len(ops)+len(sends) > 0 {
		ops = append(ops, m.intents(sends)...)
		value := r.Encode()
		if len(value) > chunkMax {
			return fmt.Errorf("it has %d compensations, whose arguments are too many for a record", len(r.Undo))
		}
		r.stored = true
		m.emit(Append{append(ops, Op{Key: record.Open(r.ID), Value: value})})
	}
	r.seg = segment{}
	r.turn++
	m.release(r)
	for _, s := range sends {
		m.spawn(s)
	}
	return nil
}

// chunkMax is what the store takes as one value, in bytes.
const chunkMax = 64 << 10

// record is the journal's form of an entry.
func (e *entry) record(path string) journal.Entry {
	if e.was.What == "" {
		e.was = journal.Of(path, e.asked)
	}
	e.was.Answered, e.was.Answer = e.answered, e.answer
	e.stale = false
	return e.was
}
