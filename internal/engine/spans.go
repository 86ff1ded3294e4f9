package engine

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// names finds the step of a call for its logs. It is safe for concurrent use.
type names struct{ calls sync.Map }

func (n *names) add(a *active) { n.calls.Store(uint64(a.Call), a) }

func (n *names) get(call uint64) (step string, index, attempt int) {
	if v, ok := n.calls.Load(call); ok {
		a := v.(*active)
		return a.Step, a.Index, a.Attempt
	}
	return "", telemetry.NoIndex, 0
}

// observe tells who executes the run in this process.
func (r *run) observe(e telemetry.Event) {
	if r.options.observer == nil {
		return
	}
	e.At = r.e.o.World.Now()
	r.options.observer.Observe(e)
}

// tell reports the end of a call.
func (r *run) tell(a *active, kind telemetry.EventKind, text string) {
	r.observe(telemetry.Event{
		Kind: kind, Function: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Text: text, Took: r.clock() - a.asked,
	})
}

// logged is the domain's Log: it comes from the goroutine of a host.
func (r *run) logged(call uint64, text []byte) {
	if r.options.observer == nil && r.e.o.Logs == nil {
		return
	}
	if r.program.Redact != nil {
		text = r.program.Redact(text)
	}
	step, index, attempt := r.names.get(call)
	now := r.e.o.World.Now()
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if r.e.o.Logs != nil && r.durable {
			r.e.o.Logs.Append(r.id, LogLine{At: now, Step: step, Index: index, Attempt: attempt, Text: line})
		}
		r.observe(telemetry.Event{Kind: telemetry.EventLog, Step: step, Index: index, Attempt: attempt, Text: line})
	}
}

// served is the domain's Host.
func (r *run) served(host string, begun, ended time.Time) {
	r.spans.Add(telemetry.Span{Kind: telemetry.KindHost, Host: host, Index: telemetry.NoIndex, Start: begun.Sub(r.spans.Start()), End: ended.Sub(r.spans.Start())})
}

// span is an attempt that ends now; failure is empty unless it failed.
func (r *run) span(a *active, failure string) telemetry.Span {
	s := telemetry.Span{Kind: telemetry.KindAttempt, Name: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Start: a.begun, End: r.clock()}
	if failure != "" {
		s.Attrs = append(s.Attrs, telemetry.Attr{Key: "error", Value: failure})
	}
	return s
}

// itemEnded notes the end of an item's call, which is the item's own until
// another call follows.
func (r *run) itemEnded(a *active, failure string) {
	s := r.items[a.Path]
	if s == nil {
		return
	}
	s.End, s.Attrs = r.clock(), nil
	if failure != "" {
		s.Attrs = []telemetry.Attr{{Key: "error", Value: failure}}
	}
}

// count tells the meter what an attempt has loaded and moved.
func (r *run) count(res *domain.Result) {
	m := r.e.o.Meter
	if m == nil {
		return
	}
	if len(res.Loaded) > 0 {
		m.ModulesLoaded(len(res.Loaded))
	}
	if res.Spilled != nil {
		m.BufferBytes(MovedSpilled, res.Spilled.Len)
	}
	file := or(r.options.pass, r.program.App.Pass) == app.PassFile
	for _, moved := range res.Moved {
		switch {
		case moved.Put:
		case file:
			m.BufferBytes(MovedFile, moved.Bytes)
		case moved.Bytes < mappedFrom:
			m.BufferBytes(MovedCopied, moved.Bytes)
		default:
			m.BufferBytes(MovedReference, moved.Bytes)
		}
	}
}

// record adds what is known of an attempt to the trace.
func (r *run) record(a *active, res *domain.Result) {
	r.count(res)
	if r.spans == nil {
		return
	}
	failure := ""
	if res.Failure != nil {
		failure = res.Failure.Message
	}
	span := r.span(a, failure)
	if span.Host = res.Host; span.Host != "" {
		span.Attrs = append(span.Attrs, telemetry.Attr{Key: "cpu", Value: res.CPU.String()}, telemetry.Attr{Key: "inside", Value: res.Wall.String()}, telemetry.Attr{Key: "memory", Value: strconv.FormatInt(res.Memory, 10)})
	}
	r.spans.Add(span)
	begun := a.begun
	if !res.Begun.IsZero() {
		begun = res.Begun.Sub(r.spans.Start())
	}
	within := func(kind telemetry.Kind, name string, at, took int64, attrs ...telemetry.Attr) {
		from := begun + time.Duration(at)
		r.spans.Add(telemetry.Span{Kind: kind, Name: name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Host: res.Host, Start: from, End: from + time.Duration(took), Attrs: attrs})
	}
	for _, l := range res.Loaded {
		within(telemetry.KindModule, l.Module, l.At, l.Took)
	}
	for _, m := range res.Moved {
		kind := telemetry.KindTake
		if m.Put {
			kind = telemetry.KindPut
		}
		within(kind, m.Name, m.At, m.Took, telemetry.Attr{Key: "bytes", Value: strconv.FormatInt(m.Bytes, 10)})
	}
}

// stepDone records a step, all of its items together.
func (r *run) stepDone(d flow.StepDone) {
	if m := r.e.o.Meter; m != nil {
		m.StepEnded(string(d.Status))
	}
	end := r.clock()
	from, ran := r.steps[d.Step]
	if !ran {
		from = end
	}
	span := telemetry.Span{Kind: telemetry.KindStep, Step: d.Step, Index: telemetry.NoIndex, Start: from, End: end}
	e := telemetry.Event{Step: d.Step, Index: telemetry.NoIndex, Took: end - from}
	switch d.Status {
	case flow.Skipped:
		span.Attrs = append(span.Attrs, telemetry.Attr{Key: "skipped", Value: "true"})
		e.Kind = telemetry.EventStepSkipped
		r.observe(e)
	case flow.Failed:
		e.Kind = telemetry.EventStepFailed
		if d.Failure != nil {
			e.Text = d.Failure.Message
			span.Attrs = append(span.Attrs, telemetry.Attr{Key: "error", Value: d.Failure.Message})
		}
		r.observe(e)
	}
	r.spans.Add(span)
}

// traced completes the trace of a run that has ended.
func (r *run) traced() {
	for _, s := range r.items {
		r.spans.Add(*s)
	}
	end := r.clock()
	r.spans.Add(telemetry.Span{Kind: telemetry.KindRun, Name: r.rec.Workflow, Index: telemetry.NoIndex, End: end})
	r.observe(telemetry.Event{Kind: telemetry.EventRunFinished, Index: telemetry.NoIndex, Text: string(r.outcome.Status), Took: end})
}
