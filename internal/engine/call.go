package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// KindConflict is the kind of a step's failure whose slot another step had
// published first.
const KindConflict = "conflict"

// start takes a call from the machine. It goes through as many doors as it has
// to, in this order: what it depends on is durable (gate), the run is not
// paused, its function has a place in this run, the node admits it.
func (r *run) start(c flow.StartCall) {
	a := &active{StartCall: c, fn: r.program.Functions[c.Target.Name], asked: r.clock()}
	service := c.Target.Kind == flow.ServiceMethod
	if service {
		a.fn = &domain.Function{Name: c.Target.Name}
	}
	if a.fn == nil {
		r.fail(c.Call, flow.Failure{Kind: domain.KindRefused, Message: "there is no function " + c.Target.Name, Permanent: true})
		return
	}
	r.calls[c.Call] = a
	r.names.add(a)
	if _, ok := r.steps[c.Step]; !ok {
		r.steps[c.Step] = a.asked
	}
	if c.Index >= 0 && r.items[c.Path] == nil {
		r.items[c.Path] = &telemetry.Span{Kind: telemetry.KindStep, Step: c.Step, Index: c.Index, Start: a.asked, End: a.asked}
	}
	if service {
		r.startService(a)
		return
	}
	if r.durable && (leaks(a.fn) || !r.e.o.Speculate) {
		r.journal.durable(func() {
			if r.calls[c.Call] == a && r.outcome == nil {
				r.pass(a)
			}
		})
		return
	}
	r.pass(a)
}

// leaks reports whether anybody outside of its run can see what a function
// does. One that cannot leak may start before what it depends on is durable: if
// the node dies first, nobody has seen that it ran.
func leaks(f *domain.Function) bool {
	if len(f.Dial) > 0 || len(f.Listen) > 0 {
		return true
	}
	for _, file := range f.Files {
		if !file.ReadOnly {
			return true
		}
	}
	return false
}

// pass lets a call go on whose causes are durable.
func (r *run) pass(a *active) {
	switch {
	case a.Target.Kind == flow.ServiceMethod:
		r.passService(a)
	case !r.paused.IsZero():
		a.state = held
		r.held = append(r.held, a)
	case !a.Alone && r.full(a.fn.Name):
		a.state = queued
		r.queued = append(r.queued, a)
	default:
		r.admit(a)
	}
}

// admit asks the node for the call's share of it.
func (r *run) admit(a *active) {
	r.busy[a.fn.Name]++
	if r.e.o.Gate == nil {
		r.turn(a)
		return
	}
	a.state = waiting
	f := r.program.App.Functions[a.fn.Name]
	d := admission.Demand{App: r.program.App.Name, Function: a.fn.Name, Memory: a.fn.Memory, Max: f.Instances.Max, Queue: admission.Unbounded, Wait: -1}
	leave, err := r.e.o.Gate.Request(d, func() {
		r.post(func() {
			if r.calls[a.Call] == a && a.state == waiting {
				r.turn(a)
			}
		})
	})
	if err != nil { // it can never be admitted
		r.busy[a.fn.Name]--
		r.fail(a.Call, flow.Failure{Kind: domain.KindRefused, Message: fmt.Sprintf("function %s: %v", a.fn.Name, err), Permanent: true})
		return
	}
	a.leave = leave
}

// launch gives a call to the domain.
func (r *run) launch(a *active) {
	if a.state == queued {
		r.busy[a.fn.Name]++
	}
	a.state, a.begun = running, r.clock()
	r.inside++
	r.launched++
	err := r.open()
	call := domain.Call{
		ID: uint64(a.Call), Function: a.fn, Path: slotPath(a.Path), Step: slotPath(a.Step), Index: a.Index,
		Attempt: a.Attempt, Key: a.Key, Trace: r.context, Alone: a.Alone || r.options.apart, CPU: a.turn, Time: a.Timeout,
	}
	if err == nil {
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
	}
	if err != nil {
		a.outcome = domain.KindRefused
		r.left(a)
		r.fail(a.Call, flow.Failure{Kind: domain.KindRefused, Message: fmt.Sprintf("function %s: it cannot be started: %v", a.fn.Name, err), Permanent: true})
		return
	}
	if limit := r.program.App.Functions[a.fn.Name].Timeout; limit > 0 && a.Timeout == 0 {
		call.Time = limit
		a.timeout = r.e.o.World.After(limit, func() {
			r.post(func() {
				r.finish(domain.Result{Call: uint64(a.Call), Failure: &flow.Failure{Kind: flow.KindTimeout, Message: fmt.Sprintf("function %s took longer than %v", a.fn.Name, limit)}})
			})
		})
	}
	r.observe(telemetry.Event{Kind: telemetry.EventStepStarted, Function: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt})
	r.domain.Start(call)
	r.prepare(a)
}

// prepare gets ready what the steps after a call's step will need.
func (r *run) prepare(a *active) {
	if !r.e.o.Predict || a.Index > 0 {
		return
	}
	if next := r.program.next(r.rec.Workflow, a.Step); len(next) > 0 {
		r.e.o.Sandboxes.Prepare(r.program.Hosts, next...)
	}
}

// quiet stops the call's timer and gives back its admission and its turn.
func (a *active) quiet() {
	a.turn.End(0, true) // unless the domain has
	if a.timeout != nil {
		a.timeout()
	}
	if a.leave != nil {
		a.leave()
		a.leave = nil
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
// answered to ev.
func (r *run) stop(id flow.CallID, ev flow.Event, answer []flow.Command) {
	a := r.calls[id]
	if a == nil {
		return
	}
	why := r.whyStopped(a, ev)
	delete(r.calls, id)
	r.itemEnded(a, why)
	kind := telemetry.EventStepStopped
	if retries(a, answer) {
		kind = telemetry.EventStepRetried
	}
	r.tell(a, kind, why)
	switch {
	case a.Target.Kind == flow.ServiceMethod && a.state == running:
		a.outcome = OutcomeStopped
		r.leftService(a, why)
	case a.state == running:
		r.spans.Add(r.span(a, why))
		r.domain.Stop(uint64(id))
		a.outcome = OutcomeStopped
		r.left(a)
	case a.state == waiting:
		a.quiet()
		r.busy[a.fn.Name]--
		r.advance()
	default:
		r.leaveQueue(a)
	}
}

// leaveQueue takes a call out of whatever it waits in.
func (r *run) leaveQueue(a *active) {
	r.queued = without(r.queued, a)
	r.held = without(r.held, a)
}

func without(list []*active, a *active) []*active {
	for i, q := range list {
		if q == a {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// whyStopped says why the machine stopped a call, from the event that made it.
func (r *run) whyStopped(a *active, ev flow.Event) string {
	switch ev := ev.(type) {
	case flow.Cancelled:
		return "stopped: the run was cancelled: " + ev.Reason
	case flow.TimerFired:
		if a.Timeout > 0 && r.clock()-a.asked >= a.Timeout {
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

// left gives back what a call in the domain had, and makes room for a queued
// one.
func (r *run) left(a *active) {
	a.quiet()
	r.busy[a.fn.Name]--
	r.inside--
	if m := r.e.o.Meter; m != nil {
		m.CallEnded(r.program.App.Name, a.fn.Name, a.outcome, a.begun-a.asked, r.clock()-a.begun)
	}
	r.advance()
}

// advance lets the first queued call go on that has a place now.
func (r *run) advance() {
	for i, q := range r.queued {
		if !r.full(q.fn.Name) {
			r.queued = append(r.queued[:i], r.queued[i+1:]...)
			q.state = gated
			r.admit(q)
			return
		}
	}
}

// fail tells the machine that a call failed.
func (r *run) fail(id flow.CallID, f flow.Failure) {
	ev := flow.StepFailed{Call: id, Failure: f}
	at := r.clock()
	r.note(flow.Entry{At: at, Event: ev})
	answer := r.machine.Apply(ev, at)
	if a := r.calls[id]; a != nil {
		delete(r.calls, id)
		r.itemEnded(a, f.Message)
		kind := telemetry.EventStepFailed
		if retries(a, answer) {
			kind = telemetry.EventStepRetried
		}
		r.tell(a, kind, f.Message)
	}
	r.carryOut(ev, answer)
}

// finish takes a result of the domain: it checks the output, makes the call's
// buffers real or withdraws them, keeps them, and tells the machine.
func (r *run) finish(res domain.Result) {
	id := flow.CallID(res.Call)
	a := r.calls[id]
	if a == nil { // stopped meanwhile
		if r.domain != nil {
			r.domain.Withdraw(res.Call)
		}
		return
	}
	if res.Failure != nil && res.Failure.Kind == flow.KindTimeout {
		r.domain.Stop(res.Call)
	}
	var output any
	if res.Failure == nil {
		var err error
		if output, err = a.output(&res); err != nil {
			res.Failure = &flow.Failure{Kind: domain.KindOutput, Message: fmt.Sprintf("function %s: %v", a.fn.Name, err)}
		}
	}
	var effects domain.Effects
	if res.Failure == nil {
		var err error
		if effects, err = r.domain.Commit(res.Call); err != nil {
			res.Failure = &flow.Failure{Kind: KindConflict, Message: fmt.Sprintf("function %s: %v", a.fn.Name, err), Permanent: true}
			if errors.Is(err, buffer.ErrQuota) {
				res.Failure.Kind = domain.KindLimit
			}
		}
	}
	r.record(a, &res)
	if res.Failure != nil {
		a.outcome = res.Failure.Kind
		r.left(a)
		r.domain.Withdraw(res.Call)
		r.fail(id, *res.Failure)
		return
	}
	a.outcome = OutcomeOK
	r.published = r.published || len(effects.Puts) > 0
	r.left(a)
	if r.durable {
		r.keep(a, effects)
	}
	delete(r.calls, id)
	r.itemEnded(a, "")
	r.tell(a, telemetry.EventStepFinished, "")
	r.apply(flow.StepFinished{Call: id, Output: output})
}
