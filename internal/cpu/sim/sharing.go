package sim

import (
	"container/heap"
	"math"
	"time"
)

// Sharing plays jobs under ideal processor sharing: at any moment all jobs that want a
// core progress alike, none faster than one core runs. That is what a fair kernel
// scheduler gives to equal threads, less its quanta and switches. Switches are not
// counted, and Options.SwitchCost and Ran are ignored.
func Sharing(jobs []Job, o Options) (*Outcome, error) {
	if err := check(jobs); err != nil {
		return nil, err
	}
	o.EnsureDefaults()
	out := &Outcome{Results: make([]Result, len(jobs)), Cores: o.Cores}
	tasks := make([]Task, len(jobs))
	// Every job that is active has the same progress per time, so what each has had since
	// it became active is a difference of one common progress; legs end in order of theirs.
	var (
		now, progress float64 // nanoseconds
		active        legs
		asleep        sleepers
		next, open    = 0, len(jobs)
	)
	begin := func(t *Task) {
		heap.Push(&active, leg{t: t, ends: progress + float64(t.leg())})
	}
	for open > 0 {
		rate := 1.0
		if len(active) > o.Cores {
			rate = float64(o.Cores) / float64(len(active))
		}
		at, kind := math.Inf(1), 0
		if len(active) > 0 {
			at = now + (active[0].ends-progress)/rate
		}
		if next < len(jobs) && float64(jobs[next].Arrival) < at {
			at, kind = float64(jobs[next].Arrival), 1
		}
		if len(asleep) > 0 && float64(asleep[0].wakes) < at {
			at, kind = float64(asleep[0].wakes), 2
		}
		at = max(at, now)
		progress += (at - now) * rate
		out.Busy += time.Duration((at - now) * rate * float64(len(active)))
		now = at
		switch kind {
		case 0:
			l := heap.Pop(&active).(leg)
			progress = max(progress, l.ends)
			t := l.t
			t.used += t.leg()
			if t.asleep < len(t.Job.Sleeps) {
				t.wakes = time.Duration(now) + t.Job.Sleeps[t.asleep].For
				t.asleep++
				heap.Push(&asleep, t)
				continue
			}
			open--
			out.Results[t.Index].End = max(time.Duration(math.Round(now)), t.Job.Arrival+t.Job.CPU+t.Job.Asleep())
			out.Span = max(out.Span, out.Results[t.Index].End)
		case 1:
			t := &tasks[next]
			*t = Task{Index: next, Job: &jobs[next]}
			out.Results[next] = Result{Job: t.Job, Start: t.Job.Arrival}
			next++
			begin(t)
		case 2:
			begin(heap.Pop(&asleep).(*Task))
		}
	}
	return out, nil
}

// leg is the work of a task up to its next sleep or its end.
type leg struct {
	t    *Task
	ends float64 // in terms of the common progress
}

// legs is the heap of legs by end.
type legs []leg

func (l legs) Len() int { return len(l) }
func (l legs) Less(i, j int) bool {
	if l[i].ends != l[j].ends {
		return l[i].ends < l[j].ends
	}
	return l[i].t.Index < l[j].t.Index
}
func (l legs) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *legs) Push(x any)   { *l = append(*l, x.(leg)) }
func (l *legs) Pop() any {
	old := *l
	x := old[len(old)-1]
	old[len(old)-1] = leg{}
	*l = old[:len(old)-1]
	return x
}

var _ heap.Interface = (*legs)(nil)
