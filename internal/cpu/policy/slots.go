package policy

import (
	"cmp"
	"container/heap"
	"math"
	"math/bits"
	"slices"
	"time"
)

// lines is how many lines a call may be in.
const lines = 5

// line is a heap of calls that knows where each one is.
type line struct {
	n     int // its number in weftCall.at
	less  func(a, b *weftCall) bool
	calls []*weftCall
}

func (l *line) Len() int           { return len(l.calls) }
func (l *line) Less(i, j int) bool { return l.less(l.calls[i], l.calls[j]) }
func (l *line) Swap(i, j int) {
	l.calls[i], l.calls[j] = l.calls[j], l.calls[i]
	l.calls[i].at[l.n], l.calls[j].at[l.n] = i+1, j+1
}

// Push implements heap.Interface.
func (l *line) Push(x any) {
	c := x.(*weftCall)
	l.calls = append(l.calls, c)
	c.at[l.n] = len(l.calls)
}

// Pop implements heap.Interface.
func (l *line) Pop() any {
	last := len(l.calls) - 1
	c := l.calls[last]
	l.calls[last] = nil
	l.calls = l.calls[:last]
	c.at[l.n] = 0
	return c
}

// first is the first of the line, nil when it is empty.
func (l *line) first() *weftCall {
	if len(l.calls) == 0 {
		return nil
	}
	return l.calls[0]
}

// put adds c, or moves it to where it belongs.
func (l *line) put(c *weftCall) {
	if !l.fix(c) {
		heap.Push(l, c)
	}
}

// fix moves c to where it belongs if it is in the line.
func (l *line) fix(c *weftCall) bool {
	if at := c.at[l.n]; at > 0 {
		heap.Fix(l, at-1)
		return true
	}
	return false
}

// remove takes c out if it is in the line.
func (l *line) remove(c *weftCall) bool {
	if at := c.at[l.n]; at > 0 {
		heap.Remove(l, at-1)
		return true
	}
	return false
}

var _ heap.Interface = (*line)(nil)

// sizeOf puts ranks into classes a quarter of a doubling wide: calls of one class are equals.
func sizeOf(rank time.Duration) int {
	n := uint64(max(rank, 1))
	whole := bits.Len64(n) - 1
	return 4*whole + int(4*math.Log2(float64(n)/float64(uint64(1)<<whole)))
}

// orderOfWaiting is the order in which long calls get slots: the least rank first; among
// equals those on the critical path of their run, of these the one whose run has least to
// do, and then who came first.
func orderOfWaiting(a, b *weftCall) bool {
	if x, y := sizeOf(a.rank), sizeOf(b.rank); x != y {
		return x < y
	}
	x, y := a.call.OnPath && a.call.RunWork > 0, b.call.OnPath && b.call.RunWork > 0
	switch {
	case x != y:
		return x
	case x && a.call.RunWork != b.call.RunWork:
		return a.call.RunWork < b.call.RunWork
	}
	return a.serial < b.serial
}

// wait puts a call among those that wait for a slot. It begins to age, or goes on where it
// was when it has had its slot too short for that to count.
func (w *weft) wait(now time.Duration, c *weftCall) {
	o := &w.options.Weft
	w.rerank(c)
	rest := time.Duration(min(float64(c.rank)*w.weight(c), float64(math.MaxInt64/1000)))
	if c.patience == 0 || c.used-c.tookAt >= min(o.Turn, rest/2) {
		c.patience = max(time.Duration(min(o.AgeFactor*float64(rest), float64(math.MaxInt64/4))), o.AgeMin)
	}
	c.since = now
	c.late = now + c.patience
	w.waiting.put(c)
	w.due.put(c)
}

// unwait takes a call out of those that wait.
func (w *weft) unwait(c *weftCall) {
	w.waiting.remove(c)
	w.aged.remove(c)
	w.due.remove(c)
}

// longWaits reports whether a long call has no slot.
func (w *weft) longWaits() bool { return len(w.waiting.calls) > 0 }

// guess is the number of calls below which what is said of a function is a guess.
const guess = 3

// guessed reports whether the rank of a call is a guess, so that it may not take a slot
// from another one.
func (w *weft) guessed(c *weftCall) bool {
	p := w.options.Book.Get(c.call.Function)
	return p.Calls() < guess
}

// passes is how many long calls may be passed over because they have more threads than
// there are slots left, or because their rank is a guess.
const passes = 16

// fill gives slots to those that come first, and takes them from those that should not
// have them. One that does not fit lets others pass until it has waited for too long, and
// so does one that may not take a slot: the next one may.
func (w *weft) fill(now time.Duration) {
	for c := w.aged.first(); c != nil && w.credit >= 0; c = w.aged.first() {
		// Where the slots are held by calls that cannot be stopped, it is let in beside them.
		if !w.room(now, c, true) && (now < c.late+w.options.Weft.AgeMin || !w.stuck()) {
			if c.call.Threads > 1 {
				return // what becomes free is kept for it
			}
			break
		}
		w.hold(now, c)
		c.favoured = true
	}
	var passed []*weftCall
	for c := w.waiting.first(); c != nil && len(passed) < passes; c = w.waiting.first() {
		if w.room(now, c, false) {
			w.hold(now, c)
			continue
		}
		w.waiting.remove(c)
		passed = append(passed, c)
		if w.taken >= w.options.Weft.Slots && c.call.Threads == 1 && !w.guessed(c) {
			break // the others have no better claim
		}
	}
	for _, c := range passed {
		w.waiting.put(c)
	}
}

// stuck reports whether no call that has a slot may be stopped.
func (w *weft) stuck() bool {
	for c := range w.holders {
		if c.call.Flags == 0 {
			return false
		}
	}
	return true
}

// room reports whether c fits into the slots, after it has taken them from others if that
// is right and enough. A call with more threads than slots fits when they are free.
func (w *weft) room(now time.Duration, c *weftCall, aged bool) bool {
	fits := func(taken int) bool { return taken <= 0 || taken+c.call.Threads <= w.options.Weft.Slots }
	if fits(w.taken) {
		return true
	}
	victims := w.victims(now, c, aged)
	left := w.taken
	for i, v := range victims {
		if left -= v.call.Threads; fits(left) {
			for _, v := range victims[:i+1] {
				w.release(now, v)
				w.wait(now, v)
				w.halt(now, v)
			}
			return true
		}
	}
	return false
}

// victims are the calls that may lose their slots to c, the one with the greatest rank
// first: those that may be stopped and whose rank is Lead times that of c, if that is more
// than a guess; for a call that has waited for too long, any that has had its turn.
func (w *weft) victims(now time.Duration, c *weftCall, aged bool) []*weftCall {
	o := &w.options.Weft
	var out []*weftCall
	if !aged && w.guessed(c) {
		return nil
	}
	for v := range w.holders {
		turned := v.used-v.tookAt >= o.Turn
		switch {
		case v.boosted || !w.stoppable(now, v):
		case aged && turned, !aged && (turned || !v.favoured) && float64(v.rank) >= o.Lead*float64(c.rank):
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b *weftCall) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.serial, a.serial)) })
	return out
}

// hold gives a slot to a call that waits.
func (w *weft) hold(now time.Duration, c *weftCall) {
	c.favoured = false
	c.patience = max(c.late-now, 1)
	w.unwait(c)
	was := c.place
	c.place = holding
	c.tookAt = c.used
	w.holders[c] = struct{}{}
	w.taken += c.call.Threads
	next := Command{Op: Start, Tier: Batch, Budget: w.report(c)}
	switch {
	case was == halted:
		next.Op = Continue
	case was == loose && c.tier != Batch:
		next.Op = Demote
	case was == loose:
		next.Op = Adjust
	}
	w.do(now, &c.slip, next)
	w.watch(now, c)
}

// release takes the slot of a call.
func (w *weft) release(now time.Duration, c *weftCall) {
	delete(w.holders, c)
	w.taken -= c.call.Threads
	if c.boosted {
		c.boosted = false
		w.do(now, &c.slip, Command{Op: Demote, Tier: Batch})
	}
}
