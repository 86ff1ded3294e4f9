// Package limit admits requests from outside to services and to their objects: so many
// at a time, so many a second. What finds no room waits in a bounded queue, in the
// order in which it came, or is refused with the time after which it is worth trying again.
//
//	limits := limit.New(limit.Options{})
//	leave, err := limits.Enter(ctx, false, limit.Place{Name: "shop.bank/ann", Rule: key}, limit.Place{Name: "shop.bank", Rule: service})
//	if full := (*limit.FullError)(nil); errors.As(err, &full) {
//		// answer 429 with Retry-After: full.RetryAfter
//	}
//	defer leave()
//
// The rate is that of a token bucket: Burst tokens at most, Rate new ones a second, one
// for each request.
//
// A request that holds locks must not wait here for one that may need them: what
// services call of each other does not come here. Who enters several places
// names them in the same order as all others, so that nobody waits in a circle.
package limit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// Rule bounds the requests for a place. Its zero value bounds nothing.
type Rule struct {
	Rate        float64 // requests a second; 0: any
	Burst       int     // at once after a pause; default Rate, rounded up
	Concurrency int     // at a time; 0: any
	Queue       int     // that wait; default 100
}

func (r Rule) bounds() bool { return r.Rate > 0 || r.Concurrency > 0 }

func (r Rule) burst() float64 {
	if r.Burst > 0 {
		return float64(r.Burst)
	}
	return math.Max(1, math.Ceil(r.Rate))
}

func (r Rule) queue() int {
	if r.Queue > 0 {
		return r.Queue
	}
	return 100
}

// Place is what requests are for: a service, or an object of one.
type Place struct {
	Name string
	Rule Rule // the latest one that was given counts
}

// FullError says that a request is refused, and nothing of it has happened.
type FullError struct {
	Place      string
	Why        string
	RetryAfter time.Duration // at least a second
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%s is busy: %s; try again in %v", e.Place, e.Why, e.RetryAfter.Round(time.Second))
}

// Options configure limits.
type Options struct {
	Wait time.Duration // that a request may wait; default 30 s
}

// Limits are those of a node. They are safe for concurrent use.
type Limits struct {
	wait time.Duration

	mu     sync.Mutex
	places map[string]*place // guarded by mu
	room   int               // places, before those that say nothing are dropped; guarded by mu
}

// New makes limits. There is nothing to close.
func New(o Options) *Limits {
	if o.Wait <= 0 {
		o.Wait = 30 * time.Second
	}
	return &Limits{wait: o.Wait, places: map[string]*place{}}
}

// place is what is known of a Place. The mutex of the limits guards it.
type place struct {
	rule   Rule
	inside int
	tokens float64
	at     time.Time // when there were so many
	queue  []*waiter
	timer  *time.Timer // for the next token, while somebody waits for it
}

type waiter struct{ admitted chan struct{} }

// Enter returns when a request may begin. leave is called, once, when it has ended. A patient
// one waits however many others do, until ctx ends. The error is a *FullError, or that of ctx.
func (l *Limits) Enter(ctx context.Context, patient bool, places ...Place) (leave func(), err error) {
	var entered []*place
	leave = func() { l.leave(entered, false) }
	for _, p := range places {
		if !p.Rule.bounds() {
			continue
		}
		in, err := l.enter(ctx, patient, p)
		if err != nil {
			l.leave(entered, true)
			return nil, err
		}
		entered = append(entered, in)
	}
	return leave, nil
}

func (l *Limits) enter(ctx context.Context, patient bool, at Place) (*place, error) {
	l.mu.Lock()
	p := l.places[at.Name]
	if p == nil {
		l.sweep()
		p = &place{tokens: at.Rule.burst(), at: time.Now()}
		l.places[at.Name] = p
	}
	p.refill()
	if p.rule != at.Rule { // those who wait do so by the new one
		p.rule = at.Rule
		if p.timer != nil {
			p.timer.Stop()
			p.timer = nil
		}
		l.pump(p)
	}
	if len(p.queue) == 0 && p.free() {
		p.admit()
		l.mu.Unlock()
		return p, nil
	}
	if !patient && len(p.queue) >= p.rule.queue() {
		err := &FullError{at.Name, fmt.Sprintf("%d requests wait already", len(p.queue)), p.retryAfter()}
		l.mu.Unlock()
		return nil, err
	}
	w := &waiter{make(chan struct{})}
	p.queue = append(p.queue, w)
	l.pump(p)
	l.mu.Unlock()

	var late <-chan time.Time
	if !patient {
		t := time.NewTimer(l.wait)
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case <-w.admitted:
		return p, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-late:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range p.queue {
		if other == w {
			p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
			p.refill()
			if err == nil {
				err = &FullError{at.Name, fmt.Sprintf("no room within %v", l.wait), p.retryAfter()}
			}
			return nil, err
		}
	}
	return p, nil // it was admitted at the same moment
}

// leave makes room. What was undone has not happened, and gives its tokens back.
func (l *Limits) leave(entered []*place, undone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range entered {
		p.inside--
		if undone {
			p.refill()
			p.tokens = math.Min(p.tokens+1, p.rule.burst())
		}
		l.pump(p)
	}
}

// pump admits those who wait, as far as there is room.
func (l *Limits) pump(p *place) {
	p.refill()
	for len(p.queue) > 0 && p.free() {
		w := p.queue[0]
		p.queue = p.queue[1:]
		p.admit()
		close(w.admitted)
	}
	if len(p.queue) == 0 || p.timer != nil || p.crowded() {
		return
	}
	p.timer = time.AfterFunc(p.until(1), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.timer = nil
		l.pump(p)
	})
}

func (p *place) refill() {
	now := time.Now()
	if p.rule.Rate > 0 {
		p.tokens = math.Min(p.tokens+now.Sub(p.at).Seconds()*p.rule.Rate, p.rule.burst())
	}
	p.at = now
}

func (p *place) crowded() bool { return p.rule.Concurrency > 0 && p.inside >= p.rule.Concurrency }

// nearly is what is missing of a token because of how numbers are rounded.
const nearly = 1e-6

func (p *place) free() bool {
	return !p.crowded() && (p.rule.Rate == 0 || p.tokens >= 1-nearly)
}

func (p *place) admit() {
	p.inside++
	if p.rule.Rate > 0 {
		p.tokens = math.Max(0, p.tokens-1)
	}
}

// until is how long it takes until there are so many tokens.
func (p *place) until(tokens float64) time.Duration {
	if p.rule.Rate == 0 {
		return 0
	}
	return time.Duration(math.Min(math.Max(0, tokens-p.tokens)/p.rule.Rate*1e9, 1<<62)) + 1
}

// retryAfter is when one more request could begin, if those who wait are served at the
// rate.
func (p *place) retryAfter() time.Duration {
	return max(time.Second, p.until(float64(len(p.queue)+1)))
}

// sweep drops places in which nobody is and that are as new. l.mu is held.
func (l *Limits) sweep() {
	if len(l.places) < l.room {
		return
	}
	for name, p := range l.places {
		if p.refill(); p.inside == 0 && len(p.queue) == 0 && (p.rule.Rate == 0 || p.tokens >= p.rule.burst()) {
			delete(l.places, name)
		}
	}
	l.room = max(1024, 2*len(l.places))
}
