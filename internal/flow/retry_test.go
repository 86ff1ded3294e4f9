package flow_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/flow"
)

// driver drives a machine whose calls end as a test says, and keeps the journal.
type driver struct {
	t       *testing.T
	spec    flow.Spec
	m       *flow.Machine
	journal []flow.Entry
	calls   map[string]flow.StartCall // under way, by path
	started []string                  // paths of all calls, in order
	end     *flow.FinishRun
}

func newDriver(t *testing.T, src string) *driver {
	t.Helper()
	w, err := decodeWorkflow("main", src, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t: t, spec: flow.Spec{Workflow: w, RunID: "r", Input: map[string]any{"n": 1.0}}, calls: map[string]flow.StartCall{}}
	if d.m, err = flow.New(d.spec); err != nil {
		t.Fatal(err)
	}
	d.apply(flow.Started{})
	return d
}

func (d *driver) apply(ev flow.Event) {
	at := time.Duration(len(d.journal)) * time.Second
	d.journal = append(d.journal, flow.Entry{At: at, Event: ev})
	for _, c := range d.m.Apply(ev, at) {
		switch c := c.(type) {
		case flow.StartCall:
			d.calls[c.Path] = c
			d.started = append(d.started, c.Path)
		case flow.StopCall:
			delete(d.calls, c.Path)
		case flow.FinishRun:
			d.end = &c
		}
	}
}

func (d *driver) call(path string) flow.CallID {
	d.t.Helper()
	c, ok := d.calls[path]
	if !ok {
		d.t.Fatalf("%s is not under way; started were %v", path, d.started)
	}
	delete(d.calls, path)
	return c.Call
}

func (d *driver) finish(path string, output any) {
	d.t.Helper()
	d.apply(flow.StepFinished{Call: d.call(path), Output: output})
}

func (d *driver) fail(path string) {
	d.t.Helper()
	d.apply(flow.StepFailed{Call: d.call(path), Failure: flow.Failure{Kind: "exit", Message: "exit status 1"}})
}

// replayed holds what the journal, written and read again, brings back against
// the machine.
func (d *driver) replayed() []flow.Command {
	d.t.Helper()
	var entries []flow.Entry
	for _, e := range d.journal {
		line, err := flow.AppendEntry(nil, e)
		if err != nil {
			d.t.Fatal(err)
		}
		var back flow.Entry
		if err := json.Unmarshal(line, &back); err != nil {
			d.t.Fatalf("%s: %v", line, err)
		}
		entries = append(entries, back)
	}
	m, open, err := flow.Replay(d.spec, entries)
	if err != nil {
		d.t.Fatal(err)
	}
	if !reflect.DeepEqual(m.Steps(), d.m.Steps()) || !reflect.DeepEqual(m.Waiting(), d.m.Waiting()) || m.Status() != d.m.Status() {
		d.t.Errorf("replay gives %v %v %q, want %v %v %q", m.Steps(), m.Waiting(), m.Status(), d.m.Steps(), d.m.Waiting(), d.m.Status())
	}
	return open
}

func TestRetriedRunKeepsWhatHasFinished(t *testing.T) {
	d := newDriver(t, `
steps:
  a: {call: f}
  each: {call: g, needs: [a], foreach: 3}
  z: {call: h, needs: [each]}
`)
	d.finish("a", "A")
	d.finish("each[0]", 0.0)
	d.finish("each[2]", 2.0)
	d.fail("each[1]")
	if d.end == nil || d.end.Status != flow.Failed || !d.m.Retryable() {
		t.Fatalf("the run has not failed: %v", d.end)
	}
	d.end, d.started = nil, nil
	d.apply(flow.Retried{})
	if want := []string{"each[1]"}; !slices.Equal(d.started, want) {
		t.Fatalf("the retry starts %v, want %v", d.started, want)
	}
	open := d.replayed()
	if len(open) != 1 {
		t.Errorf("open after a retry: %v, want one call", open)
	}
	d.finish("each[1]", 1.0)
	if got := d.calls["z"].Input; !reflect.DeepEqual(got, map[string]any{"each": []any{0.0, 1.0, 2.0}}) {
		t.Errorf("z gets %v", got)
	}
	d.finish("z", "end")
	if d.end == nil || d.end.Status != flow.Succeeded || d.end.Output != "end" || d.m.Retryable() {
		t.Errorf("the run gave %v", d.end)
	}
	d.apply(flow.Retried{})
	if d.m.Status() != flow.Succeeded {
		t.Error("a run that has succeeded was retried")
	}
	d.replayed()
}

func TestCancelledRunIsRetried(t *testing.T) {
	d := newDriver(t, "steps: {a: {call: f}, b: {call: g, needs: [a]}}")
	d.finish("a", "A")
	d.apply(flow.Cancelled{})
	d.started = nil
	d.apply(flow.Retried{})
	if want := []string{"b"}; !slices.Equal(d.started, want) {
		t.Errorf("the retry starts %v, want %v", d.started, want)
	}
	d.replayed()
}

func TestSignals(t *testing.T) {
	w := &flow.Workflow{Name: "main"}
	value := func(v any) flow.Template {
		tmpl, err := flow.Parse(v)
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	}
	w.Steps = []flow.Step{
		{Name: "ok", Signal: flow.Signal{Name: "approve"}},
		{Name: "late", Signal: flow.Signal{Name: "never", Timeout: time.Minute}, Catch: &flow.Catch{Value: value("${ .error.kind }")}},
		{Name: "use", Needs: []string{"ok"}, Signal: flow.Signal{Name: "more"}, Call: flow.Target{Kind: flow.Function, Name: "f"}, With: value(map[string]any{"first": "${ .ok }", "more": "${ .signal }"})},
	}
	d := &driver{t: t, spec: flow.Spec{Workflow: w, RunID: "r"}, calls: map[string]flow.StartCall{}}
	var err error
	if d.m, err = flow.New(d.spec); err != nil {
		t.Fatal(err)
	}
	d.apply(flow.Started{})
	if want := []flow.WaitingSignal{{Path: "ok", Name: "approve"}, {Path: "late", Name: "never"}}; !reflect.DeepEqual(d.m.Waiting(), want) {
		t.Fatalf("waiting are %v, want %v", d.m.Waiting(), want)
	}
	if !d.m.Pending() {
		t.Error("a run that waits for a signal has nothing pending")
	}
	d.apply(flow.Signalled{Name: "more", Value: "m"}) // nobody waits yet
	d.apply(flow.Signalled{Name: "approve", Path: "late", Value: "wrong step"})
	d.apply(flow.Signalled{Name: "approve", Value: "yes"})
	if got, want := d.calls["use"].Input, map[string]any{"first": "yes", "more": "m"}; !reflect.DeepEqual(got, want) {
		t.Errorf("use gets %v, want %v", got, want)
	}
	d.replayed()
	d.finish("use", "used")
	d.apply(flow.TimerFired{Timer: 1})
	if d.end == nil || !reflect.DeepEqual(d.end.Output, map[string]any{"late": flow.KindTimeout, "use": "used"}) {
		t.Errorf("the run gave %+v", d.end)
	}
}

func TestSignalNames(t *testing.T) {
	bad := &flow.Workflow{Name: "main", Steps: []flow.Step{
		{Name: "a", Signal: flow.Signal{Name: "No Name"}}, {Name: "b", Signal: flow.Signal{Timeout: time.Second}},
	}}
	if problems := flow.Check(bad, nil); len(problems) != 2 {
		t.Errorf("problems: %v, want one of each step", problems)
	}
}

// A failed sub-workflow is retried from where it failed, and nobody has to give
// a signal twice.
func TestRetryInside(t *testing.T) {
	sub := &flow.Workflow{Name: "sub", Steps: []flow.Step{
		{Name: "a", Call: flow.Target{Kind: flow.Function, Name: "f"}, Signal: flow.Signal{Name: "go"}},
		{Name: "b", Needs: []string{"a"}, Call: flow.Target{Kind: flow.Function, Name: "f"}, Signal: flow.Signal{Name: "on"}},
	}}
	main := &flow.Workflow{Name: "main", Steps: []flow.Step{{Name: "s", Call: flow.Target{Kind: flow.SubWorkflow, Name: "sub"}}}}
	d := &driver{t: t, spec: flow.Spec{Workflow: main, Library: map[string]*flow.Workflow{"sub": sub}, RunID: "r"}, calls: map[string]flow.StartCall{}}
	var err error
	if d.m, err = flow.New(d.spec); err != nil {
		t.Fatal(err)
	}
	d.apply(flow.Started{})
	d.apply(flow.Signalled{Name: "go", Value: 1.0})
	d.finish("s.a", "A")
	d.apply(flow.Signalled{Name: "on", Value: 2.0})
	d.fail("s.b")
	if d.end == nil || d.end.Status != flow.Failed {
		t.Fatalf("the run has not failed: %v", d.end)
	}
	d.started = nil
	d.apply(flow.Retried{})
	if want := []string{"s.b"}; !slices.Equal(d.started, want) || d.calls["s.b"].Input != 2.0 {
		t.Fatalf("the retry starts %v with %v, want %v with 2", d.started, d.calls["s.b"].Input, want)
	}
	d.replayed()
	d.finish("s.b", "B")
	if d.end.Status != flow.Succeeded || d.end.Output != "B" {
		t.Errorf("the run gave %+v", d.end)
	}
}
