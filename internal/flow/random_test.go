package flow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/flow"
)

// randomRun answers the commands of a machine in random order, and checks
// what must hold at any moment.
type randomRun struct {
	t        *rapid.T
	flows    map[string]*plainFlow
	fates    func(life int) fates
	lives    int
	life     int
	spec     flow.Spec
	m        *flow.Machine
	now      time.Duration
	calls    map[flow.CallID]flow.StartCall
	answers  []func() // what can be said now, each once
	late     []func() // what could have been said in an earlier life
	journal  []flow.Entry
	commands []flow.Command
	timers   []flow.SetTimer          // of all, those that are open tell what is pending
	evals    []flow.Evaluate          // likewise
	signals  map[string]flow.SetTimer // timeouts of signals, by path
	awaited  map[string]bool          // waits that were seen, by id
	finished map[string]string        // paths of calls that have finished for good, by key
	given    map[string]bool          // paths that have had their signal "go" for good
	discards map[string]int
	done     map[string]stepResult
	before   map[string]stepResult // of the run's own steps, in earlier lives
	end      *flow.FinishRun
}

func (r *randomRun) run(root *plainFlow, input any, seed uint64) {
	library := build(r.t, r.flows)
	r.spec = flow.Spec{Workflow: library[root.name], Library: library, RunID: "r1", Seed: seed, Input: input}
	m, err := flow.New(r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.m = m
	r.born()
	if rapid.Bool().Draw(r.t, "early") {
		r.early(root)
	}
	r.apply(flow.Started{})
	for {
		r.live(root)
		if r.end.Status == flow.Succeeded || r.life == r.lives-1 {
			break
		}
		r.life++
		for id, done := range r.done {
			if !strings.Contains(id, ".") && done.status != flow.Failed {
				r.before[id] = done
			}
		}
		r.late, r.end = append(r.late, r.answers...), nil
		r.born()
		r.apply(flow.Retried{})
	}
	for _, late := range append(r.answers, r.late...) {
		late()
	}
	if r.end.Status == flow.Succeeded {
		r.ignored(flow.Retried{})
	}
	r.ignored(flow.Cancelled{})
	checkReplay(r.t, r.spec, r.journal, r.commands)
}

// born forgets what belongs to one life of the run.
func (r *randomRun) born() {
	r.calls, r.discards, r.done = map[flow.CallID]flow.StartCall{}, map[string]int{}, map[string]stepResult{}
	r.signals, r.awaited, r.answers = map[string]flow.SetTimer{}, map[string]bool{}, nil
}

// live answers until the run ends.
func (r *randomRun) live(root *plainFlow) {
	last := -1 // when it is cancelled
	if r.life < r.lives-1 && rapid.IntRange(0, 3).Draw(r.t, "cancel") == 0 {
		last = rapid.IntRange(0, 20).Draw(r.t, "cancelled after")
	}
	for n := 0; r.end == nil; n++ {
		switch {
		case n == last:
			r.apply(flow.Cancelled{})
			continue
		case len(r.answers) == 0:
			r.t.Fatalf("the run is stuck; so far %s", toJSON(r.commands))
		case rapid.IntRange(0, 9).Draw(r.t, "noise") == 0:
			r.noise(root)
		}
		i := rapid.IntRange(0, len(r.answers)-1).Draw(r.t, "next")
		next := r.answers[i]
		r.answers = slices.Delete(r.answers, i, i+1)
		next()
	}
}

// early gives signals before anybody waits for them.
func (r *randomRun) early(root *plainFlow) {
	for _, s := range root.steps {
		if s.signal == "go" && s.foreach == nil && s.signalTimeout == 0 {
			r.given[s.name] = true
			r.apply(flow.Signalled{Name: s.signal, Path: s.name, Value: signalValue(s.signal, s.name)})
		}
	}
	for range rapid.IntRange(0, 2).Draw(r.t, "free") {
		r.apply(flow.Signalled{Name: "free", Value: signalValue("free", "")})
	}
}

// noise is what changes nothing.
func (r *randomRun) noise(root *plainFlow) {
	switch rapid.IntRange(0, 3).Draw(r.t, "kind") {
	case 0:
		r.ignored(flow.Retried{}) // it has not ended
	case 1:
		r.ignored(flow.Signalled{Name: "other", Value: 1})
	case 2:
		r.ignored(flow.Signalled{Name: "go", Path: root.steps[0].name + ".nowhere", Value: 1})
	case 3:
		if len(r.late) > 0 {
			next := r.late[0]
			r.late = r.late[1:]
			next()
		}
	}
}

// ignored applies what is to change nothing.
func (r *randomRun) ignored(ev flow.Event) {
	steps, waiting, n := toJSON(r.m.Steps()), toJSON(r.m.Waiting()), len(r.commands)
	r.apply(ev)
	if len(r.commands) > n || toJSON(r.m.Steps()) != steps || toJSON(r.m.Waiting()) != waiting {
		r.t.Fatalf("%T %s changes something: %s", ev, toJSON(ev), toJSON(r.commands[n:]))
	}
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
	r.wait()
	r.consistent()
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
		r.timers = append(r.timers, c)
		// The timeout of an attempt fires only where the attempt hangs.
		switch {
		case c.Reason == flow.TimerAttempt && !r.hangs(c.Path):
			return
		case c.Reason == flow.TimerSignal:
			r.signals[c.Path] = c
			return
		}
		r.fires(c)
	case flow.Evaluate:
		r.evals = append(r.evals, c)
		r.answers = append(r.answers, func() {
			r.apply(answer(c))
			r.ignored(flow.Evaluated{ID: c.ID, Err: "again"})
		})
	case flow.Discard:
		r.discards[stepID(r.epoch(c.Path), c.Path)]++
		maps.DeleteFunc(r.finished, func(_, path string) bool { return strings.HasPrefix(path, c.Path+".") })
		maps.DeleteFunc(r.given, func(path string, _ bool) bool { return strings.HasPrefix(path, c.Path+".") })
	case flow.StepDone:
		id := stepID(r.epoch(c.Step), c.Step)
		if _, twice := r.done[id]; twice {
			r.t.Fatalf("step %s is done twice", id)
		}
		r.done[id] = stepResult{c.Status, c.Output}
		if before, was := r.before[id]; was && toJSON([]any{before.status, before.output}) != toJSON([]any{c.Status, c.Output}) {
			r.t.Fatalf("step %s %s with %s, before the run was retried it %s with %s", c.Step, c.Status, toJSON(c.Output), before.status, toJSON(before.output))
		}
		if s := r.step(c.Step); s != nil && s.call == "f" && s.foreach == nil && c.Status == flow.Succeeded && r.finished["r1/"+c.Step] == "" {
			r.t.Fatalf("step %s succeeds, and no call of it has since it was discarded", c.Step)
		}
	case flow.FinishRun:
		r.end = &c
		if len(r.calls) > 0 {
			r.t.Fatalf("the run ends with calls open: %v", r.calls)
		}
	}
}

func (r *randomRun) fires(c flow.SetTimer) {
	r.answers = append(r.answers, func() {
		r.now = max(r.now, c.At)
		r.apply(flow.TimerFired{Timer: c.Timer})
		r.ignored(flow.TimerFired{Timer: c.Timer})
	})
}

// wait finds out who has begun to wait for a signal, and has it come, or its
// timeout.
func (r *randomRun) wait() {
	for _, w := range r.m.Waiting() {
		id := stepID(r.epoch(w.Path), w.Path)
		if r.awaited[id] {
			continue
		}
		r.awaited[id] = true
		if w.Name == "go" && r.given[w.Path] && r.step(w.Path) != nil {
			r.t.Fatalf("%s waits for a signal that it has had", w.Path)
		}
		timeout, has := r.signals[w.Path]
		if has && w.Name == "go" && r.fates(r.life).late(id) {
			r.fires(timeout)
			continue
		}
		life := r.life
		r.answers = append(r.answers, func() {
			s := flow.Signalled{Name: w.Name, Value: signalValue(w.Name, w.Path)}
			if w.Name == "go" {
				s.Path = w.Path
			}
			waits := slices.Contains(r.m.Waiting(), w)
			if life != r.life || w.Name == "go" && (!waits || stepID(r.epoch(w.Path), w.Path) != id) {
				return // somebody else waits there by now
			}
			if waits {
				r.given[s.Path] = true
			}
			r.apply(s)
			if has && w.Name == "go" {
				r.ignored(flow.TimerFired{Timer: timeout.Timer})
			}
		})
	}
}

// consistent holds what the machine says of itself against what it has asked for.
func (r *randomRun) consistent() {
	waiting := r.m.Waiting()
	pending := len(waiting) > 0
	open := func(c flow.Command) bool { return r.m.Open(c) }
	r.timers = slices.DeleteFunc(r.timers, func(c flow.SetTimer) bool { return !open(c) })
	r.evals = slices.DeleteFunc(r.evals, func(c flow.Evaluate) bool { return !open(c) })
	for _, c := range r.timers {
		pending = pending || c.Reason == flow.TimerWait || c.Reason == flow.TimerBackoff
	}
	pending = pending || len(r.evals) > 0
	if r.m.Pending() != pending {
		r.t.Fatalf("pending is %v; waiting are %v, open %s %s", r.m.Pending(), waiting, toJSON(r.timers), toJSON(r.evals))
	}
	if r.m.Done() != (r.end != nil) || r.m.Done() && len(waiting) > 0 {
		r.t.Fatalf("done is %v with %v, waiting are %v", r.m.Done(), r.end, waiting)
	}
	views := map[string]flow.StepView{}
	for _, v := range r.m.Steps() {
		views[v.Step] = v
		if v.Done < 0 || v.Running < 0 || v.Done+v.Running > v.Items && v.Items > 0 {
			r.t.Fatalf("a step with %d items, %d done, %d running: %+v", v.Items, v.Done, v.Running, v)
		}
		done, is := r.done[stepID(r.epoch(v.Step), v.Step)]
		if ended := v.Status != flow.Waiting && v.Status != flow.Running; ended != is || is && done.status != v.Status {
			r.t.Fatalf("step %s is %s, it was said to be %q", v.Step, v.Status, done.status)
		}
	}
	for _, w := range waiting {
		step, _, _ := strings.Cut(w.Path[strings.LastIndex(w.Path, ".")+1:], "[")
		if v := views[w.Path[:strings.LastIndex(w.Path, ".")+1]+step]; v.Status != flow.Running {
			r.t.Fatalf("%s waits in a step that is %q", w.Path, v.Status)
		}
	}
	for _, c := range r.calls {
		if v := views[c.Step]; v.Status != flow.Running {
			r.t.Fatalf("%s is under way in a step that is %q", c.Path, v.Status)
		}
	}
	if rapid.IntRange(0, 19).Draw(r.t, "replay") == 0 {
		r.replayed()
	}
}

// replayed holds what the journal so far brings back against the machine.
func (r *randomRun) replayed() {
	m, open, err := flow.Replay(r.spec, r.journal)
	if err != nil {
		r.t.Fatal(err)
	}
	state := func(m *flow.Machine) string {
		return toJSON([]any{m.Status(), m.Steps(), m.Waiting(), m.Pending(), m.Retryable()})
	}
	if got, want := state(m), state(r.m); got != want {
		r.t.Fatalf("replay gives %s, the run is %s", got, want)
	}
	calls := 0
	for _, c := range open {
		if start, ok := c.(flow.StartCall); ok {
			if calls++; r.calls[start.Call].Key != start.Key {
				r.t.Fatalf("replay leaves call %d of %s open, which is not", start.Call, start.Path)
			}
		}
	}
	if calls != len(r.calls) {
		r.t.Fatalf("replay leaves %d calls open, there are %d", calls, len(r.calls))
	}
}

func (r *randomRun) started(c flow.StartCall) {
	base := strings.TrimSuffix(c.Key, "/catch")
	for _, key := range []string{base, base + "/catch"} {
		if _, again := r.finished[key]; again {
			r.t.Fatalf("%s starts (%s), and %s has finished", c.Path, c.Key, key)
		}
	}
	if s := r.step(c.Path); s != nil && s.signal == "go" && !c.Catch && !r.given[c.Path] {
		r.t.Fatalf("%s starts without its signal", c.Path)
	}
	epoch := r.epoch(c.Path)
	result := r.fates(r.life).attempt(stepID(epoch, c.Path), c.Attempt, c.Timeout)
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
		_, open := r.calls[c.Call]
		delete(r.calls, c.Call)
		switch {
		case result == succeeds:
			if open {
				r.finished[c.Key] = c.Path
			}
			r.apply(flow.StepFinished{Call: c.Call, Output: output(c.Path, c.Input, c.Stdin)})
		default:
			r.apply(flow.StepFailed{Call: c.Call, Failure: flow.Failure{Kind: "exit", Message: "scripted", Free: result == lost, Permanent: result == hopeless}})
		}
		r.ignored(flow.StepFinished{Call: c.Call, Output: "again"})
	})
}

// hangs reports whether the open call at path hangs.
func (r *randomRun) hangs(path string) bool {
	for _, c := range r.calls {
		if c.Path == path {
			return r.fates(r.life).attempt(stepID(r.epoch(path), path), c.Attempt, c.Timeout) == hangs
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
