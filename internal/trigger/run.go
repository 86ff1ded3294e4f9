package trigger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// Run starts jobs at their times until ctx ends, and then returns nil. It returns
// an error only if the store fails, which no later call can mend. One goroutine at
// a time may run it; runs in progress from before should be known to
// Options.Running by then.
func (c *Cron) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		if err := c.step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("run cron jobs: %w", err)
		}
		timer.Reset(c.pause())
	}
}

// task is a job that a step has something to do for.
type task struct {
	key   string
	entry *entry
	job   Job
	run   string // that keeps others from starting if it is in progress
	busy  bool   // it is
}

// step deals with the times that have come, and starts what is owed.
func (c *Cron) step(ctx context.Context) error {
	now := wall()
	tasks := c.tasks(now)
	// What was owed before comes first, so that a run that an earlier process has
	// started without noting it is known, and whether it is in progress.
	if err := c.startAll(ctx, tasks); err != nil {
		return err
	}
	version, err := c.advance(ctx, now, tasks)
	if err != nil || version == 0 {
		return err
	}
	if err := c.o.Store.Durable(ctx, version); err != nil {
		return err
	}
	return c.startAll(ctx, tasks)
}

// startAll starts what jobs owe, one after another.
func (c *Cron) startAll(ctx context.Context, tasks []task) error {
	for i := range tasks {
		t := &tasks[i]
		t.busy = t.run != "" && c.o.Running(t.run)
		if err := c.start(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// tasks lists the jobs whose time has come or that owe a start.
func (c *Cron) tasks(now time.Time) (out []task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.jobs {
		if e.progress.Last.After(now.Add(ahead)) {
			c.o.Log.Warn("the clock was ahead: cron job begins anew", "app", e.job.App, "job", e.job.Name, "last", e.progress.Last, "now", now)
			e.progress.Last = now
			e.plan()
		}
		due := !e.next.IsZero() && !e.next.After(now)
		owes := len(e.progress.Owed) > 0 && !e.retry.After(now)
		if !due && !owes {
			continue
		}
		t := task{key: key, entry: e, job: e.job}
		if e.job.Overlap != OverlapAllow {
			t.run = e.progress.Run
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b task) int { return strings.Compare(a.key, b.key) })
	return out
}

// current reports whether a task's job is still set. The lock is held.
func (c *Cron) current(t *task) bool { return c.jobs[t.key] == t.entry }

// advance notes the times that have come. What is then owed is to be durable, as
// the version is, before anything starts; 0: nothing has changed.
func (c *Cron) advance(ctx context.Context, now time.Time, tasks []task) (store.Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b store.Batch
	var apply []func()
	for i := range tasks {
		t := &tasks[i]
		e := t.entry
		if !c.current(t) || e.next.IsZero() || e.next.After(now) {
			continue
		}
		p := e.progress
		v := p.advance(&e.job, now, t.busy, e.failures > 0)
		if err := putRecord(&b, &e.job, p); err != nil {
			return 0, err
		}
		apply = append(apply, func() {
			e.progress = p
			e.plan()
			if !v.dropped.IsZero() {
				e.failures, e.retry = 0, time.Time{}
			}
			c.report(&e.job, v)
		})
	}
	if b.Len() == 0 {
		return 0, nil
	}
	version, err := c.o.Store.Append(ctx, &b)
	if err != nil {
		return 0, err
	}
	for _, f := range apply {
		f()
	}
	return version, nil
}

// report logs what does not start.
func (c *Cron) report(j *Job, v verdict) {
	log := c.o.Log.With("app", j.App, "job", j.Name)
	if !v.dropped.IsZero() {
		log.Error("cron run given up: it could not be started until the next one was due", "due", v.dropped)
	}
	if !v.skipped.IsZero() {
		log.Info("cron run skipped: an earlier one is in progress", "due", v.skipped, "overlap", j.Overlap)
	}
}

// start starts what a job owes, as far as its policy allows.
func (c *Cron) start(ctx context.Context, t *task) error {
	for {
		j, due, ok := c.owed(t)
		if !ok {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, c.o.StartTimeout)
		run, err := c.o.Start(limited, j, due, j.Key(due))
		cancel()
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err != nil {
			c.failed(t, due, err)
			return nil
		}
		if err := c.settle(ctx, t, due, run); err != nil {
			return err
		}
		if j.Overlap != OverlapAllow {
			t.run, t.busy = run, c.o.Running(run)
		}
	}
}

// owed gives the next start of a job that is to happen now.
func (c *Cron) owed(t *task) (j Job, due time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := t.entry
	if !c.current(t) || len(e.progress.Owed) == 0 || e.retry.After(wall()) || t.busy && e.job.Overlap != OverlapAllow {
		return j, due, false
	}
	return e.job, e.progress.Owed[0].In(e.job.Schedule.Zone), true
}

// failed notes that a start has to be tried again.
func (c *Cron) failed(t *task, due time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := t.entry
	pause := min(backoff<<min(e.failures, 16), backoffMax)
	e.failures++
	e.retry = wall().Add(pause)
	c.o.Log.Warn("cron run could not be started", "app", e.job.App, "job", e.job.Name, "due", due, "error", err, "again", pause)
}

// settle notes that a run has started. Nobody waits for that to be durable: if it
// is lost, the same run is started again, by its key.
func (c *Cron) settle(ctx context.Context, t *task, due time.Time, run string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := t.entry
	if owed := e.progress.Owed; !c.current(t) || len(owed) == 0 || !owed[0].Equal(due) {
		return nil // it was set anew meanwhile
	}
	p := e.progress
	p.started(run)
	var b store.Batch
	if err := putRecord(&b, &e.job, p); err != nil {
		return err
	}
	if _, err := c.o.Store.Append(ctx, &b); err != nil {
		return err
	}
	e.progress, e.failures, e.retry = p, 0, time.Time{}
	c.o.Log.Debug("cron run started", "app", e.job.App, "job", e.job.Name, "due", due, "run", run)
	return nil
}

// pause is how long there is nothing to do.
func (c *Cron) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := wall()
	d := glance
	for _, e := range c.jobs {
		if !e.next.IsZero() {
			d = min(d, e.next.Sub(now))
		}
		switch {
		case len(e.progress.Owed) == 0:
		case e.failures > 0:
			d = min(d, e.retry.Sub(now))
		default:
			d = min(d, peek)
		}
	}
	return max(d, time.Millisecond)
}
