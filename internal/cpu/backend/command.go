package backend

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// meterEach is how many visits to a driver are counted as one of them is measured: the
// clock of a thread costs more than most visits. It is odd, since calls have two visits or three.
const meterEach = 17

// visit is the time from enter to leave.
type visit struct {
	d      *Driver
	weight time.Duration // how many visits this one stands for; 0: it is not measured
	before time.Duration
}

// enter takes the lock, and counts the CPU time of this thread now and then.
func (d *Driver) enter() visit {
	d.mu.Lock()
	if d.visits++; d.visits%meterEach != 0 {
		return visit{d: d}
	}
	return d.meter(meterEach)
}

// leave gives the lock back.
func (v visit) leave() {
	v.d.hurry()
	v.stop()
	v.d.mu.Unlock()
}

// meter counts the CPU time of this thread, weight times, until stop.
func (d *Driver) meter(weight time.Duration) visit {
	runtime.LockOSThread()
	return visit{d: d, weight: weight, before: threadCPU()}
}

// stop ends what meter has begun.
func (v visit) stop() {
	if v.weight > 0 {
		v.d.stats.CPU += v.weight * (threadCPU() - v.before)
		runtime.UnlockOSThread()
	}
}

// tell gives the policy an event and has its commands carried out. It is called with mu
// held, as all that follow.
func (d *Driver) tell(e policy.Event) {
	commands := d.strategy.Step(d.Now(), e)
	d.stats.Commands += uint64(len(commands))
	for _, c := range commands {
		if p, ok := d.calls[c.Call]; ok {
			d.do(p, c)
		}
	}
	d.watch.tick = d.strategy.Next()
	d.spread.settle()
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// do carries a command out. Before the call has a task it is kept for then.
func (d *Driver) do(p *Pending, c policy.Command) {
	p.budget = c.Budget
	defer d.spread.note(p)
	if c.Op == policy.Stop {
		p.stopped = true
		d.halt(p)
		return
	}
	p.place = Place{Tier: c.Tier, Rank: c.Rank, Slice: c.Slice}
	if c.Tier == policy.Express {
		p.place.Until = c.Budget
	}
	p.begun = true
	p.admit()
	if p.added && p.task.place != p.place {
		d.judge(p, d.backend.Move(p.task, p.place))
	}
	if p.stopped && (c.Op == policy.Continue || c.Op == policy.Start) {
		p.stopped = false
		if p.halted {
			p.halted = false
			p.seen.last = d.Now()
			p.seen.asked = p.seen.last
			d.judge(p, d.backend.Continue(p.task))
		}
	}
	d.watch.plan(p, d.Now())
}

// halt stops the task of a call, if it has one.
func (d *Driver) halt(p *Pending) {
	if !p.added || p.halted {
		return
	}
	err := d.backend.Stop(p.task)
	p.halted = err == nil
	d.judge(p, err)
	d.watch.plan(p, d.Now())
}

// judge notes how a command ended.
func (d *Driver) judge(p *Pending, err error) {
	kind := ""
	switch {
	case err == nil, errors.Is(err, ErrGone): // that it has ended will be told
		return
	case errors.Is(err, ErrOneWay):
		p.oneWay = true
		d.stats.OneWay++
		kind = "one way"
	default:
		d.stats.Failed++
		kind = "failed"
	}
	if !d.said[kind] {
		d.said[kind] = true
		d.log.Warn("a call could not be put where it should be", "call", p.call.ID, "function", p.call.Function, "error", err)
	}
}

// inOrder are the calls, as they came.
func (d *Driver) inOrder() []*Pending {
	var out []*Pending
	for _, p := range d.calls {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Pending) int { return cmp.Compare(a.order, b.order) })
	return out
}
