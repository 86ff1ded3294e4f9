package flow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/flow"
)

// TestMachineAgreesWithInterpreter runs random workflows, with answers in
// random order and noise between them, and compares what became of each step
// with what the naive interpreter says.
func TestMachineAgreesWithInterpreter(t *testing.T) {
	for round := range 5 {
		t.Run(fmt.Sprint(round), rapid.MakeCheck(agree))
	}
}

func agree(t *rapid.T) {
	g := &generator{t: t, flows: map[string]*plainFlow{}}
	g.flow("deep", 3, nil)
	g.flow("sub", 4, []string{"deep"})
	root := g.flow("main", 6, []string{"deep", "sub"})
	seed, unlucky := rapid.Uint64().Draw(t, "seed"), rapid.SampledFrom([]uint64{0, 1, 3, 10}).Draw(t, "unlucky")
	decide := func(id string, attempt int, s *plainStep) fate {
		h := hash(fmt.Sprint(seed, attempt), id)
		switch {
		case h%20 >= unlucky*2:
			return succeeds
		case h/20%4 == 0:
			return lost
		case h/20%4 == 1 && s.timeout > 0:
			return hangs
		case h/20%4 == 2 && !strings.Contains(id, "."):
			return hopeless
		}
		return fails
	}
	input := map[string]any{"k": float64(rapid.IntRange(0, 4).Draw(t, "k"))}

	n := &naive{flows: g.flows, fate: decide, done: map[string]stepResult{}}
	output, failures := n.run(root, "", "", "", input)

	r := &randomRun{t: t, flows: g.flows, fate: decide, calls: map[flow.CallID]flow.StartCall{}, discards: map[string]int{}, done: map[string]stepResult{}}
	r.run(root, input, seed)

	if failures != nil {
		if r.end.Status != flow.Failed || !slices.Contains(failures, r.end.Failure.Step) {
			t.Fatalf("the run %s (%v), the interpreter says that it fails in one of %q", r.end.Status, r.end.Failure, failures)
		}
	} else if r.end.Status != flow.Succeeded || toJSON(r.end.Output) != toJSON(output) {
		t.Fatalf("the run %s (%v) with %s, the interpreter says %s", r.end.Status, r.end.Failure, toJSON(r.end.Output), toJSON(output))
	}
	for id, got := range r.done {
		if want, known := n.done[id]; !known || got.status != want.status || got.status != flow.Failed && toJSON(got.output) != toJSON(want.output) {
			t.Fatalf("step %s %s with %s, the interpreter says %s with %s", id, got.status, toJSON(got.output), want.status, toJSON(want.output))
		}
	}
	for _, s := range root.steps {
		if _, done := r.done[stepID("", s.name)]; !done && failures == nil {
			t.Fatalf("step %s was never done", s.name)
		}
	}
}

// generator draws workflows.
type generator struct {
	t     *rapid.T
	flows map[string]*plainFlow
}

func pick[T any](g *generator, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(g.t, label)
}

func (g *generator) often(label string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(g.t, label) >= 100-percent
}

func (g *generator) flow(name string, most int, callable []string) *plainFlow {
	f := &plainFlow{name: name}
	closure := map[string][]string{}
	for i := range rapid.IntRange(1, most).Draw(g.t, "steps") {
		s := plainStep{name: fmt.Sprintf("s%d", i)}
		for j := range i {
			if g.often("need", 70/i+10) {
				need := fmt.Sprintf("s%d", j)
				s.needs = append(s.needs, need)
				closure[s.name] = append(append(closure[s.name], need), closure[need]...)
			}
		}
		g.step(&s, closure[s.name], callable)
		f.steps = append(f.steps, s)
	}
	switch all := f.steps[len(f.steps)-1].name; pick(g, "output", 0, 0, 1, 2, 3) {
	case 1:
		f.output = "${ ." + all + " }"
	case 2:
		f.output = map[string]any{"all": "${ . | length }", "last": []any{"${ ." + all + " | type }", 1}}
	case 3:
		f.output = "${ ." + all + ".n.x.y }"
	}
	g.flows[name] = f
	return f
}

func (g *generator) step(s *plainStep, seen, callable []string) {
	each := g.often("each", 35)
	if each {
		options := []any{2, 0, 3, []any{"a", "b", "c"}, []any{}, map[string]any{"a": []any{1, 2}, "b": []any{"x", "y"}}, map[string]any{"a": []any{1}, "b": []any{}}, "${ .input.k }"}
		for _, x := range seen {
			options = append(options, "${ ."+x+".list }", "${ [."+x+"][:1] }", map[string]any{"l": "${ ." + x + ".list }", "m": []any{1, 2}})
		}
		s.foreach = pick(g, "foreach", options...)
		if l, ok := s.foreach.(map[string]any); ok && toJSON(l) == `{"a":[1],"b":[]}` {
			s.foreach = map[string]any{"a": "${ [1] }", "b": []any{}} // a constant would be refused at once
		}
		s.concurrency = rapid.IntRange(0, 2).Draw(g.t, "concurrency")
	}
	s.call = pick(g, "call", append(callable, "", "f", "f", "f")...)
	if g.often("with", 50) {
		s.with = g.value(seen, each, false)
	} else if s.call == "f" && g.often("stdin", 20) {
		s.stdin = "text " + g.expression(seen, each, false)
	}
	if g.often("when", 25) {
		options := []any{true, false, "${ .input.k > 1 }", "${ .input.k != 2 }"}
		for _, x := range seen {
			options = append(options, "${ ."+x+".flag }", "${ (."+x+` | type) == "object" }`)
		}
		s.when = pick(g, "when", options...)
	}
	if g.often("wait", 15) {
		s.wait = pick[any](g, "wait", "5s", 2, "${ .input.k }", "${ .input.k }s", "${ .input }")
	}
	if s.call != "" && g.often("retry", 50) {
		s.retries, s.backoff = rapid.IntRange(1, 3).Draw(g.t, "retries"), pick(g, "backoff", 0, time.Second)
	}
	if s.call == "f" && g.often("timeout", 30) {
		s.timeout = 10 * time.Second
	}
	if s.catches = g.often("catch", 30); s.catches {
		if s.catchCall = pick(g, "repair", append(callable, "", "", "f")...); s.catchCall == "" {
			s.catchValue = g.value(seen, each, true)
		} else {
			s.catchWith = g.value(seen, each, true)
		}
	}
}

func (g *generator) value(seen []string, each, caught bool) any {
	x, y := g.expression(seen, each, caught), g.expression(seen, each, caught)
	return pick[any](g, "value", x, x, "constant", 7, x+" and "+y, map[string]any{"x": x, "list": []any{y, 1, "$"}})
}

func (g *generator) expression(seen []string, each, caught bool) string {
	options := []string{".input", ".input.k", ".run.id", "keys", "keys", "keys | length", ".input | keys", ".input.none[3].x", ".input.k + 1", ".input.k.x"}
	for _, x := range seen {
		options = append(options, "."+x, "."+x+".n", "."+x+".list[-1]", "."+x+" | type", "."+x+".list | length", "(."+x+" | type) + .run.id", "."+x+`["list"][0] `)
	}
	if each {
		options = append(options, ".item", ".index", ".index + 1", "[.item, .index]")
	}
	if caught {
		options = append(options, ".error | type", ".error.index", `.error.kind == "none"`)
	}
	return "${ " + pick(g, "expression", options...) + " }"
}

// build gives the same workflows to the machine.
func build(t *rapid.T, flows map[string]*plainFlow) map[string]*flow.Workflow {
	parse := func(v any) flow.Template {
		if v == nil {
			return flow.Template{}
		}
		parsed, err := flow.Parse(v)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	target := func(name string) flow.Target {
		switch {
		case name == "":
			return flow.Target{}
		case flows[name] != nil:
			return flow.Target{Kind: flow.SubWorkflow, Name: name}
		}
		return flow.Target{Kind: flow.Function, Name: name}
	}
	library := map[string]*flow.Workflow{}
	for name, f := range flows {
		w := &flow.Workflow{Name: name, Output: parse(f.output)}
		for _, s := range f.steps {
			step := flow.Step{
				Name: s.name, Call: target(s.call), Needs: s.needs, With: parse(s.with), Stdin: parse(s.stdin), When: parse(s.when),
				Foreach: parse(s.foreach), Concurrency: s.concurrency, Timeout: s.timeout, Wait: parse(s.wait),
				Retry: flow.Retry{Max: s.retries, Backoff: s.backoff, Factor: 2, Jitter: 0.5},
			}
			if s.catches {
				step.Catch = &flow.Catch{Value: parse(s.catchValue), Call: target(s.catchCall), With: parse(s.catchWith)}
			}
			w.Steps = append(w.Steps, step)
		}
		library[name] = w
	}
	return library
}

// randomRun answers the commands of a machine in random order, and checks
// what must hold at any moment.
type randomRun struct {
	t        *rapid.T
	flows    map[string]*plainFlow
	fate     func(id string, attempt int, s *plainStep) fate
	m        *flow.Machine
	now      time.Duration
	calls    map[flow.CallID]flow.StartCall
	answers  []func() // what can be said now, each once
	journal  []flow.Entry
	commands []flow.Command
	discards map[string]int
	done     map[string]stepResult
	end      *flow.FinishRun
}

func (r *randomRun) run(root *plainFlow, input any, seed uint64) {
	library := build(r.t, r.flows)
	spec := flow.Spec{Workflow: library[root.name], Library: library, RunID: "r1", Seed: seed, Input: input}
	m, err := flow.New(spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.m = m
	r.apply(flow.Started{})
	for r.end == nil {
		if len(r.answers) == 0 {
			r.t.Fatalf("the run is stuck; so far %s", toJSON(r.commands))
		}
		i := rapid.IntRange(0, len(r.answers)-1).Draw(r.t, "next")
		next := r.answers[i]
		r.answers = slices.Delete(r.answers, i, i+1)
		next()
	}
	for _, late := range r.answers {
		late()
	}
	r.apply(flow.Cancelled{})
	checkReplay(r.t, spec, r.journal, r.commands)
}

func (r *randomRun) apply(ev flow.Event) {
	r.journal = append(r.journal, flow.Entry{At: r.now, Event: ev})
	for _, c := range r.m.Apply(ev, r.now) {
		if r.end != nil {
			r.t.Fatalf("command after the end: %s", describe(c))
		}
		r.commands = append(r.commands, c)
		r.command(c)
	}
}

func (r *randomRun) command(c flow.Command) {
	switch c := c.(type) {
	case flow.StartCall:
		r.calls[c.Call] = c
		r.started(c)
	case flow.StopCall:
		if _, open := r.calls[c.Call]; !open {
			r.t.Fatalf("call %d of %s is stopped and not open", c.Call, c.Path)
		}
		delete(r.calls, c.Call)
	case flow.SetTimer:
		// The timeout of an attempt fires only where the attempt hangs.
		if c.Reason == flow.TimerAttempt && !r.hangs(c.Path) {
			return
		}
		r.answers = append(r.answers, func() {
			r.now = max(r.now, c.At)
			r.apply(flow.TimerFired{Timer: c.Timer})
			r.apply(flow.TimerFired{Timer: c.Timer})
		})
	case flow.Evaluate:
		r.answers = append(r.answers, func() {
			r.apply(answer(c))
			r.apply(flow.Evaluated{ID: c.ID, Err: "again"})
		})
	case flow.Discard:
		r.discards[stepID(r.epoch(c.Path), c.Path)]++
	case flow.StepDone:
		id := stepID(r.epoch(c.Step), c.Step)
		if _, twice := r.done[id]; twice {
			r.t.Fatalf("step %s is done twice", id)
		}
		r.done[id] = stepResult{c.Status, c.Output}
	case flow.FinishRun:
		r.end = &c
		if len(r.calls) > 0 {
			r.t.Fatalf("the run ends with calls open: %v", r.calls)
		}
	}
}

func (r *randomRun) started(c flow.StartCall) {
	epoch := r.epoch(c.Path)
	result := r.fate(stepID(epoch, c.Path), c.Attempt, &plainStep{timeout: c.Timeout})
	if s := r.step(c.Path); s != nil {
		prefix := c.Step[:strings.LastIndex(c.Step, ".")+1]
		for _, need := range s.needs {
			if _, done := r.done[stepID(epoch, prefix+need)]; !done {
				r.t.Fatalf("%s starts before %s is done", c.Path, need)
			}
		}
	}
	running := map[string]map[string]bool{} // items of each step
	for _, open := range r.calls {
		for path := open.Path; path != ""; path = path[:max(0, strings.LastIndex(path, "."))] {
			step, _, each := strings.Cut(path[strings.LastIndex(path, ".")+1:], "[")
			step = path[:strings.LastIndex(path, ".")+1] + step
			if each && running[step] == nil {
				running[step] = map[string]bool{}
			}
			if each {
				running[step][path] = true
			}
		}
	}
	for step, items := range running {
		if s := r.step(step); s != nil && s.concurrency > 0 && len(items) > s.concurrency {
			r.t.Fatalf("%d items of %s run, not %d", len(items), step, s.concurrency)
		}
	}
	if result == hangs {
		return
	}
	r.answers = append(r.answers, func() {
		delete(r.calls, c.Call)
		switch result {
		case succeeds:
			r.apply(flow.StepFinished{Call: c.Call, Output: output(c.Path, c.Input, c.Stdin)})
		default:
			r.apply(flow.StepFailed{Call: c.Call, Failure: flow.Failure{Kind: "exit", Message: "scripted", Free: result == lost, Permanent: result == hopeless}})
		}
		r.apply(flow.StepFinished{Call: c.Call, Output: "again"})
	})
}

// hangs reports whether the open call at path hangs.
func (r *randomRun) hangs(path string) bool {
	for _, c := range r.calls {
		if c.Path == path {
			return r.fate(stepID(r.epoch(path), path), c.Attempt, &plainStep{timeout: c.Timeout}) == hangs
		}
	}
	return false
}

// epoch counts the failed executions of each workflow around path.
func (r *randomRun) epoch(path string) string {
	epoch := ""
	for i := range len(path) {
		if path[i] == '.' {
			epoch += fmt.Sprintf("/%d", r.discards[stepID(epoch, path[:i])])
		}
	}
	return epoch
}

// step finds the step at a path, or nil where a catch makes that ambiguous.
func (r *randomRun) step(path string) *plainStep {
	f := r.flows["main"]
	var s *plainStep
	for part := range strings.SplitSeq(path, ".") {
		if f == nil {
			return nil
		}
		name, _, _ := strings.Cut(part, "[")
		i := slices.IndexFunc(f.steps, func(s plainStep) bool { return s.name == name })
		if i < 0 {
			return nil
		}
		s, f = &f.steps[i], r.flows[f.steps[i].call]
		if r.flows[s.catchCall] != nil {
			f = nil
		}
	}
	return s
}
