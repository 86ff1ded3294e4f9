package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
)

// KindExit is the kind of failure of a function that exits with another status
// than 0.
const KindExit = "exit"

// Result is what a run gives.
type Result struct {
	Output any
	Slots  map[string][]byte // all that were published or uploaded, by full name
}

// Reference is what a run gives when nothing goes wrong: the machine alone, its
// calls computed at once. uploads are the buffers that the input refers to, by
// name. evaluate gives the values of expressions that are jq
// programs.
func Reference(a *app.App, workflow, id string, input any, uploads map[string][]byte, evaluate func(expressions []string, scope any) []any) (Result, error) {
	w := a.Workflows[workflow]
	if w == nil {
		return Result{}, fmt.Errorf("reference: app %s has no workflow %s", a.Name, workflow)
	}
	m, err := flow.New(flow.Spec{Workflow: w, Library: a.Workflows, RunID: id, Seed: 1, Input: input})
	if err != nil {
		return Result{}, err
	}
	slots := map[string][]byte{}
	for name, b := range uploads {
		slots[name] = b
	}
	r := &reference{slots: slots, evaluate: evaluate, events: []flow.Event{flow.Started{}}}
	for len(r.events) > 0 {
		answer := m.Apply(r.events[0], r.now)
		r.events = r.events[1:]
		for _, c := range answer {
			if end, ok := c.(flow.FinishRun); ok {
				if end.Status != flow.Succeeded {
					return Result{}, fmt.Errorf("reference: %s: %w", end.Status, end.Failure)
				}
				output, err := Recode(end.Output)
				return Result{Output: output, Slots: r.slots}, err
			}
			if err := r.carryOut(c); err != nil {
				return Result{}, err
			}
		}
		if len(r.events) == 0 && len(m.Waiting()) > 0 {
			r.events = append(r.events, flow.Signalled{Name: Signal, Value: SignalValue})
		}
	}
	return Result{}, errors.New("reference: the run does not end")
}

// reference is a world in which everything is done at once.
type reference struct {
	slots    map[string][]byte
	evaluate func([]string, any) []any
	now      time.Duration
	events   []flow.Event
}

// carryOut does what a command asks for, and notes the answer.
func (r *reference) carryOut(c flow.Command) error {
	switch c := c.(type) {
	case flow.StartCall:
		in, err := Recode(c.Input)
		if err != nil {
			return err
		}
		var stdin []byte
		if ref, ok := c.Stdin.(map[string]any); ok {
			name, _ := ref["$buffer"].(string)
			if stdin = r.slots[name]; stdin == nil {
				return fmt.Errorf("reference: call %s reads %q, which nobody has published", c.Path, name)
			}
		}
		made := Compute(c.Target.Name, c.Path, c.Attempt, in, stdin)
		if made.Fails {
			r.events = append(r.events, flow.StepFailed{Call: c.Call, Failure: flow.Failure{Kind: KindExit, Message: "exit status 1"}})
			return nil
		}
		if made.Bytes != nil {
			r.slots[SlotAt(c.Path)] = made.Bytes
		}
		r.events = append(r.events, flow.StepFinished{Call: c.Call, Output: made.Output})
	case flow.SetTimer:
		if c.Reason == flow.TimerWait || c.Reason == flow.TimerBackoff {
			r.now = max(r.now, c.At)
			r.events = append(r.events, flow.TimerFired{Timer: c.Timer})
		}
	case flow.Evaluate:
		scope, err := Recode(c.Scope)
		if err != nil {
			return err
		}
		r.events = append(r.events, flow.Evaluated{ID: c.ID, Values: r.evaluate(c.Expressions, scope)})
	}
	return nil
}

// Recode is a value as it is after its way through JSON.
func Recode(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(b, &out)
}
