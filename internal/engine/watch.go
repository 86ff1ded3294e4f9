package engine

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
)

// Watch tells what has happened in a run after the notice numbered after, and
// then what happens, until the run has ended or ctx has. Notices are read off
// the journal, so they are durable, and the same however often they are asked
// for.
func (e *Engine) Watch(ctx context.Context, id string, after uint64) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		n := &narrator{after: after}
		for {
			changed, unwatch := e.watch(id)
			over, err := e.narrate(ctx, id, n)
			told := n.told
			n.told = nil
			for _, notice := range told {
				if !yield(notice, nil) {
					unwatch()
					return
				}
			}
			if err == nil && !over {
				select {
				case <-changed:
				case <-ctx.Done():
					err = ctx.Err()
				case <-e.ctx.Done():
					err = e.why()
				}
			}
			unwatch()
			if err != nil {
				yield(Notice{}, err)
			}
			if err != nil || over {
				return
			}
		}
	}
}

// watch returns what is closed when there is news of a run.
func (e *Engine) watch(id string) (changed <-chan struct{}, unwatch func()) {
	r := e.live(id)
	if r == nil {
		return closed, func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched++
	if r.durable { // there may be events that are on their way
		r.box.post(func() { r.journal.durable(r.news) })
	}
	return r.changed, func() {
		r.mu.Lock()
		r.watched--
		r.mu.Unlock()
	}
}

// closed is the news of a run that has ended: that it has.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// narrate tells what is new, and whether the run has ended.
func (e *Engine) narrate(ctx context.Context, id string, n *narrator) (over bool, err error) {
	if r := e.mortal(id); r != nil {
		rec := r.view()
		h, err := newHistory(r.program, &record{Run: rec}, nil)
		if err != nil {
			return false, err
		}
		n.begin(h)
		h.recall(r)
		return rec.Status.Ended(), nil
	}
	if e.o.Store == nil {
		return false, fmt.Errorf("run %q: %w", id, ErrNotFound)
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	rec, err := loadRecord(s, id)
	if err != nil {
		return false, err
	}
	if n.h == nil {
		if n.h, err = e.blank(ctx, rec); err != nil {
			return false, err
		}
		n.begin(n.h)
	}
	if err := n.h.read(s, e.o.Blobs); err != nil {
		return false, err
	}
	if err := e.o.Store.Durable(ctx, s.Version()); err != nil {
		return false, err
	}
	return rec.Status.Ended(), nil
}

// narrator turns the events of a run's journal into notices.
type narrator struct {
	after uint64
	h     *history // that is read on, of a run with a journal
	calls map[flow.CallID]begun
	told  []Notice
}

type begun struct {
	flow.StartCall
	at time.Duration
}

func (n *narrator) begin(h *history) {
	n.calls = map[flow.CallID]begun{}
	h.visit = func(seq uint64, entry flow.Entry, answer []flow.Command) {
		for i, ev := range n.events(h.rec.ID, entry, answer) {
			// Notices of one entry have numbers of their own between those of
			// their neighbours.
			if number := seq<<noticeBits | uint64(min(i, 1<<noticeBits-1)); number > n.after {
				ev.At = h.rec.Created.Add(entry.At)
				n.told = append(n.told, Notice{Seq: number, At: ev.At, Event: ev})
				n.after = number
			}
		}
	}
}

// noticeBits is the room for the notices of one entry: 2^20 of them.
const noticeBits = 20

// events says what an entry and the machine's answer mean for who watches.
func (n *narrator) events(id string, entry flow.Entry, answer []flow.Command) []telemetry.Event {
	var out []telemetry.Event
	add := func(e telemetry.Event) { out = append(out, e) }
	ended := func(call flow.CallID, kind telemetry.EventKind, text string) {
		if c, ok := n.calls[call]; ok {
			delete(n.calls, call)
			add(telemetry.Event{Kind: kind, Function: c.Target.Name, Step: c.Step, Index: c.Index, Attempt: c.Attempt, Text: text, Took: entry.At - c.at})
		}
	}
	switch ev := entry.Event.(type) {
	case flow.Started, flow.Retried:
		add(telemetry.Event{Kind: telemetry.EventRunStarted, Index: telemetry.NoIndex, Text: id})
	case flow.StepFinished:
		ended(ev.Call, telemetry.EventStepFinished, "")
	case flow.StepFailed:
		kind := telemetry.EventStepFailed
		if c, ok := n.calls[ev.Call]; ok && retries(&active{StartCall: c.StartCall}, answer) {
			kind = telemetry.EventStepRetried
		}
		ended(ev.Call, kind, ev.Failure.Message)
	}
	for _, c := range answer {
		switch c := c.(type) {
		case flow.StartCall:
			n.calls[c.Call] = begun{c, entry.At}
			add(telemetry.Event{Kind: telemetry.EventStepStarted, Function: c.Target.Name, Step: c.Step, Index: c.Index, Attempt: c.Attempt})
		case flow.StopCall:
			ended(c.Call, telemetry.EventStepStopped, "its result does not matter any longer")
		case flow.StepDone:
			switch c.Status {
			case flow.Skipped:
				add(telemetry.Event{Kind: telemetry.EventStepSkipped, Step: c.Step, Index: telemetry.NoIndex})
			case flow.Failed:
				e := telemetry.Event{Kind: telemetry.EventStepFailed, Step: c.Step, Index: telemetry.NoIndex}
				if c.Failure != nil {
					e.Text = c.Failure.Message
				}
				add(e)
			}
		case flow.FinishRun:
			add(telemetry.Event{Kind: telemetry.EventRunFinished, Index: telemetry.NoIndex, Text: string(c.Status), Took: entry.At})
		}
	}
	return out
}

// Trace draws a run: what was recorded while it ran here, or what its journal
// tells of its attempts.
func (e *Engine) Trace(ctx context.Context, id string) (*telemetry.Trace, error) {
	if t := e.traces.get(id); t != nil {
		return t, nil
	}
	n := &narrator{}
	if _, err := e.narrate(ctx, id, n); err != nil {
		return nil, err
	}
	t := &telemetry.Trace{Run: id}
	for i, notice := range n.told {
		if i == 0 {
			t.Start = notice.At
		}
		ev := notice.Event
		end := notice.At.Sub(t.Start)
		s := telemetry.Span{Kind: telemetry.KindAttempt, Name: ev.Function, Step: ev.Step, Index: ev.Index, Attempt: ev.Attempt, Start: end - ev.Took, End: end}
		switch ev.Kind {
		case telemetry.EventRunFinished:
			s.Kind = telemetry.KindRun
		case telemetry.EventStepFailed, telemetry.EventStepRetried, telemetry.EventStepStopped:
			s.Attrs = []telemetry.Attr{{Key: "error", Value: ev.Text}}
			if ev.Attempt == 0 {
				continue
			}
		case telemetry.EventStepFinished:
		default:
			continue
		}
		t.Spans = append(t.Spans, s)
	}
	return t, nil
}

// traces are those of the runs that have ended last.
type traces struct {
	mu   sync.Mutex
	by   map[string]*telemetry.Trace
	last []string // the newest last
}

// tracesMax is how many recorded traces are kept.
const tracesMax = 256

func (t *traces) add(trace *telemetry.Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[string]*telemetry.Trace{}
	}
	t.by[trace.Run] = trace
	if t.last = append(t.last, trace.Run); len(t.last) > tracesMax {
		delete(t.by, t.last[0])
		t.last = t.last[1:]
	}
}

func (t *traces) get(run string) *telemetry.Trace {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[run]
}
