package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// How long a run waits before its app is looked for again: doubling from the
// first to the last.
const (
	lackingFirst = time.Second
	lackingLast  = time.Minute
)

// lacking is what a run knows that cannot go on yet because its app could not be
// made ready: memory or descriptors were short, the disk was full, a sandbox did
// not start.
type lacking struct {
	delay time.Duration // until the next try
	stop  func()        // takes it back; nil while one is under way
}

// stuck is told why a run cannot go on after a restart. What may pass is waited
// for. What does not ends the run: the version is gone, its code is no code, or
// the journal cannot be read. If the node is about to end, the next one is asked.
func (r *run) stuck(err error) {
	var unready *unreadyError
	passes := errors.As(err, &unready)
	if passes {
		err = unready.err
	}
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, ErrDraining):
	case passes && !errors.Is(err, ErrGone) && !errors.Is(err, domain.ErrModule):
		r.lack(err)
	default:
		r.endUnread(flow.Failed, flow.Failure{
			Kind: domain.KindRefused, Message: fmt.Sprintf("the run cannot go on: %v; deploy version %s of app %s again and retry the run", err, r.rec.Version, r.rec.App),
		})
	}
}

// lack has the app of a run looked for again later.
func (r *run) lack(err error) {
	if r.lacking == nil {
		r.lacking = &lacking{delay: lackingFirst}
	} else {
		r.lacking.delay = min(2*r.lacking.delay, lackingLast)
	}
	if r.e.o.Lacking != nil {
		r.e.o.Lacking(r.view(), err, r.lacking.delay)
	}
	r.lacking.stop = r.e.o.World.After(r.lacking.delay, func() {
		r.post(func() {
			if r.outcome != nil {
				return
			}
			r.lacking.stop = nil
			r.e.work(func() { r.e.revive(r, nil, r.stuck) })
		})
	})
	r.catchUp() // it may have been cancelled
}

// idle reports whether a run waits for the next try, in which nobody reads it.
func (r *run) idle() bool { return r.lacking != nil && r.lacking.stop != nil }

// cancelUnread ends a run that lacks its app, because somebody wants it to.
func (r *run) cancelUnread(reason string) {
	r.lacking.stop()
	r.endUnread(flow.CancelledRun, flow.Failure{Kind: flow.KindCancelled, Message: reason})
}

// endUnread ends a run whose journal has not been read.
func (r *run) endUnread(status flow.Status, f flow.Failure) {
	r.program = &Program{App: &app.App{Name: r.rec.App}}
	r.finishRun(flow.FinishRun{Status: status, Failure: &f})
	r.journal.flush()
	r.catchUp()
}
