package admission

import (
	"fmt"
	"slices"
	"time"
)

// Quota bounds what the calls of one app have at a time. 0 is no bound.
type Quota struct {
	Calls  int
	Memory int64 // bytes, as declared
}

// Demand is what one call asks for.
type Demand struct {
	App      string
	Function string
	Memory   int64 // bytes that the function declares; calls with 0 are never held up by memory
	Max      int   // calls of the function at a time; 0: no bound of its own
	// Queue is how many calls of the function may wait. 0: Options.Queue; Unbounded
	// is for calls of runs that have been accepted.
	Queue int
	// Wait is how long it may wait. 0: Options.Wait; negative: for ever. Only Enter
	// keeps to it; who calls Request cancels.
	Wait time.Duration
}

// Unbounded as Demand.Queue lets any number of calls wait.
const Unbounded = -1

// policy is the state of a gate: who is in, who waits. It has no clock and no
// lock.
type policy struct {
	o         Options
	functions map[name]*function
	apps      map[string]*app
	ring      []*app // those with a function that may have a call enter; the next one's turn first
	node      budget
	running   int
	waiting   int
}

type name struct{ app, function string }

// app is an app with its share.
type app struct {
	name    string
	ring    []*function // functions with waiting calls that are below their own bound
	memory  budget
	calls   int // bound; 0: none
	running int
	waiting int
}

// function is what is known of one function.
type function struct {
	name
	of      *app
	max     int // as the last demand said
	running int
	queue   []*ticket     // in order of arrival
	listed  bool          // it is in its app's ring
	service time.Duration // mean of the last calls; 0: none has ended
}

// budget is an amount of memory that several share.
type budget struct {
	limit  int64   // 0: none
	used   int64   // by calls
	kept   int64   // by what Keep counts
	claim  *ticket // a call that did not fit and is to be next
	passed int     // calls that have entered meanwhile
}

// ticket is a call that waits or is in.
type ticket struct {
	f     *function
	bytes int64
	ready func()
	begun time.Duration // when it entered, by the gate's clock
	state ticketState
	gate  *Gate
}

type ticketState uint8

const (
	waits ticketState = iota
	entered
	left
)

func newPolicy(o Options) *policy {
	p := &policy{functions: map[name]*function{}, apps: map[string]*app{}}
	p.set(o)
	return p
}

// set changes the limits. What is in stays in.
func (p *policy) set(o Options) {
	p.o = o
	p.node.limit = o.Memory
	for _, a := range p.apps {
		a.limit(o.quota(a.name))
	}
}

func (a *app) limit(q Quota) { a.calls, a.memory.limit = q.Calls, q.Memory }

// functionsMax is how many functions are remembered; beyond that, those without
// calls are forgotten.
const functionsMax = 4096

func (p *policy) function(d *Demand) *function {
	f := p.functions[name{d.App, d.Function}]
	if f == nil {
		if len(p.functions) >= functionsMax {
			p.forget()
		}
		f = &function{name: name{d.App, d.Function}, of: p.app(d.App)}
		p.functions[f.name] = f
	}
	return f
}

func (p *policy) app(name string) *app {
	a := p.apps[name]
	if a == nil {
		a = &app{name: name}
		a.limit(p.o.quota(name))
		p.apps[name] = a
	}
	return a
}

// keep counts memory of an app that is no call's, and reports whether there is room
// for it.
func (p *policy) keep(a *app, bytes int64) bool {
	for _, b := range []*budget{&a.memory, &p.node} {
		if b.limit > 0 && (b.claim != nil || b.kept+bytes > b.limit/keptShare || b.used+b.kept+bytes > b.limit) {
			return false
		}
	}
	p.kept(a, bytes)
	return true
}

// crowded reports whether calls wait for memory, or there is no more.
func (p *policy) crowded(a *app) bool {
	for _, b := range []*budget{&a.memory, &p.node} {
		if b.limit > 0 && (b.claim != nil || b.used+b.kept > b.limit) {
			return true
		}
	}
	return false
}

// kept is how what keep has let in changes.
func (p *policy) kept(a *app, change int64) {
	a.memory.kept += change
	p.node.kept += change
}

// keptShare is the part of a budget, one out of so many, that what is kept may have.
const keptShare = 4

// forget drops functions and apps that have no calls.
func (p *policy) forget() {
	for n, f := range p.functions {
		if f.running == 0 && len(f.queue) == 0 {
			delete(p.functions, n)
		}
	}
	for n, a := range p.apps {
		if a.running == 0 && a.waiting == 0 && a.memory.kept == 0 {
			delete(p.apps, n)
		}
	}
}

// arrive lets a call in, has it wait, or refuses it. in are others that are let
// in, because the bound of the function has been raised.
func (p *policy) arrive(d *Demand, t *ticket) (in []*ticket, err error) {
	f := p.function(d)
	t.f, t.bytes = f, d.Memory
	if f.max != d.Max {
		f.max = d.Max
		p.list(f)
		in = p.admit(nil)
	}
	return in, p.place(f, d, t)
}

// place is arrive, once the function's bound is known.
func (p *policy) place(f *function, d *Demand, t *ticket) error {
	for _, b := range []struct {
		of    string
		limit int64
	}{{"the node", p.node.limit}, {"app " + d.App, f.of.memory.limit}} {
		if b.limit > 0 && d.Memory > b.limit {
			return fmt.Errorf("%w: function %s of app %s declares %d MiB, %s may use %d MiB: lower the function's memory or raise the limit",
				ErrTooLarge, d.Function, d.App, d.Memory>>20, b.of, b.limit>>20)
		}
	}
	if len(f.queue) == 0 && p.fits(t) {
		p.enter(t)
		return nil
	}
	most := d.Queue
	if most == 0 {
		most = p.o.Queue
	}
	why := ""
	switch {
	case most >= 0 && len(f.queue) >= most:
		why = fmt.Sprintf("%d calls of it wait already, more than %d may not (instances.queue)", len(f.queue), most)
	case d.Queue >= 0 && p.waiting >= p.o.Waiting:
		why = fmt.Sprintf("%d calls wait on this node, more may not (limits.queue)", p.waiting)
	}
	if why != "" {
		return &ErrFull{App: d.App, Function: d.Function, Why: why, RetryAfter: p.patience(f)}
	}
	f.queue = append(f.queue, t)
	p.waiting++
	f.of.waiting++
	if len(f.queue) == 1 {
		p.claim(t)
		p.list(f)
	}
	return nil
}

// fits reports whether there is room for a call. One that the node keeps memory for
// is not kept out by a claim on its app's: the two could wait for each other.
func (p *policy) fits(t *ticket) bool {
	f, a := t.f, t.f.of
	return (f.max <= 0 || f.running < f.max) && (a.calls <= 0 || a.running < a.calls) && (p.o.Calls <= 0 || p.running < p.o.Calls) &&
		(a.memory.open(t, p.o.Passes) || p.node.claim == t && !a.memory.short(t)) && p.node.open(t, p.o.Passes)
}

// open reports whether the budget has room for a call, and nobody's claim
// stands before it.
func (b *budget) open(t *ticket, passes int) bool {
	if b.limit <= 0 || t.bytes == 0 {
		return true
	}
	return !b.short(t) && (b.claim == nil || b.claim == t || b.passed < passes)
}

// short reports whether the budget lacks the memory for a call. One that is larger
// than the whole budget, which was lowered after it came, or than what is kept leaves
// of it, gets it when no other call has any.
func (b *budget) short(t *ticket) bool {
	return b.limit > 0 && t.bytes > 0 && b.used > 0 && b.used+b.kept+t.bytes > b.limit
}

// claim notes that the next call of a function lacks memory alone, unless
// another one has said so before.
func (p *policy) claim(t *ticket) {
	f, a := t.f, t.f.of
	if f.max > 0 && f.running >= f.max {
		return
	}
	for _, b := range []*budget{&a.memory, &p.node} {
		if !b.short(t) && !b.open(t, p.o.Passes) { // another one is before it
			return
		}
		if b.short(t) {
			if b.claim == nil {
				b.claim, b.passed = t, 0
			}
			return
		}
	}
}

func (p *policy) enter(t *ticket) {
	f, a := t.f, t.f.of
	t.state = entered
	f.running++
	a.running++
	p.running++
	for _, b := range []*budget{&a.memory, &p.node} {
		b.used += t.bytes
		switch {
		case b.claim == t:
			b.claim = nil
		case b.claim != nil && t.bytes > 0:
			b.passed++
		}
	}
}

// leave takes a call out, wherever it is. It reports whether that made room.
func (p *policy) leave(t *ticket) bool {
	f, a := t.f, t.f.of
	was := t.state
	t.state = left
	switch was {
	case entered:
		f.running--
		a.running--
		p.running--
		a.memory.used -= t.bytes
		p.node.used -= t.bytes
		p.list(f)
	case waits:
		f.queue = slices.DeleteFunc(f.queue, func(other *ticket) bool { return other == t })
		p.waiting--
		a.waiting--
		for _, b := range []*budget{&a.memory, &p.node} {
			if b.claim == t {
				b.claim = nil
			}
		}
	default:
		return false
	}
	return p.waiting > 0
}

// list gives a function a place among those that take turns, if it has a call
// that waits for more than its own bound.
func (p *policy) list(f *function) {
	if f.listed || len(f.queue) == 0 || f.max > 0 && f.running >= f.max {
		return
	}
	f.listed = true
	if f.of.ring = append(f.of.ring, f); len(f.of.ring) == 1 {
		p.ring = append(p.ring, f.of)
	}
}

// admit lets in whoever has room now, each app one call in turn, and appends
// them to in.
func (p *policy) admit(in []*ticket) []*ticket {
	for missed := 0; missed < len(p.ring); {
		a := p.ring[0]
		p.ring = append(p.ring[:0], p.ring[1:]...)
		t := p.turn(a)
		if len(a.ring) > 0 {
			p.ring = append(p.ring, a)
		}
		if t == nil {
			if len(a.ring) > 0 {
				missed++
			}
			continue
		}
		missed = 0
		in = append(in, t)
	}
	return in
}

// turn lets in one call of an app, of the function whose turn it is.
func (p *policy) turn(a *app) *ticket {
	for tried := 0; tried < len(a.ring); {
		f := a.ring[0]
		a.ring = append(a.ring[:0], a.ring[1:]...)
		if len(f.queue) == 0 || f.max > 0 && f.running >= f.max {
			f.listed = false
			continue
		}
		t := f.queue[0]
		if !p.fits(t) {
			p.claim(t)
			a.ring = append(a.ring, f)
			tried++
			continue
		}
		f.queue = slices.Delete(f.queue, 0, 1)
		p.waiting--
		a.waiting--
		p.enter(t)
		if len(f.queue) > 0 && (f.max <= 0 || f.running < f.max) {
			a.ring = append(a.ring, f)
		} else {
			f.listed = false
		}
		return t
	}
	return nil
}

// served notes how long a call took.
func (f *function) served(took time.Duration) {
	if f.service == 0 {
		f.service = max(took, 1)
		return
	}
	f.service += (took - f.service) / 8
}

// patience estimates when a call of the function would find room: as soon as
// those that wait have had their turn.
func (p *policy) patience(f *function) time.Duration {
	service := f.service
	if service == 0 {
		service = time.Second
	}
	at := max(f.running, 1)
	return min(max(service*time.Duration(len(f.queue)+1)/time.Duration(at), retryLeast), retryMost)
}

// Bounds of ErrFull.RetryAfter: a header's unit is the second, and an estimate
// of hours is none.
const (
	retryLeast = time.Second
	retryMost  = 5 * time.Minute
)
