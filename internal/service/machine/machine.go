package machine

import (
	"container/heap"
	"slices"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Machine is the requests of a node that have not ended. It is not safe for
// concurrent use.
type Machine struct {
	o   Options
	now int64 // nanoseconds since 1970, and never less than before

	requests map[string]*request
	calls    map[uint64]*call // executions that are under way
	locks    *lock.Table
	owners   map[*lock.Owner]*request
	loading  map[uint64]*request
	habits   map[string]*habit            // by method
	families map[string]*family           // by root
	children map[string]map[*request]bool // of requests that may wait for them, by ID
	open     family                       // of all
	versions versions
	alarms   alarms
	queue    []*request // wait to run, in their order
	ready    []*request // have got a lock, in this Apply
	idle     []*request // wait, and keep their instances; the longest first
	running  int        // requests of which a method runs or waits for a lock
	left     int        // requests in the queue that have ended there
	aside    int        // those of them that are in nobody's way (Machine.apart)
	outside  int        // requests in the queue that may be refused

	lastCall, loads, seeds uint64
	lastTime               int64 // of the youngest request
	stats                  Stats
	out                    []Effect
}

// New makes a machine without requests.
func New(o Options) *Machine {
	o.ensureDefaults()
	known := versions{map[string]bool{}, map[edition]bool{}}
	for _, service := range o.Versioned {
		known.kept[service] = true
	}
	return &Machine{o: o, versions: known, requests: map[string]*request{}, calls: map[uint64]*call{}, locks: lock.NewTable(), owners: map[*lock.Owner]*request{}, loading: map[uint64]*request{}, habits: map[string]*habit{}, families: map[string]*family{}, children: map[string]map[*request]bool{}}
}

// Apply takes in an event that happened at now, in nanoseconds since 1970, and
// returns what is to be done, in order. What it returns is good until the next Apply.
// An event that does not fit, of an execution that is over, say, changes nothing.
func (m *Machine) Apply(now int64, ev Event) []Effect {
	m.now = max(m.now, now)
	clear(m.out)
	m.out = m.out[:0]
	switch ev := ev.(type) {
	case Begun:
		m.begun(ev)
	case Accepted:
		m.accepted(ev)
	case Left:
		if r := m.requests[ev.Request]; r != nil {
			r.waiters = slices.DeleteFunc(r.waiters, func(w uint64) bool { return w == ev.Waiter })
		}
	case Asked:
		m.asked(ev.Message)
	case Loaded:
		m.arrived(ev)
	case Served:
		switch c := m.calls[ev.Call]; {
		case c == nil || c.r.state != Running:
		case c.r.cancel != "":
			m.emit(Kill{c.id})
		default:
			m.watch(c.r)
		}
	case Lost:
		switch c := m.calls[ev.Call]; {
		case c == nil:
		case c.r.state == Waiting:
			m.evict(c.r)
		default:
			m.fail(c.r, ev.Why)
		}
	case Pressed:
		m.pressed(ev)
	case Resolved:
		m.resolved(ev)
	case Cancelled:
		m.cancelled(ev)
	case Retried:
		m.retried(ev)
	case Restarted:
		m.restarted(ev)
	case Recovered:
		m.recovered(ev)
	}
	m.ring()
	m.settle()
	return m.out
}

// settle lets those go on that can. They make others ready, so this is a loop
// and not a recursion.
func (m *Machine) settle() {
	for {
		switch {
		case len(m.ready) > 0:
			r := m.ready[0]
			m.ready = m.ready[1:]
			m.granted(r)
		case len(m.queue) > 0 && m.running < m.o.Concurrency && m.running-m.aside < m.o.Segments:
			r := m.queue[0]
			m.queue = m.queue[1:]
			if r.over || r.state != Queued {
				m.left--
				break
			}
			if r.refusable {
				m.outside--
			}
			m.run(r)
		case len(m.idle) > m.o.Idle:
			r := m.idle[0]
			m.idle = m.idle[1:]
			m.evict(r)
		default:
			m.ready = nil
			return
		}
	}
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

// reply answers who waits for a request.
func (m *Machine) reply(r *request, v wire.Value) {
	for _, w := range r.waiters {
		m.emit(Reply{w, v, r.volatile})
	}
	r.waiters = nil
}

// tell answers a waiter that asked for something else than a request's result.
func (m *Machine) tell(waiter uint64, code wire.Code, text string) {
	if waiter != 0 {
		m.emit(Reply{Waiter: waiter, Value: wire.Value{Code: code, Text: text}})
	}
}

// seed makes a seed for a method: the next number of SplitMix64 (Steele, Lea and
// Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
func (m *Machine) seed() uint64 {
	m.seeds++
	z := m.o.Seed + m.seeds*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// born gives a request its age, which no other one has.
func (m *Machine) born(r *record.Request) {
	m.lastTime = max(m.lastTime+1, m.now)
	r.Time = m.lastTime
}

// alarm is a time at which something is to be done for a request, unless its turn is
// over; in anyTurn it is until the request has ended.
type alarm struct {
	at   int64
	n    uint64 // of two at the same time the one that was set first
	r    *request
	turn uint64
	what func()
}

type alarms struct {
	list []alarm
	set  uint64
	room int // alarms, before void ones are looked for
}

const anyTurn = 1<<64 - 1

func (a alarm) void() bool { return a.r.over || a.turn != anyTurn && a.r.turn != a.turn }

func (a *alarms) Len() int { return len(a.list) }
func (a *alarms) Less(i, j int) bool {
	return a.list[i].at < a.list[j].at || a.list[i].at == a.list[j].at && a.list[i].n < a.list[j].n
}
func (a *alarms) Swap(i, j int) { a.list[i], a.list[j] = a.list[j], a.list[i] }
func (a *alarms) Push(x any)    { a.list = append(a.list, x.(alarm)) }
func (a *alarms) Pop() any {
	last := a.list[len(a.list)-1]
	a.list[len(a.list)-1] = alarm{}
	a.list = a.list[:len(a.list)-1]
	return last
}

// at has something done later, if the request is still at the same turn then.
func (m *Machine) at(when int64, r *request, what func()) { m.in(r.turn, when, r, what) }

// in has something done later, if the request is at a turn then.
func (m *Machine) in(turn uint64, when int64, r *request, what func()) {
	m.alarms.set++
	if len(m.alarms.list) >= m.alarms.room { // most are void: requests end long before they are late
		m.alarms.list = slices.DeleteFunc(m.alarms.list, alarm.void)
		heap.Init(&m.alarms)
		m.alarms.room = max(1024, 2*len(m.alarms.list))
	}
	heap.Push(&m.alarms, alarm{when, m.alarms.set, r, turn, what})
}

// ring does what is due.
func (m *Machine) ring() {
	for len(m.alarms.list) > 0 && m.alarms.list[0].at <= m.now {
		a := heap.Pop(&m.alarms).(alarm)
		if !a.void() {
			a.what()
		}
	}
}

// Idle is how many requests wait and keep their instances.
func (m *Machine) Idle() int { return len(m.idle) }

// Next is when Ticked is of use, in nanoseconds since 1970.
func (m *Machine) Next() (at int64, ok bool) {
	for len(m.alarms.list) > 0 {
		a := m.alarms.list[0]
		if !a.void() {
			return a.at, true
		}
		heap.Pop(&m.alarms)
	}
	return 0, false
}
