package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/cpu/sim"
)

// ErrWrong is wrapped by the error about a call that computed something else than it should.
var ErrWrong = errors.New("wrong result")

// Play makes a run, and makes it again, up to Options.Attempts times, when the machine did
// other work meanwhile; the last one counts, whatever it is. Calls are in order of arrival.
func (s *Stage) Play(ctx context.Context, calls []Call, v Variant) (*Outcome, error) {
	for attempt := 1; ; attempt++ {
		out, err := s.play(ctx, calls, v)
		if err != nil {
			return nil, fmt.Errorf("play %d calls under %s: %w", len(calls), v.Name, err)
		}
		out.Attempts = attempt
		if !out.Noise.Disturbed() || attempt >= s.o.Attempts {
			return out, nil
		}
		s.o.Log.Info("the run was disturbed, and is made again", "variant", v.Name, "noise", out.Noise.String())
	}
}

// crowd is how many workers calls need at a time at most: as many as are there under
// sharing, twice over, since a policy may end them in another order; and one more for each
// that would leave a worker demoted for good.
func crowd(calls []Call, cores int, v Variant) (int, error) {
	jobs := make([]sim.Job, len(calls))
	once := 0
	for i := range calls {
		jobs[i] = calls[i].Job
		if v.Unprivileged && jobs[i].CPU > v.Options.Weft.MinBudget*4/5 {
			once++
		}
	}
	out, err := sim.Sharing(jobs, sim.Options{Cores: cores})
	if err != nil {
		return 0, err
	}
	most, at := 0, 0
	for i := range out.Results { // calls that arrived before and have not ended
		at = 0
		for k := range i + 1 {
			if out.Results[k].End > out.Results[i].Job.Arrival {
				at++
			}
		}
		most = max(most, at)
	}
	return 2*most + once + 16, nil
}

// run is the state of one run.
type run struct {
	stage   *Stage
	driver  *backend.Driver      // nil: none, or live
	live    *scheduler.Scheduler // nil: not Live
	variant Variant
	began   time.Time
	tier    *policy.Tier // that workers with groups are in; nil: they have none

	mu  sync.Mutex
	out *Outcome // guarded by mu, and so is err
	err error
}

func (s *Stage) play(ctx context.Context, calls []Call, v Variant) (_ *Outcome, err error) {
	born := policy.Normal
	if v.Policy == policy.Weft || v.Policy == policy.SFS {
		born = policy.Express
	}
	grouped := s.calls != nil && !v.Unprivileged && v.Backend != backend.NameSched
	if !grouped {
		born = policy.Normal
	}
	need, err := crowd(calls, s.cores, v)
	if err != nil {
		return nil, err
	}
	if err := s.ready(need, grouped, born); err != nil {
		return nil, err
	}
	if v.Unprivileged {
		if err := Nice(false); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, Nice(true)) }()
	}
	var d *backend.Driver
	var live *scheduler.Scheduler
	switch {
	case v.Policy != "" && v.Live:
		settings := scheduler.Settings{Policy: v.Policy, Backend: v.Backend, Options: v.Options}
		if live, err = scheduler.New(scheduler.Options{Settings: settings, NodeStays: true, Log: s.o.Log}); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, live.Close()) }()
	case v.Policy != "":
		if d, err = s.drive(v); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
	}
	r := &run{stage: s, driver: d, live: live, variant: v, out: &Outcome{}}
	if grouped {
		r.tier = &born
	}
	r.out.Cores = s.cores
	r.out.Results = make([]sim.Result, len(calls))
	jobs := make([]sim.Job, len(calls))
	clock, err := newAlarm()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clock.close()) }()
	before, err := read()
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	r.began = time.Now()
	for i := range calls {
		jobs[i] = calls[i].Job
		if err = clock.wait(ctx, r.began.Add(jobs[i].Arrival)); err != nil {
			break
		}
		all.Go(func() { r.call(i, &calls[i], &jobs[i]) })
	}
	all.Wait()
	if err != nil {
		return nil, err
	}
	after, err := read()
	if err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	for i := range r.out.Results {
		r.out.Busy += jobs[i].CPU
		r.out.Span = max(r.out.Span, r.out.Results[i].End)
	}
	r.out.Program = after.own - before.own
	switch {
	case live != nil:
		status := live.Status()
		r.out.View, r.out.Scheduler = status.View, status.Stats.CPU
	case d != nil:
		status := d.Status()
		r.out.View, r.out.Scheduler = status.Policy, status.Stats.CPU
	}
	r.out.Noise = noise(before, after, s.cores, r.out.Busy)
	return r.out, nil
}

// drive makes the driver of a variant.
func (s *Stage) drive(v Variant) (*backend.Driver, error) {
	strategy, err := policy.New(v.Policy, v.Options)
	if err != nil {
		return nil, err
	}
	b, _, err := backend.New(v.Backend, backend.Options{NodeStays: true, Log: s.o.Log})
	if err != nil {
		return nil, err
	}
	d, err := backend.NewDriver(backend.DriverOptions{Strategy: strategy, Backend: b, Log: s.o.Log})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return d, nil
}

// call does one call, from its arrival to its end.
func (r *run) call(i int, c *Call, job *sim.Job) {
	if err := r.do(i, c, job); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.err = errors.Join(r.err, err)
	}
}

func (r *run) do(i int, c *Call, job *sim.Job) error {
	done, end, err := r.scheduled(policy.ID(i), c, job)
	if err != nil {
		return err
	}
	if done.Sum != c.Want {
		return fmt.Errorf("call %d of %s: %w: %#x, want %#x", i, job.Function, ErrWrong, done.Sum, c.Want)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	job.CPU = done.CPU
	if len(job.Sleeps) > 0 {
		job.Sleeps[0].At = min(job.Sleeps[0].At, max(job.CPU-1, 0))
	}
	r.out.Results[i] = sim.Result{Job: job, End: end, Switches: int(done.Yields + done.Losses)}
	r.out.Yields += done.Yields
	r.out.Losses += done.Losses
	r.out.Calls++
	return nil
}

// scheduled has a worker do a call, under the driver if there is one, and returns when it
// has ended.
func (r *run) scheduled(id policy.ID, c *Call, job *sim.Job) (done crew.Done, end time.Duration, err error) {
	if r.live != nil {
		return r.lively(c, job)
	}
	var pending *backend.Pending
	if r.driver != nil {
		if pending, err = r.driver.Arrive(policy.Call{ID: id, Function: job.Function, App: job.App}); err != nil {
			return done, 0, err
		}
		defer pending.End(0, true) // unless it has ended well
		<-pending.Admitted()
	}
	w, err := r.stage.take()
	if err != nil {
		return done, 0, err
	}
	if pending != nil {
		o := backend.TaskOptions{PID: w.PID}
		if r.tier != nil {
			o.Group, o.Born = w.group, r.tier
		}
		task, err := w.renew(o)
		if err != nil {
			return done, 0, err
		}
		if err := pending.Run(task); err != nil {
			return done, 0, err
		}
	}
	if done, err = w.Do(c.Task); err != nil {
		return done, 0, err
	}
	end = time.Since(r.began)
	if pending == nil || !pending.End(done.CPU, false) { // else the kernel keeps it demoted
		r.stage.give(w)
	}
	return done, end, nil
}

// lively is scheduled for a node's scheduler.
func (r *run) lively(c *Call, job *sim.Job) (done crew.Done, end time.Duration, err error) {
	call := r.live.Begin(scheduler.Demand{App: job.App, Function: job.Function})
	defer call.End(0, true) // unless it has ended well
	<-call.Admitted()
	w, err := r.stage.take()
	if err != nil {
		return done, 0, err
	}
	p := scheduler.Process{PID: w.PID}
	if r.tier != nil {
		p.Group, p.Tiered = w.group, true
	}
	call.Own(func() (scheduler.Process, bool) { return p, true })
	if done, err = w.Do(c.Task); err != nil {
		return done, 0, err
	}
	end = time.Since(r.began)
	if !call.End(done.CPU, false) {
		r.stage.give(w)
	}
	return done, end, nil
}
