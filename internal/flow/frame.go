package flow

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
