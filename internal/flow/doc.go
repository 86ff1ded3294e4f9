// Package flow is the core of workflows: the graph of a workflow's steps, and
// a run of it as a pure state machine.
//
// A [Workflow] is data. [NewGraph] gives the order that its steps' needs
// impose, for pictures and for placement, and [Check] all that is wrong with
// it, for whoever read it from a file and knows the lines. Values that depend
// on a run are [Template]s: JSON-like values whose strings may hold
// expressions, as in "${ .split.parts }".
//
// # Running
//
// A [Machine] is one run. It is told what happened, and when, and returns what
// to do now: events in, commands out. It has no clock, goroutine, disk, socket
// or source of randomness (the jitter of retries comes from a seed), so a run
// is a function of its [Spec] and its events. That is what makes it testable
// in microseconds, and what makes a run survive its node: the journal of a run
// is the list of its events, and [Replay] brings it back to where it was,
// together with the commands that are still to be answered.
//
// The owner of a machine carries out its commands and feeds back what comes of
// them:
//
//	m, err := flow.New(flow.Spec{Workflow: w, RunID: id, Seed: seed, Input: input})
//	…
//	commands := m.Apply(flow.Started{}, 0)
//	for !m.Done() {
//		for _, c := range commands {
//			switch c := c.(type) {
//			case flow.StartCall: // start a function; StepFinished or StepFailed follows
//			case flow.StopCall:  // stop it: its answer would be ignored
//			case flow.SetTimer:  // TimerFired at c.At
//			case flow.Evaluate:  // Evaluated follows
//			case flow.Discard:   // withdraw what steps below c.Path have published
//			case flow.StepDone:  // tell observers
//			case flow.FinishRun: // the last command
//			}
//		}
//		event := <-events
//		now := time.Since(start)
//		// A durable run appends flow.Entry{At: now, Event: event} to its journal here.
//		commands = m.Apply(event, now)
//	}
//
// Events may come in any order and more than once. One that does not fit (an
// answer to a call that was stopped, a second answer, a late timer) changes
// nothing, and never panics.
//
// # What happens to a step
//
//	waiting ── all needs done ──> when? ── false, or all needs skipped ──> skipped
//	                               │
//	                            foreach ── one item, or one for each of a list
//	                               │
//	            item: with, stdin, wait ──> attempt ──> succeeded
//	                                         ^    │ failed, timed out
//	                                 backoff └────┤
//	                                              │ no attempts left
//	                                           catch? ── no ──> the workflow fails
//	                                              └── value or call ──> caught
//
// A skipped step counts as done and its output is null; what needs only
// skipped steps is skipped, and a join with one live need runs. A failure that
// nothing catches stops all else in its workflow. A step that calls a workflow
// opens a frame, an execution of that workflow with its own input and scope,
// inside the same machine; the failure of the frame is a failed attempt of the
// item that called it. Paths say where a step is: each[1].count[3].
//
// # Expressions
//
// Plain paths (".", ".a.b[0]["c"]") are evaluated here, with jq's semantics.
// Any other expression is a jq program, which can take seconds and gigabytes:
// it leaves as [Evaluate], for the node to run where it can do no harm. The
// answer is an event like any other and so in the journal, which means that a
// replayed run never evaluates anything again.
//
// # Reading the code
//
// workflow.go, event.go and command.go are the vocabulary. machine.go takes
// events in; frame.go has the life of a frame, step.go that of a step, item.go
// that of an item with its attempts; scope.go gives expressions their values.
// template.go and expression.go parse, graph.go and check.go need no run.
package flow
