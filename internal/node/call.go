package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/wire"
	"github.com/weft-run/weft/internal/telemetry"
)

// KindConflict is the kind of a step's failure whose slot another step had
// published first.
const KindConflict = "conflict"

// start begins a call, or queues it behind others of its function.
func (r *run) start(c flow.StartCall) {
	a := &active{StartCall: c, fn: r.app.functions[c.Target.Name], asked: r.rec.Now()}
	if a.fn == nil {
		r.fail(c.Call, flow.Failure{Kind: domain.KindRefused, Message: "there is no function " + c.Target.Name, Permanent: true})
		return
	}
	r.calls[c.Call] = a
	r.names.calls.Store(uint64(c.Call), a)
	if _, ok := r.steps[c.Step]; !ok {
		r.steps[c.Step] = a.asked
	}
	if c.Index >= 0 && r.items[c.Path] == nil {
		r.items[c.Path] = &telemetry.Span{Kind: telemetry.KindStep, Step: c.Step, Index: c.Index, Start: a.asked, End: a.asked}
	}
	if !c.Alone && r.full(a.fn.Name) {
		a.queued = true
		r.queued = append(r.queued, a)
		return
	}
	r.launch(a)
}

// launch gives a call to the domain.
func (r *run) launch(a *active) {
	a.queued, a.begun = false, r.rec.Now()
	call := domain.Call{
		ID: uint64(a.Call), Function: a.fn, Path: slotPath(a.Path), Step: slotPath(a.Step), Index: a.Index,
		Attempt: a.Attempt, Key: a.Key, Alone: a.Alone || r.req.Apart,
	}
	var err error
	switch stdin := a.Stdin.(type) {
	case nil:
		call.Input, err = json.Marshal(a.Input)
	case string:
		call.Input = []byte(stdin)
	default:
		slot, ok := bufferSlot(stdin)
		if !ok {
			err = errors.New("stdin is neither text nor a buffer")
		}
		call.Stdin = slot
	}
	if err != nil {
		r.fail(a.Call, flow.Failure{Kind: domain.KindRefused, Message: fmt.Sprintf("function %s: its input cannot be passed: %v", a.fn.Name, err), Permanent: true})
		return
	}
	r.busy[a.fn.Name]++
	r.inside++
	if limit := r.req.App.Functions[a.fn.Name].Timeout; limit > 0 && a.Timeout == 0 {
		a.timeout = time.AfterFunc(limit, func() {
			r.ended(domain.Result{Call: uint64(a.Call), Failure: &flow.Failure{Kind: flow.KindTimeout, Message: fmt.Sprintf("function %s took longer than %v", a.fn.Name, limit)}})
		})
	}
	observe(r.req.Observer, telemetry.Event{Kind: telemetry.EventStepStarted, Function: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt})
	r.domain.Start(call)
}

func (a *active) stopTimer() {
	if a.timeout != nil {
		a.timeout.Stop()
	}
}

// slotPath is how slots name a step: workflows that call one another are
// separated by a slash.
func slotPath(path string) string { return strings.ReplaceAll(path, ".", "/") }

// bufferSlot reads {"$buffer": "STEP/name", …}.
func bufferSlot(v any) (string, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	slot, ok := m["$buffer"].(string)
	return slot, ok
}

// stop ends a call whose result does not matter; answer is what the machine
// answered to e.
func (r *run) stop(id flow.CallID, e flow.Event, answer []flow.Command) {
	a := r.calls[id]
	if a == nil {
		return
	}
	why := r.whyStopped(a, e)
	delete(r.calls, id)
	a.stopTimer()
	r.itemEnded(a, why)
	kind := telemetry.EventStepStopped
	if retries(a, answer) {
		kind = telemetry.EventStepRetried
	}
	r.tell(a, kind, why)
	if a.queued {
		for i, q := range r.queued {
			if q == a {
				r.queued = append(r.queued[:i], r.queued[i+1:]...)
				break
			}
		}
		return
	}
	r.rec.Add(r.span(a, why))
	r.domain.Stop(uint64(id))
	r.left(a)
}

// whyStopped says why the machine stopped a call, from the event that made it.
func (r *run) whyStopped(a *active, e flow.Event) string {
	switch e := e.(type) {
	case flow.Cancelled:
		return "stopped: the run was cancelled: " + e.Reason
	case flow.TimerFired:
		if a.Timeout > 0 && r.rec.Now()-a.asked >= a.Timeout {
			return fmt.Sprintf("stopped: it took longer than %v", a.Timeout)
		}
		return "stopped: the time of its workflow was over"
	default:
		return "stopped: its workflow has failed"
	}
}

// retries reports whether the machine's answer to the end of a call is to try
// it once more, at once or after a pause.
func retries(a *active, answer []flow.Command) bool {
	for _, c := range answer {
		switch c := c.(type) {
		case flow.StartCall:
			if c.Path == a.Path && c.Catch == a.Catch {
				return true
			}
		case flow.SetTimer:
			if c.Path == a.Path && c.Reason == flow.TimerBackoff {
				return true
			}
		}
	}
	return false
}

// left makes room for a queued call.
func (r *run) left(a *active) {
	r.busy[a.fn.Name]--
	r.inside--
	for i, q := range r.queued {
		if !r.full(q.fn.Name) {
			r.queued = append(r.queued[:i], r.queued[i+1:]...)
			r.launch(q)
			return
		}
	}
}

// fail tells the machine that a call failed.
func (r *run) fail(id flow.CallID, f flow.Failure) {
	e := flow.StepFailed{Call: id, Failure: f}
	answer := r.machine.Apply(e, r.rec.Now())
	if a := r.calls[id]; a != nil {
		delete(r.calls, id)
		a.stopTimer()
		r.itemEnded(a, f.Message)
		kind := telemetry.EventStepFailed
		if retries(a, answer) {
			kind = telemetry.EventStepRetried
		}
		r.tell(a, kind, f.Message)
	}
	r.carryOut(e, answer)
}

// tell reports the end of a call.
func (r *run) tell(a *active, kind telemetry.EventKind, text string) {
	observe(r.req.Observer, telemetry.Event{
		Kind: kind, Function: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Text: text, Took: r.rec.Now() - a.asked,
	})
}

// finish takes a result of the domain: it checks the output, makes the call's
// buffers real or withdraws them, and tells the machine.
func (r *run) finish(res domain.Result) {
	id := flow.CallID(res.Call)
	a := r.calls[id]
	if a == nil { // stopped meanwhile
		r.domain.Withdraw(res.Call)
		return
	}
	a.stopTimer()
	if res.Failure != nil && res.Failure.Kind == flow.KindTimeout {
		r.domain.Stop(res.Call)
	}
	var output any
	if res.Failure == nil {
		var err error
		if output, err = r.output(a, &res); err != nil {
			res.Failure = &flow.Failure{Kind: domain.KindOutput, Message: fmt.Sprintf("function %s: %v", a.fn.Name, err)}
		} else if _, err = r.domain.Commit(res.Call); err != nil {
			res.Failure = &flow.Failure{Kind: KindConflict, Message: fmt.Sprintf("function %s: %v", a.fn.Name, err), Permanent: true}
			if errors.Is(err, buffer.ErrQuota) {
				res.Failure.Kind = domain.KindLimit
			}
		}
	}
	r.record(a, &res)
	r.left(a)
	if res.Failure != nil {
		r.domain.Withdraw(res.Call)
		r.fail(id, *res.Failure)
		return
	}
	delete(r.calls, id)
	r.itemEnded(a, "")
	r.tell(a, telemetry.EventStepFinished, "")
	r.apply(flow.StepFinished{Call: id, Output: output})
}

// output turns what a function wrote into the step's output.
func (r *run) output(a *active, res *domain.Result) (any, error) {
	ref := map[string]any{"$buffer": slotPath(a.Path) + "/stdout", "size": int64(0)}
	switch {
	case res.Spilled != nil:
		ref["size"] = res.Spilled.Len
		return ref, nil
	case a.fn.Output == wire.OutputBytes:
		return ref, nil
	}
	if a.fn.Output == wire.OutputText {
		if !utf8.Valid(res.Output) {
			return nil, errors.New("its output is not UTF-8 text; say output: bytes")
		}
		return string(res.Output), nil
	}
	out := bytes.TrimSpace(res.Output)
	if len(out) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(out))
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the first value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("its output is not JSON (%v): %s; print one JSON value on stdout and logs on stderr, or say output: text", err, excerpt(out))
	}
	return v, nil
}

// excerpt quotes the beginning of an output for a message.
func excerpt(b []byte) string {
	const most = 60
	if len(b) <= most {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:most])) + "…"
}

// logged is the domain's Log: it comes from the goroutine of a host.
func (r *run) logged(call uint64, text []byte) {
	if r.req.Observer == nil {
		return
	}
	step, index, attempt := r.names.get(call)
	for line := range strings.Lines(string(text)) {
		observe(r.req.Observer, telemetry.Event{Kind: telemetry.EventLog, Step: step, Index: index, Attempt: attempt, Text: strings.TrimRight(line, "\n")})
	}
}

// span is an attempt that ends now; failure is empty unless it failed.
func (r *run) span(a *active, failure string) telemetry.Span {
	s := telemetry.Span{Kind: telemetry.KindAttempt, Name: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Start: a.begun, End: r.rec.Now()}
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
	s.End, s.Attrs = r.rec.Now(), nil
	if failure != "" {
		s.Attrs = []telemetry.Attr{{Key: "error", Value: failure}}
	}
}

// record adds what is known of an attempt to the trace.
func (r *run) record(a *active, res *domain.Result) {
	failure := ""
	if res.Failure != nil {
		failure = res.Failure.Message
	}
	span := r.span(a, failure)
	if span.Host = res.Host; span.Host != "" {
		span.Attrs = append(span.Attrs, telemetry.Attr{Key: "cpu", Value: res.CPU.String()}, telemetry.Attr{Key: "inside", Value: res.Wall.String()}, telemetry.Attr{Key: "memory", Value: strconv.FormatInt(res.Memory, 10)})
	}
	r.rec.Add(span)
	begun := a.begun
	if !res.Begun.IsZero() {
		begun = res.Begun.Sub(r.rec.Start())
	}
	within := func(kind telemetry.Kind, name string, at, took int64, attrs ...telemetry.Attr) {
		from := begun + time.Duration(at)
		r.rec.Add(telemetry.Span{Kind: kind, Name: name, Step: a.Step, Index: a.Index, Attempt: a.Attempt, Host: res.Host, Start: from, End: from + time.Duration(took), Attrs: attrs})
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
	end := r.rec.Now()
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
		observe(r.req.Observer, e)
	case flow.Failed:
		e.Kind = telemetry.EventStepFailed
		if d.Failure != nil {
			e.Text = d.Failure.Message
			span.Attrs = append(span.Attrs, telemetry.Attr{Key: "error", Value: d.Failure.Message})
		}
		observe(r.req.Observer, e)
	}
	r.rec.Add(span)
}
