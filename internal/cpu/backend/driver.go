package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// DriverOptions are what a Driver is made with.
type DriverOptions struct {
	Strategy policy.Strategy // decides; the driver owns it
	Backend  Backend         // carries out; the driver closes it
	Watch    WatchOptions
	// Log hears what a backend could not do, once a kind. Default: nobody.
	Log *slog.Logger
}

// Driver lets a policy schedule real tasks. It tells the policy what happens to them, and
// has its commands carried out, in the goroutine of whoever brings the news; one goroutine
// of its own looks at the tasks and keeps the policy's time. Its methods may be called from
// any goroutine.
type Driver struct {
	backend Backend
	log     *slog.Logger
	epoch   time.Time
	wake    chan struct{} // the next look or tick is earlier than was thought
	quit    chan struct{}
	done    sync.WaitGroup

	mu       sync.Mutex
	strategy policy.Strategy        // guarded by mu, and so is what follows
	calls    map[policy.ID]*Pending //
	order    uint64
	visits   uint64
	watch    watch
	spread   spread
	closed   bool
	stats    Stats
	said     map[string]bool // kinds of errors that were logged
}

// Stats is what a driver has done.
type Stats struct {
	Commands  uint64        `json:"commands"` // that the policy gave
	Looks     uint64        `json:"looks"`    // at tasks, and of those the ones that asked whether it sleeps
	Questions uint64        `json:"questions"`
	OneWay    uint64        `json:"one_way"`          // raises that the kernel refused
	Failed    uint64        `json:"failed"`           // commands that failed otherwise, of tasks that had not ended
	CPU       time.Duration `json:"cpu_ns"`           // of the driver and the backend, from a sample of the visits of callers
	Cost      time.Duration `json:"question_cost_ns"` // CPU time of a question, smoothed
	Stretch   float64       `json:"stretch"`          // how much more rarely tasks are asked than wanted, so that it stays cheap; 1: they are not
}

// Status is what a driver does and has done, for people.
type Status struct {
	Backend string      `json:"backend"`
	Traits  Traits      `json:"traits"`
	Policy  policy.View `json:"policy"`
	Stats   Stats       `json:"stats"`
}

// NewDriver makes a driver and starts it. Close it.
func NewDriver(o DriverOptions) (*Driver, error) {
	if o.Strategy == nil || o.Backend == nil {
		return nil, errors.New("make CPU driver: it needs a policy and a backend")
	}
	o.Watch.EnsureDefaults()
	if err := o.Watch.Validate(); err != nil {
		return nil, fmt.Errorf("make CPU driver: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{backend: newCrews(o.Backend), log: o.Log, epoch: time.Now(), wake: make(chan struct{}, 1), quit: make(chan struct{}),
		strategy: o.Strategy, calls: map[policy.ID]*Pending{}, said: map[string]bool{}}
	d.watch = newWatch(o.Watch)
	d.spread = newSpread(o.Backend.Traits())
	d.watch.tick = o.Strategy.Next()
	d.done.Go(d.run)
	return d, nil
}

// Now is the time on the policy's clock: what deadlines count in.
func (d *Driver) Now() time.Duration { return time.Since(d.epoch) }

// Pending is a call that has not ended.
type Pending struct {
	driver   *Driver
	call     policy.Call
	order    uint64
	arrived  time.Duration
	admitted chan struct{} // closed when the policy starts the call

	// What follows is guarded by the driver's mu.
	begun   bool // a policy has started it
	ended   bool
	place   Place
	budget  time.Duration // Used is wanted at this CPU time; 0: not
	stopped bool          // the policy wants it so
	task    *Task         // nil before Run
	added   bool          // the backend has the task
	halted  bool          // the backend has stopped it
	oneWay  bool          // the kernel keeps it demoted
	seen    seen
}

// open is closed: what Admitted is of calls that need not wait.
var open = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Arrive brings a call. It may begin when Admitted is closed, which may be so at once.
// End must be called for it, whatever happens. A call with the id of one that has not ended
// is an error, and so is one after Close.
func (d *Driver) Arrive(c policy.Call) (*Pending, error) {
	defer d.enter().leave()
	if d.closed {
		return nil, errors.New("CPU driver is closed")
	}
	if _, ok := d.calls[c.ID]; ok {
		return nil, fmt.Errorf("call %d has arrived already", c.ID)
	}
	d.order++
	p := &Pending{driver: d, call: c, order: d.order, arrived: d.Now(), admitted: open}
	d.calls[c.ID], d.watch.came = p, p.arrived
	d.tell(policy.Arrived{Call: c})
	if !p.begun { // it has to wait
		p.admitted = make(chan struct{})
	}
	return p, nil
}

// Admitted is closed when the policy lets the call begin.
func (p *Pending) Admitted() <-chan struct{} { return p.admitted }

// Tier is where the policy has the call.
func (p *Pending) Tier() policy.Tier {
	p.driver.mu.Lock()
	defer p.driver.mu.Unlock()
	return p.place.Tier
}

// Run tells that the call runs as a task, which the driver uses until End; it stays the
// caller's to close after that. The error is ErrGone when the process has ended already.
func (p *Pending) Run(t *Task) error {
	d := p.driver
	defer d.enter().leave()
	if d.closed || p.ended || p.task != nil {
		return fmt.Errorf("run call %d: it has ended, or runs already", p.call.ID)
	}
	err := d.backend.Add(t, p.place)
	if errors.Is(err, ErrGone) {
		return fmt.Errorf("run call %d: %w", p.call.ID, err)
	}
	p.task, p.added = t, true
	d.judge(p, err)
	if p.stopped {
		d.halt(p)
	}
	d.watch.begin(p, d.Now())
	d.spread.note(p)
	d.tell(policy.Started{ID: p.call.ID})
	if t.o.Thread > 0 { // it has run before it was attached
		u, err := d.watch.o.Look(t, false)
		d.look(p, u, err, d.Now())
	}
	return nil
}

// Name is that of the backend.
func (d *Driver) Name() string { return d.backend.Name() }

// Traits are those of the backend.
func (d *Driver) Traits() Traits { return d.backend.Traits() }

// Locked calls f while no event is carried out, so that it may use the policy's book.
func (d *Driver) Locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Flag tells that the call may or may no longer be stopped.
func (p *Pending) Flag(flags policy.Flags) {
	d := p.driver
	defer d.enter().leave()
	if !p.ended {
		p.call.Flags = flags
		d.tell(policy.Flagged{ID: p.call.ID, Flags: flags})
	}
}

// Due gives the call another deadline, on the clock of Now; 0 takes it away.
func (p *Pending) Due(at time.Duration) {
	d := p.driver
	defer d.enter().leave()
	if !p.ended {
		p.call.Deadline = at
		d.tell(policy.Deadline{ID: p.call.ID, At: at})
	}
}

// End tells that the call is over. Cpu is what it used in all; 0: what was last seen.
// Failed says that it is not to be learned from. The task runs on if its process lives;
// retire says that the kernel keeps that in a lower tier, so it should not be used again.
// Only the first End counts.
func (p *Pending) End(cpu time.Duration, failed bool) (retire bool) {
	d := p.driver
	defer d.enter().leave()
	if p.ended {
		return p.oneWay
	}
	d.release(p)
	if cpu == 0 && p.task != nil {
		cpu = p.seen.used
	}
	delete(d.calls, p.call.ID)
	d.tell(policy.Ended{ID: p.call.ID, CPU: cpu, Failed: failed || !p.begun})
	return p.oneWay
}

// release takes a call's task back from the backend.
func (d *Driver) release(p *Pending) {
	p.ended = true
	d.watch.out(p)
	d.spread.forget(p)
	if p.added {
		p.added = false
		d.judge(p, d.backend.Remove(p.task))
	}
}

// Replace lets another policy go on. It is told of all calls, in the order in which they
// came. One that runs and that it does not start is stopped until it does, unless it may
// not be.
func (d *Driver) Replace(s policy.Strategy) {
	defer d.enter().leave()
	d.strategy = s
	d.watch.tick = s.Next()
	for _, p := range d.inOrder() {
		begun := p.begun
		p.budget, p.begun = 0, false
		d.tell(policy.Arrived{Call: p.call})
		started := p.begun
		p.begun = begun || started
		if !begun {
			continue
		}
		if !started {
			if p.call.Flags == 0 {
				p.stopped = true
				d.halt(p)
			}
			continue
		}
		d.tell(policy.Started{ID: p.call.ID})
		d.tell(policy.Used{ID: p.call.ID, CPU: p.seen.used})
		if p.seen.state == Asleep {
			d.tell(policy.Slept{ID: p.call.ID})
		}
	}
}

// Current is a call that has not ended, for people.
type Current struct {
	Call    policy.Call
	Tier    policy.Tier
	Age     time.Duration // since it came
	Used    time.Duration // of CPU time, as last seen
	Begun   bool          // the policy has started it
	Watched bool          // it has a task
	Asleep  bool
	Stopped bool
}

// Current lists the calls that have not ended, as they came.
func (d *Driver) Current() []Current {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now()
	var out []Current
	for _, p := range d.inOrder() {
		out = append(out, Current{Call: p.call, Tier: p.place.Tier, Age: now - p.arrived, Used: p.seen.used, Begun: p.begun, Watched: p.added,
			Asleep: p.seen.state == Asleep, Stopped: p.halted})
	}
	return out
}

// Status shows what the driver does.
func (d *Driver) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Cost, s.Stretch = d.watch.cost, d.watch.stretch()
	return Status{Backend: d.backend.Name(), Traits: d.backend.Traits(), Policy: d.strategy.View(), Stats: s}
}

// Close lets all tasks run as they were before and closes the backend. Calls that wait for
// their start are admitted, so that nobody waits for ever.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	for _, p := range d.inOrder() {
		d.release(p)
		p.admit()
	}
	clear(d.calls)
	d.mu.Unlock()
	close(d.quit)
	d.done.Wait()
	return d.backend.Close()
}

// admit lets the call begin. It is called with the driver's mu held.
func (p *Pending) admit() {
	select {
	case <-p.admitted:
	default:
		close(p.admitted)
	}
}
