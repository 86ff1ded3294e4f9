package policy

import (
	"cmp"
	"time"
)

// weft is this system's own strategy.
//
// A call begins in Express and may use a budget there, which follows from what its
// function needs; so short calls go before long ones without waiting, and one that turns
// out to be long loses that place while it runs. A call whose function is known to be
// long does not begin there. Long calls have a few slots in Batch, and of those that wait
// the one with the least expected rest goes first (rank = 1/Gittins index at its age);
// it takes the slot of one that has much more to do, if that may be stopped. What waits
// for too long goes before all others, and a share of the cores is kept for long calls.
type weft struct {
	desk
	calls   map[ID]*weftCall
	serial  uint64
	waiting line                   // long calls without a slot, by order
	due     line                   // of those, the ones that have not waited for too long, by the time when they have
	aged    line                   // and the others, by the time when they had
	urgent  line                   // calls with a deadline that may have to be helped, by the time when
	holders map[*weftCall]struct{} // long calls with a slot
	taken   int                    // slots
	helped  int                    // threads of calls that a deadline has brought into Express
	crowd   line                   // calls that have to begin in Normal since Express is full, by arrival
	hurried int                    // threads of calls with place express that can run

	credit time.Duration      // below 0: what calls that had waited too long have had beyond their share
	debt   time.Duration      // CPU time that long calls should have had and have not
	owed   time.Duration      // until when debt is counted
	shares map[string]float64 // what the reserve has given to an app, by its weight
}

// place says where a call is.
type place uint8

const (
	express place = iota // in Express, within its budget
	crowded              // like that, but in Normal until there is room
	queued               // long, not begun
	halted               // long, stopped
	loose                // long, running in Batch without a slot, since it cannot be stopped
	holding              // long, with a slot
	resting              // long, asleep: its slot is another's
	rushing              // in Express, for a deadline
)

// weftCall is a call under weft.
type weftCall struct {
	slip
	serial   uint64
	place    place
	used     time.Duration // as last told
	budget   time.Duration // what it may use before it counts as long
	rank     time.Duration // 1/Gittins index at its age, by its app's weight
	since    time.Duration // when it began to wait
	late     time.Duration // when it has waited for too long
	patience time.Duration // how long it may wait before that; 0 before it first waits
	tookAt   time.Duration // CPU time at which it took its slot
	helpAt   time.Duration // when its deadline needs attention
	favoured bool          // holding, since it had waited for too long
	boosted  bool          // holding, and in Express until reserve is used
	boostEnd time.Duration // CPU time until which it is
	at       [lines]int    // places in the lines, from 1
}

var _ Strategy = (*weft)(nil)

// newWeft makes the strategy.
func newWeft(o Options) *weft {
	w := &weft{desk: newDesk(o), calls: map[ID]*weftCall{}, holders: map[*weftCall]struct{}{}, shares: map[string]float64{}}
	w.waiting = line{n: 0, less: orderOfWaiting}
	w.aged = line{n: 1, less: func(a, b *weftCall) bool {
		return cmp.Or(cmp.Compare(a.late, b.late), cmp.Compare(a.serial, b.serial)) < 0
	}}
	w.due = line{n: 2, less: func(a, b *weftCall) bool {
		return cmp.Or(cmp.Compare(a.late, b.late), cmp.Compare(a.serial, b.serial)) < 0
	}}
	w.urgent = line{n: 3, less: func(a, b *weftCall) bool {
		return cmp.Or(cmp.Compare(a.helpAt, b.helpAt), cmp.Compare(a.serial, b.serial)) < 0
	}}
	w.crowd = line{n: 4, less: func(a, b *weftCall) bool { return a.serial < b.serial }}
	return w
}

// Name implements Strategy.
func (*weft) Name() string { return Weft }

// Step implements Strategy.
func (w *weft) Step(now time.Duration, e Event) []Command {
	w.out = w.out[:0]
	w.account(now)
	switch e := e.(type) {
	case Arrived:
		w.arrived(now, e.Call)
	case Used:
		if c, ok := w.calls[e.ID]; ok {
			w.used(now, c, e)
		}
	case Slept:
		if c, ok := w.calls[e.ID]; ok && !c.asleep {
			w.slept(now, c)
		}
	case Woke:
		if c, ok := w.calls[e.ID]; ok && c.asleep {
			w.woke(now, c)
		}
	case Flagged:
		if c, ok := w.calls[e.ID]; ok {
			c.call.Flags = e.Flags
			switch {
			case c.place == loose && w.stoppable(now, c):
				w.halt(now, c)
			case c.place == halted && e.Flags != 0: // somebody waits for it
				c.place = loose
				w.do(now, &c.slip, Command{Op: Continue, Tier: Batch, Budget: w.report(c)})
			}
		}
	case Deadline:
		if c, ok := w.calls[e.ID]; ok {
			c.call.Deadline = e.At
			w.watch(now, c)
		}
	case Ended:
		if c, ok := w.calls[e.ID]; ok {
			w.ended(now, c, e)
		}
	}
	w.age(now)
	for w.help(now); ; w.help(now) { // a slot may show that a deadline is near
		w.fill(now)
		if c := w.urgent.first(); c == nil || c.helpAt > now {
			break
		}
	}
	w.uncrowd(now)
	w.repay(now)
	return w.out
}

// arrived starts a call in Express or puts it among the long ones.
func (w *weft) arrived(now time.Duration, call Call) {
	if _, ok := w.calls[call.ID]; ok {
		return
	}
	w.serial++
	c := &weftCall{slip: w.admit(now, call), serial: w.serial}
	w.calls[call.ID] = c
	o := &w.options.Weft
	p := w.options.Book.Estimate(call.Function)
	c.budget = o.UnknownBudget
	if p.Known() {
		c.budget = min(max(time.Duration(float64(p.Quantile(o.Quantile))*o.Margin), o.MinBudget), o.MaxBudget)
		if p.Rank(0) > o.Short {
			c.place = queued
			w.wait(now, c)
			w.watch(now, c)
			return
		}
	}
	if w.full(c) {
		c.place = crowded
		w.crowd.put(c)
		w.do(now, &c.slip, Command{Op: Start, Tier: Normal, Budget: c.budget})
		return
	}
	w.hurried += c.call.Threads
	w.do(now, &c.slip, Command{Op: Start, Tier: Express, Budget: c.budget})
}

// full reports whether Express has no room for a call: more short calls run there already
// than could have their turns soon. Then the tier would mean nothing for long calls that
// are to have their share in it.
func (w *weft) full(c *weftCall) bool {
	return w.hurried > 0 && w.hurried+c.call.Threads > w.options.Weft.Crowd*w.options.Cores
}

// uncrowd brings calls from Normal into Express as far as there is room.
func (w *weft) uncrowd(now time.Duration) {
	for c := w.crowd.first(); c != nil && !w.full(c); c = w.crowd.first() {
		w.crowd.remove(c)
		c.place = express
		w.hurried += c.call.Threads
		w.do(now, &c.slip, Command{Op: Boost, Tier: Express, Budget: c.budget})
	}
}

// leave takes a short call out of the count of those in Express, or of those that wait
// for that.
func (w *weft) leave(c *weftCall) {
	if c.place == express && !c.asleep {
		w.hurried -= c.call.Threads
	}
	w.crowd.remove(c)
}

// used notes what a call has used, and moves it when that is more than it may.
func (w *weft) used(now time.Duration, c *weftCall, e Used) {
	before := c.used
	c.used = max(c.used, e.CPU)
	if e.Threads > 0 && e.Threads != c.call.Threads {
		if c.place == holding {
			w.taken += e.Threads - c.call.Threads
		}
		if c.place == rushing {
			w.helped += e.Threads - c.call.Threads
		}
		if c.place == express && !c.asleep {
			w.hurried += e.Threads - c.call.Threads
		}
		c.call.Threads = e.Threads
	}
	switch c.place {
	case express, crowded:
		if c.used < c.budget {
			return
		}
		w.leave(c)
		if c.asleep {
			c.place = resting
			w.do(now, &c.slip, Command{Op: Demote, Tier: Batch})
			return
		}
		c.place = loose
		w.wait(now, c)
		w.watch(now, c)
		w.help(now)
		w.fill(now)
		if c.place != loose {
			return
		}
		if w.stoppable(now, c) {
			w.halt(now, c)
			return
		}
		w.do(now, &c.slip, Command{Op: Demote, Tier: Batch, Budget: w.report(c)})
	case holding:
		w.paid(c, c.used-before)
		w.rerank(c)
		switch {
		case c.boosted && c.used < c.boostEnd:
			return
		case c.boosted:
			c.boosted = false
			w.do(now, &c.slip, Command{Op: Demote, Tier: Batch, Budget: w.report(c)})
		default:
			w.do(now, &c.slip, Command{Op: Adjust, Tier: Batch, Budget: w.report(c)})
		}
		w.watch(now, c)
	case loose:
		w.paid(c, c.used-before)
		w.rerank(c)
		w.waiting.fix(c)
		w.do(now, &c.slip, Command{Op: Adjust, Tier: Batch, Budget: w.report(c)})
	}
}

// slept gives the slot of a long call to another.
func (w *weft) slept(now time.Duration, c *weftCall) {
	if c.place == express || c.place == crowded {
		w.leave(c)
	}
	c.asleep = true
	switch c.place {
	case holding:
		w.release(now, c)
		c.place = resting
	case loose:
		w.unwait(c)
		c.place = resting
	case halted: // it fell asleep while it was stopped, and will say so again
		c.asleep = false
	}
	w.watch(now, c)
}

// woke lets a long call ask for a slot again.
func (w *weft) woke(now time.Duration, c *weftCall) {
	c.asleep = false
	switch c.place {
	case express:
		w.hurried += c.call.Threads
		return
	case crowded:
		w.crowd.put(c)
		return
	case resting:
	default:
		w.watch(now, c)
		return
	}
	c.place = loose // the kernel has let it run already
	w.wait(now, c)
	w.watch(now, c)
	w.help(now)
	w.fill(now)
	if c.place == loose && w.stoppable(now, c) {
		w.halt(now, c)
	}
}

// ended forgets a call.
func (w *weft) ended(now time.Duration, c *weftCall, e Ended) {
	switch c.place {
	case express, crowded:
		w.leave(c)
	case holding:
		w.paid(c, max(e.CPU-c.used, 0))
		c.boosted = false
		w.release(now, c)
	case rushing:
		w.helped -= c.call.Threads
	case queued, halted, loose:
		w.unwait(c)
	}
	w.urgent.remove(c)
	delete(w.calls, c.call.ID)
	w.end(now, &c.slip, e)
}

// halt stops a call that runs without a slot.
func (w *weft) halt(now time.Duration, c *weftCall) {
	c.place = halted
	w.do(now, &c.slip, Command{Op: Stop})
}

// stoppable reports whether a call may be stopped now: nothing waits for it, and its
// deadline leaves time.
func (w *weft) stoppable(now time.Duration, c *weftCall) bool {
	return c.call.Flags == 0 && (c.call.Deadline == 0 || now >= c.call.Deadline || c.helpAt > now)
}

// report is the CPU time at which a long call should be told of again: when a quarter of
// what it has to do may be done, so that its rank is never much behind.
func (w *weft) report(c *weftCall) time.Duration {
	return c.used + min(max(time.Duration(float64(c.rank)*w.weight(c))/4, 5*time.Millisecond), w.options.Weft.Quantum)
}

// weight is how much the app of c counts.
func (w *weft) weight(c *weftCall) float64 {
	if n, ok := w.options.Weft.Weights[c.call.App]; ok {
		return n
	}
	return 1
}

// rerank makes the rank of c anew. A call of an app with a weight of 2 goes where one of
// half its length would: the Gittins index of a call whose waiting costs twice as much is
// twice as great.
func (w *weft) rerank(c *weftCall) {
	p := w.options.Book.Estimate(c.call.Function)
	c.rank = time.Duration(float64(p.Rank(c.used)) / w.weight(c))
}

// Next implements Strategy.
func (w *weft) Next() time.Duration {
	var at time.Duration
	soon := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if c := w.due.first(); c != nil {
		soon(c.late)
	}
	if c := w.urgent.first(); c != nil {
		soon(c.helpAt)
	}
	if c := w.aged.first(); c != nil {
		o := &w.options.Weft
		if t := c.late + o.AgeMin; t > w.owed {
			soon(t)
		}
		if w.credit < 0 {
			soon(w.owed + max(time.Duration(float64(-w.credit)/(o.AgeShare*float64(o.Slots))), time.Millisecond))
		}
	}
	if o := &w.options.Weft; o.Reserve > 0 && len(w.holders) > 0 {
		soon(w.owed + max(time.Duration(float64(o.Quantum-w.debt)/(o.Reserve*float64(w.options.Cores))), o.Quantum))
	}
	return at
}

// View implements Strategy.
func (w *weft) View() View {
	v := w.summary(Weft)
	for _, c := range w.calls {
		v.count(&c.slip, c.place == queued || c.place == halted)
	}
	return v
}
