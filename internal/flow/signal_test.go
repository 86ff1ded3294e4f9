package flow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/flow"
)

// TestSignalsAreGivenOnce sends signals that are all different, before and while
// somebody waits, with and without a path, while waits time out and the run is
// cancelled and retried.
func TestSignalsAreGivenOnce(t *testing.T) { rapid.Check(t, signalled) }

// mail is what a run of steps that only wait for signals is sent.
type mail struct {
	t       *rapid.T
	spec    flow.Spec
	m       *flow.Machine
	now     time.Duration
	journal []flow.Entry
	sent    []flow.Signalled // the value is the place in it
	had     map[string]any   // by path, what was given to who waited for it
	timers  map[string]flow.TimerID
	outputs map[string]any // by path
	paths   []string
}

func signalled(t *rapid.T) {
	w := &flow.Workflow{Name: "main"}
	r := &mail{t: t, had: map[string]any{}, timers: map[string]flow.TimerID{}, outputs: map[string]any{}}
	parse := func(v any) flow.Template {
		tmpl, err := flow.Parse(v)
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "steps") {
		s := flow.Step{Name: fmt.Sprintf("s%d", i), Signal: flow.Signal{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}}
		if i > 0 && rapid.Bool().Draw(t, "need") {
			s.Needs = []string{fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "which"))}
		}
		width := rapid.IntRange(0, 4).Draw(t, "width")
		if width > 0 {
			s.Foreach, s.Concurrency = parse(width), rapid.IntRange(0, 2).Draw(t, "concurrency")
		}
		if rapid.IntRange(0, 3).Draw(t, "timeout") == 0 {
			s.Signal.Timeout, s.Catch = time.Minute, &flow.Catch{Value: parse("late")}
		}
		w.Steps = append(w.Steps, s)
		if width == 0 {
			r.paths = append(r.paths, s.Name)
		}
		for j := range width {
			r.paths = append(r.paths, fmt.Sprintf("%s[%d]", s.Name, j))
		}
	}
	r.spec = flow.Spec{Workflow: w, RunID: "r"}
	var err error
	if r.m, err = flow.New(r.spec); err != nil {
		t.Fatal(err)
	}
	begun := rapid.IntRange(0, 5).Draw(t, "begun")
	for n := 0; !r.m.Done() || r.m.Retryable(); n++ {
		waiting := r.m.Waiting()
		kind := rapid.IntRange(0, 9).Draw(t, "event")
		switch {
		case n == begun:
			r.apply(flow.Started{})
		case r.m.Retryable():
			if kind < 5 {
				r.apply(flow.Retried{})
			} else {
				r.apply(flow.Signalled{Name: "a", Value: "nobody is there"})
			}
		case kind == 0 && n > begun && n < 60:
			r.apply(flow.Cancelled{})
		case kind == 1 && len(waiting) > 0:
			if timer, has := r.timers[rapid.SampledFrom(waiting).Draw(t, "late").Path]; has {
				r.now += time.Minute
				r.apply(flow.TimerFired{Timer: timer})
			}
		case n < 60:
			r.send(rapid.SampledFrom([]string{"a", "a", "b", "c"}).Draw(t, "signal"), rapid.SampledFrom(append(r.paths, "", "", "", "s9")).Draw(t, "path"))
		case len(waiting) > 0:
			r.send(waiting[0].Name, waiting[0].Path)
		default:
			t.Fatalf("nobody waits, and the run has not ended")
		}
	}
	r.check(w)
}

func (r *mail) send(name, path string) {
	s := flow.Signalled{Name: name, Path: path, Value: len(r.sent)}
	r.sent = append(r.sent, s)
	before := r.m.Waiting()
	i := slices.IndexFunc(before, func(w flow.WaitingSignal) bool { return w.Name == name && (path == "" || w.Path == path) })
	r.apply(s)
	after := r.m.Waiting()
	if i >= 0 {
		r.had[before[i].Path] = s.Value
		before = slices.Delete(before, i, i+1)
	}
	if len(after) < len(before) || !slices.Equal(after[:len(before)], before) || i < 0 && len(after) > len(before) {
		r.t.Fatalf("signal %+v: waiting are %v, want %v and who has begun to", s, after, before)
	}
}

func (r *mail) apply(ev flow.Event) {
	r.journal = append(r.journal, flow.Entry{At: r.now, Event: ev})
	for _, c := range r.m.Apply(ev, r.now) {
		if timer, ok := c.(flow.SetTimer); ok {
			r.timers[timer.Path] = timer.Timer
		}
	}
	if len(r.m.Waiting()) > 0 && !r.m.Pending() {
		r.t.Fatalf("waiting are %v, and nothing is pending", r.m.Waiting())
	}
}

// check looks at the outputs of a run that has succeeded: replayed, for the
// machine gives them in its commands.
func (r *mail) check(w *flow.Workflow) {
	m, _, err := flow.Replay(r.spec, r.journal)
	if err != nil || m.Status() != flow.Succeeded || r.m.Status() != flow.Succeeded {
		r.t.Fatalf("replay %v: the run %s, the replayed one %s", err, r.m.Status(), m.Status())
	}
	again, err := flow.New(r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range r.journal {
		for _, c := range again.Apply(e.Event, e.At) {
			done, ok := c.(flow.StepDone)
			if !ok {
				continue
			}
			if list, each := done.Output.([]any); each {
				for i, v := range list {
					r.output(fmt.Sprintf("%s[%d]", done.Step, i), v)
				}
			} else {
				r.output(done.Step, done.Output)
			}
		}
	}
	taken := map[any]string{}
	for _, path := range r.paths {
		v, ok := r.outputs[path]
		if !ok {
			r.t.Fatalf("%s has no output", path)
		}
		had, direct := r.had[path]
		if v == "late" && !direct {
			continue
		}
		n, ok := v.(int)
		if !ok || direct && had != v || taken[v] != "" {
			r.t.Fatalf("%s has %v; it was given %v, and %q has that too", path, v, had, taken[v])
		}
		taken[v] = path
		step, _, _ := strings.Cut(path, "[")
		i := slices.IndexFunc(w.Steps, func(s flow.Step) bool { return s.Name == step })
		if s := r.sent[n]; s.Name != w.Steps[i].Signal.Name || s.Path != "" && s.Path != path {
			r.t.Fatalf("%s has the signal %+v", path, s)
		}
	}
	for n, s := range r.sent { // of those that are alike, the first ones
		for later := n + 1; taken[n] == "" && s.Path == "" && later < len(r.sent); later++ {
			if l := r.sent[later]; taken[later] != "" && l.Name == s.Name && l.Path == "" {
				r.t.Fatalf("%s has signal %d, and nobody has %d", taken[later], later, n)
			}
		}
	}
}

// output notes an output, which stays what it was when the run is retried.
func (r *mail) output(path string, v any) {
	if before, was := r.outputs[path]; was && before != v {
		r.t.Fatalf("%s has %v, before the run was retried it had %v", path, v, before)
	}
	r.outputs[path] = v
}

// Signals that nobody waits for are kept up to a limit; further ones are lost.
func TestSignalsAreKeptUpToALimit(t *testing.T) {
	d := newDriver(t, "steps: {gate: {call: f}}")
	width, err := flow.Parse(flow.MaxSignals + 1)
	if err != nil {
		t.Fatal(err)
	}
	d.spec.Workflow.Steps = append(d.spec.Workflow.Steps, flow.Step{Name: "each", Needs: []string{"gate"}, Foreach: width, Signal: flow.Signal{Name: "go"}})
	if d.m, err = flow.New(d.spec); err != nil {
		t.Fatal(err)
	}
	d.journal = nil
	d.apply(flow.Started{})
	for i := range flow.MaxSignals + 10 {
		s := flow.Signalled{Name: "go", Value: i}
		if err := d.m.CheckSignal(s); errors.Is(err, flow.ErrSignals) != (i >= flow.MaxSignals) {
			t.Fatalf("signal %d: %v", i, err)
		}
		d.apply(s)
	}
	d.finish("gate", nil)
	if err := d.m.CheckSignal(flow.Signalled{Name: "go"}); err != nil {
		t.Errorf("somebody waits: %v", err)
	}
	if want := []flow.WaitingSignal{{Path: fmt.Sprintf("each[%d]", flow.MaxSignals), Name: "go"}}; !slices.Equal(d.m.Waiting(), want) {
		t.Fatalf("%d wait, want %v", len(d.m.Waiting()), want)
	}
	d.apply(flow.Signalled{Name: "go", Value: "last"})
	if d.end == nil || d.end.Output.([]any)[flow.MaxSignals] != "last" || d.end.Output.([]any)[flow.MaxSignals-1] != flow.MaxSignals-1 {
		t.Errorf("the run gave %v", d.end)
	}
}

// A signal that no step is for is known to be.
func TestSignalsForNobody(t *testing.T) {
	call := func(name string) flow.Target { return flow.Target{Kind: flow.SubWorkflow, Name: name} }
	sub := &flow.Workflow{Name: "sub", Steps: []flow.Step{{Name: "in", Signal: flow.Signal{Name: "inner"}}}}
	rescue := &flow.Workflow{Name: "rescue", Steps: []flow.Step{{Name: "ask", Signal: flow.Signal{Name: "help"}}}}
	main := &flow.Workflow{Name: "main", Steps: []flow.Step{
		{Name: "ok", Signal: flow.Signal{Name: "approve"}},
		{Name: "s", Needs: []string{"ok"}, Call: call("sub"), Catch: &flow.Catch{Call: call("rescue")}},
	}}
	m, err := flow.New(flow.Spec{Workflow: main, Library: map[string]*flow.Workflow{"sub": sub, "rescue": rescue}, RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path string
		say        string // of the refusal; empty: there is none
	}{
		{"approve", "", ""},
		{"approve", "ok", ""},
		{"approve", "ok[3]", ""},
		{"inner", "", ""},
		{"inner", "s.in", ""},
		{"inner", "s[7].in", ""},
		{"help", "s.ask", ""},
		{"aprove", "", "there is approve, help, inner"},
		{"approve", "okay", "there is no other"},
		{"approve", "s.in", "there is inner"},
		{"inner", "s", "there is no other"},
		{"inner", "s.in.deeper", "there is no other"},
		{"inner", "ok.in", "there is no other"},
	} {
		err := m.CheckSignal(flow.Signalled{Name: test.name, Path: test.path})
		if test.say == "" && err != nil || test.say != "" && (!errors.Is(err, flow.ErrNoSignal) || !strings.HasSuffix(err.Error(), test.say)) {
			t.Errorf("%s for %q: %v, want %q", test.name, test.path, err, test.say)
		}
	}
}
