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
	main   *Graph
	graphs map[string]*Graph // of the workflows that the run may call, by the name that it calls
	root   *frame            // nil until the run has started
	status Status            // empty until the run has ended
	now    time.Duration

	// What was asked for and not yet answered.
	calls  map[CallID]*item
	timers map[TimerID]alarm
	evals  map[EvalID]*evaluation

	awaiting []*item             // wait for signals, the longest first
	signals  []Signalled         // that nobody has waited for yet
	given    map[string]any      // the signals that items have had, by id
	finished map[string]finished // items, by id
	retried  bool                // items that have finished do so again at once

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
	at    time.Duration // when, since the start of the run
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

		finished: map[string]finished{}, given: map[string]any{},
	}
	if spec.Workflow == nil {
		return nil, fmt.Errorf("make run %s: no workflow", spec.RunID)
	}
	called, err := m.prepare(spec.Workflow, &m.main)
	if err != nil {
		return nil, err
	}
	for len(called) > 0 {
		name := called[0]
		called = called[1:]
		if m.graphs[name] != nil {
			continue
		}
		var graph *Graph
		more, err := m.prepare(m.workflow(name), &graph)
		if err != nil {
			return nil, err
		}
		m.graphs[name] = graph
		called = append(called, more...)
	}
	return m, nil
}

// workflow returns the one that steps call by that name, or nil. A workflow
// may call itself without being in the library.
func (m *Machine) workflow(name string) *Workflow {
	if w := m.spec.Library[name]; w != nil || name != m.spec.Workflow.Name {
		return w
	}
	return m.spec.Workflow
}

// prepare checks a workflow and makes its graph. It returns the names of the
// workflows that it may call, all of which exist.
func (m *Machine) prepare(w *Workflow, graph **Graph) (called []string, err error) {
	problems := Check(w, nil)
	call := func(step, key string, t Target) {
		switch {
		case t.Kind != SubWorkflow:
		case m.workflow(t.Name) == nil:
			problems = append(problems, Problem{step, key, fmt.Sprintf("there is no workflow %q", t.Name), Nearest(t.Name, keys(m.spec.Library))})
		default:
			called = append(called, t.Name)
		}
	}
	for _, s := range w.Steps {
		call(s.Name, "call", s.Call)
		if s.Catch != nil {
			call(s.Name, "catch.call", s.Catch.Call)
		}
	}
	if len(problems) > 0 {
		return nil, &InvalidError{w.Name, problems}
	}
	*graph, err = NewGraph(w)
	return called, err
}

// Status returns how the run ended, or "" while it has not.
func (m *Machine) Status() Status { return m.status }

// Done reports whether the run has ended.
func (m *Machine) Done() bool { return m.status != "" }

// Pending reports whether the run will go on without an answer to a call: a
// wait or a backoff will be over, a signal may come, or an expression is being
// evaluated.
// Timeouts do not count, because they end work and begin none. A run whose
// calls all wait for each other, with nothing pending, is in a deadlock.
func (m *Machine) Pending() bool {
	if len(m.awaiting) > 0 {
		return true
	}
	for _, a := range m.timers {
		if a.item != nil && !a.item.busy() {
			return true
		}
	}
	for _, e := range m.evals {
		if !e.scope.frame.over {
			return true
		}
	}
	return false
}

// Apply takes in an event that happened at now, counted from the start of the
// run, and returns what is to be done because of it. An event that does not
// fit is ignored. Time does not run backwards: an earlier now counts as the
// latest one.
func (m *Machine) Apply(ev Event, now time.Duration) []Command {
	m.now = max(m.now, now)
	if _, ok := ev.(Retried); ok && m.Retryable() {
		m.restart()
	}
	if m.Done() {
		return nil
	}
	switch ev := ev.(type) {
	case Started:
		if m.root == nil {
			m.root = m.enter(m.main, nil, m.spec.Input)
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
	case Signalled:
		m.signal(ev)
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
	a.at = at
	m.timers[m.lastTimer] = a
	m.emit(SetTimer{m.lastTimer, at, path, reason})
	return m.lastTimer
}

// Deadline is when an attempt that was started is ended at the latest, since the start of the run: by its own timeout, or by
// that of a workflow, or of an attempt of one, that it is a part of. ok is false if nothing ends it.
func (m *Machine) Deadline(call CallID) (at time.Duration, ok bool) {
	sooner := func(id TimerID) {
		if a, set := m.timers[id]; set && (!ok || a.at < at) {
			at, ok = a.at, true
		}
	}
	for it := m.calls[call]; it != nil; it = it.step.frame.caller {
		sooner(it.timer)
		sooner(it.step.frame.timer)
	}
	return at, ok
}

func (m *Machine) wake(a alarm) {
	switch {
	case a.item == nil:
		a.frame.timer = 0
		m.failFrame(a.frame, Failure{
			Kind: KindTimeout, Step: a.frame.path(),
			Message: fmt.Sprintf("workflow %s took longer than %v", a.frame.graph.flow.Name, a.frame.graph.flow.Timeout),
		})
	case a.item.awaits:
		def := a.item.step.def().Signal
		m.unawait(a.item)
		m.giveUp(a.item, Failure{Kind: KindTimeout, Message: fmt.Sprintf("no signal %s within %v", def.Name, def.Timeout)})
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
		if _, ok := entry.Event.(Retried); ok && m.Retryable() {
			all = nil
		}
		all = append(all, m.Apply(entry.Event, entry.At)...)
	}
	return m, slices.DeleteFunc(all, func(c Command) bool { return !m.Open(c) }), nil
}

// Open reports whether a command that the machine has given is still to be
// answered.
func (m *Machine) Open(c Command) bool {
	open := false
	switch c := c.(type) {
	case FinishRun:
		return m.Done()
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
