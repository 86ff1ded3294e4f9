package flow

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// item is one execution of a step: the only one, or that of one index of its
// foreach. It waits, is attempted, backs off and is attempted again, and in
// the end gives an output or, after its catch had no answer either, fails its
// frame.
type item struct {
	step  *step
	index int // -1: not in a foreach
	value any // .item

	target       Target // of the next attempt: the step's call, or its catch's
	input, stdin any

	attempt int // number of the last one
	used    int // further attempts that the retry allowed
	free    int // further attempts for lost ones
	alone   bool

	// At most one of call and child is there: an attempt runs. A timer
	// without either is a wait or a backoff.
	call  CallID
	child *frame
	timer TimerID

	awaits bool // for its step's signal
	signal any  // .signal

	catching *Failure // what the catch is to replace
}

func (it *item) busy() bool { return it.call != 0 || it.child != nil }

func (it *item) path() string {
	if it.index < 0 {
		return it.step.path()
	}
	return it.step.path() + "[" + strconv.Itoa(it.index) + "]"
}

// key is the idempotency key of all attempts. What the catch does has keys of
// its own.
func (it *item) key() string {
	if it.catching != nil {
		return it.id() + "/catch"
	}
	return it.id()
}

// id is the key without what its catch adds.
func (it *item) id() string {
	f := it.step.frame
	return f.key + it.path()[len(f.prefix):]
}

// errorValue is .error in a catch.
func (it *item) errorValue() map[string]any {
	e := map[string]any{"kind": it.catching.Kind, "message": it.catching.Message, "step": it.catching.Step, "index": nil}
	if it.index >= 0 {
		e["index"] = it.index
	}
	return e
}

func (m *Machine) beginItem(s *step) {
	it := &item{step: s, index: -1, target: s.def().Call}
	if s.each {
		it.index, it.value = s.next, s.source.at(s.next)
	}
	s.items[s.next] = it
	s.next++
	s.running++
	switch {
	case m.again(it) || !m.spend():
	case s.def().Signal.Name != "" && !m.receive(it):
		m.await(it)
	default:
		m.prepareItem(it)
	}
}

// prepareItem finds out what an item is to work on.
func (m *Machine) prepareItem(it *item) {
	def := it.step.def()
	m.evaluate(it.scope(), []Template{def.With, def.Stdin, def.Wait}, func(values []any, failure *Failure) {
		var wait time.Duration
		if failure == nil && !def.Stdin.IsZero() {
			it.stdin, failure = check(stdin, values[1])
		}
		if failure == nil && !def.Wait.IsZero() {
			wait, failure = check(duration, values[2])
		}
		switch {
		case failure != nil:
			m.giveUp(it, *failure)
			return
		case it.stdin != nil:
		case def.With.IsZero():
			it.input = it.defaultInput()
		default:
			it.input = values[0]
		}
		if wait > 0 {
			it.timer = m.setTimer(wait, it.path(), TimerWait, alarm{item: it})
			return
		}
		m.begin(it)
	})
}

func (it *item) scope() scope { return scope{it.step.frame, it.step.id, it} }

// defaultInput is the input of a step without with.
func (it *item) defaultInput() any {
	f := it.step.frame
	needs := f.graph.needs[it.step.id]
	switch {
	case it.step.def().Signal.Name != "":
		return it.signal
	case it.index >= 0:
		return it.value
	case len(needs) == 0:
		return f.input
	}
	outputs := make(map[string]any, len(needs))
	for _, i := range needs {
		outputs[f.graph.flow.Steps[i].Name] = f.steps[i].output
	}
	return outputs
}

// stdin judges the value of a step's stdin.
func stdin(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case map[string]any:
		if _, ok := v["$buffer"]; ok {
			return v, nil
		}
	}
	return nil, fmt.Errorf("stdin is text or a buffer, not %s", typeOf(v))
}

// spend counts a start. At the limit the whole run fails: a catch must not
// keep alive what the limit is there to end.
func (m *Machine) spend() bool {
	m.starts++
	if m.starts <= MaxStarts {
		return true
	}
	m.stopFrame(m.root)
	m.finish(FinishRun{Status: Failed, Failure: &Failure{
		Kind: KindLimit, Message: fmt.Sprintf("a run starts at most %d items and attempts", MaxStarts),
	}})
	return false
}

// begin starts the next attempt, or gives the output of a step that calls
// nothing.
func (m *Machine) begin(it *item) {
	if it.target.IsZero() {
		m.finishItem(it, it.input)
		return
	}
	def := it.step.def()
	it.attempt++
	if it.target.Kind == SubWorkflow {
		if it.step.frame.depth == MaxDepth {
			m.giveUp(it, Failure{Kind: KindLimit, Message: fmt.Sprintf("workflows are nested more than %d deep", MaxDepth)})
			return
		}
		it.child = m.enter(m.graphs[it.target.Name], it, it.input)
	} else {
		m.lastCall++
		it.call = m.lastCall
		m.calls[it.call] = it
		m.emit(StartCall{
			Call: it.call, Path: it.path(), Step: it.step.path(), Index: it.index, Attempt: it.attempt, Key: it.key(),
			Target: it.target, Input: it.input, Stdin: it.stdin, Timeout: def.Timeout,
			Alone: it.alone, Catch: it.catching != nil,
		})
	}
	if def.Timeout > 0 {
		it.timer = m.setTimer(def.Timeout, it.path(), TimerAttempt, alarm{item: it})
	}
}

// endAttempt forgets the attempt that has ended by itself.
func (m *Machine) endAttempt(it *item) {
	delete(m.calls, it.call)
	delete(m.timers, it.timer)
	it.call, it.timer = 0, 0
}

// stopItem ends whatever the item is at.
func (m *Machine) stopItem(it *item) {
	if it.call != 0 {
		m.emit(StopCall{it.call, it.path()})
	}
	m.unawait(it)
	m.endAttempt(it)
	if it.child != nil {
		m.stopFrame(it.child)
	}
}

// failAttempt decides what follows a failed attempt, which has been ended: a
// further one, at once or later, or giving up.
func (m *Machine) failAttempt(it *item, failure Failure) {
	called := it.child != nil
	it.child = nil
	retry := it.step.def().Retry
	if it.catching != nil {
		retry = Retry{}
	}
	it.alone = it.alone || failure.Alone
	var pause time.Duration
	switch {
	case failure.Free && it.free < FreeRetries:
		it.free++
	case !failure.Permanent && it.used < retry.Max:
		it.used++
		pause = retry.pause(it.used, chance(m.spec.Seed, it.path(), it.used))
	default:
		if it.step.def().Catch != nil && it.catching == nil { // otherwise it stays for a retry of the run
			m.discard(it, called)
		}
		m.giveUp(it, failure)
		return
	}
	m.discard(it, called)
	if !m.spend() {
		return
	}
	if pause > 0 {
		it.timer = m.setTimer(pause, it.path(), TimerBackoff, alarm{item: it})
		return
	}
	m.begin(it)
}

// discard withdraws what the workflow that an item called has published and
// finished: something else takes its place.
func (m *Machine) discard(it *item, called bool) {
	if called {
		m.forget(it)
		m.emit(Discard{it.path()})
	}
}

// giveUp ends an item that cannot succeed any more: its catch takes over, or
// its step fails and with that its workflow.
func (m *Machine) giveUp(it *item, failure Failure) {
	failure.Free, failure.Alone = false, false
	if failure.Step == "" {
		failure.Step = it.path()
	}
	def := it.step.def()
	if it.catching != nil {
		failure.Message += " (in the catch of: " + it.catching.Message + ")"
	}
	if def.Catch == nil || it.catching != nil {
		it.step.status, it.step.failure = Failed, &failure
		m.emit(StepDone{Step: it.step.path(), Status: Failed, Failure: &failure})
		m.failFrame(it.step.frame, failure)
		return
	}
	it.catching, it.stdin, it.free = &failure, nil, 0
	it.target = def.Catch.Call
	m.evaluate(it.scope(), []Template{def.Catch.Value, def.Catch.With}, func(values []any, failure *Failure) {
		switch {
		case failure != nil:
			m.giveUp(it, *failure)
			return
		case it.target.IsZero():
			it.input = values[0]
		case def.Catch.With.IsZero():
			it.input = it.errorValue()
		default:
			it.input = values[1]
		}
		m.begin(it)
	})
}

// pause returns how long after the failure the n-th further attempt starts.
// chance is between 0 and 1.
func (r Retry) pause(n int, chance float64) time.Duration {
	longest := float64(r.MaxBackoff)
	if r.MaxBackoff == 0 {
		longest = math.MaxInt64 / 4
	}
	pause := min(float64(r.Backoff)*math.Pow(max(r.Factor, 1), float64(n-1)), longest)
	return time.Duration(pause * (1 + r.Jitter*(2*chance-1)))
}

// chance returns a number in [0, 1) that looks random. It depends on nothing
// but its arguments, so that the order of events changes no pause.
func chance(seed uint64, path string, n int) float64 {
	for i := range len(path) {
		seed = splitmix64(seed ^ uint64(path[i]))
	}
	return float64(splitmix64(seed+uint64(n))>>11) / (1 << 53)
}

// splitmix64 is one step of Steele, Lea and Flood's generator.
func splitmix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
