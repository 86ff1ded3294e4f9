package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// call is one execution of a method: the request's own, or one that another
// execution of the request waits for.
type call struct {
	id       uint64
	r        *request
	path     string
	to       wire.Target
	mode     Mode
	switches Switches
	moves    bool // it migrates the state of its object, so it writes whatever its mode
	args     [][]byte
	log      *log
	seq      uint64 // of the latest question
	cur      *entry // the question that has no answer yet
	inbox    []wire.Asker
	start    mark       // of the segment, when it began; zero once the request has waited
	read     []wire.Key // that it has asked for, or used
	fresh    bool       // what it has read may not be so any more
	joined   int        // transactions within another one that are open
	broken   string     // why it can only fail
	begun    int64
	since    int64 // when its time has begun (watch.go)
	limit    time.Duration
	guarded  uint64 // the turn in which that is looked at; 0: none
}

// log is what an execution has asked so far.
type log struct {
	start   wire.Start // what is given
	entries []*entry   // question i+1
	kept    int        // entries that are in the store
	saved   bool       // so is the start
	size    int        // of answers that are not, in bytes
	heavy   bool       // some were forgotten, because they are more than a journal may have
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
	c := &call{r: r, path: path, to: what.To, mode: m.o.Mode(r.Version, what.To), switches: m.o.Switches(what.To.Service, r.Version), args: what.Args, start: r.seg.mark(), begun: m.now, since: m.now, limit: m.bounds(what.To.Service, r.Version).Limit}
	r.stack = append(r.stack, c)
	m.supervise(c, len(r.stack)-1)
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
	c.since = m.now
	s := c.log.start
	s.Call, s.Request, s.Attempt, s.To, s.Args = c.id, c.r.ID, c.r.attempt, c.to, c.args
	m.emit(Send{Message: &s})
}

// asked takes in what an instance says.
func (m *Machine) asked(msg wire.Message) {
	switch q := msg.(type) {
	case *wire.Ran:
		if c := m.calls[q.Call]; c != nil && c.r.cancel == "" && c.cur != nil && c.seq == q.Seq {
			m.ran(c, q)
		}
	case wire.Asker:
		c := m.calls[q.Head().Call]
		if c == nil || c.r.cancel != "" || q.Head().Seq != c.seq+1+uint64(len(c.inbox)) {
			return // what is about to be ended does nothing any more
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
	if end, ok := q.(*wire.Return); ok && end.Value.Code == wire.Refused && c.broken == "" {
		m.unfit(c, end.Value.Text)
		return
	}
	c.seq++
	if c.seq <= uint64(len(c.log.entries)) {
		e := c.log.entries[c.seq-1]
		if d := journal.Compare(c.to, e.was, q); d != nil {
			m.stats.Diverged++
			m.park(r, d.Error())
			return
		}
		e.asked, c.cur, head.Writes = q, e, nil // those are in the store
		if !e.answered {
			c.fresh = true // the segment ended here
			m.perform(c, q)
			return
		}
		m.pass(c, e.answer)
		return
	}
	e := &entry{asked: q}
	c.log.entries = append(c.log.entries, e)
	c.cur = e
	if c.seq > questionsMax {
		c.broken = fmt.Sprintf("%v has asked %d questions: let it continue with a new journal", c.to, questionsMax)
	}
	if !m.migrate(c, head.Writes) {
		return
	}
	for _, w := range head.Writes {
		if err := m.writable(c, w); err != nil && c.broken == "" {
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
		wants = append(wants, c.want(c.state(w.Key), lock.Exclusive))
		if w.Key.Item {
			wants = append(wants, c.want(record.Shape(c.to.Service, c.to.Object, w.Key.Field), lock.Shared))
		}
	}
	m.guard(c, q, func() {
		m.acquire(r, wants, func() {
			for _, w := range head.Writes {
				r.seg.put(c.state(w.Key), w)
			}
			if r.seg.size > m.o.WritesMax {
				c.broken = fmt.Sprintf("%d bytes are written at a time, at most %d", r.seg.size, m.o.WritesMax)
			}
			m.perform(c, q)
		})
	})
}

// questionsMax bounds what an execution asks.
const questionsMax = 1 << 16

// writable finds what is wrong with a write.
func (m *Machine) writable(c *call, w wire.Write) error {
	switch why := c.reading(); {
	case why != "":
		return fmt.Errorf("write %s: %s", w.Key.String()[:min(len(w.Key.String()), 32)], why)
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
	case *wire.Return, *wire.Continue, *wire.Transaction:
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
	m.lighten(c.log, e)
	m.pass(c, a)
}

// lighten forgets an answer that is of use for the journal only, and too much for that. Most
// methods never need one.
func (m *Machine) lighten(l *log, e *entry) {
	call, _ := e.asked.(*wire.Invoke)
	for _, v := range e.answer.List {
		l.size += Size(v)
	}
	if l.size += Size(e.answer.Value); call != nil {
		l.size += cost(record.Request{Call: record.Call{Args: call.Args}})
	}
	if l.size <= m.o.JournalMax {
		return
	}
	l.heavy = true
	e.answer.List = nil
	if call != nil && call.Mode == wire.Wait {
		e.answer.Value.Data = nil
		e.asked = &wire.Invoke{Question: wire.Question{Call: call.Call, Seq: call.Seq}, To: call.To}
	}
}

// pass sends an answer on, and goes on with the next question.
func (m *Machine) pass(c *call, a wire.Answer) {
	e := c.cur
	c.cur = nil
	if !wire.Silent(e.asked) {
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
	m.time(c, v)
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
		m.rollback(r, c.start)
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
	entries, err := m.unsaved(r)
	if err != nil {
		return err
	}
	next, size := r.Request, r.journal
	next.Undo = slices.Concat(r.Undo, r.seg.undo)
	ops := r.seg.ops()
	if len(entries) > 0 {
		r.failures = 0 // it has come further
		for _, chunk := range journal.Encode(entries) {
			if size += len(chunk); size > m.o.JournalMax || len(chunk) > chunkMax {
				return m.tooMuch(size)
			}
			if r.volatile { // there is a bound all the same: it is kept in memory
				continue
			}
			ops = append(ops, Op{Key: record.Chunk(r.ID, next.Chunks), Value: chunk})
			next.Chunks++
		}
	}
	sends := r.seg.sends
	if len(ops)+len(sends) > 0 || r.volatile {
		ops = append(ops, m.intents(r, sends)...)
		value := next.Encode()
		if err := tooLong(next, value); err != nil {
			return err
		}
		r.stored = true
		if !r.volatile {
			m.stats.Journal += uint64(size - r.journal)
			ops = append(ops, Op{Key: record.Open(r.ID), Value: value})
		}
		if len(ops) > 0 {
			m.emit(Append{ops})
		}
	}
	r.Request, r.journal = next, size
	r.saved()
	r.seg = segment{}
	r.turn++
	m.release(r)
	for _, s := range sends {
		m.spawn(r, s)
	}
	return nil
}

// unsaved lists what the executions of a request have asked, and been answered, that is not in its
// journal.
func (m *Machine) unsaved(r *request) (entries []journal.Entry, err error) {
	for _, c := range r.stack {
		if c.log.heavy {
			return nil, m.tooMuch(c.log.size)
		}
		if !c.log.saved {
			entries = append(entries, journal.Entry{Path: c.path, Start: c.log.start})
		}
		for i, e := range c.log.entries {
			if i >= c.log.kept || e.stale {
				entries = append(entries, e.record(c.path))
			}
		}
	}
	return entries, nil
}

// tooMuch is the error of a journal that has no room.
func (m *Machine) tooMuch(size int) error {
	return fmt.Errorf("its journal has %d bytes, at most %d: let the method continue with a new one", size, m.o.JournalMax)
}

// saved notes that all that the executions of a request have asked is in its journal.
func (r *request) saved() {
	for _, c := range r.stack {
		for i, e := range c.log.entries {
			if i >= c.log.kept || e.stale {
				e.was, e.stale = e.record(c.path), false
				e.trim()
			}
		}
		c.log.saved, c.log.kept, c.log.size = true, len(c.log.entries), 0
		c.start, c.fresh = mark{}, true
	}
	for path := range r.logs {
		if !slices.ContainsFunc(r.stack, func(c *call) bool { return c.path == path }) {
			delete(r.logs, path)
		}
	}
}

// What is one value in the store is smaller than chunkMax, in bytes, names and numbers
// included, and so are the values that are answered together.
const (
	chunkMax  = 2<<20 - 64<<10
	answerMax = chunkMax - 64<<10
	perValue  = 16 // what a value takes besides its bytes, at most
)

// tooLong finds a request whose record is too large for the store.
func tooLong(r record.Request, value []byte) error {
	if len(value) > chunkMax {
		return fmt.Errorf("it has %d compensations, whose arguments make a record of %d bytes, at most %d", len(r.Undo), len(value), chunkMax)
	}
	return nil
}

// trim drops what a question in the journal came with: its writes and arguments are in the store.
func (e *entry) trim() {
	e.asked.Head().Writes = nil
	if call, ok := e.asked.(*wire.Invoke); ok {
		call.Args = nil
	}
}

// record is the journal's form of an entry.
func (e *entry) record(path string) journal.Entry {
	if e.was.What == "" {
		e.was = journal.Of(path, e.asked)
	}
	was := e.was
	was.Answered, was.Answer = e.answered, e.answer
	return was
}
