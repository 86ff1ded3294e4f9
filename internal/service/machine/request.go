package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// State is what a request is doing.
type State uint8

// The states.
const (
	Queued  State = iota // waits to run
	Delayed              // begins later
	Running              // a method runs, or waits for a lock or for the store
	Waiting              // for time, a promise, or other requests
	Backing              // waits for its next attempt
	Parked               // is not tried any more
)

func (s State) String() string {
	return [...]string{"queued", "delayed", "running", "waiting", "retrying", "parked"}[s]
}

// request is a request that has not ended.
type request struct {
	record.Request
	state     State
	over      bool // it has ended, or was forgotten
	stored    bool // the store has it
	restored  bool // it is from an earlier life: children may have ended without being noticed
	refusable bool // it counts as from outside while it is queued
	waiters   []uint64
	attempt   uint32
	failures  int
	turn      uint64 // counts segments and attempts: alarms of earlier ones are void
	cancel    string // why it is to be cancelled

	owner    *lock.Owner
	first    []want // what the next attempt asks for before anything else
	stack    []*call
	logs     map[string]*log // by path
	seg      segment
	tx       *transaction
	wants    []want // the first one is waited for
	then     func()
	loading  uint64
	loaded   func([]wire.Value)
	wait     *waiting
	results  map[string]wire.Value // of children that have ended
	kept     []kept
	promises map[string]wire.Value
	journal  int // bytes
}

// kept is a child's result in the store, until its parent has ended. One that a
// parent of an earlier life has not heard of stays until its retention is over.
type kept struct {
	id    string
	until int64
}

// limited finds what is too large in a request.
func (m *Machine) limited(c record.Call) error {
	for _, name := range [...]string{c.To.Service, c.To.Object, c.To.Method} {
		if len(name) > record.NameMax {
			return fmt.Errorf("call %v: a name of %d bytes, at most %d", c.To, len(name), record.NameMax)
		}
	}
	size := 0
	for _, a := range c.Args {
		size += len(a)
	}
	if size > m.o.ValueMax {
		return fmt.Errorf("call %v: arguments of %d bytes, at most %d", c.To, size, m.o.ValueMax)
	}
	return m.o.Catalog(c.To)
}

// known answers a request that there is already, or was.
func (m *Machine) known(r record.Request, done *record.Result, waiter uint64) bool {
	hash := r.Call.Hash()
	old := m.requests[r.ID]
	switch {
	case old != nil && old.Hash != hash, done != nil && done.Hash != hash:
		m.tell(waiter, wire.Refused, fmt.Sprintf("request %s is another call than this one: a key is for one call", r.ID))
	case done != nil:
		if waiter != 0 {
			m.emit(Reply{waiter, done.Value})
		}
	case old != nil && old.state == Parked:
		m.tell(waiter, wire.Refused, old.parkedText())
	case old != nil:
		if waiter != 0 {
			old.waiters = append(old.waiters, waiter)
		}
	default:
		return false
	}
	return true
}

func (r *request) parkedText() string {
	return fmt.Sprintf("request %s is parked: %s", r.ID, r.Request.Parked)
}

// begun takes in a request whose result somebody outside waits for. Its intent is
// stored with its first segment: until then who sent it repeats it.
func (m *Machine) begun(ev Begun) {
	if m.known(ev.Request, ev.Result, ev.Waiter) {
		return
	}
	if err := m.limited(ev.Request.Call); err != nil {
		m.tell(ev.Waiter, wire.Refused, err.Error())
		return
	}
	if m.outside >= m.o.Queue {
		m.tell(ev.Waiter, wire.Busy, fmt.Sprintf("%d requests wait already: try later", m.outside))
		return
	}
	r := &request{Request: ev.Request, refusable: true}
	if ev.Waiter != 0 {
		r.waiters = []uint64{ev.Waiter}
	}
	r.Hash = r.Call.Hash()
	m.add(r)
}

// accepted takes in a request whose intent is stored.
func (m *Machine) accepted(ev Accepted) {
	r, hash := m.requests[ev.Request.ID], ev.Request.Call.Hash()
	switch {
	case r != nil && r.Hash != hash || ev.Result != nil && ev.Result.Hash != hash:
		m.known(ev.Request, ev.Result, ev.Waiter)
		return
	case r == nil && ev.Result == nil:
		if err := m.limited(ev.Request.Call); err != nil {
			m.tell(ev.Waiter, wire.Refused, err.Error())
			return
		}
		ev.Request.Hash = hash
		r = &request{Request: ev.Request}
		m.add(r)
	}
	if r != nil && !r.stored {
		r.stored = true
		m.emit(Append{[]Op{{Key: record.Open(r.ID), Value: r.Encode()}}})
	}
	m.tell(ev.Waiter, wire.OK, "")
}

// spawn adds a request whose record is, or is about to be, in the store.
func (m *Machine) spawn(rec record.Request) {
	m.add(&request{Request: rec, stored: true})
}

// add lets a request run when it may.
func (m *Machine) add(r *request) {
	if r.Time == 0 {
		m.born(&r.Request)
	}
	r.owner = lock.NewOwner(lock.Age{Time: r.Time})
	m.owners[r.owner] = r
	m.requests[r.ID] = r
	switch {
	case r.Request.Parked != "":
		r.state = Parked
	case r.Due > m.now:
		r.state = Delayed
		m.at(r.Due, r, func() { m.enqueue(r) })
	default:
		m.enqueue(r)
	}
}

func (m *Machine) enqueue(r *request) {
	r.state = Queued
	if r.refusable {
		m.outside++
	}
	m.queue = append(m.queue, r)
}

// run gives a request its place among the running ones.
func (m *Machine) run(r *request) {
	m.running++
	r.state = Running
	r.refusable = false
	m.start(r)
}

// start begins an attempt.
func (m *Machine) start(r *request) {
	r.attempt++
	r.turn++
	wants := r.first
	r.first = nil
	m.watch(r)
	m.acquire(r, wants, func() { m.enter(r, "", r.Call) })
}

// watch kills an instance that does not answer. Who waits for a lock is not to
// blame.
func (m *Machine) watch(r *request) {
	turn := r.turn
	m.at(m.now+int64(m.o.Limit), r, func() {
		switch {
		case r.turn != turn || r.state != Running:
		case len(r.wants) > 0 || r.loading != 0 || len(r.stack) == 0:
			m.watch(r)
		default:
			m.emit(Kill{r.stack[len(r.stack)-1].id})
		}
	})
}

// unwind gives up a request's executions and its segment, with all its locks.
func (m *Machine) unwind(r *request) {
	for _, c := range r.stack {
		delete(m.calls, c.id)
		m.emit(Free{Call: c.id})
	}
	r.stack, r.tx = nil, nil
	r.wants, r.then = nil, nil
	r.loading, r.loaded = 0, nil
	r.seg = segment{}
	r.turn++
	for path, l := range r.logs {
		if !l.saved {
			delete(r.logs, path)
			continue
		}
		l.entries = l.entries[:l.kept]
		for _, e := range l.entries {
			e.answered, e.answer, e.stale = e.was.Answered, e.was.Answer, false
		}
	}
	m.release(r)
}

// rest takes a request out of the running ones.
func (m *Machine) rest(r *request, s State) {
	if r.state == Running {
		m.running--
	}
	if r.state == Waiting {
		m.idle = slices.DeleteFunc(m.idle, func(i *request) bool { return i == r })
	}
	r.state = s
}

// whyMax bounds what is kept of a reason, in bytes.
const whyMax = 2 << 10

// fail ends an attempt that came to nothing through no fault of others: a panic, a
// dead instance, a method that took too long.
func (m *Machine) fail(r *request, why string) {
	why = why[:min(len(why), whyMax)]
	m.unwind(r)
	if r.cancel != "" {
		m.stop(r)
		return
	}
	r.failures++
	if r.failures >= m.o.Attempts {
		m.park(r, fmt.Sprintf("%d attempts, the last one: %s", r.failures, why))
		return
	}
	m.rest(r, Backing)
	r.wait = nil
	m.at(m.now+int64(m.o.Backoff)<<(min(r.failures, 20)-1), r, func() { m.enqueue(r) })
}

// park stops trying. A request that the store does not have is forgotten: nothing of
// it has happened, and who sent it is told.
func (m *Machine) park(r *request, why string) {
	m.unwind(r)
	r.wait = nil
	m.rest(r, Parked)
	if !r.stored {
		m.reply(r, wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%v: %s", r.Call.To, why)})
		m.forget(r)
		return
	}
	r.Request.Parked = why
	m.emit(Append{[]Op{{Key: record.Open(r.ID), Value: r.Encode()}}})
	m.emit(Park{r.ID, why})
	m.reply(r, wire.Value{Code: wire.Refused, Text: r.parkedText()})
}

func (m *Machine) retried(ev Retried) {
	r := m.requests[ev.Request]
	if r == nil || r.state != Parked {
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("request %s is not parked", ev.Request))
		return
	}
	r.Request.Parked, r.failures = "", 0
	m.emit(Append{[]Op{{Key: record.Open(r.ID), Value: r.Encode()}}})
	m.enqueue(r)
	m.tell(ev.Waiter, wire.OK, "")
}

func (m *Machine) cancelled(ev Cancelled) {
	r := m.requests[ev.Request]
	if r == nil {
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("request %s is not there, or has ended", ev.Request))
		return
	}
	m.cancelRequest(r, ev.Reason)
	m.tell(ev.Waiter, wire.OK, "")
}

func (m *Machine) cancelRequest(r *request, reason string) {
	r.cancel = "cancelled"
	if reason != "" {
		r.cancel += ": " + reason
	}
	if r.state == Running && len(r.stack) > 0 && len(r.wants) == 0 && r.loading == 0 {
		m.emit(Kill{r.stack[len(r.stack)-1].id})
		return
	}
	m.unwind(r)
	m.stop(r)
}

// stop ends a request that is cancelled, and what it has begun and waits for.
func (m *Machine) stop(r *request) {
	reason := r.cancel
	var children []*request
	for _, c := range m.requests {
		if c.Parent == r.ID {
			children = append(children, c)
		}
	}
	slices.SortFunc(children, func(a, b *request) int { return int(a.Time - b.Time) })
	m.finish(r, wire.Value{Code: wire.Failed, Text: reason})
	for _, c := range children {
		m.cancelRequest(c, reason)
	}
}

// finish ends a request with its last segment.
func (m *Machine) finish(r *request, v wire.Value) {
	if v.Code == wire.Failed && r.Undoes != "" && r.cancel == "" {
		m.fail(r, v.Text) // a compensation has to succeed
		return
	}
	if v.Code == wire.Failed {
		r.seg.rollback(mark{})
	}
	ops := r.seg.ops()
	sends := r.seg.sends
	if undo := r.Undo; len(undo) > 0 && (v.Code == wire.Failed || r.Undoes != "") {
		of := r.ID
		if r.Undoes != "" {
			of = r.Undoes
		}
		next := record.Request{ID: shorten(of + "/undo" + strconv.Itoa(len(undo))), Call: undo[len(undo)-1], Version: r.Version, Undo: undo[:len(undo)-1], Undoes: of}
		next.Hash = next.Call.Hash()
		sends = append(sends, next)
	}
	ops = append(ops, m.intents(sends)...)
	if r.stored {
		ops = append(ops, Op{Key: record.Open(r.ID), Delete: true})
	}
	if r.Chunks > 0 {
		ops = append(ops, Op{Key: record.Journal(r.ID), Delete: true, Prefix: true})
	}
	if len(r.promises) > 0 {
		ops = append(ops, Op{Key: record.Promises(r.ID), Delete: true, Prefix: true})
	}
	for _, c := range r.kept {
		ops = append(ops, Op{Key: record.Done(c.id), Delete: true}, Op{Key: record.Expire(c.until, c.id), Delete: true})
	}
	parent := m.requests[r.Parent]
	if r.Keep || parent != nil {
		until := m.now + int64(m.o.Retention)
		if parent != nil {
			parent.kept = append(parent.kept, kept{r.ID, until})
		}
		res := record.Result{Value: v, Hash: r.Hash, Until: until}
		ops = append(ops, Op{Key: record.Done(r.ID), Value: res.Encode()}, Op{Key: record.Expire(until, r.ID), Value: []byte{1}})
	}
	if len(ops) > 0 {
		m.emit(Append{ops})
	}
	m.release(r)
	m.rest(r, Running)
	m.forget(r)
	m.reply(r, v)
	if parent != nil {
		if parent.results == nil {
			parent.results = map[string]wire.Value{}
		}
		parent.results[r.ID] = v
		m.wake(parent)
	}
	for _, s := range sends {
		m.spawn(s)
	}
}

// forget drops a request that has ended.
func (m *Machine) forget(r *request) {
	r.over = true
	delete(m.requests, r.ID)
	delete(m.owners, r.owner)
}

// intents gives requests their ages, and lists what stores them.
func (m *Machine) intents(sends []record.Request) []Op {
	var ops []Op
	for i := range sends {
		m.born(&sends[i])
		ops = append(ops, Op{Key: record.Open(sends[i].ID), Value: sends[i].Encode()})
	}
	return ops
}

// child is the ID of what a request begins with a question, whose path is that of
// what it would call: the same in every attempt.
func (r *request) child(path string) string {
	if r.Generation > 0 {
		path = strconv.FormatUint(r.Generation, 10) + "-" + path
	}
	return shorten(r.ID + "/" + path)
}

// shorten keeps an ID readable while it is short.
func shorten(id string) string {
	if len(id) <= 120 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:20])
}

// after is a time so much later, or the last one that there is.
func after(now int64, d time.Duration) int64 {
	if at := now + int64(d); at >= now || d <= 0 {
		return at
	}
	return 1<<63 - 1
}
