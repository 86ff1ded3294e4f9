package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	stored    bool // the store has it; of a volatile one: it would
	volatile  bool // it is in memory only
	apart     bool // it is in nobody's way (Machine.apart)
	restored  bool // it is from an earlier life: children may have ended without being noticed
	refusable bool // it counts as from outside while it is queued
	snapshot  bool // it only reads
	locking   bool // though it does, it has locks: it migrates state
	viewed    bool // the view of its ID is open
	waiters   []uint64
	attempt   uint32
	failures  int    // attempts of this segment that came to nothing by a fault
	failure   string // the latest of them
	turn      uint64 // counts segments and attempts: alarms of earlier ones are void
	cancel    string // why it is to be cancelled
	untimely  bool   // that is because its deadline has passed

	ended []func() // to be called when it has

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
	held     int                   // bytes of results
	away     map[string]bool       // children that have ended, whose results are in the store only
	shelved  bool                  // so is the journal (shelf.go)
	kept     []kept
	promises map[string]wire.Value
	journal  int // bytes
	timed    []Timed
}

// kept is a child's result in the store, until its parent has ended. One that a
// parent of an earlier life has not heard of stays until its retention is over.
type kept struct {
	id    string
	until int64
}

// limited finds what is too large in a request, or not there.
func (m *Machine) limited(version string, c record.Call) error {
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
	return m.o.Catalog(version, c.To)
}

// allowed finds what is wrong with a call that an execution makes.
func (m *Machine) allowed(c *call, what record.Call) error {
	err := m.limited(c.r.Version, what)
	if err == nil && what.To.Service != c.to.Service {
		err = m.o.Access(c.r.Version, c.to.Service, what.To)
	}
	return err
}

// known answers a request that there is already, or was.
func (m *Machine) known(r record.Request, done *record.Result, waiter uint64) bool {
	hash := r.Call.Hash()
	old := m.requests[r.ID]
	switch {
	case old != nil && old.Hash != hash, done != nil && done.Hash != hash:
		m.tell(waiter, wire.Conflict, fmt.Sprintf("request %s is another call than this one: a key is for one call", r.ID))
	case done != nil:
		if waiter != 0 {
			m.emit(Reply{Waiter: waiter, Value: done.Value})
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
	if err := m.limited(ev.Request.Version, ev.Request.Call); err != nil {
		m.tell(ev.Waiter, wire.Refused, err.Error())
		return
	}
	if m.full(ev.Request, ev.Waiter) {
		return
	}
	r := &request{Request: ev.Request, refusable: true, volatile: m.volatile(ev.Request)}
	if ev.Waiter != 0 {
		r.waiters = []uint64{ev.Waiter}
	}
	r.Hash = r.Call.Hash()
	m.add(r)
}

// full refuses a request from outside because too many wait, or its time is over.
func (m *Machine) full(r record.Request, waiter uint64) bool {
	if r.Deadline != 0 && r.Deadline <= m.now {
		m.tell(waiter, wire.Late, lateText(r)+": nothing of it has happened")
		return true
	}
	why := m.crowded(r.ID, r)
	if m.outside >= m.o.Queue {
		why = fmt.Sprintf("%d requests wait already", m.outside)
	}
	if why == "" {
		return false
	}
	m.stats.Refused++
	m.tell(waiter, wire.Busy, why+": try later")
	return true
}

// accepted takes in a request whose intent is stored.
func (m *Machine) accepted(ev Accepted) {
	r, hash := m.requests[ev.Request.ID], ev.Request.Call.Hash()
	switch {
	case r != nil && r.Hash != hash || ev.Result != nil && ev.Result.Hash != hash:
		m.known(ev.Request, ev.Result, ev.Waiter)
		return
	case r == nil && ev.Result == nil:
		if err := m.limited(ev.Request.Version, ev.Request.Call); err != nil {
			m.tell(ev.Waiter, wire.Refused, err.Error())
			return
		}
		if m.full(ev.Request, ev.Waiter) {
			return
		}
		ev.Request.Hash = hash
		r = &request{Request: ev.Request, refusable: true, volatile: m.volatile(ev.Request)}
		m.add(r)
	}
	if r != nil && !r.stored {
		r.stored = true
		m.keep(r)
	}
	if ev.Waiter != 0 {
		m.emit(Reply{ev.Waiter, wire.Value{}, r != nil && r.volatile})
	}
}

// volatile reports whether a request from outside is to be in memory only.
func (m *Machine) volatile(r record.Request) bool {
	return m.o.Switches(r.Call.To.Service, r.Version).Volatile
}

// keep stores the record of a request, unless that is in memory only.
func (m *Machine) keep(r *request) {
	if !r.volatile {
		m.emit(Append{[]Op{{Key: record.Open(r.ID), Value: r.Encode()}}})
	}
}

// spawn adds what a request has begun. Its record is, or is about to be, in the store,
// unless those of the request are not. It counts already.
func (m *Machine) spawn(r *request, rec record.Request) {
	m.let(&request{Request: rec, stored: true, volatile: r.volatile})
}

// add takes a request in.
func (m *Machine) add(r *request) {
	m.count(root(r.Request), 1, cost(r.Request))
	m.let(r)
}

// let lets a request run when it may.
func (m *Machine) let(r *request) {
	if r.Time == 0 {
		m.born(&r.Request)
	}
	r.owner = lock.NewOwner(r.Time)
	m.owners[r.owner] = r
	m.requests[r.ID] = r
	if r.Parent != "" {
		if m.children[r.Parent] == nil {
			m.children[r.Parent] = map[*request]bool{}
		}
		m.children[r.Parent][r] = true
	}
	if r.Deadline != 0 {
		m.in(anyTurn, r.Deadline, r, func() { m.late(r) })
	}
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

// leaves takes a request out of the queue that ends there. Many may at a time, so the queue
// is looked through only when they are half of it.
func (m *Machine) leaves(r *request) {
	if r.refusable {
		r.refusable = false
		m.outside--
	}
	if m.left++; m.left > len(m.queue)/2 {
		m.queue = slices.DeleteFunc(m.queue, func(q *request) bool { return q == r || q.over || q.state != Queued })
		m.left = 0
	}
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
	r.snapshot = m.o.Mode(r.Version, r.Call.To) == Snapshot
	wants := r.first
	r.first = nil
	m.recall(r, func() {
		m.acquire(r, wants, func() { m.enter(r, "", r.Call) })
	})
}

// begun reports whether a method of the request has begun to run since the segment's
// beginning.
func (r *request) begun() bool {
	return len(r.stack) > 1 || len(r.stack) == 1 && r.stack[0].log.start.Now != 0
}

// unwind gives up a request's executions and its segment, with all its locks.
func (m *Machine) unwind(r *request) {
	for _, c := range r.stack {
		delete(m.calls, c.id)
		m.emit(Free{Call: c.id})
	}
	m.apart(r, false)
	r.stack, r.tx, r.timed = nil, nil, nil
	r.wants, r.then = nil, nil
	r.loading, r.loaded = 0, nil
	m.uncount(r.seg.sends)
	r.seg = segment{}
	r.turn++
	for path, l := range r.logs {
		if !l.saved {
			delete(r.logs, path)
			continue
		}
		l.entries, l.size, l.heavy = l.entries[:l.kept], 0, false
		for _, e := range l.entries {
			e.answered, e.answer, e.stale = e.was.Answered, e.was.Answer, false
		}
	}
	m.release(r)
}

// rest takes a request out of the running ones.
func (m *Machine) rest(r *request, s State) {
	if r.state == Queued {
		m.leaves(r)
	}
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
	r.failure = why
	if r.failures >= m.bounds(r.Call.To.Service, r.Version).Attempts {
		m.park(r, fmt.Sprintf("%d attempts, the last one: %s", r.failures, why))
		return
	}
	m.stats.Retries++
	m.rest(r, Backing)
	r.wait = nil
	m.at(m.now+int64(m.o.Backoff)<<(min(r.failures, 20)-1), r, func() { m.enqueue(r) })
}

// park stops trying. A request that the store does not have is forgotten: nothing of
// it has happened, and who sent it is told.
func (m *Machine) park(r *request, why string) {
	m.unwind(r)
	if r.cancel != "" {
		m.stop(r)
		return
	}
	r.wait = nil
	m.shelve(r)
	m.stats.Parked++
	m.rest(r, Parked)
	if !r.stored {
		m.over(r, "refused", why)
		m.reply(r, wire.Value{Code: wire.Refused, Text: fmt.Sprintf("%v: %s", r.Call.To, why)})
		m.forget(r)
		return
	}
	r.Request.Parked = why
	m.keep(r)
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
	m.keep(r)
	m.enqueue(r)
	m.tell(ev.Waiter, wire.OK, "")
}

// finish ends a request with its last segment.
func (m *Machine) finish(r *request, v wire.Value) {
	if v.Code == wire.Failed && r.Undoes != "" && r.cancel == "" {
		m.fail(r, v.Text) // a compensation has to succeed
		return
	}
	failed := v.Code == wire.Failed || v.Code == wire.Late
	if failed {
		m.rollback(r, mark{})
	}
	ops := r.seg.ops()
	sends := r.seg.sends
	if undo := r.Undo; len(undo) > 0 && (failed || r.Undoes != "") {
		of := r.ID
		if r.Undoes != "" {
			of = r.Undoes
		}
		next := record.Request{ID: m.free(of + "/undo" + strconv.Itoa(len(undo))), Call: undo[len(undo)-1], Version: r.Version, Root: root(r.Request), Undo: undo[:len(undo)-1], Undoes: of}
		next.Hash = next.Call.Hash()
		m.count(next.Root, 1, cost(next)) // there is always room for it
		sends = append(sends, next)
	}
	ops = append(ops, m.intents(r, sends)...)
	if r.stored && !r.volatile {
		ops = append(ops, Op{Key: record.Open(r.ID), Delete: true})
	}
	if r.Chunks > 0 {
		ops = append(ops, Op{Key: record.Journal(r.ID), Delete: true, Prefix: true})
	}
	if len(r.promises) > 0 && !r.volatile {
		ops = append(ops, Op{Key: record.Promises(r.ID), Delete: true, Prefix: true})
	}
	ops = append(ops, r.disown()...)
	parent := m.requests[r.Parent]
	if keep := r.stored || v.Code != wire.Late; r.Keep && keep || parent != nil && !r.volatile { // of one that was not stored nothing has happened: its key is free
		until := m.now + int64(m.bounds(r.Call.To.Service, r.Version).Retention)
		if parent != nil {
			parent.kept = append(parent.kept, kept{r.ID, until})
		}
		res := record.Result{Value: v, Hash: r.Hash, Until: until, Parent: r.Parent}
		ops = append(ops, Op{Key: record.Done(r.ID), Value: res.Encode()}, Op{Key: record.Expire(until, r.ID), Value: []byte{1}})
	}
	if len(ops) > 0 {
		m.emit(Append{ops})
	}
	r.seg = segment{}
	m.release(r)
	m.rest(r, Running)
	switch {
	case r.untimely && !r.done():
		m.over(r, "refused", v.Text)
	case r.cancel != "":
		m.over(r, "cancelled", v.Text)
	case v.Code == wire.OK:
		m.over(r, "ok", "")
	default:
		m.over(r, "failed", v.Text)
	}
	m.forget(r)
	m.reply(r, v)
	if parent != nil {
		m.told(parent, r.ID, v)
		m.wake(parent)
	}
	for _, s := range sends {
		m.spawn(r, s)
	}
}

// free is an ID that no request has. One that is parked may have that of a request whose key
// was forgotten, and is used again.
func (m *Machine) free(id string) string {
	free := shorten(id)
	for n := 2; m.requests[free] != nil; n++ {
		free = shorten(id + "~" + strconv.Itoa(n))
	}
	return free
}

// disown drops the results of what a request has begun, which it will not ask for any more.
func (r *request) disown() (ops []Op) {
	for _, c := range r.kept {
		ops = append(ops, Op{Key: record.Done(c.id), Delete: true}, Op{Key: record.Expire(c.until, c.id), Delete: true})
	}
	r.kept, r.results, r.away, r.held = nil, nil, nil, 0
	return ops
}

// forget drops a request that has ended.
func (m *Machine) forget(r *request) {
	r.over = true
	delete(m.requests, r.ID)
	delete(m.owners, r.owner)
	if set := m.children[r.Parent]; set != nil {
		if delete(set, r); len(set) == 0 {
			delete(m.children, r.Parent)
		}
	}
	m.count(root(r.Request), -1, -cost(r.Request))
	for _, f := range r.ended {
		f()
	}
}

// intents gives what a request begins its ages, and lists what stores it.
func (m *Machine) intents(r *request, sends []record.Request) []Op {
	var ops []Op
	for i := range sends {
		if m.born(&sends[i]); r.volatile {
			continue
		}
		ops = append(ops, Op{Key: record.Open(sends[i].ID), Value: sends[i].Encode()})
	}
	return ops
}

// child is the ID of what a request begins with a question, whose path is that of
// what it would call: the same in every attempt.
func (r *request) child(path string) string {
	path += r.cuts(path)
	if r.Generation > 0 {
		path = strconv.FormatUint(r.Generation, 10) + "-" + path
	}
	return shorten(r.ID + "/" + path)
}

// cuts tells what is begun after a restart from what was begun there before.
func (r *request) cuts(path string) string {
	first, _, _ := strings.Cut(path, ".")
	seq, _ := strconv.ParseUint(first, 10, 64) // paths are made here
	n := 0
	for _, at := range r.Cuts {
		if seq >= at {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return "~" + strconv.Itoa(n)
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
