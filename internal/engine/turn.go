package engine

import (
	"sync"
	"time"

	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
)

// CPU schedules calls on the processor: a *scheduler.Scheduler. Nil: the kernel alone
// does.
type CPU interface {
	// Begin brings a call; it may run when it is admitted.
	Begin(d scheduler.Demand) *scheduler.Call
	// Expect is the mean CPU time of the calls of a function.
	Expect(app, version, function string) time.Duration
}

// turn asks for the call's turn on the processor, and launches it then.
func (r *run) turn(a *active) {
	if r.e.o.CPU == nil {
		r.launch(a)
		return
	}
	d := scheduler.Demand{App: r.program.App.Name, Version: r.program.Version, Function: a.fn.Name}
	d.RunWork, d.OnPath = r.path(a)
	if limit := r.limit(a); limit > 0 {
		d.Deadline = r.e.o.World.Now().Add(limit)
	}
	a.turn = r.e.o.CPU.Begin(d)
	if a.state == queued {
		r.busy[a.fn.Name]++
	}
	a.state = waiting
	now := a.turn.Then(func() {
		r.post(func() {
			if r.calls[a.Call] == a && a.state == waiting {
				r.launch(a)
			}
		})
	})
	if now {
		r.launch(a)
	}
}

// limit is the time that a call has until it is ended; 0: as long as it takes.
func (r *run) limit(a *active) time.Duration {
	if a.Timeout > 0 {
		return max(a.Timeout-(r.clock()-a.asked), 1)
	}
	return r.program.App.Functions[a.fn.Name].Timeout
}

// path tells the CPU time that the run needs from here along its critical path, and
// whether a call is on that: no other one of those that are looked at has more behind it.
// What sub-workflows need is not known.
func (r *run) path(a *active) (work time.Duration, on bool) {
	ahead := r.program.ahead(r.rec.Workflow, r.e.o.CPU, r.e.o.World.Now())
	own := ahead[a.Step]
	work = own
	n := 0
	for _, other := range r.calls {
		work = max(work, ahead[other.Step])
		if n++; n == pathCalls {
			break
		}
	}
	return work, own > 0 && own == work
}

const (
	// pathCalls bounds the calls that are looked at.
	pathCalls = 64
	// pathsAge is how old expected times may be.
	pathsAge = time.Second
)

// paths are the expected times of an app's workflows.
type paths struct {
	mu   sync.Mutex
	of   map[string]map[string]time.Duration // by workflow and step; guarded by mu
	made map[string]time.Time                // guarded by mu
}

// ahead gives for each step of a workflow the CPU time of it and of the steps after it.
func (p *Program) ahead(workflow string, cpu CPU, now time.Time) map[string]time.Duration {
	if w := p.App.Workflows[workflow]; p.paths == nil || w == nil || len(w.Steps) < 2 {
		return nil
	}
	p.paths.mu.Lock()
	defer p.paths.mu.Unlock()
	if at, ok := p.paths.made[workflow]; !ok || now.Sub(at) > pathsAge {
		p.paths.of[workflow], p.paths.made[workflow] = p.longest(workflow, cpu), now
	}
	return p.paths.of[workflow]
}

// longest gives for each step of a workflow the CPU time that is expected of it and of the
// steps that need it, along the path with the most.
func (p *Program) longest(workflow string, cpu CPU) map[string]time.Duration {
	out := map[string]time.Duration{}
	w := p.App.Workflows[workflow]
	after := map[string][]string{}
	own := map[string]time.Duration{}
	for _, s := range w.Steps {
		for _, need := range s.Needs {
			after[need] = append(after[need], s.Name)
		}
		if s.Call.Kind == flow.Function {
			own[s.Name] = cpu.Expect(p.App.Name, p.Version, s.Call.Name)
		}
	}
	var ahead func(step string) time.Duration
	ahead = func(step string) time.Duration { // a workflow has no cycles
		if d, ok := out[step]; ok {
			return d
		}
		var most time.Duration
		for _, next := range after[step] {
			most = max(most, ahead(next))
		}
		out[step] = own[step] + most
		return out[step]
	}
	for _, s := range w.Steps {
		ahead(s.Name)
	}
	return out
}
