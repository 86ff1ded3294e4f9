package node

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// RunRequest says what to run and how.
type RunRequest struct {
	App        *app.App
	Workflow   string
	Input      any
	Seed       uint64 // of the jitter of retries
	Load, Pass string // policies; empty: as the app file says
	Apart      bool   // every call in a domain host of its own
	Observer   Observer
}

// RunResult is the outcome of a run. Close gives back its buffers.
type RunResult struct {
	ID      string
	Status  flow.Status
	Output  any
	Failure *flow.Failure // unless it succeeded
	Trace   *telemetry.Trace

	domain *domain.Domain
}

// Open reads a buffer that the run's output names. It is valid until Close.
func (r *RunResult) Open(slot string) (io.ReadCloser, int64, error) {
	rd, size, err := r.domain.Open(slot)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(rd), size, nil
}

// Close frees the run's buffers.
func (r *RunResult) Close() error { return r.domain.Close() }

// Run executes a workflow and returns when it has ended, in whatever way: a run
// that fails is a result, not an error. Cancelling ctx cancels the run.
func (n *Node) Run(ctx context.Context, req RunRequest) (*RunResult, error) {
	w := req.App.Workflows[req.Workflow]
	if w == nil {
		return nil, fmt.Errorf("app %s has no workflow %s", req.App.Name, req.Workflow)
	}
	b, err := n.build(ctx, req.App, req.Observer)
	if err != nil {
		return nil, err
	}
	id := n.runID()
	m, err := flow.New(flow.Spec{Workflow: w, Library: req.App.Workflows, RunID: id, Seed: req.Seed, Input: req.Input})
	if err != nil {
		return nil, err
	}
	r := &run{
		node: n, req: req, app: b, id: id, machine: m, rec: telemetry.NewRecorder(id),
		events: make(chan flow.Event, 16), results: make(chan domain.Result, 8), stalls: make(chan struct{}, 1), over: make(chan struct{}),
		calls: map[flow.CallID]*active{}, busy: map[string]int{}, steps: map[string]time.Duration{}, items: map[string]*telemetry.Span{},
	}
	load, pass := or(req.Load, req.App.Load), or(req.Pass, req.App.Pass)
	version := b.version
	r.domain, err = n.pool.Domain(domain.Options{
		Run: id, Version: version, Quota: n.cfg.Quota, Eager: load == app.LoadEager, Pass: pass, Scratch: n.scratch.Path, Folders: b.folders(),
		Done: r.ended, Log: r.logged, Stalled: r.stalled, Host: r.served,
	})
	if err != nil {
		return nil, err
	}
	return r.loop(ctx), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// run is a run under way. Its fields belong to the goroutine of loop, apart
// from the channels.
type run struct {
	node    *Node
	req     RunRequest
	app     *built
	id      string
	machine *flow.Machine
	domain  *domain.Domain
	rec     *telemetry.Recorder

	names   names // for logs, which come from other goroutines
	events  chan flow.Event
	results chan domain.Result
	stalls  chan struct{}
	over    chan struct{}   // closed when nobody receives any longer
	ctx     context.Context // ends with over

	calls   map[flow.CallID]*active
	queued  []*active      // for a place under their function's concurrency
	busy    map[string]int // calls in the domain, by function
	inside  int            // calls in the domain
	timers  []*time.Timer
	steps   map[string]time.Duration   // when the first call of a step was asked for
	items   map[string]*telemetry.Span // of foreach steps, by path, until now
	outcome *flow.FinishRun
}

// active is a call that the machine has started and nobody has ended.
type active struct {
	flow.StartCall
	fn      *domain.Function
	asked   time.Duration // since the run's start
	begun   time.Duration // when it was given to the domain
	timeout *time.Timer
	queued  bool
}

// loop is the run: events in, commands out, until the machine says how it
// ended.
func (r *run) loop(ctx context.Context) *RunResult {
	observe(r.req.Observer, telemetry.Event{Kind: telemetry.EventRunStarted, Index: telemetry.NoIndex, Text: r.id})
	cancelled := ctx.Done()
	var stop context.CancelFunc
	r.ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	r.apply(flow.Started{})
	for r.outcome == nil {
		select {
		case res := <-r.results:
			r.finish(res)
		case e := <-r.events:
			r.apply(e)
		case <-r.stalls:
		case <-cancelled:
			cancelled = nil
			r.apply(flow.Cancelled{Reason: context.Cause(ctx).Error()})
		}
		r.unblock()
	}
	close(r.over)
	stop()
	for _, t := range r.timers {
		t.Stop()
	}
	for _, c := range r.calls {
		c.stopTimer()
	}
	r.domain.Finish()
	for _, s := range r.items {
		r.rec.Add(*s)
	}
	end := r.rec.Now()
	r.rec.Add(telemetry.Span{Kind: telemetry.KindRun, Name: r.req.Workflow, Index: telemetry.NoIndex, End: end})
	observe(r.req.Observer, telemetry.Event{Kind: telemetry.EventRunFinished, Index: telemetry.NoIndex, Text: string(r.outcome.Status), Took: end})
	return &RunResult{ID: r.id, Status: r.outcome.Status, Output: r.outcome.Output, Failure: r.outcome.Failure, Trace: r.rec.Trace(), domain: r.domain}
}

// apply gives the machine an event and carries out what it answers.
func (r *run) apply(e flow.Event) { r.carryOut(e, r.machine.Apply(e, r.rec.Now())) }

// carryOut does what the machine has answered to an event.
func (r *run) carryOut(e flow.Event, answer []flow.Command) {
	for _, c := range answer {
		switch c := c.(type) {
		case flow.StartCall:
			r.start(c)
		case flow.StopCall:
			r.stop(c.Call, e, answer)
		case flow.SetTimer:
			r.timers = append(r.timers, time.AfterFunc(c.At-r.rec.Now(), func() { r.send(flow.TimerFired{Timer: c.Timer}) }))
		case flow.Evaluate:
			go r.evaluate(c)
		case flow.Discard:
			r.domain.Discard(slotPath(c.Path))
		case flow.StepDone:
			r.stepDone(c)
		case flow.FinishRun:
			r.outcome = &c
		}
	}
}

// send hands an event to the loop, or drops it when the run is over.
func (r *run) send(e flow.Event) {
	select {
	case r.events <- e:
	case <-r.over:
	}
}

func (r *run) evaluate(c flow.Evaluate) {
	values, err := r.node.pool.Evaluate(r.ctx, c.Expressions, c.Scope)
	e := flow.Evaluated{ID: c.ID, Values: values}
	if err != nil {
		e.Err = err.Error()
	}
	r.send(e)
}

// ended is the domain's Done.
func (r *run) ended(res domain.Result) {
	select {
	case r.results <- res:
	case <-r.over:
	}
}

// stalled is the domain's Stalled.
func (r *run) stalled() {
	select {
	case r.stalls <- struct{}{}:
	default:
	}
}

// served is the domain's Host.
func (r *run) served(host string, begun, ended time.Time) {
	r.rec.Add(telemetry.Span{Kind: telemetry.KindHost, Host: host, Index: telemetry.NoIndex, Start: begun.Sub(r.rec.Start()), End: ended.Sub(r.rec.Start())})
}

// unblock deals with running calls that all wait for slots: one that waits
// gives its place to a queued one; with nothing left that could happen, it is a
// deadlock. It is asked after every event, because any of them may have been the
// last that could help.
func (r *run) unblock() {
	running := len(r.calls) - len(r.queued)
	if r.outcome != nil || running == 0 || !r.domain.Stuck(running) {
		return
	}
	if len(r.queued) > 0 && r.inside < callsMax {
		c := r.queued[0]
		r.queued = r.queued[1:]
		r.launch(c)
		return
	}
	if !r.machine.Pending() {
		r.domain.Break(running)
	}
}

// callsMax bounds the calls of a run that its domain has at a time. A host has
// room for somewhat more instances: those of ended calls go a moment later.
const callsMax = 160

// full reports whether a call of a function has to wait for others to end.
func (r *run) full(name string) bool {
	return r.inside >= callsMax || r.busy[name] >= r.concurrency(name)
}

// concurrency is how many calls of a function may run at a time in one run.
func (r *run) concurrency(name string) int {
	if f := r.req.App.Functions[name]; f != nil && f.Concurrency > 0 {
		return f.Concurrency
	}
	return runtime.NumCPU()
}

// names finds the step of a call for its logs. It is safe for concurrent use.
type names struct{ calls sync.Map }

func (n *names) get(call uint64) (step string, index, attempt int) {
	if v, ok := n.calls.Load(call); ok {
		c := v.(*active)
		return c.Step, c.Index, c.Attempt
	}
	return "", telemetry.NoIndex, 0
}
