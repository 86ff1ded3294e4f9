package machine_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// serial executes segments one at a time, in the order of a world's log, on a plain
// map: no locks, no buffers, no journal, no failures. What the world has in its
// store, and what it has answered, has to be the same.
type serial struct {
	t       fataler
	methods map[string]servicetest.Method
	mode    func(wire.Target) machine.Mode
	state   map[string][]byte
	reqs    map[string]*serialRequest
	results map[string]wire.Value
	starts  map[string]wire.Start  // what executions were given, by request and path
	answers map[string]wire.Answer // what they were answered, likewise
}

type serialRequest struct {
	id     string
	call   record.Call
	stack  []*serialCall
	tx     *serialTx
	sends  []record.Request
	undo   []record.Call // of earlier segments
	more   []record.Call // of this one
	undoes string

	snapshot bool
}

type serialCall struct {
	path     string
	to       wire.Target
	x        *exec
	asks     []wire.Message
	handles  map[uint64]*wire.Invoke
	outcome  map[uint64]wire.Value
	before   map[string][]byte // the state when it began, or when its request last waited
	counts   [2]int            // sends and compensations then
	joined   int
	awaiting uint64 // handle of what runs on top of it
	broken   string // why it can only fail
}

type serialTx struct {
	by     *serialCall
	before map[string][]byte
	counts [2]int
	doom   bool
}

// batch is what an append of the log is about.
type batch struct {
	id      string
	ends    bool
	at      string // the path and number of the question that is waited for; "" for none
	entries []journal.Entry
	done    *record.Result
	opens   []record.Request
}

func parse(t fataler, ops []machine.Op) batch {
	var b batch
	for _, op := range ops {
		id, open := strings.CutPrefix(op.Key, record.OpenPrefix)
		rest, done := strings.CutPrefix(op.Key, record.Done(""))
		switch {
		case open && op.Delete:
			b.id, b.ends = id, true
		case open:
			r, err := record.DecodeRequest(id, op.Value)
			if err != nil {
				t.Fatal(err)
			}
			b.opens = append(b.opens, r)
		case done && !op.Delete:
			r, err := record.DecodeResult(op.Value)
			if err != nil {
				t.Fatal(err)
			}
			b.id, b.ends, b.done = rest, true, &r
		case strings.HasPrefix(op.Key, "svc/j/") && !op.Delete:
			entries, err := journal.Decode(op.Value)
			if err != nil {
				t.Fatal(err)
			}
			b.entries = append(b.entries, entries...)
			b.id = strings.TrimPrefix(op.Key[:len(op.Key)-9], "svc/j/")
		}
	}
	depth := -1
	for _, e := range b.entries {
		if n := len(strings.Split(e.Path, ".")); e.Seq > 0 && !e.Answered {
			if e.Path == "" {
				n = 0
			}
			if n > depth {
				depth, b.at = n, journal.Below(e.Path, e.Seq)
			}
		}
	}
	return b
}

// check runs the reference over a world's log.
func check(w *world) {
	mode := func(to wire.Target) machine.Mode {
		if w.o.Mode == nil {
			return machine.Exclusive
		}
		return w.o.Mode("", to)
	}
	s := &serial{t: w.t, methods: w.methods, mode: mode, state: map[string][]byte{}, reqs: map[string]*serialRequest{}, results: map[string]wire.Value{}, starts: map[string]wire.Start{}, answers: map[string]wire.Answer{}}
	var batches []batch
	for _, ops := range w.log {
		b := parse(w.t, ops)
		batches = append(batches, b)
		for _, e := range b.entries {
			if e.Seq == 0 {
				s.starts[b.id+" "+e.Path] = e.Start
			} else if e.Answered {
				s.answers[b.id+" "+journal.Below(e.Path, e.Seq)] = e.Answer
			}
		}
	}
	for _, c := range w.clients {
		if ev, ok := c.event(0).(machine.Begun); ok {
			s.reqs[c.id] = &serialRequest{id: c.id, call: ev.Request.Call}
		}
	}
	for i, b := range batches {
		if r := s.reqs[b.id]; r != nil && mode(r.call.To) == machine.Snapshot {
			s.moment(w, r, b)
		} else if b.id != "" {
			s.segment(b)
		}
		for _, r := range b.opens {
			if r.ID != b.id && s.reqs[r.ID] == nil {
				s.reqs[r.ID] = &serialRequest{id: r.ID, call: r.Call, undo: r.Undo, undoes: r.Undoes}
			}
		}
		stored := w.state(i + 1)
		for k := range stored {
			if !strings.HasPrefix(k, "svc/s/") {
				delete(stored, k)
			}
		}
		if !maps.EqualFunc(stored, s.state, slices.Equal) {
			w.t.Fatalf("after append %d, of %s, the store has\n%v\nserially it is\n%v", i, b.id, show(stored), show(s.state))
		}
	}
	for _, c := range w.clients {
		want, ok := s.results[c.id]
		for _, got := range c.answers {
			if ok && (got.Code != want.Code || got.Text != want.Text || string(got.Data) != string(want.Data)) {
				w.t.Errorf("client %s is answered %v %q %d, serially it is %v %q %d", c.id, got.Code, got.Text, number(got.Data), want.Code, want.Text, number(want.Data))
			}
		}
		if !ok && c.id != "" {
			w.t.Errorf("client %s is answered %v, but there is no end of its request", c.id, c.answers)
		}
	}
	for _, r := range s.reqs {
		if len(r.stack) > 0 {
			w.t.Errorf("request %s has not ended", r.id)
			for _, c := range r.stack {
				c.x.abort()
			}
		}
	}
}

// moment executes a request that only reads, at its moment.
func (s *serial) moment(w *world, r *serialRequest, b batch) {
	r.snapshot = true
	now := s.state
	if at, reads := w.moments[r.id]; reads {
		s.state = w.state(at)
	}
	s.segment(b)
	s.state = now
}

func show(state map[string][]byte) string {
	var b strings.Builder
	for _, k := range sortedKeys(state) {
		fmt.Fprintf(&b, "%q: %d\n", k, number(state[k]))
	}
	return b.String()
}

// segment executes a request until it waits for the question b.at, or ends.
func (s *serial) segment(b batch) {
	r := s.reqs[b.id]
	if r == nil {
		s.t.Fatalf("an append of %s, which nobody has begun", b.id)
	}
	for _, c := range r.stack {
		c.before, c.counts = maps.Clone(s.state), [2]int{}
	}
	var last wire.Value
	if len(r.stack) == 0 {
		s.enter(r, "", r.call)
	} else {
		c := r.stack[len(r.stack)-1]
		if _, ok := c.asks[0].(*wire.Run); ok { // its result is recorded, nothing more
			s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Proceed, Text: "serial"}})
			if b.at != "" || b.ends {
				s.t.Fatalf("%s goes on before the result of its side effect is recorded", b.id)
			}
			return
		}
	}
	for {
		c := r.stack[len(r.stack)-1]
		if len(c.asks) == 0 {
			c.x.step(s.t, s.methods)
			c.asks, c.x.toNode = append(c.asks, c.x.toNode...), nil
			continue
		}
		var head *wire.Question
		if q, ok := c.asks[0].(wire.Asker); ok {
			head = q.Head()
		}
		if head != nil && !slices.Contains([]string{"*wire.Return", "*wire.Continue"}, fmt.Sprintf("%T", c.asks[0])) && journal.Below(c.path, head.Seq) == b.at {
			s.write(r, c, head)
			r.undo = append(r.undo, r.more...)
			r.more, r.sends = nil, nil
			head.Writes = nil
			b.at = ""
			return
		}
		if v, ended := s.perform(r, c); ended {
			last = v
			break
		}
	}
	if !b.ends {
		s.t.Fatalf("%s has ended serially, in the world it waits for %s", b.id, b.at)
	}
	s.results[b.id] = last
	if b.done != nil && (b.done.Value.Code != last.Code || string(b.done.Value.Data) != string(last.Data) || b.done.Value.Text != last.Text) {
		s.t.Fatalf("%s ends with %v %q %d, serially with %v %q %d", b.id, b.done.Value.Code, b.done.Value.Text, number(b.done.Value.Data), last.Code, last.Text, number(last.Data))
	}
	delete(s.reqs, b.id)
}

func (s *serial) enter(r *serialRequest, path string, what record.Call) {
	start := s.starts[r.id+" "+path]
	for i := range start.Values {
		v := wire.Value{Code: wire.Absent}
		if data, ok := s.state[record.State(what.To.Service, what.To.Object, start.Values[i].Key)]; ok {
			v = wire.Value{Data: data}
		}
		if got := start.Values[i].Value; got.Code != v.Code || string(got.Data) != string(v.Data) {
			s.t.Fatalf("%s was given %v as %v, serially it is %v", r.id, start.Values[i].Key, number(got.Data), number(v.Data))
		}
	}
	start.Request, start.Attempt, start.To, start.Args = r.id, 1000, what.To, what.Args
	c := &serialCall{path: path, to: what.To, x: &exec{start: &start}, handles: map[uint64]*wire.Invoke{}, outcome: map[uint64]wire.Value{}, before: maps.Clone(s.state), counts: [2]int{len(r.sends), len(r.more)}}
	r.stack = append(r.stack, c)
}

// refused notes why an execution that only reads cannot go on.
func (s *serial) refused(r *serialRequest, c *serialCall, what string) {
	c.broken = fmt.Sprintf("%s: %v is a snapshot, and only reads", what, r.call.To)
}

func (s *serial) write(r *serialRequest, c *serialCall, q *wire.Question) {
	if r.snapshot || s.mode(c.to) != machine.Exclusive {
		for _, w := range q.Writes[:min(1, len(q.Writes))] {
			if c.broken != "" {
				break
			}
			if s.refused(r, c, "write "+w.Key.String()); s.mode(c.to) != machine.Exclusive {
				c.broken = fmt.Sprintf("write %v: %v is declared %v, and does not write", w.Key, c.to, s.mode(c.to))
			}
		}
		return
	}
	for _, w := range q.Writes {
		key := record.State(c.to.Service, c.to.Object, w.Key)
		if delete(s.state, key); !w.Deleted {
			s.state[key] = w.Value
		}
	}
}

// reply answers the first of an execution's questions, and lets it run on.
func (s *serial) reply(c *serialCall, a *wire.Answer) {
	q := c.asks[0]
	c.asks = c.asks[1:]
	if !wire.Silent(q) {
		a.Fresh = true
		if q, ok := q.(wire.Asker); ok { // numbers of questions depend on it
			if kept, ok := s.answers[c.x.start.Request+" "+journal.Below(c.path, q.Head().Seq)]; ok {
				a.Fresh = kept.Fresh
			}
		}
		c.x.toward = append(c.x.toward, a)
		c.x.step(s.t, s.methods)
		c.asks, c.x.toNode = append(c.asks, c.x.toNode...), nil
	}
}

func (s *serial) rollback(r *serialRequest, before map[string][]byte, counts [2]int) {
	s.state = maps.Clone(before)
	r.sends, r.more = r.sends[:counts[0]], r.more[:counts[1]]
}

// perform carries out the first question of an execution.
func (s *serial) perform(r *serialRequest, c *serialCall) (last wire.Value, ended bool) {
	q := c.asks[0]
	if ran, ok := q.(*wire.Ran); ok {
		s.reply(c, &wire.Answer{Value: ran.Value})
		return last, false
	}
	s.write(r, c, q.(wire.Asker).Head())
	q.(wire.Asker).Head().Writes = nil
	if _, transaction := q.(*wire.Transaction); (r.tx != nil && r.tx.doom || c.broken != "") && !transaction {
		if _, returns := q.(*wire.Return); !returns {
			text := "doomed"
			if r.tx == nil || !r.tx.doom {
				text = c.broken
			}
			s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Refused, Text: text}})
			return last, false
		}
	}
	switch q := q.(type) {
	case *wire.Read:
		a := &wire.Answer{}
		for _, k := range q.Keys {
			v := wire.Value{Code: wire.Absent}
			if data, ok := s.state[record.State(c.to.Service, c.to.Object, k)]; ok {
				v = wire.Value{Data: data}
			}
			a.List = append(a.List, v)
		}
		s.reply(c, a)
	case *wire.Scan:
		a := &wire.Answer{}
		for _, k := range sortedKeys(s.state) {
			if rest, ok := strings.CutPrefix(k, record.Entries(c.to.Service, c.to.Object, q.Field)); ok && rest > q.After && len(a.List) < int(q.Limit) {
				a.List = append(a.List, wire.Value{Text: rest, Data: s.state[k]})
			}
		}
		s.reply(c, a)
	case *wire.Invoke:
		switch {
		case q.Mode == wire.Wait, q.Mode == wire.Async && (r.tx != nil || r.snapshot):
			s.enter(r, journal.Below(c.path, q.Seq), record.Call{To: q.To, Args: q.Args})
		case r.snapshot:
			s.refused(r, c, "send "+q.To.String())
			s.reply(c, &wire.Answer{})
		default:
			r.sends = append(r.sends, record.Request{ID: r.id + "/" + journal.Below(c.path, q.Seq)})
			c.handles[q.Seq] = q
			s.reply(c, &wire.Answer{})
		}
	case *wire.Transaction:
		s.edge(r, c, q)
	case *wire.Run:
		if r.tx == nil && !r.snapshot {
			s.t.Fatalf("%s runs %s in the middle of a segment", r.id, q.Name)
		}
		s.refuse(r, c, "run "+q.Name)
	case *wire.Await:
		s.await(r, c, q)
	case *wire.Compensate:
		if r.snapshot {
			s.refused(r, c, "compensate "+q.To.String())
			s.reply(c, &wire.Answer{})
			break
		}
		r.more = append(r.more, record.Call{To: q.To, Args: q.Args})
		s.reply(c, &wire.Answer{})
	case *wire.Timer, *wire.Promise:
		s.reply(c, &wire.Answer{})
	case *wire.Return:
		return s.returned(r, c, q.Value)
	}
	return last, false
}

func (s *serial) edge(r *serialRequest, c *serialCall, q *wire.Transaction) {
	switch tx := r.tx; {
	case q.Edge == wire.Begin && tx == nil:
		r.tx = &serialTx{by: c, before: maps.Clone(s.state), counts: [2]int{len(r.sends), len(r.more)}}
	case q.Edge == wire.Begin:
		c.joined++
	case c.joined > 0:
		c.joined--
		tx.doom = tx.doom || q.Edge == wire.Abort
	default:
		if q.Edge == wire.Abort || tx.doom {
			s.rollback(r, tx.before, tx.counts)
		}
		r.tx = nil
		if tx.doom {
			s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Failed, Text: "doomed"}})
			return
		}
	}
	if r.tx != nil && r.tx.doom && q.Edge == wire.Commit {
		s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Failed, Text: "doomed"}})
		return
	}
	s.reply(c, &wire.Answer{})
}

// refuse answers what a transaction, or a snapshot, does not do.
func (s *serial) refuse(r *serialRequest, c *serialCall, what string) {
	if r.tx == nil {
		s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%s: %v is a snapshot, and only reads", what, r.call.To)}})
		return
	}
	r.tx.doom = true
	s.reply(c, &wire.Answer{Value: wire.Value{Code: wire.Refused, Text: "doomed"}})
}

func (s *serial) await(r *serialRequest, c *serialCall, q *wire.Await) {
	a := &wire.Answer{}
	if (r.tx != nil || r.snapshot) && slices.ContainsFunc(q.Handles, func(h uint64) bool { _, inside := c.outcome[h]; return !inside }) {
		s.refuse(r, c, fmt.Sprint("wait for ", q.Handles))
		return
	}
	for _, h := range q.Handles {
		id := r.id + "/" + journal.Below(c.path, h)
		invoke := c.handles[h]
		v, inside := c.outcome[h]
		done, known := s.results[id]
		at := slices.IndexFunc(r.sends, func(s record.Request) bool { return s.ID == id })
		switch {
		case inside:
		case invoke == nil: // a timer, or a promise
			v = wire.Value{}
		case known:
			v = done
		case len(q.Handles) == 1 && at >= 0:
			r.sends = slices.Delete(r.sends, at, at+1)
			c.awaiting = h
			s.enter(r, journal.Below(c.path, h), record.Call{To: invoke.To, Args: invoke.Args})
			return
		default:
			s.t.Fatalf("%s waits for %s, which has not ended, in the middle of a segment", r.id, id)
		}
		a.List = append(a.List, v)
	}
	s.reply(c, a)
}

func (s *serial) returned(r *serialRequest, c *serialCall, v wire.Value) (last wire.Value, ended bool) {
	if tx := r.tx; tx != nil && tx.by == c {
		r.tx = nil
		v = wire.Value{Code: wire.Failed, Text: "open"}
	}
	if c.broken != "" {
		v = wire.Value{Code: wire.Failed, Text: c.broken}
	}
	if v.Code == wire.Failed {
		s.rollback(r, c.before, c.counts)
		if r.tx != nil {
			r.tx.doom = true
		}
	}
	r.stack = r.stack[:len(r.stack)-1]
	if len(r.stack) == 0 {
		return v, true
	}
	below := r.stack[len(r.stack)-1]
	switch q := below.asks[0].(type) {
	case *wire.Invoke:
		if q.Mode == wire.Async {
			below.outcome[q.Seq] = v
			s.reply(below, &wire.Answer{})
			return
		}
	case *wire.Await:
		below.outcome[below.awaiting] = v
		s.await(r, below, q)
		return
	}
	if r.tx != nil && r.tx.doom {
		v = wire.Value{Code: wire.Refused, Text: "doomed"}
	}
	s.reply(below, &wire.Answer{Value: v})
	return last, false
}

// A counter that many clients count with.
func TestCounter(t *testing.T) {
	count := wire.Key{Field: "n"}
	methods := map[string]servicetest.Method{"counter.add": func(c *servicetest.Context) ([]byte, error) {
		n := number(c.Get(count)) + 1
		c.Put(count, bytesOf(n))
		return bytesOf(n), nil
	}}
	for seed := range uint64(20) {
		w := newWorld(t, seed, machine.Options{Concurrency: 4, Attempts: 1000}, methods)
		w.crashes = 3
		for i := range 8 {
			w.client("c"+strconv.Itoa(i), record.Call{To: wire.Target{Service: "counter", Method: "add"}})
		}
		w.live(20000)
		check(w)
		if n := number(w.state(len(w.log))[record.State("counter", "", count)]); n != 8 {
			t.Errorf("seed %d: counted %d", seed, n)
		}
	}
}

// client adds one that sends a request.
func (w *world) client(id string, call record.Call) {
	w.clients = append(w.clients, &client{id: id, event: func(waiter uint64) machine.Event {
		return machine.Begun{Request: record.Request{ID: id, Call: call, Keep: true}, Result: w.result(id), Waiter: waiter}
	}})
}
