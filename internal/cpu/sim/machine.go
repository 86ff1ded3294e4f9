package sim

import (
	"container/heap"
	"fmt"
	"math"
	"time"
)

// Agent is a scheduler. It is told what happens, and says with the methods of Machine
// what is to be done. A task that has arrived is stopped until the agent lets it go.
type Agent interface {
	Arrived(m *Machine, t *Task)
	// Alarm tells that the task has used the CPU time given to SetAlarm.
	Alarm(m *Machine, t *Task)
	Slept(m *Machine, t *Task)
	Woke(m *Machine, t *Task)
	Ended(m *Machine, t *Task)
	// Timer tells that the time given to Wake has come.
	Timer(m *Machine)
}

// Machine is the machine that an agent schedules.
type Machine struct {
	options Options
	agent   Agent
	now     time.Duration
	tasks   []Task
	next    int // the task that arrives next
	open    int // tasks that have not ended
	turns   uint64
	timer   time.Duration
	ready   queue
	asleep  sleepers
	cores   []core
	out     *Outcome
}

// core is a processor.
type core struct {
	task  *Task
	last  *Task         // that it ran before
	since time.Duration // to here the task's work is counted; after now while the core switches
	begun time.Duration // when the task's work began
	slice time.Duration // when its turn is over, not before it may lose the core; never when it has no slice
}

const never = time.Duration(math.MaxInt64)

// Run plays jobs, which are in order of arrival, on a machine that agent schedules.
func Run(jobs []Job, o Options, agent Agent) (*Outcome, error) {
	if err := check(jobs); err != nil {
		return nil, err
	}
	o.EnsureDefaults()
	m := &Machine{options: o, agent: agent, tasks: make([]Task, len(jobs)), open: len(jobs), timer: never, cores: make([]core, o.Cores),
		out: &Outcome{Results: make([]Result, len(jobs)), Cores: o.Cores}}
	horizon := time.Hour // more than enough for anything that goes on at all
	for i := range jobs {
		m.tasks[i] = Task{Index: i, Job: &jobs[i]}
		m.out.Results[i].Job = &jobs[i]
		horizon += 20*(jobs[i].CPU+o.SwitchCost) + jobs[i].Asleep()
	}
	if len(jobs) > 0 {
		horizon += jobs[len(jobs)-1].Arrival
	}
	for same := 0; m.open > 0; {
		at := m.soonest()
		if at == never || at > horizon {
			return nil, fmt.Errorf("simulate %d jobs: %d are open after %v: %w", len(jobs), m.open, m.now, ErrStuck)
		}
		if same++; at > m.now {
			same = 0
		} else if same > 100*(len(jobs)+1000) {
			return nil, fmt.Errorf("simulate %d jobs: no end of events at %v: %w", len(jobs), m.now, ErrStuck)
		}
		m.now = max(m.now, at)
		m.step()
	}
	m.out.Span = m.now
	return m.out, nil
}

// Now is the time from the beginning of the trace.
func (m *Machine) Now() time.Duration { return m.now }

// Cores is the number of processors.
func (m *Machine) Cores() int { return m.options.Cores }

// Waiting is the number of tasks that want a core and have none.
func (m *Machine) Waiting() int { return len(m.ready) }

// Go lets a task run at a placement; one that runs or waits already changes its
// place. A task whose slice changes begins a new one.
func (m *Machine) Go(t *Task, p Placement) {
	m.settle()
	fresh := t.state == stopped || p.Slice != t.place.Slice
	moved := t.place.Level != p.Level
	t.place = p
	if fresh {
		t.left = p.Slice
	}
	switch t.state {
	case stopped:
		m.enqueue(t)
	case halted:
		t.state = sleeping
	case ready:
		if moved {
			m.turns++
			t.turn = m.turns
		}
		heap.Fix(&m.ready, t.at)
	case running:
		c := &m.cores[t.core]
		if fresh {
			c.turnEnds(t.left)
		} else if p.Slice > 0 {
			c.slice = max(c.slice, c.begun+p.Hold)
		}
	}
}

// Stop takes a task from its core or from the queue until Go lets it run again.
func (m *Machine) Stop(t *Task) {
	m.settle()
	switch t.state {
	case ready:
		heap.Remove(&m.ready, t.at)
		t.state = stopped
	case running:
		m.leave(t)
		t.state = stopped
		m.out.Results[t.Index].Switches++
	case sleeping:
		t.state = halted
	}
}

// SetAlarm makes the machine tell the agent when the task has used cpu in all; it
// does so once. 0 and what is used already mean never.
func (m *Machine) SetAlarm(t *Task, cpu time.Duration) {
	m.settle()
	if t.alarm = cpu; cpu <= t.used {
		t.alarm = 0
	}
}

// Wake makes the machine tell the agent when it is at; there is one such time, and
// the last one set counts. A time that is over means never.
func (m *Machine) Wake(at time.Duration) {
	if m.timer = at; at <= m.now {
		m.timer = never
	}
}

// soonest is when something happens next.
func (m *Machine) soonest() time.Duration {
	at := m.timer
	if m.next < len(m.tasks) {
		at = min(at, m.tasks[m.next].Job.Arrival)
	}
	if len(m.asleep) > 0 {
		at = min(at, m.asleep[0].wakes)
	}
	for i := range m.cores {
		if c := &m.cores[i]; c.task != nil {
			at = min(at, c.since+c.task.leg(), c.slice)
			if kept := c.begun + c.task.place.Hold; kept > m.now && len(m.ready) > 0 {
				at = min(at, kept)
			}
		}
	}
	return at
}

// leg is the CPU time that the task uses before something happens to it.
func (t *Task) leg() time.Duration {
	end := max(t.Job.CPU, 1)
	if t.asleep < len(t.Job.Sleeps) {
		end = t.Job.Sleeps[t.asleep].At
	}
	if t.alarm > 0 {
		end = min(end, max(t.alarm, t.used))
	}
	return end - t.used
}

// settle counts what the cores have worked until now.
func (m *Machine) settle() {
	for i := range m.cores {
		c := &m.cores[i]
		if c.task == nil || c.since >= m.now {
			continue
		}
		ran := m.now - c.since
		c.since = m.now
		c.task.used += ran
		m.out.Busy += ran
		if c.task.place.Falling {
			c.task.place.Key -= ran
		}
	}
}

// step lets happen what happens now, and gives the cores to those who come first.
func (m *Machine) step() {
	m.settle()
	for i := range m.cores {
		if t := m.cores[i].task; t != nil && m.cores[i].since <= m.now {
			m.reached(t)
		}
	}
	for len(m.asleep) > 0 && m.asleep[0].wakes <= m.now {
		t := heap.Pop(&m.asleep).(*Task)
		if t.state == halted {
			t.state = stopped
		} else {
			t.left = t.place.Slice
			m.enqueue(t)
		}
		m.agent.Woke(m, t)
	}
	for m.next < len(m.tasks) && m.tasks[m.next].Job.Arrival <= m.now {
		m.next++
		m.agent.Arrived(m, &m.tasks[m.next-1])
	}
	if m.timer <= m.now {
		m.timer = never
		m.agent.Timer(m)
	}
	m.dispatch()
}

// reached tells the agent what a running task has come to.
func (m *Machine) reached(t *Task) {
	switch {
	case t.used >= max(t.Job.CPU, 1):
		m.leave(t)
		t.state = ended
		m.open--
		m.out.Results[t.Index].End = m.now
		m.agent.Ended(m, t)
	case t.asleep < len(t.Job.Sleeps) && t.used >= t.Job.Sleeps[t.asleep].At:
		m.leave(t)
		t.state = sleeping
		t.wakes = m.now + t.Job.Sleeps[t.asleep].For
		t.asleep++
		heap.Push(&m.asleep, t)
		m.agent.Slept(m, t)
	case t.alarm > 0 && t.used >= t.alarm:
		t.alarm = 0
		m.agent.Alarm(m, t)
	}
}

// enqueue puts a task at the end of those of its level and key.
func (m *Machine) enqueue(t *Task) {
	m.turns++
	t.turn = m.turns
	t.state = ready
	heap.Push(&m.ready, t)
}

// leave takes a running task from its core.
func (m *Machine) leave(t *Task) {
	c := &m.cores[t.core]
	if t.place.Slice > 0 {
		t.left = max(c.slice-max(c.since, m.now), 0)
	}
	if m.options.Ran != nil {
		m.options.Ran(t.Index, max(m.now-c.begun, 0))
	}
	if c.since > m.now { // it had not even begun
		m.out.Overhead -= c.since - m.now
	}
	c.task, c.last = nil, t
}

// dispatch gives the cores to the tasks that come first.
func (m *Machine) dispatch() {
	for i := range m.cores { // turns that are over and that nobody else wants begin anew
		if c := &m.cores[i]; c.task != nil && c.slice <= m.now && !m.wanted(c.task) {
			c.slice = m.now + c.task.place.Slice
		}
	}
	for len(m.ready) > 0 {
		first := m.ready[0]
		i := m.coreFor(first)
		if i < 0 {
			return
		}
		heap.Pop(&m.ready)
		if old := m.cores[i].task; old != nil {
			over := m.cores[i].slice <= m.now
			m.leave(old)
			m.out.Results[old.Index].Switches++
			old.state = ready
			if over {
				m.turns++
				old.turn = m.turns
				old.left = old.place.Slice
			}
			heap.Push(&m.ready, old)
		}
		m.begin(i, first)
	}
}

// wanted reports whether a ready task would take the core of t at the end of its turn.
func (m *Machine) wanted(t *Task) bool { return len(m.ready) > 0 && !t.before(m.ready[0]) }

// coreFor is the core on which t may begin now, -1 when there is none: a free one,
// if possible the one where it was; else that of the task that comes last of all.
func (m *Machine) coreFor(t *Task) int {
	free, victim := -1, -1
	for i := range m.cores {
		c := &m.cores[i]
		if c.task == nil {
			if free < 0 || c.last == t {
				free = i
			}
			continue
		}
		if hold := c.task.place.Hold; hold > 0 && c.begun+hold > m.now {
			continue
		}
		if !t.before(c.task) && (c.slice > m.now || c.task.before(t)) {
			continue
		}
		if victim < 0 || m.cores[victim].task.before(c.task) || !c.task.before(m.cores[victim].task) && c.begun > m.cores[victim].begun {
			victim = i
		}
	}
	if free >= 0 {
		return free
	}
	return victim
}

// begin gives core i to t.
func (m *Machine) begin(i int, t *Task) {
	c := &m.cores[i]
	t.state, t.core = running, i
	c.task, c.since = t, m.now
	if c.last != t {
		m.out.Switches++
		m.out.Overhead += m.options.SwitchCost
		c.since += m.options.SwitchCost
	}
	c.begun = c.since
	if t.left <= 0 {
		t.left = t.place.Slice
	}
	c.turnEnds(t.left)
	if !t.started {
		t.started = true
		m.out.Results[t.Index].Start = c.since
	}
}

// turnEnds sets when the turn of the core's task is over that has left to go.
func (c *core) turnEnds(left time.Duration) {
	c.slice = never
	if p := &c.task.place; p.Slice > 0 {
		c.slice = max(c.since+left, c.begun+p.Hold)
	}
}

// Busy is what the cores have worked until now, over all of them.
func (m *Machine) Busy() time.Duration {
	m.settle()
	return m.out.Busy
}
