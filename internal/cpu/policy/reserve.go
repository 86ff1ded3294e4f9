package policy

import "time"

// age finds the calls that have waited for too long. They may go before the others, as far
// as AgeShare lets them.
func (w *weft) age(now time.Duration) {
	for c := w.due.first(); c != nil && c.late <= now; c = w.due.first() {
		w.due.remove(c)
		w.aged.put(c)
	}
}

// watch notes when the deadline of a call needs attention: a long call is helped when it
// would end Slack before its deadline if it ran from then on without interruption, at the
// greatest rest that nineteen in twenty of its kind have.
func (w *weft) watch(now time.Duration, c *weftCall) {
	w.urgent.remove(c)
	if c.place == rushing { // until its deadline is over
		c.helpAt = c.call.Deadline
		w.urgent.put(c)
		return
	}
	if c.call.Deadline == 0 || now >= c.call.Deadline || c.asleep || c.place == express || c.place == crowded || c.place == resting {
		return
	}
	p := w.options.Book.Estimate(c.call.Function)
	rest := max(p.Quantile(0.95)-c.used, p.Remaining(c.used))
	c.helpAt = c.call.Deadline - w.options.Weft.Slack - rest
	if c.call.Deadline-max(now, c.helpAt) < p.Remaining(c.used)/2 { // nothing helps
		c.helpAt = c.call.Deadline
		return
	}
	w.urgent.put(c)
}

// help brings calls into Express that would miss their deadlines, as long as those are no
// more than the slots; a call whose deadline is over goes back to the others.
func (w *weft) help(now time.Duration) {
	for c := w.urgent.first(); c != nil && c.helpAt <= now; c = w.urgent.first() {
		w.urgent.remove(c)
		switch {
		case c.place == rushing:
			w.helped -= c.call.Threads
			if c.asleep {
				c.place = resting
				w.do(now, &c.slip, Command{Op: Demote, Tier: Batch})
				break
			}
			c.place = loose
			w.wait(now, c)
			if c.call.Flags == 0 {
				w.halt(now, c)
			} else {
				w.do(now, &c.slip, Command{Op: Demote, Tier: Batch, Budget: w.report(c)})
			}
		case w.helped > 0 && w.helped+c.call.Threads > w.options.Weft.Slots:
			if c.helpAt = now + max(w.options.Weft.Slack, 5*time.Millisecond); c.helpAt < c.call.Deadline {
				w.urgent.put(c)
			}
		default:
			w.rush(now, c)
		}
	}
}

// rush brings a call into Express until it ends or its deadline is over.
func (w *weft) rush(now time.Duration, c *weftCall) {
	was := c.place
	switch was {
	case holding:
		delete(w.holders, c)
		w.taken -= c.call.Threads
		c.boosted = false
	default:
		w.unwait(c)
	}
	c.place = rushing
	w.helped += c.call.Threads
	next := Command{Op: Boost, Tier: Express}
	switch {
	case was == queued:
		next.Op = Start
	case was == halted:
		next.Op = Continue
	case c.tier == Express:
		next.Op = Adjust
	}
	w.do(now, &c.slip, next)
	w.watch(now, c)
}

// account counts what long calls should have had: while one of them wants to run, Reserve
// of all cores, as far as they can use it.
func (w *weft) account(now time.Duration) {
	past := now - w.owed
	w.owed = now
	if len(w.holders) == 0 && !w.longWaits() {
		w.debt = 0
		return
	}
	o := &w.options.Weft
	w.credit = min(w.credit+time.Duration(o.AgeShare*float64(past)*float64(o.Slots)), 0)
	w.debt += time.Duration(o.Reserve * float64(past) * float64(w.options.Cores))
	w.debt = min(w.debt, time.Duration(o.Slots)*4*o.Quantum) // what was not given in a long time is not made up for at once
}

// paid counts what a long call has had. A little more than the share is remembered, since
// it is told of by and by.
func (w *weft) paid(c *weftCall, cpu time.Duration) {
	if c.favoured {
		w.credit -= cpu
	}
	w.debt = max(w.debt-cpu, -2*w.options.Weft.Quantum)
}

// repay brings long calls that have slots into Express for as long as it takes until they
// have had their share: the app that has had least of the reserve by its weight, then the
// call that has waited longest.
func (w *weft) repay(now time.Duration) {
	o := &w.options.Weft
	lent := time.Duration(0) // to those that are there already
	for c := range w.holders {
		if c.boosted {
			lent += c.boostEnd - c.used
		}
	}
	for w.debt-lent >= o.Quantum && o.Reserve > 0 {
		var next *weftCall
		for c := range w.holders {
			if !c.boosted && (next == nil || w.needier(c, next)) {
				next = c
			}
		}
		if next == nil {
			return
		}
		next.boosted = true
		next.boostEnd = next.used + o.Quantum
		w.shares[next.call.App] += o.Quantum.Seconds() / w.weight(next)
		if len(w.shares) > 10_000 {
			clear(w.shares)
		}
		lent += o.Quantum
		w.do(now, &next.slip, Command{Op: Boost, Tier: Express, Budget: next.boostEnd})
	}
}

// needier reports whether a is to have of the reserve before b.
func (w *weft) needier(a, b *weftCall) bool {
	if x, y := w.shares[a.call.App], w.shares[b.call.App]; x != y {
		return x < y
	}
	if a.since != b.since {
		return a.since < b.since
	}
	return a.serial < b.serial
}
