package scheduler

import (
	"slices"
	"sync"
	"time"
)

const (
	// lateAfter is how long a call has to last to get a task: nearly as long as the least
	// budget.
	lateAfter = 4 * time.Millisecond
	// lateEvery is the least time between two looks at who has lasted, so that a thousand
	// calls a second do not cost as many wake-ups.
	lateEvery = 2 * time.Millisecond
	// lateMost is the longest time after which the thread or process of a call is looked
	// for once more. One that is not found waits until something has time for it.
	lateMost = 250 * time.Millisecond
)

// late gives tasks to calls that last. While calls come, its goroutine gets up by itself rather than be woken
// by the next one: to wake it costs more than all else that a short call needs.
type late struct {
	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	line   []waiter // by due; guarded by mu
	asleep bool     // for longer than the next call may wait; guarded by mu
	came   bool     // a call has, since it slept last; guarded by mu
	closed bool     // guarded by mu

	again []waiter // who was not found; the goroutine's alone
}

// waiter is a call that may last.
type waiter struct {
	call *Call
	due  time.Time
	next time.Duration // between the last look for it and the next
}

func (l *late) start() {
	l.wake, l.quit = make(chan struct{}, 1), make(chan struct{})
	l.done.Go(l.run)
}

// add has a call get a task if it lasts.
func (l *late) add(c *Call) {
	l.mu.Lock()
	l.line = append(l.line, waiter{call: c, due: time.Now().Add(lateAfter), next: lateAfter})
	wake := l.asleep
	l.asleep, l.came = false, true
	l.mu.Unlock()
	if wake {
		l.wake <- struct{}{} // there is room: only one who finds it asleep wakes it
	}
}

func (l *late) close() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if !closed {
		close(l.quit)
	}
	l.done.Wait()
}

func (l *late) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for _, w := range l.due(time.Now()) {
			if w.call.attach() {
				continue
			}
			w.next = min(2*w.next, lateMost)
			w.due = time.Now().Add(w.next)
			l.again = append(l.again, w)
		}
		timer.Reset(l.rest())
		select {
		case <-timer.C:
		case <-l.wake:
		case <-l.quit:
			return
		}
	}
}

// due takes those out that have not ended and whose time has come.
func (l *late) due(now time.Time) []waiter {
	var out []waiter
	l.mu.Lock()
	n := 0
	for ; n < len(l.line); n++ {
		if w := l.line[n]; !w.due.After(now) {
			out = append(out, w)
		} else if !w.call.over() { // else nobody need get up for it
			break
		}
	}
	clear(l.line[:n])
	if l.line = l.line[n:]; len(l.line) == 0 {
		l.line = nil
	}
	l.mu.Unlock()
	l.again = slices.DeleteFunc(l.again, func(w waiter) bool {
		if w.due.After(now) {
			return false
		}
		out = append(out, w)
		return true
	})
	return slices.DeleteFunc(out, func(w waiter) bool { return w.call.over() })
}

// rest is how long there is nothing to do.
func (l *late) rest() time.Duration {
	wait := time.Hour
	for _, w := range l.again {
		wait = min(wait, time.Until(w.due))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		wait = min(wait, time.Until(l.line[0].due))
	}
	if l.came && len(l.line) == 0 {
		wait = min(wait, lateAfter)
	}
	l.asleep, l.came = len(l.line) == 0 && wait > lateAfter, false
	return max(wait, lateEvery)
}

// attach gives the call its task. False says that its thread or process was not found.
func (c *Call) attach() bool {
	c.mu.Lock()
	b, find := c.sandbox, c.find
	c.mu.Unlock()
	switch {
	case b != nil:
		return b.attach(c)
	case find != nil:
		return c.attachOwn(find)
	}
	return true
}
