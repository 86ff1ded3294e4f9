package sim

import (
	"container/heap"
	"time"
)

// Placement is where a task stands among those that want a core.
type Placement struct {
	// Level comes first: a task of a lower level takes the core from one of a higher.
	Level int
	// Key decides within a level; the least goes first, and takes the core from one
	// with a greater key.
	Key time.Duration
	// Falling makes the key fall by what the task runs, as what remains of a job does.
	Falling bool
	// Slice is how long the task runs before it goes to the end of its level, behind
	// those of the same key. 0: until it ends, sleeps or loses its core.
	Slice time.Duration
	// Hold is how long the task keeps a core at least, whoever comes.
	Hold time.Duration
}

// Task is a job on a machine.
type Task struct {
	Index int // among the jobs
	Job   *Job

	used    time.Duration // CPU time until now
	asleep  int           // sleeps behind it
	state   state
	place   Placement
	turn    uint64        // order among those of the same level and key
	left    time.Duration // of its slice
	alarm   time.Duration // CPU time at which the agent wants to be told; 0: never
	at      int           // in the heap that it is in
	wakes   time.Duration
	core    int // when it runs
	started bool
}

// state says where a task is.
type state uint8

const (
	stopped state = iota // not begun, or halted
	ready
	running
	sleeping // and when it wakes it is ready again
	halted   // asleep, and when it wakes it is stopped
	ended
)

// Used is the CPU time that the task has had.
func (t *Task) Used() time.Duration { return t.used }

// Remaining is the CPU time that it still needs. Only oracles look at it.
func (t *Task) Remaining() time.Duration { return t.Job.CPU - t.used }

// before reports whether t takes the core from u.
func (t *Task) before(u *Task) bool {
	if t.place.Level != u.place.Level {
		return t.place.Level < u.place.Level
	}
	return t.place.Key < u.place.Key
}

// queue is the heap of ready tasks.
type queue []*Task

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].before(q[j]) || q[j].before(q[i]) {
		return q[i].before(q[j])
	}
	return q[i].turn < q[j].turn
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i]; q[i].at, q[j].at = i, j }
func (q *queue) Push(x any)   { t := x.(*Task); t.at = len(*q); *q = append(*q, t) }
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}

// sleepers is the heap of tasks that sleep.
type sleepers []*Task

func (s sleepers) Len() int { return len(s) }
func (s sleepers) Less(i, j int) bool {
	if s[i].wakes != s[j].wakes {
		return s[i].wakes < s[j].wakes
	}
	return s[i].Index < s[j].Index
}
func (s sleepers) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *sleepers) Push(x any)   { *s = append(*s, x.(*Task)) }
func (s *sleepers) Pop() any {
	old := *s
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	return t
}

var (
	_ heap.Interface = (*queue)(nil)
	_ heap.Interface = (*sleepers)(nil)
)
