package flow_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/itchyny/gojq"
	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/flow"
)

// TestTraces runs the files of testdata. Each has workflows and scripts:
//
//	workflow NAME      YAML; output: what Check says, or ok
//	run NAME [seed=N]  a script of events, one a line; output: the commands that each gives
//
// Lines of a script:
//
//	start [INPUT]           finish PATH [OUTPUT]
//	fail PATH MESSAGE…      (first words of MESSAGE may be free, alone, permanent)
//	timer [N]               fires timer N, or the open one that is due first
//	jq                      answers all open evaluations with gojq
//	eval VALUE              answers the oldest evaluation
//	at DURATION             moves the clock
//	cancel [REASON]
//	event JSON              a journal entry as it is
//	open                    what Replay of the journal so far leaves open
//
// PATH may be #N for the call of that number, whether it is open or not.
// `go test -rewrite` writes the outputs anew.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata/trace", func(t *testing.T, path string) {
		workflows := map[string]*flow.Workflow{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "workflow":
				name := d.CmdArgs[0].Key
				workflows[name] = &flow.Workflow{} // so that it may call itself
				w, err := decodeWorkflow(name, d.Input, workflows)
				if err != nil {
					return "error: " + err.Error()
				}
				*workflows[name] = *w
				workflows[name].Name = name
				var lines []string
				for _, p := range flow.Check(w, nil) {
					lines = append(lines, p.String())
				}
				return cmp.Or(strings.Join(lines, "\n"), "ok")
			case "run":
				spec := flow.Spec{Workflow: workflows[d.CmdArgs[0].Key], Library: workflows, RunID: "r1"}
				if d.HasArg("seed") {
					d.ScanArgs(t, "seed", &spec.Seed)
				}
				return runScript(t, spec, d.Input)
			}
			d.Fatalf(t, "unknown command %q", d.Cmd)
			return ""
		})
	})
}

// script is a run with what it has asked for.
type script struct {
	spec     flow.Spec
	m        *flow.Machine
	now      time.Duration
	calls    map[string]flow.CallID
	timers   []flow.SetTimer
	evals    []flow.Evaluate
	journal  []flow.Entry
	commands []flow.Command
	out      strings.Builder
}

func runScript(t *testing.T, spec flow.Spec, src string) string {
	s := &script{spec: spec, calls: map[string]flow.CallID{}}
	for line := range strings.Lines(src) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		fmt.Fprintf(&s.out, "%s\n", line)
		s.line(t, line)
	}
	if s.m != nil {
		checkReplay(t, s.spec, s.journal, s.commands)
	}
	return s.out.String()
}

func (s *script) line(t *testing.T, line string) {
	verb, rest, _ := strings.Cut(line, " ")
	arg, rest2, _ := strings.Cut(rest, " ")
	if s.m == nil {
		if verb == "start" && rest != "" {
			s.spec.Input = fromJSON(rest)
		}
		m, err := flow.New(s.spec)
		if err != nil {
			fmt.Fprintf(&s.out, "  error: %v\n", err)
			return
		}
		s.m = m
	}
	switch verb {
	case "start":
		s.apply(flow.Started{})
	case "finish":
		s.apply(flow.StepFinished{Call: s.call(t, arg), Output: fromJSON(cmp.Or(rest2, "null"))})
	case "fail":
		f := flow.Failure{Kind: "exit"}
		words := strings.Fields(rest2)
		for len(words) > 0 {
			if words[0] == "free" {
				f.Free = true
			} else if words[0] == "alone" {
				f.Alone = true
			} else if words[0] == "permanent" {
				f.Permanent = true
			} else {
				break
			}
			words = words[1:]
		}
		f.Message = strings.Join(words, " ")
		s.apply(flow.StepFailed{Call: s.call(t, arg), Failure: f})
	case "timer":
		if rest != "" {
			id, err := strconv.Atoi(rest)
			if err != nil {
				t.Fatal(err)
			}
			s.apply(flow.TimerFired{Timer: flow.TimerID(id)})
			return
		}
		if len(s.timers) == 0 {
			t.Fatal("no timer is open")
		}
		i := 0
		for j := range s.timers {
			if s.timers[j].At < s.timers[i].At {
				i = j
			}
		}
		timer := s.timers[i]
		s.timers = slices.Delete(s.timers, i, i+1)
		s.now = max(s.now, timer.At)
		s.apply(flow.TimerFired{Timer: timer.Timer})
	case "jq":
		evals := s.evals
		s.evals = nil
		for _, e := range evals {
			s.apply(answer(e))
		}
	case "eval":
		e := s.evals[0]
		s.evals = s.evals[1:]
		s.apply(flow.Evaluated{ID: e.ID, Values: []any{fromJSON(rest)}})
	case "at":
		d, err := time.ParseDuration(rest)
		if err != nil {
			t.Fatal(err)
		}
		s.now = d
	case "cancel":
		s.apply(flow.Cancelled{Reason: rest})
	case "event":
		var entry flow.Entry
		if err := json.Unmarshal([]byte(rest), &entry); err != nil {
			fmt.Fprintf(&s.out, "  error: %v\n", err)
			return
		}
		s.apply(entry.Event)
	case "open":
		_, open, err := flow.Replay(s.spec, s.journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range open {
			fmt.Fprintf(&s.out, "  open: %s\n", describe(c))
		}
	default:
		t.Fatalf("unknown line %q", line)
	}
}

func (s *script) call(t *testing.T, path string) flow.CallID {
	if n, ok := strings.CutPrefix(path, "#"); ok {
		id, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		return flow.CallID(id)
	}
	id, ok := s.calls[path]
	if !ok {
		t.Fatalf("no call of %s is open; there are %v", path, slices.Sorted(maps.Keys(s.calls)))
	}
	delete(s.calls, path)
	return id
}

func (s *script) apply(ev flow.Event) {
	s.journal = append(s.journal, flow.Entry{At: s.now, Event: ev})
	commands := s.m.Apply(ev, s.now)
	s.commands = append(s.commands, commands...)
	for _, c := range commands {
		fmt.Fprintf(&s.out, "  %s\n", describe(c))
		switch c := c.(type) {
		case flow.StartCall:
			s.calls[c.Path] = c.Call
		case flow.StopCall:
			delete(s.calls, c.Path)
		case flow.SetTimer:
			s.timers = append(s.timers, c)
		case flow.Evaluate:
			s.evals = append(s.evals, c)
		}
	}
	if len(commands) == 0 {
		s.out.WriteString("  nothing\n")
	}
}

// describe writes a command as one line of a trace.
func describe(c flow.Command) string {
	switch c := c.(type) {
	case flow.StartCall:
		line := fmt.Sprintf("call %d: %s = %s", c.Call, c.Path, c.Target.Name)
		if c.Stdin != nil {
			line += " < " + toJSON(c.Stdin)
		} else {
			line += "(" + toJSON(c.Input) + ")"
		}
		if c.Attempt > 1 {
			line += fmt.Sprintf(" attempt %d", c.Attempt)
		}
		if c.Alone {
			line += " alone"
		}
		if c.Timeout > 0 {
			line += fmt.Sprintf(" within %v", c.Timeout)
		}
		if c.Catch {
			line += " catch"
		}
		if want := "r1/" + c.Path; c.Key != want {
			line += " key " + c.Key
		}
		return line
	case flow.StopCall:
		return fmt.Sprintf("stop %d: %s", c.Call, c.Path)
	case flow.SetTimer:
		return strings.TrimSpace(fmt.Sprintf("timer %d: at %v %s %s", c.Timer, c.At, c.Reason, c.Path))
	case flow.Evaluate:
		return fmt.Sprintf("evaluate %d: %s ${ %s } with %s", c.ID, cmp.Or(c.Path, "output"), strings.Join(c.Expressions, " }, ${ "), toJSON(c.Scope))
	case flow.Discard:
		return "discard " + c.Path
	case flow.StepDone:
		line := fmt.Sprintf("%s %s", c.Step, c.Status)
		if c.Status == flow.Succeeded || c.Status == flow.Caught {
			line += ": " + toJSON(c.Output)
		}
		return line
	case flow.FinishRun:
		line := fmt.Sprintf("run %s", c.Status)
		if c.Failure != nil {
			return fmt.Sprintf("%s (%s): %v", line, c.Failure.Kind, c.Failure)
		}
		return line + ": " + toJSON(c.Output)
	}
	return fmt.Sprintf("%#v", c)
}

// answer evaluates jq expressions as a node does.
func answer(e flow.Evaluate) flow.Evaluated {
	var values []any
	for _, x := range e.Expressions {
		v, err := evaluateJQ(x, e.Scope)
		if err != nil {
			return flow.Evaluated{ID: e.ID, Err: fmt.Sprintf("evaluate ${ %s }: %v", x, err)}
		}
		values = append(values, v)
	}
	return flow.Evaluated{ID: e.ID, Values: values}
}

func evaluateJQ(source string, input any) (any, error) {
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, err
	}
	iter := query.Run(input)
	v, ok := iter.Next()
	if !ok {
		return nil, fmt.Errorf("no value")
	}
	if err, failed := v.(error); failed {
		return nil, err
	}
	if _, more := iter.Next(); more {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}

// checkReplay proves that a journal that went through JSON gives the same
// commands again.
func checkReplay(t rapid.TB, spec flow.Spec, journal []flow.Entry, want []flow.Command) {
	t.Helper()
	text, err := json.Marshal(journal)
	if err != nil {
		t.Fatal(err)
	}
	var again []flow.Entry
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	m, err := flow.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	var got []flow.Command
	for _, e := range again {
		got = append(got, m.Apply(e.Event, e.At)...)
	}
	if len(got) != len(want) {
		t.Fatalf("the replayed journal gives %d commands, the run gave %d", len(got), len(want))
	}
	for i := range got {
		if g, w := toJSON(got[i]), toJSON(want[i]); g != w || fmt.Sprintf("%T", got[i]) != fmt.Sprintf("%T", want[i]) {
			t.Fatalf("replayed command %d is %T %s, was %T %s", i, got[i], g, want[i], w)
		}
	}
}
