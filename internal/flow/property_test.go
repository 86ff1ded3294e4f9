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
	for round := range 10 {
		t.Run(fmt.Sprint(round), rapid.MakeCheck(agree))
	}
}

func agree(t *rapid.T) {
	lives := rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "lives") // the run is retried in between
	g := &generator{t: t, flows: map[string]*plainFlow{}, catches: lives == 1 || rapid.Bool().Draw(t, "catches")}
	g.flow("deep", 3, nil)
	g.flow("sub", 4, []string{"deep"})
	root := g.flow("main", 6, []string{"deep", "sub"})
	seed, unlucky := rapid.Uint64().Draw(t, "seed"), rapid.SampledFrom([]uint64{0, 1, 3, 10}).Draw(t, "unlucky")
	fates := func(life int) fates {
		if lives > 1 && life == lives-1 {
			return lucky{}
		}
		return random{seed + uint64(life), unlucky}
	}
	input := map[string]any{"k": float64(rapid.IntRange(0, 4).Draw(t, "k"))}

	// What the last life comes to is known if nothing was caught in those before: as
	// if all had gone well.
	n := &naive{flows: g.flows, fates: fates(lives - 1), done: map[string]stepResult{}}
	output, failures := n.run(root, "", "", "", input)

	r := &randomRun{t: t, flows: g.flows, fates: fates, lives: lives, finished: map[string]string{}, given: map[string]bool{}, before: map[string]stepResult{}}
	r.run(root, input, seed)
	if lives > 1 && g.catches {
		return
	}

	if failures != nil {
		if r.end.Status != flow.Failed || !slices.Contains(failures, r.end.Failure.Step) {
			t.Fatalf("the run %s (%v), the interpreter says that it fails in one of %q", r.end.Status, r.end.Failure, failures)
		}
	} else if r.end.Status != flow.Succeeded || toJSON(r.end.Output) != toJSON(output) {
		t.Fatalf("the run %s (%v) with %s, the interpreter says %s", r.end.Status, r.end.Failure, toJSON(r.end.Output), toJSON(output))
	}
	for id, got := range r.done {
		if lives > 1 && strings.Contains(id, ".") {
			continue // how often what it is in was attempted depends on the life
		}
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

// random are the fates of a life in which unlucky of ten attempts fail.
type random struct{ seed, unlucky uint64 }

func (f random) attempt(id string, attempt int, timeout time.Duration) fate {
	h := hash(fmt.Sprint(f.seed, attempt), id)
	switch {
	case h%20 >= f.unlucky*2:
		return succeeds
	case h/20%4 == 0:
		return lost
	case h/20%4 == 1 && timeout > 0:
		return hangs
	case h/20%4 == 2 && !strings.Contains(id, "."):
		return hopeless
	}
	return fails
}

func (f random) late(id string) bool { return hash(fmt.Sprint(f.seed, "signal"), id)%20 < f.unlucky }

// lucky are the fates of a life in which all goes well.
type lucky struct{}

func (lucky) attempt(string, int, time.Duration) fate { return succeeds }
func (lucky) late(string) bool                        { return false }

// generator draws workflows.
type generator struct {
	t       *rapid.T
	flows   map[string]*plainFlow
	catches bool
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
	if g.often("when", 25) {
		options := []any{true, false, "${ .input.k > 1 }", "${ .input.k != 2 }"}
		for _, x := range seen {
			options = append(options, "${ ."+x+".flag }", "${ (."+x+` | type) == "object" }`)
		}
		s.when = pick(g, "when", options...)
	}
	if g.often("signal", 25) {
		s.signal = pick(g, "signal name", "go", "go", "free")
		if g.often("signal timeout", 50) {
			s.signalTimeout = time.Minute
		}
	}
	if g.often("with", 50) {
		s.with = g.value(s, seen, each, false)
	} else if s.call == "f" && g.often("stdin", 20) {
		s.stdin = "text " + g.expression(s, seen, each, false)
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
	if s.catches = g.catches && g.often("catch", 30); s.catches {
		if s.catchCall = pick(g, "repair", append(callable, "", "", "f")...); s.catchCall == "" {
			s.catchValue = g.value(s, seen, each, true)
		} else {
			s.catchWith = g.value(s, seen, each, true)
		}
	}
}

func (g *generator) value(s *plainStep, seen []string, each, caught bool) any {
	x, y := g.expression(s, seen, each, caught), g.expression(s, seen, each, caught)
	return pick[any](g, "value", x, x, "constant", 7, x+" and "+y, map[string]any{"x": x, "list": []any{y, 1, "$"}})
}

func (g *generator) expression(s *plainStep, seen []string, each, caught bool) string {
	options := []string{".input", ".input.k", ".run.id", "keys", "keys", "keys | length", ".input | keys", ".input.none[3].x", ".input.k + 1", ".input.k.x"}
	for _, x := range seen {
		options = append(options, "."+x, "."+x+".n", "."+x+".list[-1]", "."+x+" | type", "."+x+".list | length", "(."+x+" | type) + .run.id", "."+x+`["list"][0] `)
	}
	if each {
		options = append(options, ".item", ".index", ".index + 1", "[.item, .index]")
	}
	if s.signal != "" {
		options = append(options, ".signal", ".signal", ".signal.path", "[.signal]")
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
				Signal: flow.Signal{Name: s.signal, Timeout: s.signalTimeout}, Foreach: parse(s.foreach), Concurrency: s.concurrency, Timeout: s.timeout, Wait: parse(s.wait),
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
