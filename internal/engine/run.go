package engine

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/telemetry"
)

// run is a run that has not ended. It is an actor: its fields belong to the
// turns of its mailbox, apart from those under a lock.
type run struct {
	e       *Engine
	box     mailbox
	id      string
	program *Program
	durable bool
	ctx     context.Context // ends with the run
	cancel  context.CancelFunc
	options local

	mu      sync.Mutex
	rec     record        // guarded by mu
	changed chan struct{} // closed, and made anew, when there is news for who watches; guarded by mu
	watched int           // who watches; guarded by mu
	memory  []flow.Entry  // the journal of a run without a durable one; guarded by mu
	told    bool          // it has ended, durably; guarded by mu
	wanted  []func(Run)   // to be told then; guarded by mu
	over    chan struct{} // closed then

	machine *flow.Machine
	journal journal
	domain  Domain // from the first call on
	spans   *telemetry.Recorder
	early   []func() // what was asked of it before it goes on after a restart
	lacking *lacking // it cannot go on yet after a restart; nil: it can, or is about to
	dead    bool     // the engine is closing or broken: nothing happens any more

	context   string // traceparent for its calls; empty: none
	names     names  // for logs, which come from other goroutines
	calls     map[flow.CallID]*active
	queued    []*active      // for a place under their function's concurrency
	held      []*active      // until the run goes on
	busy      map[string]int // calls in the domain, by function
	inside    int            // calls in the domain
	parking   bool           // it is about to be asked whether the run can do without its domain
	timers    map[flow.TimerID]*alarm
	steps     map[string]time.Duration   // when the first call of a step was asked for
	items     map[string]*telemetry.Span // of foreach steps, by path, until now
	shelf     *shelf                     // its buffers, as the journal tells them
	restore   bool                       // the domain does not know what is on the shelf
	launched  int                        // calls that were given to a domain
	published bool                       // a call has put something into a buffer
	paused    time.Time                  // since when; zero: it is not
	stood     time.Duration              // how long it has been paused before
	outcome   *flow.FinishRun
}

// local are the wishes of who executes a run in this process.
type local struct {
	own        bool // whoever executes it closes its domain
	observer   Observer
	load, pass string
	apart      bool
}

// active is a call that the machine has started and nobody has ended.
type active struct {
	flow.StartCall
	fn      *domain.Function
	asked   time.Duration   // since the run's start
	begun   time.Duration   // when it was given to the domain
	timeout func()          // stops the timer of its function's time-out
	leave   func()          // gives back its admission, or its place in the queue
	turn    *scheduler.Call // its turn on the processor; nil: nobody schedules it
	state   callState
	outcome string // for the meter
}

// callState is where a call is on its way to a sandbox.
type callState int

const (
	gated   callState = iota // until what it depends on is durable
	held                     // until the run goes on
	queued                   // for a place under its function's concurrency
	waiting                  // for admission by the node, or for the processor
	running
)

// alarm is a timer of the machine.
type alarm struct {
	at   time.Duration
	stop func() // nil while the run is paused
}

// newRun makes the actor of a run; its machine comes later.
func (e *Engine) newRun(rec record, durable bool) *run {
	r := &run{
		e: e, id: rec.ID, rec: rec, durable: durable, changed: make(chan struct{}), over: make(chan struct{}),
		calls: map[flow.CallID]*active{}, busy: map[string]int{}, timers: map[flow.TimerID]*alarm{},
		steps: map[string]time.Duration{}, items: map[string]*telemetry.Span{},
	}
	r.ctx, r.cancel = context.WithCancel(e.ctx)
	r.journal.run = r
	r.box.spawn, r.box.settle = e.work, r.settle
	if e.o.Context != nil {
		r.context = e.o.Context(rec.Run)
	}
	return r
}

// clock is the time of the run: since its start, without its pauses.
func (r *run) clock() time.Duration {
	now := r.e.o.World.Now()
	if !r.paused.IsZero() {
		now = r.paused
	}
	return now.Sub(r.rec.Created) - r.stood
}

// settle ends a turn: what has happened in it goes to the store as one batch.
func (r *run) settle() {
	if r.dead {
		return
	}
	r.unblock()
	r.park()
	if r.durable {
		r.journal.flush()
	}
}

// apply gives the machine an event, notes it in the journal and carries out
// what the machine answers.
func (r *run) apply(ev flow.Event) {
	at := r.clock()
	r.note(flow.Entry{At: at, Event: ev})
	r.carryOut(ev, r.machine.Apply(ev, at))
}

// note adds an event to the journal.
func (r *run) note(entry flow.Entry) {
	if !r.durable {
		r.mu.Lock()
		if len(r.memory) < memoryMax {
			r.memory = append(r.memory, entry)
		}
		r.mu.Unlock()
		r.news()
		return
	}
	if err := r.journal.entry(entry); err != nil {
		r.e.breakDown(err)
		return
	}
	r.mu.Lock()
	watched := r.watched > 0
	r.mu.Unlock()
	if watched {
		r.journal.durable(r.news)
	}
}

// memoryMax bounds the events that are kept of a run without a journal.
const memoryMax = 10_000

// news wakes those who watch the run.
func (r *run) news() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// carryOut does what the machine has answered to an event.
func (r *run) carryOut(ev flow.Event, answer []flow.Command) {
	for _, c := range answer {
		switch c := c.(type) {
		case flow.StartCall:
			r.start(c)
		case flow.StopCall:
			r.stop(c.Call, ev, answer)
		case flow.SetTimer:
			r.timers[c.Timer] = &alarm{at: c.At}
			r.arm(c.Timer)
		case flow.Evaluate:
			r.e.o.Sandboxes.Evaluate(r.ctx, c.Expressions, c.Scope, func(values []any, err error) {
				ev := flow.Evaluated{ID: c.ID, Values: values}
				if err != nil {
					ev.Err = err.Error()
				}
				r.post(func() { r.apply(ev) })
			})
		case flow.Discard:
			r.shelf.discard(slotPath(c.Path))
			if r.domain != nil {
				r.domain.Discard(slotPath(c.Path))
			}
		case flow.StepDone:
			r.stepDone(c)
		case flow.FinishRun:
			r.finishRun(c)
		}
	}
}

// post has something done in a turn of the run, if it has not ended by then.
func (r *run) post(f func()) {
	r.box.post(func() {
		if !r.dead && r.outcome == nil && r.e.ctx.Err() == nil {
			f()
		}
	})
}

// arm sets the clock for a timer of the machine, unless the run is paused.
func (r *run) arm(id flow.TimerID) {
	a := r.timers[id]
	if !r.paused.IsZero() {
		a.stop = nil
		return
	}
	a.stop = r.e.o.World.After(a.at-r.clock(), func() {
		r.post(func() {
			if r.timers[id] != a || !r.paused.IsZero() {
				return
			}
			delete(r.timers, id)
			if ev := (flow.TimerFired{Timer: id}); r.machine.Open(flow.SetTimer{Timer: id}) {
				r.apply(ev)
			}
		})
	})
}

// finishRun ends the run: its sandboxes go at once, the answer leaves when all
// that led to it is on disk.
func (r *run) finishRun(c flow.FinishRun) {
	r.outcome = &c
	r.quiet()
	if r.domain != nil {
		r.domain.Finish()
	}
	now := r.e.o.World.Now()
	r.mu.Lock()
	r.rec.Status, r.rec.Output, r.rec.Failure, r.rec.Ended = Status(c.Status), c.Output, c.Failure, now
	r.rec.Expires = now.Add(r.retention())
	rec := r.rec
	r.mu.Unlock()
	r.traced()
	if r.durable {
		r.end(rec)
		r.journal.durable(r.ended)
		return
	}
	r.ended()
}

// end adds the end of the run to what is to be appended.
func (r *run) end(rec record) {
	value, blobs, err := rec.encode()
	if err != nil {
		r.e.breakDown(err)
		return
	}
	l := r.journal.push(func(b *store.Batch) {
		b.Put(runKey(r.id), value)
		b.Delete(openKey(r.id))
		b.Put(expireKey(rec.Expires, r.id), []byte{recordVersion})
	})
	for _, b := range blobs {
		r.journal.save(l, b.name, bytes.NewReader(b.data), nil)
	}
}

// ended tells the world, which may know it now.
func (r *run) ended() {
	r.dead = true
	r.cancel()
	if r.domain != nil && r.durable {
		r.domain.Close()
		r.trim()
	}
	r.e.forget(r)
	r.mu.Lock()
	r.told = true
	wanted := r.wanted
	r.wanted = nil
	rec := r.rec.Run
	r.mu.Unlock()
	close(r.over)
	r.news()
	for _, f := range wanted {
		f(rec)
	}
}

// retention is how long the run is kept after its end.
func (r *run) retention() time.Duration {
	if o := r.program.App.Outlines[r.rec.Workflow]; o != nil && o.Retention > 0 {
		return o.Retention
	}
	return r.e.o.Retention
}

// quiet stops every timer.
func (r *run) quiet() {
	for _, a := range r.timers {
		if a.stop != nil {
			a.stop()
		}
	}
	clear(r.timers)
	for _, c := range r.calls {
		c.quiet()
	}
}

// abandon lets go of everything without ending the run: it will go on when the
// node starts again.
func (r *run) abandon() {
	if r.dead {
		return
	}
	r.dead = true
	r.cancel()
	r.quiet()
	if r.domain != nil {
		r.domain.Close()
	}
}

// unblock deals with running calls that all wait for slots: one that waits
// gives its place to a queued one; with nothing left that could happen, it is a
// deadlock. It is asked after every turn, because what happened in it may have
// been the last that could help.
func (r *run) unblock() {
	if r.outcome != nil || r.inside == 0 || r.domain == nil || !r.domain.Stuck(r.inside) {
		return
	}
	if next := r.next(); next != nil && r.inside < callsMax {
		r.leaveQueue(next)
		r.launch(next)
		return
	}
	for _, a := range r.calls {
		if a.state == gated || a.state == held || a.state == running && a.Target.Kind == flow.ServiceMethod { // it may be the one that helps
			return
		}
	}
	if !r.machine.Pending() {
		r.domain.Break(r.inside)
	}
}

// next is the call that waits longest for others to end.
func (r *run) next() *active {
	if len(r.queued) > 0 {
		return r.queued[0]
	}
	var first *active
	for _, a := range r.calls {
		if a.state == waiting && (first == nil || a.Call < first.Call) {
			first = a
		}
	}
	return first
}

// callsMax bounds the calls of a run that its domain has at a time. A host has
// room for somewhat more instances: those of ended calls go a moment later.
const callsMax = 160

// full reports whether a call of a function has to wait for others of its run.
func (r *run) full(name string) bool {
	return r.inside >= callsMax || r.busy[name] >= r.concurrency(name)
}

// concurrency is how many calls of a function may run at a time in one run.
func (r *run) concurrency(name string) int {
	if f := r.program.App.Functions[name]; f != nil && f.Concurrency > 0 {
		return f.Concurrency
	}
	return r.e.o.Cores
}

// open makes the run's domain when its first call needs it.
func (r *run) open() error {
	if r.domain != nil {
		return nil
	}
	a := r.program.App
	d, err := r.e.o.Sandboxes.Domain(domain.Options{
		Run: r.id, Version: r.program.Hosts, Quota: r.e.o.Quota, Scratch: r.e.o.Scratch, Folders: r.program.Folders,
		Eager: or(r.options.load, a.Load) == app.LoadEager, Pass: or(r.options.pass, a.Pass),
		Done: r.given,
		Log:  r.logged, Stalled: func() { r.box.post(func() {}) }, Host: r.served,
	})
	if err != nil {
		return err
	}
	if saved := r.shelf.all(); r.restore && len(saved) > 0 {
		if err := d.Restore(saved); err != nil {
			d.Close()
			return err
		}
	}
	r.domain = d
	return nil
}

// given is the domain's Done.
func (r *run) given(res domain.Result) {
	r.box.post(func() {
		if !r.dead {
			r.finish(res)
		}
	})
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
