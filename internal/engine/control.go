package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
)

// Cancel ends a run without a result. Like all that changes a run it returns
// when the change is durable, and fails with ErrNotFound or ErrEnded.
func (e *Engine) Cancel(ctx context.Context, id, reason string) error {
	return e.await(ctx, func(done func(error)) { e.Apply(id, flow.Cancelled{Reason: reason}, done) })
}

// Signal gives a run a signal, for the step at path or, without a path, for
// whoever waits for that name first. One that no step is for is refused with
// flow.ErrNoSignal, one too many that nobody waits for yet with flow.ErrSignals.
func (e *Engine) Signal(ctx context.Context, id, name, path string, value any) error {
	ev := flow.Signalled{Name: name, Path: path, Value: value}
	return e.await(ctx, func(done func(error)) {
		e.change(id, done, false, func(r *run) error {
			if err := r.machine.CheckSignal(ev); err != nil {
				return fmt.Errorf("run %s: %w", id, err)
			}
			r.apply(ev)
			return nil
		})
	})
}

// Pause stops the clock of a run: calls that are under way end, nothing new
// begins and no timer fires until Resume.
func (e *Engine) Pause(ctx context.Context, id string) error {
	return e.await(ctx, func(done func(error)) { e.SetPaused(id, true, done) })
}

// Resume lets a paused run go on.
func (e *Engine) Resume(ctx context.Context, id string) error {
	return e.await(ctx, func(done func(error)) { e.SetPaused(id, false, done) })
}

// Retry lets a run go on that has failed or was cancelled. What had finished
// counts: only calls that had not are made. It fails with ErrNotFound or
// ErrNotEnded.
func (e *Engine) Retry(ctx context.Context, id string) error {
	return e.await(ctx, func(done func(error)) { e.Restart(id, done) })
}

// await turns an answer that comes later into one that is waited for.
func (e *Engine) await(ctx context.Context, ask func(done func(error))) error {
	answer := make(chan error, 1)
	ask(func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return e.why()
	}
}

// Apply gives an event to a run from outside, and tells done when that is
// durable.
func (e *Engine) Apply(id string, ev flow.Event, done func(error)) {
	c, cancels := ev.(flow.Cancelled)
	e.change(id, done, cancels, func(r *run) error {
		if r.machine == nil {
			r.cancelUnread(c.Reason)
			return nil
		}
		r.apply(ev)
		return nil
	})
}

// SetPaused is Pause or Resume without waiting.
func (e *Engine) SetPaused(id string, paused bool, done func(error)) {
	e.change(id, done, false, func(r *run) error {
		if paused {
			r.pause()
		} else {
			r.resume()
		}
		return nil
	})
}

// change has something done to a run that has not ended, and tells done when
// that is durable, or why f refuses it. It waits until a run goes on after a
// restart, unless unread says that f can do with one that lacks its app.
func (e *Engine) change(id string, done func(error), unread bool, f func(r *run) error) {
	r := e.live(id)
	if r == nil {
		done(e.absent(id))
		return
	}
	var turn func()
	turn = func() {
		switch {
		case e.ctx.Err() != nil:
			done(e.why())
		case r.machine == nil && r.outcome == nil && !(unread && r.idle()):
			r.early = append(r.early, turn)
		case r.outcome != nil:
			done(fmt.Errorf("run %s: %w", id, ErrEnded))
		default:
			if err := f(r); err != nil {
				done(err)
				return
			}
			if !r.durable {
				done(nil)
				return
			}
			r.journal.durable(func() { done(nil) })
		}
	}
	r.box.post(turn)
}

// absent says why a run is not under way.
func (e *Engine) absent(id string) error {
	if e.ended(id) != nil {
		return fmt.Errorf("run %s: %w", id, ErrEnded)
	}
	if e.o.Store == nil {
		return fmt.Errorf("run %q: %w", id, ErrNotFound)
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	if _, err := loadRecord(s, id); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", id, ErrEnded)
}

func (r *run) pause() {
	if !r.paused.IsZero() {
		return
	}
	now := r.e.o.World.Now()
	for _, a := range r.timers {
		if a.stop != nil {
			a.stop()
		}
	}
	r.paused = now
	if r.durable {
		r.journal.control(linePaused, now)
	}
	r.show(Paused)
}

func (r *run) resume() {
	if r.paused.IsZero() {
		return
	}
	now := r.e.o.World.Now()
	r.stood += now.Sub(r.paused)
	r.paused = time.Time{}
	if r.durable {
		r.journal.control(lineResumed, now)
	}
	r.show(Running)
	for _, id := range slices.Sorted(maps.Keys(r.timers)) {
		r.arm(id)
	}
	waiting := r.held
	r.held = nil
	for _, a := range waiting {
		r.pass(a)
	}
}

// show changes the status that others see.
func (r *run) show(s Status) {
	r.mu.Lock()
	r.rec.Status = s
	rec := r.rec
	r.mu.Unlock()
	if !r.durable {
		return
	}
	value, _, err := rec.encode() // its blobs are on disk already
	if err != nil {
		r.e.breakDown(err)
		return
	}
	r.journal.push(func(b *store.Batch) { b.Put(runKey(r.id), value) })
}

// Restart is Retry without waiting.
func (e *Engine) Restart(id string, done func(error)) {
	r, expires, err := e.exhume(id)
	if err != nil {
		done(err)
		return
	}
	e.work(func() {
		e.revive(r, func() {
			r.reopen(expires)
			r.resume() // it may have ended while it was paused
			r.apply(flow.Retried{})
			r.journal.durable(func() { done(nil) })
		}, func(err error) { // it stays as it is
			r.dead = true
			r.cancel()
			e.lose(r)
			done(err)
		})
	})
}

// exhume makes a run that has ended one of those under way again, of which its
// record knows nothing yet, and tells when it would have been forgotten.
func (e *Engine) exhume(id string) (r *run, expires time.Time, err error) {
	if e.o.Store == nil {
		return nil, expires, fmt.Errorf("run %q: %w", id, ErrNotFound)
	}
	if e.live(id) != nil {
		return nil, expires, fmt.Errorf("run %s: %w", id, ErrNotEnded)
	}
	e.expiring.Lock()
	defer e.expiring.Unlock()
	s := e.o.Store.Snapshot()
	rec, err := loadRecord(s, id)
	s.Close()
	switch {
	case err != nil:
		return nil, expires, err
	case rec.Status == Succeeded:
		return nil, expires, fmt.Errorf("run %s has succeeded, there is nothing to retry: %w", id, ErrEnded)
	case !rec.Status.Ended():
		return nil, expires, fmt.Errorf("run %s: %w", id, ErrNotEnded)
	}
	of := edition{rec.App, rec.Version}
	if err := e.enter(of); err != nil {
		return nil, expires, err
	}
	expires = rec.Expires
	rec.Status, rec.Ended, rec.Expires, rec.Failure = Running, time.Time{}, time.Time{}, nil
	rec.Retries++
	r = e.newRun(*rec, true)
	e.mu.Lock()
	taken := e.runs[id] != nil
	if !taken {
		e.entered(of)
		e.runs[id] = r
	}
	e.mu.Unlock()
	if taken {
		e.leave(of)
		return nil, expires, fmt.Errorf("run %s: %w", id, ErrNotEnded)
	}
	return r, expires, nil
}

// reopen adds to what is to be appended that the run has not ended after all.
func (r *run) reopen(expires time.Time) {
	value, _, err := r.rec.encode() // its blobs are on disk already
	if err != nil {
		r.e.breakDown(err)
		return
	}
	r.journal.push(func(b *store.Batch) {
		b.Put(runKey(r.id), value)
		b.Put(openKey(r.id), []byte{recordVersion})
		b.Delete(expireKey(expires, r.id))
	})
}
