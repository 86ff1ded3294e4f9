package flow

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What signals are refused for, see [Machine.CheckSignal].
var (
	ErrNoSignal = errors.New("no step waits for this signal")
	ErrSignals  = errors.New("as many signals as may be are kept already")
)

// WaitingSignal is a signal that an item waits for.
type WaitingSignal struct {
	Path string `json:"path"` // of the item
	Name string `json:"name"`
}

// Waiting lists the signals that items wait for, the longest first.
func (m *Machine) Waiting() []WaitingSignal {
	var waiting []WaitingSignal
	for _, it := range m.awaiting {
		waiting = append(waiting, WaitingSignal{it.path(), it.step.def().Signal.Name})
	}
	return waiting
}

// CheckSignal says why a signal would be lost: ErrNoSignal if no step of the run's
// workflows is for it, ErrSignals if nobody waits for it yet and MaxSignals are
// kept. Apply takes such signals, too, and does nothing.
func (m *Machine) CheckSignal(s Signalled) error {
	names := map[string]bool{}
	for g := range m.all() {
		for _, st := range g.flow.Steps {
			if st.Signal.Name != "" {
				names[st.Signal.Name] = true
			}
		}
	}
	if !names[s.Name] {
		return fmt.Errorf("signal %q: %w; %s", s.Name, ErrNoSignal, known(slices.Sorted(maps.Keys(names))))
	}
	if s.Path != "" {
		if names := m.signalsAt(s.Path); !names[s.Name] {
			return fmt.Errorf("signal %q for step %q: %w; %s", s.Name, s.Path, ErrNoSignal, known(slices.Sorted(maps.Keys(names))))
		}
	}
	if len(m.signals) >= MaxSignals && !slices.ContainsFunc(m.awaiting, func(it *item) bool { return it.takes(s) }) {
		return fmt.Errorf("signal %q: %w, %d", s.Name, ErrSignals, MaxSignals)
	}
	return nil
}

// known lists the signals that there are, for whoever has mistyped one.
func known(names []string) string {
	if len(names) == 0 {
		return "there is no other"
	}
	return "there is " + strings.Join(names, ", ")
}

// all yields the graphs of all workflows that the run may execute.
func (m *Machine) all() func(yield func(*Graph) bool) {
	return func(yield func(*Graph) bool) {
		if !yield(m.main) {
			return
		}
		for _, g := range m.graphs {
			if !yield(g) {
				return
			}
		}
	}
}

// signalsAt gives the signals that a step or item may wait for, by its path.
func (m *Machine) signalsAt(path string) map[string]bool {
	graphs := []*Graph{m.main}
	names := map[string]bool{}
	for segment := range strings.SplitSeq(path, ".") {
		clear(names)
		name, _, _ := strings.Cut(segment, "[")
		var called []*Graph
		for _, g := range graphs {
			i, ok := g.index[name]
			if !ok {
				continue
			}
			st := g.flow.Steps[i]
			if st.Signal.Name != "" {
				names[st.Signal.Name] = true
			}
			targets := []Target{st.Call}
			if st.Catch != nil {
				targets = append(targets, st.Catch.Call)
			}
			for _, t := range targets {
				if g := m.graphs[t.Name]; t.Kind == SubWorkflow && g != nil {
					called = append(called, g)
				}
			}
		}
		graphs = called
	}
	return names
}

// await has an item wait for its step's signal.
func (m *Machine) await(it *item) {
	it.awaits = true
	m.awaiting = append(m.awaiting, it)
	if timeout := it.step.def().Signal.Timeout; timeout > 0 {
		it.timer = m.setTimer(timeout, it.path(), TimerSignal, alarm{item: it})
	}
}

// unawait ends that, if it does.
func (m *Machine) unawait(it *item) {
	if it.awaits {
		it.awaits = false
		m.awaiting = slices.DeleteFunc(m.awaiting, func(other *item) bool { return other == it })
		delete(m.timers, it.timer)
		it.timer = 0
	}
}

// receive gives an item a signal that came before it waited for it. It reports
// whether there was one.
func (m *Machine) receive(it *item) bool {
	if v, ok := m.given[it.id()]; ok { // before the run was retried
		it.signal = v
		return true
	}
	for i, s := range m.signals {
		if it.takes(s) {
			m.signals = slices.Delete(m.signals, i, i+1)
			m.give(it, s.Value)
			return true
		}
	}
	return false
}

// signal gives a signal to who waits for it, or keeps it.
func (m *Machine) signal(s Signalled) {
	for _, it := range m.awaiting {
		if it.takes(s) {
			m.unawait(it)
			m.give(it, s.Value)
			m.prepareItem(it)
			return
		}
	}
	if len(m.signals) < MaxSignals {
		m.signals = append(m.signals, s)
	}
}

func (m *Machine) give(it *item, value any) {
	it.signal = value
	m.given[it.id()] = value
}

func (it *item) takes(s Signalled) bool {
	return s.Name == it.step.def().Signal.Name && (s.Path == "" || s.Path == it.path())
}
