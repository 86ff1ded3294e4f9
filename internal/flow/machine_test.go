package flow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/flow"
)

func mustParse(t testing.TB, v any) flow.Template {
	t.Helper()
	parsed, err := flow.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func call(name string) flow.Target { return flow.Target{Kind: flow.Function, Name: name} }

// chain is a workflow of n steps in a row, each with an expression.
func chain(t testing.TB, n int) *flow.Workflow {
	w := &flow.Workflow{Name: "chain"}
	for i := range n {
		s := flow.Step{Name: fmt.Sprintf("s%d", i), Call: call("f")}
		if i > 0 {
			s.Needs = []string{fmt.Sprintf("s%d", i-1)}
			s.With = mustParse(t, map[string]any{"n": "${ .s" + fmt.Sprint(i-1) + ".n }"})
		}
		w.Steps = append(w.Steps, s)
	}
	return w
}

// wide is a workflow of one step with n items.
func wide(t testing.TB, n, concurrency int) *flow.Workflow {
	return &flow.Workflow{Name: "wide", Steps: []flow.Step{{
		Name: "map", Call: call("f"), Foreach: flow.Literal(n), Concurrency: concurrency, With: mustParse(t, map[string]any{"i": "${ .item }"}),
	}}}
}

// runAll answers every call at once, and returns the number of calls.
func runAll(t testing.TB, spec flow.Spec) int {
	m, err := flow.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return finishAll(t, m)
}

func finishAll(t testing.TB, m *flow.Machine) int {
	output := map[string]any{"n": 1}
	todo := m.Apply(flow.Started{}, 0)
	n := 0
	for i := 0; i < len(todo); i++ {
		if c, ok := todo[i].(flow.StartCall); ok {
			n++
			todo = append(todo, m.Apply(flow.StepFinished{Call: c.Call, Output: output}, time.Duration(n))...)
		}
	}
	if m.Status() != flow.Succeeded {
		t.Fatalf("the run %q", m.Status())
	}
	return n
}

func BenchmarkApply(b *testing.B) {
	for _, bench := range []struct {
		name string
		flow *flow.Workflow
	}{
		{"chain/1000", chain(b, 1000)},
		{"chain/10000", chain(b, 10000)},
		{"foreach/1000", wide(b, 1000, 0)},
		{"foreach/10000", wide(b, 10000, 0)},
		{"foreach/10000/concurrency=4", wide(b, 10000, 4)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			calls := 0
			for b.Loop() {
				b.StopTimer()
				m, err := flow.New(flow.Spec{Workflow: bench.flow, RunID: "r"})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				calls += finishAll(b, m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(calls), "ns/step")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkNew(b *testing.B) {
	w := chain(b, 10000)
	for b.Loop() {
		if _, err := flow.New(flow.Spec{Workflow: w, RunID: "r"}); err != nil {
			b.Fatal(err)
		}
	}
}

// The cost of a step does not grow with the number of steps: 32 times the
// work takes nowhere near a thousand times as long.
func TestCostIsLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	for name, make := range map[string]func(n int) *flow.Workflow{
		"chain":   func(n int) *flow.Workflow { return chain(t, n) },
		"foreach": func(n int) *flow.Workflow { return wide(t, n, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			measure := func(n int) time.Duration {
				w, best := make(n), time.Hour
				for range 3 {
					start := time.Now()
					runAll(t, flow.Spec{Workflow: w, RunID: "r"})
					best = min(best, time.Since(start))
				}
				return best
			}
			if small, large := measure(1000), measure(32000); large > 300*small {
				t.Errorf("1000 steps take %v, 32000 take %v", small, large)
			}
		})
	}
}

// A long chain of steps that are done at once needs no stack.
func TestLongChainOfValues(t *testing.T) {
	w := chain(t, 50000)
	for i := range w.Steps {
		w.Steps[i].Call, w.Steps[i].With = flow.Target{}, flow.Literal(i)
	}
	if n := runAll(t, flow.Spec{Workflow: w, RunID: "r"}); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// A workflow that calls itself many times over ends at the limit of starts,
// although each of its steps is caught.
func TestLimitOfStarts(t *testing.T) {
	w := &flow.Workflow{Name: "bomb", Steps: []flow.Step{{
		Name: "s", Foreach: flow.Literal(100), Call: flow.Target{Kind: flow.SubWorkflow, Name: "bomb"}, Catch: &flow.Catch{Value: flow.Literal(1)},
	}}}
	m, err := flow.New(flow.Spec{Workflow: w, RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	commands := m.Apply(flow.Started{}, 0)
	end, ok := commands[len(commands)-1].(flow.FinishRun)
	if !ok || end.Status != flow.Failed || end.Failure.Kind != flow.KindLimit {
		t.Errorf("the last of %d commands is %s", len(commands), describe(commands[len(commands)-1]))
	}
}

func TestPending(t *testing.T) {
	w := &flow.Workflow{Name: "w", Timeout: time.Hour, Steps: []flow.Step{
		{Name: "a", Call: call("f"), Timeout: time.Minute, Retry: flow.Retry{Max: 1, Backoff: time.Second}},
		{Name: "b", Needs: []string{"a"}, Call: call("f"), Wait: flow.Literal("1s")},
		{Name: "c", Needs: []string{"b"}, Call: call("f"), With: mustParse(t, "${ .b + 1 }")},
	}}
	m, err := flow.New(flow.Spec{Workflow: w, RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what  string
		event flow.Event
		want  bool
	}{
		{"a call with its timeout and that of the run", flow.Started{}, false},
		{"a backoff", flow.StepFailed{Call: 1}, true},
		{"a second attempt", flow.TimerFired{Timer: 3}, false},
		{"a wait", flow.StepFinished{Call: 2, Output: 1}, true},
		{"a call", flow.TimerFired{Timer: 5}, false},
		{"an evaluation", flow.StepFinished{Call: 3, Output: 1}, true},
		{"a call", flow.Evaluated{ID: 1, Values: []any{2}}, false},
		{"the end", flow.StepFinished{Call: 4}, false},
	} {
		m.Apply(step.event, 0)
		if got := m.Pending(); got != step.want {
			t.Errorf("%s: pending is %v", step.what, got)
		}
	}
	if m.Status() != flow.Succeeded {
		t.Errorf("the run %q", m.Status())
	}
}

func TestNewRefuses(t *testing.T) {
	sub := flow.Target{Kind: flow.SubWorkflow, Name: "othr"}
	other := &flow.Workflow{Name: "other", Steps: []flow.Step{{Name: "x", Needs: []string{"y"}}}}
	for _, test := range []struct {
		name string
		flow *flow.Workflow
		want string
	}{
		{"no workflow", nil, "no workflow"},
		{"unknown workflow", &flow.Workflow{Name: "w", Steps: []flow.Step{{Name: "a", Call: sub}}}, `step a, call: there is no workflow "othr" (did you mean "other"?)`},
		{"broken sub-workflow", &flow.Workflow{Name: "w", Steps: []flow.Step{{Name: "a", Catch: &flow.Catch{Call: flow.Target{Kind: flow.SubWorkflow, Name: "other"}}}}}, `workflow other cannot run: step x, needs[0]: there is no step "y"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := flow.New(flow.Spec{Workflow: test.flow, Library: map[string]*flow.Workflow{"other": other}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
			if _, _, replayed := flow.Replay(flow.Spec{Workflow: test.flow}, nil); replayed == nil {
				t.Error("Replay accepts it")
			}
		})
	}
}

func TestCheckTargets(t *testing.T) {
	targets := map[string]flow.TargetKind{"split": flow.Function, "bank.pay": flow.ServiceMethod}
	w := &flow.Workflow{Name: "w", Steps: []flow.Step{
		{Name: "a", Call: call("spilt")},
		{Name: "b", Call: flow.Target{Kind: flow.SubWorkflow, Name: "split"}},
		{Name: "c", Call: call("split"), Catch: &flow.Catch{Call: call("nowhere")}},
		{Name: "d", Call: flow.Target{Kind: flow.ServiceMethod, Name: "bank.pay"}},
	}}
	var got []string
	for _, p := range flow.Check(w, targets) {
		got = append(got, p.String())
	}
	want := []string{
		`step a, call: there is no function, service method or workflow "spilt" (did you mean "split"?)`,
		`step b, call: "split" is a function, not a workflow`,
		`step c, catch.call: there is no function, service method or workflow "nowhere"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestGraph(t *testing.T) {
	needs := map[string][]string{"split": nil, "b": {"split"}, "a": {"split"}, "join": {"a", "b", "other"}, "other": nil, "end": {"b"}}
	w := &flow.Workflow{Name: "w"}
	for _, name := range []string{"join", "split", "b", "a", "other", "end"} {
		w.Steps = append(w.Steps, flow.Step{Name: name, Needs: needs[name]})
	}
	g, err := flow.NewGraph(w)
	if err != nil {
		t.Fatal(err)
	}
	path, sum := g.CriticalPath(func(step string) float64 { return map[string]float64{"b": 3, "a": 1, "other": 2, "end": 1}[step] + 1 })
	for _, test := range []struct {
		what      string
		got, want any
	}{
		{"steps", g.Steps(), "[split other b a join end]"},
		{"levels", g.Levels(), "[[split other] [b a] [join end]]"},
		{"edges", g.Edges(), "[{split b} {split a} {a join} {b join} {other join} {b end}]"},
		{"sinks", g.Sinks(), "[join end]"},
		{"closure of join", g.Closure("join"), "[split other b a]"},
		{"closure of split", g.Closure("split"), "[]"},
		{"closure of nothing", g.Closure("nothing"), "[]"},
		{"critical path", path, "[split b end]"},
		{"its sum", sum, "7"},
		{"step", g.Step("a").Name, "a"},
		{"no step", g.Step("z") == nil, "true"},
	} {
		if got := fmt.Sprint(test.got); got != test.want {
			t.Errorf("%s: got %s, want %s", test.what, got, test.want)
		}
	}
}

func TestGraphRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		steps      []flow.Step
	}{
		{"twice", `two steps are called "a"`, []flow.Step{{Name: "a"}, {Name: "a"}}},
		{"unknown", `step a needs "b", which is not a step`, []flow.Step{{Name: "a", Needs: []string{"b"}}}},
		{"itself", "steps wait for each other: a needs a", []flow.Step{{Name: "a", Needs: []string{"a"}}}},
	} {
		_, err := flow.NewGraph(&flow.Workflow{Name: "w", Steps: test.steps})
		if err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	_, err := flow.NewGraph(&flow.Workflow{Steps: []flow.Step{{Name: "x", Needs: []string{"a"}}, {Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}}})
	cycle, ok := errors.AsType[*flow.CycleError](err)
	if !ok || strings.Join(cycle.Names, " ") != "a b" {
		t.Errorf("the cycle is %v", err)
	}
}

func TestTemplate(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		want  string // of Expressions, or of the constant, or of the error
	}{
		{"constant", map[string]any{"a": []any{1, 2.5, nil, true, uint64(7), int64(-1), "x"}}, `constant {"a":[1,2.5,null,true,7,-1,"x"]}`},
		{"escape", "a $${ .b } $ {} $", `constant "a ${ .b } $ {} $"`},
		{"escape and expression", "$${}${ .x }", "{.x }"},
		{"one", "${.x}", "{.x }"},
		{"several", []any{"${ .x } ${ .y}", map[string]any{"k": "${ .z }"}}, "{.x [0]} {.y [0]} {.z [1].k}"},
		{"braces", `${ {a: "}", b: "\(.x | {y: ")"})"} }`, `{{a: "}", b: "\(.x | {y: ")"})"} }`},
		{"open", "text ${ .x", "error  at 5: ${ without its }"},
		{"open in a string", `${ "} `, "error  at 0: ${ without its }"},
		{"empty", []any{"${  }"}, "error [0] at 0: ${ } holds no expression"},
		{"not JSON", map[string]any{"x": struct{}{}}, "error .x at 0: a value of type struct {} is not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parsed, err := flow.Parse(test.value)
			got := ""
			if syntax, ok := errors.AsType[*flow.SyntaxError](err); ok {
				got = fmt.Sprintf("error %s at %d: %s", syntax.Path, syntax.Offset, syntax.Message)
			} else if v, ok := parsed.Constant(); ok {
				got = "constant " + toJSON(v)
			} else {
				var all []string
				for _, e := range parsed.Expressions() {
					all = append(all, fmt.Sprintf("{%s %s}", e.Source, e.Path))
				}
				got = strings.Join(all, " ")
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// FuzzApply feeds a run any events at all, in a small code: the first byte
// picks the workflow, and each pair of bytes an event and what it is about.
func FuzzApply(f *testing.F) {
	library := map[string]*flow.Workflow{"inner": {}, "main": {}}
	for name, src := range map[string]string{
		"inner": `
steps:
  x: {call: f, foreach: "${ .input }", retry: {max: 1}, timeout: 1s}
  y: {call: g, needs: [x], when: "${ .x | length > 0 }"}
timeout: 1m`,
		"main": `
steps:
  a: {call: f, retry: {max: 2, backoff: 1s}, timeout: 5s}
  b: {call: inner, needs: [a], foreach: [[1, 2], [], 3], concurrency: 2, with: "${ .item }", catch: {value: "${ .error.message | length }"}}
  c: {wait: "${ .input }", with: "${ .input + 1 }"}
  d: {call: g, needs: [b, c], catch: {call: inner, with: [1]}}
output: {x: "${ .d }", n: "${ [.b[] | numbers] | length }"}`,
	} {
		w, err := decodeWorkflow(name, src, library)
		if err != nil {
			f.Fatal(err)
		}
		*library[name] = *w
	}
	f.Add([]byte{1, 0, 0, 1, 1, 5, 1, 1, 2, 1, 3, 3, 1, 4, 1})
	f.Add([]byte{0, 0, 0, 1, 1, 1, 2, 4, 1})
	f.Add([]byte{1, 0, 0, 2, 1, 3, 1, 2, 2, 6, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		spec := flow.Spec{Workflow: library["main"], Library: library, RunID: "r", Input: 2}
		if data[0]%2 == 0 {
			spec.Workflow, spec.Input = library["inner"], []any{"p", "q"}
		}
		m, err := flow.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		var (
			journal []flow.Entry
			all     []flow.Command
			open    = map[flow.CallID]bool{}
			evals   = map[flow.EvalID]flow.Evaluate{}
			ended   bool
		)
		for i := 1; i+1 < len(data); i += 2 {
			id := data[i+1]
			var ev flow.Event
			switch data[i] % 8 {
			case 0:
				ev = flow.Started{}
			case 1:
				ev = flow.StepFinished{Call: flow.CallID(id), Output: "done"}
			case 2:
				ev = flow.StepFailed{Call: flow.CallID(id), Failure: flow.Failure{Kind: "exit", Message: "m"}}
			case 3:
				ev = flow.StepFailed{Call: flow.CallID(id), Failure: flow.Failure{Kind: "lost", Free: true, Alone: true}}
			case 4:
				ev = flow.TimerFired{Timer: flow.TimerID(id)}
			case 5:
				ev = flow.Evaluated{ID: flow.EvalID(id), Values: []any{true}}
				if e, asked := evals[flow.EvalID(id)]; asked {
					ev = answer(e)
				}
			case 6:
				ev = flow.Evaluated{ID: flow.EvalID(id), Err: "no"}
			case 7:
				if id > 250 {
					ev = flow.Cancelled{}
				}
			}
			now := time.Duration(data[i]) * time.Second
			if ev == nil {
				continue
			}
			journal = append(journal, flow.Entry{At: now, Event: ev})
			commands := m.Apply(ev, now)
			all = append(all, commands...)
			for _, c := range commands {
				if ended {
					t.Fatalf("after the end: %s", describe(c))
				}
				switch c := c.(type) {
				case flow.StartCall:
					open[c.Call] = true
				case flow.StopCall:
					if !open[c.Call] {
						t.Fatalf("stops %d, which was not started", c.Call)
					}
				case flow.Evaluate:
					evals[c.ID] = c
				case flow.FinishRun:
					ended = true
				}
			}
			if ended != m.Done() {
				t.Fatal("Done does not tell")
			}
		}
		checkReplay(t, spec, journal, all)
	})
}
