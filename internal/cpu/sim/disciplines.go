package sim

import "time"

// Fixed is an agent that places a task when it arrives and does nothing else.
type Fixed func(t *Task) Placement

var _ Agent = Fixed(nil)

// Arrived implements Agent.
func (f Fixed) Arrived(m *Machine, t *Task) { m.Go(t, f(t)) }

// Alarm implements Agent.
func (Fixed) Alarm(*Machine, *Task) {}

// Slept implements Agent.
func (Fixed) Slept(*Machine, *Task) {}

// Woke implements Agent.
func (Fixed) Woke(*Machine, *Task) {}

// Ended implements Agent.
func (Fixed) Ended(*Machine, *Task) {}

// Timer implements Agent.
func (Fixed) Timer(*Machine) {}

// FIFO runs jobs to their end in order of arrival; one that slept comes back behind
// those that wait.
func FIFO() Agent { return Fixed(func(*Task) Placement { return Placement{} }) }

// RoundRobin gives every job a quantum in turn, as a stock kernel does with equal
// threads. Default quantum: 3 ms.
func RoundRobin(quantum time.Duration) Agent {
	if quantum <= 0 {
		quantum = 3 * time.Millisecond
	}
	return Fixed(func(*Task) Placement { return Placement{Slice: quantum} })
}

// SRPT is the oracle: it knows what each job still needs, and runs those that need
// least, on all cores. On one core no scheduler has a lower mean turnaround
// (L. Schrage, A proof of the optimality of the shortest remaining processing time
// discipline, Operations Research 16, 1968). On several cores it is not always the
// least, but near (S. Leonardi and D. Raz, STOC 1997).
func SRPT() Agent { return SRTF(0) }

// SRTF is SRPT in which a job that has a core keeps it for hold at least. ALPS plays
// it with 8 ms, to see how long each function would run uninterrupted.
func SRTF(hold time.Duration) Agent {
	return Fixed(func(t *Task) Placement {
		return Placement{Key: t.Remaining(), Falling: true, Hold: max(hold, 0)}
	})
}

// Levels is a multi-level feedback queue that bounds how many long jobs run: a job
// begins on the first level and falls by one each time that it has used a budget; on
// the last level, Slots jobs at most run at a time, in order of arrival there. It
// knows nothing of the jobs.
type Levels struct {
	// Budgets are the CPU times at which a job leaves each level but the last. Default: 15 ms.
	Budgets []time.Duration
	// Slots bounds the jobs that may run on the last level. Default 0: the cores.
	Slots int
	// Quantum is that of round robin within a level. Default: 3 ms.
	Quantum time.Duration

	level map[*Task]int
	taken int
	wait  []*Task
}

var _ Agent = (*Levels)(nil)

// Arrived implements Agent.
func (l *Levels) Arrived(m *Machine, t *Task) {
	if l.level == nil {
		l.level = map[*Task]int{}
		if len(l.Budgets) == 0 {
			l.Budgets = []time.Duration{15 * time.Millisecond}
		}
		if l.Slots <= 0 {
			l.Slots = m.Cores()
		}
		if l.Quantum <= 0 {
			l.Quantum = 3 * time.Millisecond
		}
	}
	m.Go(t, Placement{Slice: l.Quantum})
	m.SetAlarm(t, l.Budgets[0])
}

// Alarm implements Agent.
func (l *Levels) Alarm(m *Machine, t *Task) {
	l.level[t]++
	if n := l.level[t]; n < len(l.Budgets) {
		m.Go(t, Placement{Level: n, Slice: l.Quantum})
		m.SetAlarm(t, t.Used()+l.Budgets[n])
		return
	}
	m.Stop(t)
	l.wait = append(l.wait, t)
	l.fill(m)
}

// long reports whether t is on the last level.
func (l *Levels) long(t *Task) bool { return l.level[t] == len(l.Budgets) }

// fill gives free slots to those that wait for them.
func (l *Levels) fill(m *Machine) {
	for l.taken < l.Slots && len(l.wait) > 0 {
		t := l.wait[0]
		l.wait = l.wait[1:]
		l.taken++
		m.Go(t, Placement{Level: len(l.Budgets), Slice: l.Quantum})
	}
}

// Slept implements Agent: the slot is free meanwhile.
func (l *Levels) Slept(m *Machine, t *Task) {
	if l.long(t) {
		m.Stop(t)
		l.taken--
		l.fill(m)
	}
}

// Woke implements Agent.
func (l *Levels) Woke(m *Machine, t *Task) {
	if l.long(t) {
		l.wait = append(l.wait, t)
		l.fill(m)
	}
}

// Ended implements Agent.
func (l *Levels) Ended(m *Machine, t *Task) {
	if l.long(t) {
		l.taken--
		l.fill(m)
	}
	delete(l.level, t)
}

// Timer implements Agent.
func (*Levels) Timer(*Machine) {}
