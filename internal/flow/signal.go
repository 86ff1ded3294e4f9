package flow

import "slices"

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
