package backend

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// WatchOptions say how often tasks are looked at.
type WatchOptions struct {
	// Cores bounds how fast a task can use its budget. Default: those of the machine.
	Cores int
	// Closest is the least time between two looks at a task. Default 1 ms.
	Closest time.Duration
	// Sleep is how often it is asked whether a task sleeps, which costs more than to read what
	// it has used; for one that does, and one that does not get on, ever more rarely up to
	// SleepMost. Default: 5 ms, 40 ms.
	Sleep, SleepMost time.Duration
	// Share of one core that asking may take. With more tasks than that allows one to ask as
	// often as wanted, each is asked more rarely. Default 0.01.
	Share float64
	// Load is how often the policy is told how busy the cores are, while there are calls.
	// Default 200 ms.
	Load time.Duration
	// Look measures a task. Default: Task.Look.
	Look func(t *Task, deep bool) (Usage, error)
	// Idle returns the time for which the cores of the machine were idle, summed over them.
	// Default: what the kernel says.
	Idle func() time.Duration
}

// EnsureDefaults fills in what is 0.
func (o *WatchOptions) EnsureDefaults() {
	if o.Cores == 0 {
		var b Options
		b.EnsureDefaults()
		o.Cores = b.Cores
	}
	if o.Closest == 0 {
		o.Closest = time.Millisecond
	}
	if o.Sleep == 0 {
		o.Sleep = 5 * time.Millisecond
	}
	if o.SleepMost == 0 {
		o.SleepMost = 8 * o.Sleep
	}
	if o.Share == 0 {
		o.Share = 0.01
	}
	if o.Load == 0 {
		o.Load = 200 * time.Millisecond
	}
	if o.Look == nil {
		o.Look = (*Task).Look
	}
	if o.Idle == nil {
		o.Idle = idleTime
	}
}

// Validate reports all that is wrong.
func (o *WatchOptions) Validate() error {
	var errs []error
	if o.Cores < 1 {
		errs = append(errs, fmt.Errorf("cores is %d: want at least 1", o.Cores))
	}
	if o.Closest <= 0 || o.Sleep < o.Closest || o.SleepMost < o.Sleep {
		errs = append(errs, fmt.Errorf("looks %v, %v and %v apart: want 0 < closest ≤ sleep ≤ sleep at most", o.Closest, o.Sleep, o.SleepMost))
	}
	if !(o.Share > 0 && o.Share <= 1) {
		errs = append(errs, fmt.Errorf("share is %v: want more than 0 and at most 1", o.Share))
	}
	if o.Load <= 0 {
		errs = append(errs, fmt.Errorf("load every %v: want a positive time", o.Load))
	}
	return errors.Join(errs...)
}

// seen is what a driver knows of a task from looking.
type seen struct {
	used  time.Duration
	state State         // Unknown until it was asked, then Awake or Asleep
	width int           // threads that can run, at least 1
	pace  time.Duration // between two questions whether it sleeps
	asked time.Duration // when it was asked last
	ask   time.Duration // when it is to be asked
	last  time.Duration // when it was looked at
	next  time.Duration // when it is to be looked at
	slot  int           // place in the watch, from 1; 0: none
	rate  float64       // questions a second that are wanted
}

// watch is the order in which tasks are looked at.
type watch struct {
	o      WatchOptions
	queue  queue
	rate   float64       // questions a second that are wanted, to all of them
	cost   time.Duration // of a question, smoothed
	tick   time.Duration // when the policy wants the time; 0: not
	told   time.Duration // when the load was told
	idle   time.Duration // what Idle said then
	came   time.Duration // when a call did last
	armed  time.Duration // until when the goroutine sleeps; 0: until it is woken
	asleep bool          // the goroutine sleeps
}

func newWatch(o WatchOptions) watch { return watch{o: o} }

// begin takes a task into the watch.
func (w *watch) begin(p *Pending, now time.Duration) {
	p.seen = seen{width: max(p.call.Threads, 1), pace: w.o.Sleep, last: now, asked: now}
	w.plan(p, now)
}

// in puts a task into the queue.
func (w *watch) in(p *Pending, now time.Duration) {
	if len(w.queue) == 0 {
		w.rate = 0
		if w.told == 0 || w.told+w.o.Load <= now { // what the cores did long ago says nothing
			w.told, w.idle = now, w.o.Idle()
		}
	}
	heap.Push(&w.queue, p)
}

// out takes it out.
func (w *watch) out(p *Pending) {
	if p.seen.slot > 0 {
		w.rate -= p.seen.rate
		p.seen.rate = 0
		heap.Remove(&w.queue, p.seen.slot-1)
	}
}

// plan says when a task is to be looked at: when it may have used its budget if it had
// run all the time with all its threads, or when it is to be asked whether it sleeps. A
// task that is stopped is not looked at.
func (w *watch) plan(p *Pending, now time.Duration) {
	s := &p.seen
	if !p.added || p.halted {
		w.out(p)
		return
	}
	if s.slot == 0 {
		w.in(p, now)
	}
	rate := 1 / s.pace.Seconds()
	w.rate += rate - s.rate
	s.rate = rate
	s.ask = s.asked + time.Duration(float64(s.pace)*w.stretch())
	s.next = s.ask
	if p.budget > 0 && s.state != Asleep {
		s.next = min(s.next, s.last+(p.budget-s.used)/time.Duration(min(s.width, w.o.Cores)))
	}
	s.next = max(s.next, s.last+w.o.Closest)
	heap.Fix(&w.queue, s.slot-1)
}

// stretch is by how much questions have to be rarer than wanted, so that they take their
// share at most.
func (w *watch) stretch() float64 {
	return max(w.rate*w.cost.Seconds()/w.o.Share, 1)
}

// due is when there is something to do; 0: not before something happens.
func (w *watch) due() time.Duration {
	at := w.tick
	soon := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if len(w.queue) > 0 {
		soon(w.queue[0].seen.next)
		soon(w.told + w.o.Load)
	}
	return at
}

// hurry wakes the goroutine when it would sleep for too long.
func (d *Driver) hurry() {
	at := d.watch.due()
	if at == 0 || !d.watch.asleep || d.watch.armed != 0 && d.watch.armed <= at {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run looks at tasks when it is time to. While calls come, it does not wait to be woken by the
// next one but gets up by itself, as often as a task of nothing but short calls would have it:
// to wake a goroutine costs more than all else that a short call needs.
func (d *Driver) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return
		}
		d.round()
		at := d.watch.due()
		if now := d.Now(); at == 0 && d.order > 0 && now < d.watch.came+2*d.watch.o.Sleep {
			at = now + d.watch.o.Sleep
		}
		d.watch.armed, d.watch.asleep = at, true
		wait := time.Hour
		if at > 0 {
			wait = max(at-d.Now(), 0)
		}
		timer.Reset(wait)
		d.mu.Unlock()
		select {
		case <-timer.C:
		case <-d.wake:
		case <-d.quit:
			return
		}
		d.mu.Lock()
		d.watch.asleep = false
		d.mu.Unlock()
	}
}

// roundLooks bounds how many looks are taken while others wait for the lock.
const roundLooks = 16

// round does what is due. It is called with mu held.
func (d *Driver) round() {
	w := &d.watch
	now := d.Now()
	if at := w.due(); at == 0 || at > now {
		return
	}
	defer d.meter(1).stop()
	if w.tick > 0 && w.tick <= now {
		d.tell(policy.Tick{})
	}
	if len(w.queue) > 0 && w.told+w.o.Load <= now {
		idle := w.o.Idle()
		past := float64(now-w.told) * float64(w.o.Cores)
		busy := 100 * (1 - float64(idle-w.idle)/past)
		w.told, w.idle = now, idle
		d.tell(policy.Loaded{Percent: min(max(busy, 0), 100)})
	}
	for looks := 0; looks < roundLooks && len(w.queue) > 0 && w.queue[0].seen.next <= now; looks++ {
		p := w.queue[0]
		deep := p.seen.ask <= now
		before := threadCPU()
		u, err := w.o.Look(p.task, deep)
		if deep {
			cost := threadCPU() - before
			if w.cost == 0 {
				w.cost = cost
			}
			w.cost += (cost - w.cost) / 16
			p.seen.asked = now
			d.stats.Questions++
		}
		d.stats.Looks++
		d.look(p, u, err, now)
	}
}

// look tells the policy what a look at a task has shown.
func (d *Driver) look(p *Pending, u Usage, err error, now time.Duration) {
	w, s := &d.watch, &p.seen
	s.last = now
	grew := u.CPU > s.used
	s.used = max(s.used, u.CPU)
	if err != nil { // it has ended; whoever waits for it will say so
		s.asked, s.pace, p.budget = now, w.o.SleepMost, 0
		w.plan(p, now)
		return
	}
	width := s.width
	if u.Threads > 0 {
		s.width = u.Threads
	}
	switch {
	case u.State == Unknown:
	case u.State == Awake && grew:
		s.pace = w.o.Sleep
	case s.asked == now:
		s.pace = min(2*s.pace, w.o.SleepMost)
	}
	if spent := p.budget > 0 && s.used >= p.budget; spent || s.width != width {
		told := policy.Used{ID: p.call.ID, CPU: s.used}
		if s.width != width {
			told.Threads = s.width
		}
		if spent {
			p.budget = 0
		}
		d.tell(told)
	}
	if u.State != Unknown && !p.halted {
		before := s.state
		s.state = u.State
		d.spread.stale = d.spread.stale || before != u.State || s.width != width
		switch {
		case u.State == Asleep && before != Asleep:
			d.tell(policy.Slept{ID: p.call.ID})
		case u.State == Awake && before == Asleep:
			d.tell(policy.Woke{ID: p.call.ID})
		}
	}
	w.plan(p, now)
}

// queue orders calls by when they are to be looked at.
type queue []*Pending

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool { return q[i].seen.next < q[j].seen.next }

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].seen.slot, q[j].seen.slot = i+1, j+1
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	p := x.(*Pending)
	*q = append(*q, p)
	p.seen.slot = len(*q)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	*q = old[:len(old)-1]
	p.seen.slot = 0
	return p
}

// idleTime is how long the cores were idle since boot, summed over them: the second number
// of /proc/uptime (proc_uptime(5)).
func idleTime() time.Duration {
	var buf [64]byte
	n, err := readFile("/proc/uptime", buf[:])
	if err != nil {
		return 0
	}
	var up, idle float64
	if _, err := fmt.Sscan(string(buf[:n]), &up, &idle); err != nil {
		return 0
	}
	return time.Duration(idle * float64(time.Second))
}
