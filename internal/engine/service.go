package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// Services carries out what steps call by service.method: a *node.Server, behind an
// adapter.
type Services interface {
	// Call calls a method and tells done, once. A call that is repeated under its key has
	// its effect once. When ctx ends nobody hears of its result any longer, but it
	// happens, unless its Timeout ends it. A failure that is Permanent is that of every repetition.
	Call(ctx context.Context, c ServiceCall, done func(output any, failure *flow.Failure))
}

// ServiceCall is a call of a service's method by a step.
type ServiceCall struct {
	App, Version string
	Method       string // service.method
	Input        any    // what with says
	Key          string // of the step: the same in every attempt

	// Timeout is what is left of the time of the attempt, of the run, and of sub-workflows
	// that they are in; 0: they have all the time that they need.
	Timeout time.Duration
}

// startService takes the call of a service's method from the machine. It waits for nothing
// that a function waits for: services have their own bounds.
func (r *run) startService(a *active) {
	if r.e.o.Services == nil {
		r.fail(a.Call, flow.Failure{Kind: domain.KindRefused, Message: fmt.Sprintf("call %s: a server has services, a single run has none", a.Target.Name), Permanent: true})
		return
	}
	if r.durable { // somebody outside of the run sees what it does
		r.journal.durable(func() {
			if r.calls[a.Call] == a && r.outcome == nil {
				r.pass(a)
			}
		})
		return
	}
	r.pass(a)
}

// passService calls the method, unless the run is paused.
func (r *run) passService(a *active) {
	if !r.paused.IsZero() {
		a.state = held
		r.held = append(r.held, a)
		return
	}
	a.state, a.begun = running, r.clock()
	r.observe(telemetry.Event{Kind: telemetry.EventStepStarted, Function: a.fn.Name, Step: a.Step, Index: a.Index, Attempt: a.Attempt})
	ctx, cancel := context.WithCancel(context.Background())
	a.leave = cancel
	c := ServiceCall{App: r.program.App.Name, Version: r.program.Version, Method: a.Target.Name, Input: a.Input, Key: a.Key}
	if at, ok := r.machine.Deadline(a.Call); ok {
		c.Timeout = max(at-r.clock(), 1)
	}
	r.e.o.Services.Call(ctx, c, func(output any, failure *flow.Failure) {
		r.post(func() {
			if r.calls[a.Call] == a && !r.dead {
				r.finishService(a, output, failure)
			}
		})
	})
}

// finishService takes the result of a method.
func (r *run) finishService(a *active, output any, failure *flow.Failure) {
	if failure != nil {
		a.outcome = failure.Kind
		r.leftService(a, failure.Message)
		r.fail(a.Call, *failure)
		return
	}
	a.outcome = OutcomeOK
	r.leftService(a, "")
	delete(r.calls, a.Call)
	r.itemEnded(a, "")
	r.tell(a, telemetry.EventStepFinished, "")
	r.apply(flow.StepFinished{Call: a.Call, Output: output})
}

// leftService notes the end of a call of a service.
func (r *run) leftService(a *active, failure string) {
	a.quiet()
	if r.spans != nil {
		r.spans.Add(r.span(a, failure))
	}
	if m := r.e.o.Meter; m != nil {
		m.CallEnded(r.program.App.Name, a.fn.Name, a.outcome, a.begun-a.asked, r.clock()-a.begun)
	}
}

// ServiceArguments are the object and the arguments of a method that a step calls: of a
// keyed service, with is {key: …, args: […]}; of others it is the arguments. A list is
// several, null none.
func ServiceArguments(keyed bool, with any) (object string, args [][]byte, err error) {
	if keyed {
		m, ok := with.(map[string]any)
		object, _ = m["key"].(string)
		for name := range m {
			ok = ok && (name == "key" || name == "args")
		}
		if !ok || object == "" {
			return "", nil, errors.New("with of a keyed service's method is {key: KEY, args: [ARGUMENT, …]}, and the key is a string")
		}
		with = m["args"]
	}
	list, ok := with.([]any)
	if !ok && with != nil {
		list = []any{with}
	}
	for _, v := range list {
		data, err := json.Marshal(v)
		if err != nil {
			return "", nil, err
		}
		args = append(args, data)
	}
	return object, args, nil
}
