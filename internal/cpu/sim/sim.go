// Package sim plays how a machine of some cores would run a list of jobs, under a
// scheduler that is told what happens and says what goes first.
//
//	jobs := []sim.Job{{Arrival: 0, CPU: 30 * time.Millisecond}, {Arrival: 5 * time.Millisecond, CPU: time.Millisecond}}
//	out, err := sim.Run(jobs, sim.Options{Cores: 1}, sim.SRPT())
//	out.Results[1].Turnaround()                 // 1 ms: the short job does not wait
//
// It goes from event to event, in exact integer time, so a result depends on the
// jobs and the scheduler alone. An Agent is a scheduler: FIFO, RoundRobin, SRPT,
// SRTF and Levels are here, and a policy that runs calls of a node can be played too.
// Sharing plays ideal processor sharing, which has no quanta.
//
// A job is one thread. Caches, memory and the placement of threads on cores are not
// modelled; SwitchCost stands for what a switch costs.
//
//	sim.go         jobs, options and results
//	machine.go     cores, the ready queue and the event loop
//	ready.go       the order of the ready queue
//	disciplines.go the schedulers
//	sharing.go     ideal processor sharing
//	stats.go       means and percentiles by class
package sim

import (
	"errors"
	"fmt"
	"time"
)

// Job is a call that a machine is to run.
type Job struct {
	Function string        // what is called
	Class    string        // under which its result is counted; not seen by schedulers
	App      string        // whose call it is
	Arrival  time.Duration // from the beginning of the trace
	CPU      time.Duration // what it needs of a core; at least 1 ns is taken
	Sleeps   []Sleep       // in order of At
	Deadline time.Duration // after its arrival; 0: none
}

// Sleep is a pause in which a job needs no processor.
type Sleep struct {
	At  time.Duration // the job sleeps when it has used that much, less than CPU
	For time.Duration
}

// Asleep is how long the job sleeps in all.
func (j *Job) Asleep() time.Duration {
	var d time.Duration
	for _, s := range j.Sleeps {
		d += s.For
	}
	return d
}

// Options are those of the machine.
type Options struct {
	// Cores is the number of processors. Default 1.
	Cores int
	// SwitchCost is what a core needs to begin with another job than it ran last.
	// Default 0.
	SwitchCost time.Duration
	// Ran is called whenever a job leaves its core, with how long it has run there
	// without interruption. Default nil: nobody is told.
	Ran func(job int, uninterrupted time.Duration)
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() {
	if o.Cores <= 0 {
		o.Cores = 1
	}
}

// Result is what became of a job.
type Result struct {
	Job      *Job
	Start    time.Duration // when it first ran, from the beginning of the trace
	End      time.Duration
	Switches int // how often it left a core before it slept or ended
}

// Turnaround is the time from arrival to end.
func (r *Result) Turnaround() time.Duration { return r.End - r.Job.Arrival }

// Wait is the part of the turnaround in which the job wanted a core and had none.
func (r *Result) Wait() time.Duration { return r.Turnaround() - r.Job.CPU - r.Job.Asleep() }

// Slowdown is turnaround by what it would be alone on the machine, at least 1.
func (r *Result) Slowdown() float64 {
	return float64(r.Turnaround()) / float64(max(r.Job.CPU+r.Job.Asleep(), 1))
}

// RTE is the run-time effectiveness: CPU time by turnaround, at most 1.
func (r *Result) RTE() float64 { return float64(r.Job.CPU) / float64(max(r.Turnaround(), 1)) }

// Outcome is what became of all jobs.
type Outcome struct {
	Results  []Result // in the order of the jobs
	Cores    int
	Span     time.Duration // when the last job ended
	Busy     time.Duration // that cores worked, over all cores
	Overhead time.Duration // that cores spent on switching
	Switches int           // how often a core began another job than it ran last
}

// ErrInvalid is wrapped by errors about jobs that cannot be played.
var ErrInvalid = errors.New("invalid job")

// ErrStuck is wrapped by errors about schedulers that leave jobs waiting for ever.
var ErrStuck = errors.New("the scheduler leaves calls waiting")

// check refuses jobs that cannot be played.
func check(jobs []Job) error {
	for i := range jobs {
		j := &jobs[i]
		if j.CPU < 0 || j.Arrival < 0 || j.Deadline < 0 {
			return fmt.Errorf("simulate job %d: a time below zero: %w", i, ErrInvalid)
		}
		if i > 0 && j.Arrival < jobs[i-1].Arrival {
			return fmt.Errorf("simulate job %d: it arrives before the one ahead of it: %w", i, ErrInvalid)
		}
		at := time.Duration(-1)
		for _, s := range j.Sleeps {
			if s.At <= at || s.At >= max(j.CPU, 1) || s.For < 0 {
				return fmt.Errorf("simulate job %d: sleeps at %v of %v: %w", i, s.At, j.CPU, ErrInvalid)
			}
			at = s.At
		}
	}
	return nil
}
