package whatif

import (
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/sim"
)

// loadEvery is how often a policy is told the utilisation.
const loadEvery = 100 * time.Millisecond

// driver lets a policy schedule a simulated machine: it tells the policy what happens
// there, and carries its commands out.
type driver struct {
	strategy policy.Strategy
	options  Options
	tasks    map[policy.ID]*sim.Task
	commands int
	measured time.Duration // when the load was told last
	busy     time.Duration // what the cores had worked then
}

var _ sim.Agent = (*driver)(nil)

// tell gives the policy an event and does what it commands.
func (d *driver) tell(m *sim.Machine, e policy.Event) {
	now := m.Now()
	if past := now - d.measured; past >= loadEvery {
		busy := m.Busy()
		percent := 100 * float64(busy-d.busy) / float64(past) / float64(m.Cores())
		d.measured, d.busy = now, busy
		d.do(m, d.strategy.Step(now, policy.Loaded{Percent: percent}))
	}
	d.do(m, d.strategy.Step(now, e))
	m.Wake(d.strategy.Next())
}

// do carries commands out.
func (d *driver) do(m *sim.Machine, commands []policy.Command) {
	d.commands += len(commands)
	for _, c := range commands {
		t := d.tasks[c.Call]
		if c.Op == policy.Stop {
			m.Stop(t)
			continue
		}
		m.Go(t, d.place(c))
		m.SetAlarm(t, c.Budget)
	}
}

// place is where a command puts a call: tiers are levels, and so are ranks inside one.
func (d *driver) place(c policy.Command) sim.Placement {
	const ranks = 1 << 32
	p := sim.Placement{Level: int(c.Tier)*ranks + c.Rank, Slice: d.options.Quantum, Hold: c.Slice}
	if c.Tier == policy.Express && (d.options.FIFO || d.strategy.Name() == policy.SFS) {
		p.Slice = 0
	}
	return p
}

// id names the call of a task.
func id(t *sim.Task) policy.ID { return policy.ID(t.Index) }

// Arrived implements sim.Agent.
func (d *driver) Arrived(m *sim.Machine, t *sim.Task) {
	if d.tasks == nil {
		d.tasks = map[policy.ID]*sim.Task{}
	}
	d.tasks[id(t)] = t
	c := policy.Call{ID: id(t), Function: t.Job.Function, App: t.Job.App}
	if t.Job.Deadline > 0 {
		c.Deadline = t.Job.Arrival + t.Job.Deadline
	}
	d.tell(m, policy.Arrived{Call: c})
}

// Alarm implements sim.Agent.
func (d *driver) Alarm(m *sim.Machine, t *sim.Task) {
	d.tell(m, policy.Used{ID: id(t), CPU: t.Used()})
}

// Slept implements sim.Agent.
func (d *driver) Slept(m *sim.Machine, t *sim.Task) {
	d.tell(m, policy.Used{ID: id(t), CPU: t.Used()})
	d.tell(m, policy.Slept{ID: id(t)})
}

// Woke implements sim.Agent.
func (d *driver) Woke(m *sim.Machine, t *sim.Task) { d.tell(m, policy.Woke{ID: id(t)}) }

// Ended implements sim.Agent.
func (d *driver) Ended(m *sim.Machine, t *sim.Task) {
	d.tell(m, policy.Ended{ID: id(t), CPU: t.Used()})
	delete(d.tasks, id(t))
}

// Timer implements sim.Agent.
func (d *driver) Timer(m *sim.Machine) { d.tell(m, policy.Tick{}) }
