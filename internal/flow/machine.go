package flow

import (
	"fmt"
	"slices"
	"time"
)

// Spec is what a run is made from. Runs with equal specs and equal events are
// equal.
type Spec struct {
	Workflow *Workflow
	Library  map[string]*Workflow // the workflows that steps may call, by name; Workflow itself need not be in it
	RunID    string               // part of idempotency keys, and .run.id in expressions
	Seed     uint64               // of the jitter of retries
	Input    any
}

// A Machine is one run: its state, and nothing that moves by itself. It is
// not safe for concurrent use.
type Machine struct {
	spec   Spec
	graphs map[string]*Graph // of the workflows that the run may call
	root   *frame            // nil until the run has started
	status Status            // empty until the run has ended
	now    time.Duration

	// What was asked for and not yet answered.
	calls  map[CallID]*item
	timers map[TimerID]alarm
	evals  map[EvalID]*evaluation

	lastCall  CallID
	lastTimer TimerID
	lastEval  EvalID
	starts    int // counts towards MaxStarts

	ready []*step   // have something to begin, in this Apply
	out   []Command // of this Apply
}

// alarm is what a timer wakes: an item, or a frame that takes too long.
type alarm struct {
	item  *item
	frame *frame
}

// New returns a run that has not begun. The error of a workflow that cannot
// run is an [*InvalidError].
func New(spec Spec) (*Machine, error) {
	m := &Machine{
		spec:   spec,
		graphs: map[string]*Graph{},
		calls:  map[CallID]*item{},
		timers: map[TimerID]alarm{},
		evals:  map[EvalID]*evaluation{},
	}
	if spec.Workflow == nil {
		return nil, fmt.Errorf("make run %s: no workflow", spec.RunID)
	}
	if err := m.addWorkflow(spec.Workflow); err != nil {
		return nil, err
	}
	return m, nil
}

// addWorkflow makes the graphs of w and of all that it may call.
func (m *Machine) addWorkflow(w *Workflow) error {
	if m.graphs[w.Name] != nil {
		return nil
	}
	problems := Check(w, nil)
	var called []*Workflow
	call := func(step, key string, t Target) {
		if t.Kind != SubWorkflow {
			return
		}
		target := m.spec.Library[t.Name]
		if target == nil && t.Name == m.spec.Workflow.Name {
			target = m.spec.Workflow
		}
		if target == nil {
			problems = append(problems, Problem{step, key, fmt.Sprintf("there is no workflow %q", t.Name), Nearest(t.Name, keys(m.spec.Library))})
			return
		}
		called = append(called, target)
	}
	for _, s := range w.Steps {
		call(s.Name, "call", s.Call)
		if s.Catch != nil {
			call(s.Name, "catch.call", s.Catch.Call)
		}
	}
	if len(problems) > 0 {
		return &InvalidError{w.Name, problems}
	}
	graph, err := NewGraph(w)
	if err != nil {
		return err
	}
	m.graphs[w.Name] = graph
	for _, w := range called {
		if err := m.addWorkflow(w); err != nil {
			return err
		}
	}
	return nil
}

// Status returns how the run ended, or "" while it has not.
func (m *Machine) Status() Status { return m.status }

// Done reports whether the run has ended.
func (m *Machine) Done() bool { return m.status != "" }

// Apply takes in an event that happened at now, counted from the start of the
// run, and returns what is to be done because of it. An event that does not
// fit is ignored. Time does not run backwards: an earlier now counts as the
// latest one.
func (m *Machine) Apply(ev Event, now time.Duration) []Command {
	m.now = max(m.now, now)
	if m.Done() {
		return nil
	}
	switch ev := ev.(type) {
	case Started:
		if m.root == nil {
			m.root = m.enter(m.graphs[m.spec.Workflow.Name], nil, m.spec.Input)
		}
	case StepFinished:
		if it := m.calls[ev.Call]; it != nil {
			m.endAttempt(it)
			m.finishItem(it, ev.Output)
		}
	case StepFailed:
		if it := m.calls[ev.Call]; it != nil {
			m.endAttempt(it)
			m.failAttempt(it, ev.Failure)
		}
	case TimerFired:
		if a, ok := m.timers[ev.Timer]; ok {
			delete(m.timers, ev.Timer)
			m.wake(a)
		}
	case Evaluated:
		if e := m.evals[ev.ID]; e != nil {
			delete(m.evals, ev.ID)
			if !e.scope.frame.over {
				e.answer(ev)
			}
		}
	case Cancelled:
		m.cancel(ev.Reason)
	}
	m.settle()
	out := m.out
	m.out = nil
	return out
}

// settle begins all that has become ready. Steps that are done at once make
// others ready: a queue rather than recursion, so that a chain of any length
// fits the stack.
func (m *Machine) settle() {
	for i := 0; i < len(m.ready); i++ {
		s := m.ready[i]
		s.queued = false
		switch {
		case s.frame.over:
		case !s.opened:
			m.open(s)
		default:
			m.pump(s)
		}
	}
	clear(m.ready)
	m.ready = m.ready[:0]
}

func (m *Machine) enqueue(s *step) {
	if !s.queued {
		s.queued = true
		m.ready = append(m.ready, s)
	}
}

func (m *Machine) emit(c Command) {
	if !m.Done() {
		m.out = append(m.out, c)
	}
}

// setTimer asks to be woken after d.
func (m *Machine) setTimer(d time.Duration, path string, reason TimerReason, a alarm) TimerID {
	m.lastTimer++
	at := m.now + d
	if at < m.now {
		at = 1<<63 - 1 // beyond what a duration can say
	}
	m.timers[m.lastTimer] = a
	m.emit(SetTimer{m.lastTimer, at, path, reason})
	return m.lastTimer
}

func (m *Machine) wake(a alarm) {
	switch {
	case a.item == nil:
		a.frame.timer = 0
		m.failFrame(a.frame, Failure{
			Kind: KindTimeout, Step: a.frame.path(),
			Message: fmt.Sprintf("workflow %s took longer than %v", a.frame.graph.flow.Name, a.frame.graph.flow.Timeout),
		})
	case a.item.busy():
		timeout := a.item.step.def().Timeout
		a.item.timer = 0
		m.stopItem(a.item)
		m.failAttempt(a.item, Failure{Kind: KindTimeout, Message: fmt.Sprintf("no result within %v", timeout)})
	default: // its wait or backoff is over
		a.item.timer = 0
		m.begin(a.item)
	}
}

func (m *Machine) cancel(reason string) {
	if reason == "" {
		reason = "the run was cancelled"
	}
	if m.root != nil {
		m.stopFrame(m.root)
	}
	m.finish(FinishRun{Status: CancelledRun, Failure: &Failure{Kind: KindCancelled, Message: reason}})
}

func (m *Machine) finish(f FinishRun) {
	m.emit(f)
	m.status = f.Status
}

// Replay makes a machine and applies a journal to it. It returns also the
// commands that the journal leaves open: calls, timers and evaluations without
// an answer, to be carried out again, or [FinishRun] if the run has ended.
func Replay(spec Spec, journal []Entry) (*Machine, []Command, error) {
	m, err := New(spec)
	if err != nil {
		return nil, nil, fmt.Errorf("replay run %s: %w", spec.RunID, err)
	}
	var all []Command
	for _, entry := range journal {
		all = append(all, m.Apply(entry.Event, entry.At)...)
	}
	return m, slices.DeleteFunc(all, func(c Command) bool { return !m.isOpen(c) }), nil
}

func (m *Machine) isOpen(c Command) bool {
	open := false
	switch c := c.(type) {
	case FinishRun:
		return true
	case StartCall:
		_, open = m.calls[c.Call]
	case SetTimer:
		_, open = m.timers[c.Timer]
	case Evaluate:
		e := m.evals[c.ID]
		open = e != nil && !e.scope.frame.over
	}
	return open && !m.Done()
}

// frame is one execution of a workflow: the run's own, or one that an item of
// a step called.
type frame struct {
	graph  *Graph
	caller *item  // nil: the run's own
	prefix string // of its steps' paths: "" or "each[1]."
	key    string // of its steps' idempotency keys: "RUN/" or "RUN/each[1]."
	depth  int
	input  any
	run    map[string]any // .run
	steps  []step
	left   int // steps that are not done
	timer  TimerID
	over   bool // finished, failed or stopped: nothing in it matters any more
}

// path is that of the step that called the frame, or "".
func (f *frame) path() string {
	if f.caller == nil {
		return ""
	}
	return f.caller.path()
}

// enter begins the execution of a workflow.
func (m *Machine) enter(graph *Graph, caller *item, input any) *frame {
	n := len(graph.needs)
	f := &frame{graph: graph, caller: caller, input: input, steps: make([]step, n), left: n}
	if caller == nil {
		f.run, f.key = map[string]any{"id": m.spec.RunID}, m.spec.RunID+"/"
	} else {
		f.prefix, f.key = caller.path()+".", caller.key()+"."
		f.run, f.depth = caller.step.frame.run, caller.step.frame.depth+1
	}
	if timeout := graph.flow.Timeout; timeout > 0 {
		f.timer = m.setTimer(timeout, f.path(), TimerRun, alarm{frame: f})
	}
	for i := range f.steps {
		s := &f.steps[i]
		s.frame, s.id, s.needs = f, i, len(graph.needs[i])
		if s.needs == 0 {
			m.enqueue(s)
		}
	}
	return f
}

// finishFrame gives the output of a frame whose steps are all done.
func (m *Machine) finishFrame(f *frame) {
	m.evaluate(scope{frame: f, step: -1}, []Template{f.graph.flow.Output}, func(values []any, failure *Failure) {
		if failure != nil {
			failure.Step = f.path()
			m.failFrame(f, *failure)
			return
		}
		output := values[0]
		if f.graph.flow.Output.IsZero() {
			output = f.outputs()
		}
		m.closeFrame(f)
		if f.caller == nil {
			m.finish(FinishRun{Status: Succeeded, Output: output})
			return
		}
		f.caller.child = nil
		m.endAttempt(f.caller)
		m.finishItem(f.caller, output)
	})
}

// outputs is the output of a workflow that does not say what its output is.
func (f *frame) outputs() any {
	sinks := f.graph.sinks()
	if len(sinks) == 1 {
		return f.steps[sinks[0]].output
	}
	outputs := make(map[string]any, len(sinks))
	for _, i := range sinks {
		outputs[f.graph.flow.Steps[i].Name] = f.steps[i].output
	}
	return outputs
}

// failFrame ends a frame because of a failure: the run fails, or the attempt
// of the item that called it.
func (m *Machine) failFrame(f *frame, failure Failure) {
	m.stopFrame(f)
	failure.Free, failure.Alone = false, false
	if f.caller == nil {
		m.finish(FinishRun{Status: Failed, Failure: &failure})
		return
	}
	m.endAttempt(f.caller)
	m.failAttempt(f.caller, failure)
}

// stopFrame ends a frame and all that runs in it, in the order of its steps.
func (m *Machine) stopFrame(f *frame) {
	m.closeFrame(f)
	for i := range f.steps {
		for _, it := range f.steps[i].items {
			if it != nil {
				m.stopItem(it)
			}
		}
	}
}

func (m *Machine) closeFrame(f *frame) {
	f.over = true
	delete(m.timers, f.timer)
}
