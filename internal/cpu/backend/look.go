package backend

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// State says whether a task can run.
type State uint8

// The states.
const (
	Unknown State = iota // a look that was not deep, at a task that did not get on
	Awake                // it has run, or would like to
	Asleep               // no thread can run
)

// Usage is what a look at a task shows.
type Usage struct {
	// CPU is the time that the task has used since Attach: its processes, and those that
	// have ended as far as they were seen. Time asleep or in a queue is not in it.
	CPU time.Duration
	// State says whether it can run.
	State State
	// Threads that can run now; 0: they were not counted.
	Threads int
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
	began  time.Duration // the clock of the first process at first
	ended  time.Duration // CPU time of processes that are gone, as last seen, less what there was at first
	total  time.Duration
	looked time.Time // the last look
	listed time.Time // the last list of processes
	seen   time.Duration
	root   files
}

// proc is a process of a task.
type proc struct {
	pid int
	cpu time.Duration
}

// files are those of a task's first process. Reading one that is open costs a quarter of
// opening it.
type files struct {
	others, stat int // descriptors; 0: not open
}

// init begins with a process that may have run before.
func (g *gauge) init(pid int) error {
	cpu, err := clockOf(pid)
	if err != nil {
		return err
	}
	now := time.Now()
	*g = gauge{procs: append(g.procs[:0], proc{pid, cpu}), began: cpu, ended: -cpu, looked: now, listed: now, root: g.root}
	return nil
}

// Look measures the task. A look that is not deep reads one clock for every process that is
// known, which costs less than a microsecond; it finds that the task is awake when that
// has got on. A deep one also looks for new processes, and asks for the state of all
// threads, if the task did not get on or was not asked for long. The error is ErrGone when
// the process has ended.
func (t *Task) Look(deep bool) (Usage, error) {
	if t.o.Thread > 0 {
		return t.lookThread(deep)
	}
	if t.o.Crew != nil && t.o.Crew.mixed {
		return t.o.Crew.look(t, deep)
	}
	g := &t.gauge
	if err := g.read(t.o.PID); err != nil {
		return Usage{CPU: g.total}, err
	}
	now := time.Now()
	busy := (g.total-g.seen)*busyPart >= now.Sub(g.looked)
	u := Usage{CPU: g.total}
	if busy {
		u.State = Awake
	}
	if !deep {
		return u, nil
	}
	g.looked, g.seen = now, g.total
	if busy && now.Sub(g.listed) < treeEvery {
		return u, nil
	}
	g.listed = now
	if s, one := t.lone(); one { // no child and no other thread
		switch {
		case s.state == 'R':
			u.State, u.Threads = Awake, 1
		case !busy:
			u.State = Asleep
		}
		return u, nil
	}
	g.list(t.processes())
	g.seen, u.CPU = g.total, g.total
	for _, p := range g.procs {
		for _, tid := range threads(p.pid) {
			if s, err := statOf(p.pid, tid); err == nil && s.state == 'R' {
				u.Threads++
			}
		}
	}
	switch {
	case u.Threads > 0:
		u.State = Awake
	case !busy:
		u.State = Asleep
	}
	return u, nil
}

// lone reports whether the task is one process with one thread, and what the kernel says of
// that. It is what most are, and found out with two calls once the files are open.
func (t *Task) lone() (s stat, one bool) {
	g := &t.gauge
	if len(g.procs) != 1 || !g.root.open(t.o) || t.o.Init > 0 && len(children(t.o.Init)) > 0 {
		return s, false
	}
	var buf [1024]byte
	n, err := unix.Pread(g.root.others, buf[:], 0)
	if err != nil || t.o.Group == "" && n > 0 || t.o.Group != "" && bytes.IndexByte(buf[:n], '\n') != n-1 {
		return s, false
	}
	n, err = unix.Pread(g.root.stat, buf[:], 0)
	if err != nil {
		return s, false
	}
	s, err = parseStat(buf[:n])
	return s, err == nil && s.threads == 1
}

// open opens the files of a task: others is where further processes show, its children or
// those of its group.
func (f *files) open(o TaskOptions) bool {
	if f.stat > 0 {
		return true
	}
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	others := taskFile(o.PID, o.PID, "children")
	if o.Group != "" {
		others = o.Group + "/cgroup.procs"
	}
	var err error
	if f.others, err = unix.Open(others, flags, 0); err == nil {
		if f.stat, err = unix.Open(taskFile(o.PID, o.PID, "stat"), flags, 0); err == nil {
			return true
		}
	}
	f.close()
	return false
}

// close closes them.
func (f *files) close() {
	for _, fd := range []*int{&f.others, &f.stat} {
		if *fd > 0 {
			unix.Close(*fd)
		}
		*fd = 0
	}
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
