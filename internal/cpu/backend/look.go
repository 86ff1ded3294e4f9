package backend

import "time"

// Usage is what a look at a task shows.
type Usage struct {
	// CPU is the time that the task has used since Attach: its processes, and those that
	// have ended as far as they were seen. Time asleep or in a queue is not in it.
	CPU time.Duration
	// Threads that can run now; 0: they were not counted.
	Threads int
	// Asleep says that no thread can run.
	Asleep bool
}

const (
	// busyPart is the part of the time between two looks that a task must have run for
	// to be awake without asking for the state of its threads.
	busyPart = 8
	// treeEvery is how old the list of a task's processes may be while it runs.
	treeEvery = 20 * time.Millisecond
)

// gauge is what is known of a task's CPU time.
type gauge struct {
	procs  []proc
	ended  time.Duration // CPU time of processes that are gone, as last seen, less what there was at first
	total  time.Duration
	looked time.Time // the last look
	listed time.Time // the last list of processes
}

// proc is a process of a task.
type proc struct {
	pid int
	cpu time.Duration
}

// init begins with a process that may have run before.
func (g *gauge) init(pid int) error {
	cpu, err := clockOf(pid)
	if err != nil {
		return err
	}
	g.procs, g.ended = []proc{{pid, cpu}}, -cpu
	g.looked = time.Now()
	g.listed = g.looked
	return nil
}

// Look measures the task. It costs a microsecond while the task runs, and some more for
// every thread when it does not seem to. The error is ErrGone when the process has ended.
func (t *Task) Look() (Usage, error) {
	g := &t.gauge
	now := time.Now()
	before, since := g.total, now.Sub(g.looked)
	if err := g.read(t.o.PID); err != nil {
		return Usage{CPU: g.total}, err
	}
	u := Usage{CPU: g.total}
	g.looked = now
	busy := (g.total-before)*busyPart >= since
	if busy && now.Sub(g.listed) < treeEvery {
		return u, nil
	}
	g.listed = now
	g.list(t.processes())
	u.CPU = g.total
	if busy && len(g.procs) == 1 && len(threads(t.o.PID)) == 1 {
		u.Threads = 1
		return u, nil
	}
	for i := range g.procs {
		pid := g.procs[i].pid
		for _, tid := range threads(pid) {
			if s, err := statOf(pid, tid); err == nil && s.state == 'R' {
				u.Threads++
			}
		}
	}
	u.Asleep = u.Threads == 0 && !busy
	return u, nil
}

// read reads the clocks of the processes that are known.
func (g *gauge) read(root int) error {
	kept := g.procs[:0]
	var err error
	for _, p := range g.procs {
		cpu, e := clockOf(p.pid)
		if e != nil || cpu < p.cpu { // gone, or its number is another's
			g.ended += p.cpu
			if p.pid == root {
				err = ErrGone
			}
			continue
		}
		kept = append(kept, proc{p.pid, cpu})
	}
	g.procs = kept
	g.sum()
	return err
}

// list takes on processes that are new.
func (g *gauge) list(pids []int) {
	known := make(map[int]bool, len(g.procs))
	for _, p := range g.procs {
		known[p.pid] = true
	}
	for _, pid := range pids {
		if known[pid] {
			continue
		}
		if cpu, err := clockOf(pid); err == nil {
			g.procs = append(g.procs, proc{pid, cpu})
		}
	}
	g.sum()
}

// sum adds up. The total never falls.
func (g *gauge) sum() {
	total := g.ended
	for _, p := range g.procs {
		total += p.cpu
	}
	g.total = max(g.total, total)
}
