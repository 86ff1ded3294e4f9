package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
)

// workload makes an app with some workflows, by chance.
func workload(rng *rand.Rand) *engine.Program {
	a := &app.App{Name: "sim", Functions: map[string]*app.Function{}, Workflows: map[string]*flow.Workflow{}, Outlines: map[string]*app.Outline{}}
	fns := functions()
	for _, name := range slices.Sorted(maps.Keys(fns)) {
		a.Functions[name] = &app.Function{Name: name, Concurrency: 1 + rng.IntN(3)}
	}
	for i := range 1 + rng.IntN(3) {
		g := generator{rng: rng, subs: i}
		w := g.workflow(fmt.Sprintf("w%d", i))
		a.Workflows[w.Name] = w
		a.Outlines[w.Name] = &app.Outline{Retention: retention}
	}
	return engine.NewProgram(engine.Program{App: a, Version: "1", Hosts: "1", Functions: fns})
}

// retention of the runs of every workflow.
const retention = 5000 * time.Hour

// generator makes one workflow. It may call those made before it.
type generator struct {
	rng  *rand.Rand
	subs int
}

// result is what later steps may do with a step's output.
type result struct {
	name  string
	kind  string   // of the function, or "" for others
	plain bool     // it has one output: no foreach, not skipped
	taken bool     // its buffer has a taker
	maybe bool     // it may be skipped
	seen  []string // steps that look at its buffer
}

func (g *generator) workflow(name string) *flow.Workflow {
	w := &flow.Workflow{Name: name}
	if g.rng.IntN(8) == 0 {
		w.Timeout = 1000 * time.Hour
	}
	var made []*result
	for i := range 1 + g.rng.IntN(7) {
		s, r := g.step(fmt.Sprintf("s%d", i), made)
		w.Steps = append(w.Steps, s)
		made = append(made, r)
	}
	return w
}

func (g *generator) step(name string, made []*result) (flow.Step, *result) {
	s := flow.Step{Name: name, Retry: flow.Retry{Max: 10, Backoff: 5 * time.Millisecond, Factor: 2, Jitter: 0.2}}
	r := &result{name: name, plain: true}
	var input *result
	if len(made) > 0 && g.rng.IntN(4) > 0 {
		input = made[g.rng.IntN(len(made))]
		s.Needs = []string{input.name}
		for _, other := range made {
			if other != input && g.rng.IntN(4) == 0 {
				s.Needs = append(s.Needs, other.name)
			}
		}
	}
	switch {
	case input != nil && input.kind == fnEmit && input.plain && !input.taken:
		r.kind = fnLook
		if g.rng.IntN(2) == 0 { // the others have to be done with it
			r.kind, input.taken = fnEat, true
			for _, other := range input.seen {
				if !slices.Contains(s.Needs, other) {
					s.Needs = append(s.Needs, other)
				}
			}
		}
		input.seen = append(input.seen, name)
		s.Stdin = template("${ ." + input.name + " }")
	case input != nil && input.kind == fnList && input.plain:
		s.Foreach = template("${ ." + input.name + ".list }")
		s.Concurrency = g.rng.IntN(3)
		r.plain = false
		r.kind = [...]string{fnMix, fnSend, fnEmit}[g.rng.IntN(3)]
	case g.subs > 0 && g.rng.IntN(5) == 0:
		s.Call = flow.Target{Kind: flow.SubWorkflow, Name: fmt.Sprintf("w%d", g.rng.IntN(g.subs))}
	default:
		r.kind = [...]string{fnMix, fnMix, fnSend, fnList, fnEmit, fnEmit}[g.rng.IntN(6)]
	}
	if r.kind != "" {
		s.Call = flow.Target{Kind: flow.Function, Name: r.kind}
	}
	live := len(s.Needs) == 0
	for _, other := range made {
		live = live || !other.maybe && slices.Contains(s.Needs, other.name)
	}
	r.maybe = !live
	if s.Stdin.IsZero() && g.rng.IntN(2) == 0 {
		with := map[string]any{"in": "${ .input }"}
		for _, need := range s.Needs {
			with[need] = "${ ." + need + " }"
		}
		if g.rng.IntN(3) == 0 {
			with["jq"] = "${ .input | tostring }"
		}
		s.With = template(with)
	}
	if g.rng.IntN(6) == 0 {
		s.When = template("${ .input.flag }")
		r.maybe = true
	}
	r.plain = r.plain && !r.maybe
	if g.rng.IntN(6) == 0 {
		s.Wait = template(fmt.Sprintf("%dms", 1+g.rng.IntN(200)))
	}
	if g.rng.IntN(10) == 0 && s.Call.Kind != flow.SubWorkflow { // whose input has to be an object
		s.Signal = flow.Signal{Name: "go"}
	}
	return s, r
}

func template(v any) flow.Template {
	t, err := flow.Parse(v)
	if err != nil {
		panic(fmt.Sprintf("sim: template %v: %v", v, err)) // they are written above
	}
	return t
}

// signalValue is what every signal says.
const signalValue = "yes"

// reference is what a run gives when nothing fails: the machine alone, its
// calls computed at once.
func reference(p *engine.Program, workflow, id string, input any) (any, error) {
	m, err := flow.New(flow.Spec{Workflow: p.App.Workflows[workflow], Library: p.App.Workflows, RunID: id, Seed: 1, Input: input})
	if err != nil {
		return nil, err
	}
	slots := map[string][]byte{}
	var now time.Duration
	events := []flow.Event{flow.Started{}}
	for len(events) > 0 {
		answer := m.Apply(events[0], now)
		events = events[1:]
		for _, c := range answer {
			switch c := c.(type) {
			case flow.StartCall:
				in, err := recode(c.Input)
				if err != nil {
					return nil, err
				}
				var stdin []byte
				if ref, ok := c.Stdin.(map[string]any); ok {
					stdin = slots[ref["$buffer"].(string)]
				}
				made := compute(c.Target.Name, c.Path, in, stdin)
				if made.bytes != nil {
					slots[strings.ReplaceAll(c.Path, ".", "/")+"/out"] = made.bytes
				}
				events = append(events, flow.StepFinished{Call: c.Call, Output: made.output})
			case flow.SetTimer:
				if c.Reason == flow.TimerWait {
					now = max(now, c.At)
					events = append(events, flow.TimerFired{Timer: c.Timer})
				}
			case flow.Evaluate:
				scope, err := recode(c.Scope)
				if err != nil {
					return nil, err
				}
				events = append(events, flow.Evaluated{ID: c.ID, Values: evaluate(c.Expressions, scope)})
			case flow.FinishRun:
				if c.Status != flow.Succeeded {
					return nil, fmt.Errorf("reference: %s: %v", c.Status, c.Failure)
				}
				return recode(c.Output)
			}
		}
		if len(events) == 0 && len(m.Waiting()) > 0 {
			events = append(events, flow.Signalled{Name: "go", Value: signalValue})
		}
	}
	return nil, errors.New("reference: the run does not end")
}

// recode is a value as it is after its way through JSON.
func recode(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(b, &out)
}
