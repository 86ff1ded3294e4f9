// Package replay plays a list of calls on real processes, under a policy of package
// policy and a backend of package backend, and measures what becomes of each call.
//
//	stage, err := replay.NewStage(replay.Options{Program: "weft", Arguments: []string{"child", crew.Role}})
//	calls := replay.Calls(jobs, rates)                          // what each job computes
//	out, err := stage.Play(ctx, calls, replay.Variant{Policy: policy.Weft, Backend: backend.Auto})
//	out.Stats()                                                 // as of a simulated machine
//
// Calls are due at fixed times, and a turnaround counts from there to the answer: what the
// program itself is late is in it. Each runs in a warm process of its own (package crew),
// which has a cgroup of its own where groups can be made, as sandboxes have. This process
// has a group with a greater weight than all calls together under every policy, so that
// policies are compared and not whether the node is protected.
//
//	replay.go   calls, variants, outcomes
//	stage.go    the processes and their groups
//	play.go     one run; nice.go what an unprivileged one may not
//	quiet.go    what else the machine did meanwhile
package replay

import (
	"hash/fnv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/bench/crew"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/work"
)

// Call is a job with what it computes.
type Call struct {
	Job  sim.Job
	Task crew.Job
	Want uint64 // the sum of its result
}

// kernelsOf are the kernels of the functions of ALPS, by what their names begin with.
var kernelsOf = map[string]work.Kernel{"fib": work.Fib, "float": work.Float, "graphBfs": work.BFS, "graphMst": work.MST, "graphPagerank": work.PageRank,
	"feature": work.Features, "matmul": work.Matmul, "markdown": work.Markdown, "sentiment": work.Sentiment}

// Calls gives each job a kernel that computes for as long as it needs. A function whose
// name begins with that of a kernel is that; of every other one, calls are spread over all
// kernels, each a function of its own: "short" becomes "short-fib", "short-matmul", ... A
// job that sleeps does so once.
func Calls(jobs []sim.Job, rates *work.Rates) []Call {
	out := make([]Call, len(jobs))
	for i, j := range jobs {
		k, known := kernelOf(j.Function)
		if !known {
			h := fnv.New32a()
			h.Write([]byte(j.Function))
			k = work.Kernel((uint32(i) + h.Sum32()) % uint32(work.Kernels))
			j.Function += "-" + k.String()
		}
		t := crew.Job{Kernel: k, Units: rates.Units(k, j.CPU)}
		if len(j.Sleeps) > 0 {
			t.Before, t.Pause = min(rates.Units(k, j.Sleeps[0].At), t.Units-1), j.Asleep()
			j.Sleeps = []sim.Sleep{{At: j.Sleeps[0].At, For: t.Pause}}
		}
		out[i] = Call{j, t, t.Answer()}
	}
	return out
}

func kernelOf(function string) (work.Kernel, bool) {
	for prefix, k := range kernelsOf {
		if strings.HasPrefix(function, prefix) {
			return k, true
		}
	}
	return 0, false
}

// Variant is a way to schedule the calls.
type Variant struct {
	Name    string
	Policy  string // of package policy; "": no driver at all
	Backend string // of package backend
	// Options of the policy. Its Book is what is known before the run, and learns.
	Options policy.Options
	// Live has calls go through package scheduler, as those of a node do: a call gets a task when it has lasted
	// for some milliseconds. Else each has one from its start.
	Live bool
	// Unprivileged says that the kernel is to be asked as by a user without CAP_SYS_NICE and
	// without groups.
	Unprivileged bool
}

// Outcome is what became of the calls of a run.
type Outcome struct {
	sim.Outcome               // Results have the measured CPU times and ends
	Calls       int           // whose results were compared with the right ones, and were equal
	Yields      uint64        // context switches of the calls, when they waited
	Losses      uint64        // and when another took their core
	Scheduler   time.Duration // CPU time of the driver
	Program     time.Duration // CPU time of this process, in which the driver is
	View        policy.View   // what the policy has done
	Noise       Noise
	Attempts    int // runs that were made; all but the last were disturbed
}

// Jobs are the calls of the run with the CPU time that each was measured to need.
func (o *Outcome) Jobs() []sim.Job {
	out := make([]sim.Job, len(o.Results))
	for i := range o.Results {
		out[i] = *o.Results[i].Job
	}
	return out
}
