package sim

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/internal/workload"
)

// Options of a simulation.
type Options struct {
	Seed uint64
	// Log, if it is not nil, is told what happens.
	Log func(format string, args ...any)
}

// Stats say what has happened in a simulation, so that a test can see that it
// was not idle.
type Stats struct {
	Runs, Crashes, Failures, Calls, Steps, Retries, Pauses, Cancelled, Again int
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	s.Runs += o.Runs
	s.Crashes += o.Crashes
	s.Failures += o.Failures
	s.Calls += o.Calls
	s.Steps += o.Steps
	s.Retries += o.Retries
	s.Pauses += o.Pauses
	s.Cancelled += o.Cancelled
	s.Again += o.Again
}

// Run simulates the lives of a node until all of its runs have ended and were
// forgotten. The error says what was wrong, with the seed.
func Run(o Options) (Stats, error) {
	l := &life{o: o, loop: newLoop(o.Seed), failed: map[string]int{}, runs: map[string]*expected{}}
	l.disk = &disk{loop: l.loop, blobs: map[string][]byte{}}
	l.store = memory.New(memory.Options{Manual: true, Seed: o.Seed, Now: l.loop.Now})
	l.program = program(l.loop.rng)
	l.live()
	if len(l.wrong) > 0 {
		return l.stats, fmt.Errorf("seed %d: %w", o.Seed, errors.Join(l.wrong...))
	}
	return l.stats, nil
}

// life is the world of a node, and what an observer from outside knows.
type life struct {
	o       Options
	loop    *loop
	disk    *disk
	store   *memory.Store
	program *engine.Program
	engine  *engine.Engine
	boxes   *sandboxes
	broken  error // of this life

	requests []*request
	runs     map[string]*expected // accepted ones, by ID
	failed   map[string]int       // failures so far, by idempotency key of the call
	calm     bool                 // nothing fails any more, so that everything can end
	stats    Stats
	wrong    []error
}

// request is what a client wants, until it has its answer.
type request struct {
	engine.StartRequest
	run string // that it was told
}

// expected is what is known of an accepted run.
type expected struct {
	id        string
	req       *request
	output    any
	cancelled bool // somebody has asked for it
	ended     bool // somebody was told
	status    engine.Status
	checked   bool            // a crash has not changed that
	retrying  bool            // somebody has asked for it, and has no answer
	finished  map[string]bool // keys of calls whose end was on disk at the last crash
}

// report notes what is wrong.
func (l *life) report(format string, args ...any) {
	if len(l.wrong) < 10 {
		l.wrong = append(l.wrong, fmt.Errorf("step %d: "+format, append([]any{l.loop.steps}, args...)...))
	}
	l.say("WRONG: "+format, args...)
}

func (l *life) say(format string, args ...any) {
	if l.o.Log != nil {
		l.o.Log("%6d %v "+format, append([]any{l.loop.steps, l.loop.now.Format("15:04:05.000")}, args...)...)
	}
}

// lifeMax bounds the steps of a simulation: one that needs more hangs.
const lifeMax = 200_000

func (l *life) live() {
	l.boot()
	for range 1 + l.loop.rng.IntN(4) {
		l.requests = append(l.requests, l.request())
	}
	hostile := 100 + l.loop.rng.IntN(1200)
	for l.loop.steps < lifeMax && len(l.wrong) == 0 {
		if l.loop.steps > hostile && !l.calm {
			l.calm, l.disk.fails = true, 0
			l.store.Inject(nil)
			l.say("calm")
		}
		if l.broken != nil || !l.calm && l.loop.chance(100) {
			l.crash()
			l.boot()
		}
		if l.loop.chance(10) {
			l.meddle()
		}
		if l.done() {
			l.end()
			return
		}
		if !l.loop.step() {
			l.nudge()
		}
	}
	if len(l.wrong) == 0 {
		l.report("it does not end: %s", l.where())
	}
}

// request makes one of a client, with a key now and then.
func (l *life) request() *request {
	names := make([]string, 0, len(l.program.App.Workflows))
	for i := range len(l.program.App.Workflows) {
		names = append(names, fmt.Sprintf("w%d", i))
	}
	r := &request{StartRequest: engine.StartRequest{
		App: "sim", Workflow: names[l.loop.rng.IntN(len(names))], Seed: 1,
		Input: map[string]any{"flag": l.loop.chance(2), "n": float64(l.loop.rng.IntN(1000))},
		Key:   fmt.Sprintf("key-%d", len(l.requests)),
	}}
	return r
}

// boot starts the node.
func (l *life) boot() {
	l.broken = nil
	l.boxes = &sandboxes{life: l, open: map[*sandbox]bool{}}
	if !l.calm {
		l.disk.fails = []int{0, 0, 100}[l.loop.rng.IntN(3)]
		l.store.Inject(l.faults())
	}
	l.engine = engine.New(engine.Options{
		World: l.loop, Sandboxes: l.boxes, Store: syncing{l.store, l}, Blobs: l.disk, Catalog: l, Speculate: l.loop.chance(2), Predict: true,
		Cores: 2, Broken: func(err error) { l.broken = err },
	})
	if err := l.engine.Recover(); err != nil {
		l.broken = err
		return
	}
	l.engine.Expire()
	for _, r := range l.requests {
		if x := l.runs[r.run]; x != nil && !x.ended {
			l.engine.WhenEnded(x.id, l.told)
		}
	}
	l.say("boot, %d runs", l.engine.Active())
}

// faults makes the store fail now and then.
func (l *life) faults() func(op string) error {
	every := []int{0, 0, 0, 400}[l.loop.rng.IntN(4)]
	return func(op string) error {
		if op == "append" && l.loop.chance(every) {
			l.stats.Failures++
			return errors.New("input/output error (injected)")
		}
		return nil
	}
}

// Program implements engine.Catalog.
func (l *life) Program(_ context.Context, name, version string) (*engine.Program, error) {
	if name != l.program.App.Name || version != "" && version != l.program.Version {
		return nil, fmt.Errorf("app %s version %s is %w", name, version, engine.ErrGone)
	}
	return l.program, nil
}

// crash kills the node: what it had in memory is gone, and of what it had not
// synced some may be.
func (l *life) crash() {
	l.stats.Crashes++
	l.say("crash (%v)", l.broken)
	l.loop.forget()
	l.store.Crash()
	for _, r := range l.requests {
		x := l.runs[r.run]
		if x == nil || x.checked {
			continue
		}
		h := l.journal(x.id)
		if h == nil {
			l.report("run %s was accepted and is gone", x.id)
			return
		}
		if x.retrying {
			x.retrying = false
			l.again(x, h.Run.Status)
		}
		x.finished, x.checked = h.Finished, x.ended
		if x.ended && !h.Run.Status.Ended() {
			l.report("run %s had ended, and has not after a crash", x.id)
		}
	}
}

// syncing is the store of a node: flushes end at some time.
type syncing struct {
	*memory.Store
	life *life
}

func (s syncing) Notify(v store.Version, f func(error)) {
	s.Store.Notify(v, f)
	s.life.loop.later(2*time.Millisecond, func() { s.Store.Sync() })
}

// meddle does what clients and operators do.
func (l *life) meddle() {
	rng := l.loop.rng
	e := l.engine
	if len(l.requests) < 6 && !l.calm && l.loop.chance(8) {
		l.requests = append(l.requests, l.request())
	}
	for _, r := range l.requests {
		if r.run == "" || l.loop.chance(20) && !l.calm { // again, under the same key
			l.ask(r)
		}
	}
	for _, r := range l.requests {
		x := l.runs[r.run]
		if x != nil && x.ended && x.status == engine.Cancelled && !x.retrying && !l.calm && l.loop.chance(20) {
			x.retrying, x.checked = true, false
			l.stats.Again++
			e.Restart(x.id, func(err error) {
				if e != l.engine {
					return
				}
				x.retrying = false
				if err == nil {
					l.again(x, engine.Running)
					e.WhenEnded(x.id, l.told)
				}
			})
		}
		if x == nil || x.ended {
			continue
		}
		switch rng.IntN(12) {
		case 0, 1:
			for _, w := range l.waiting(x.id) {
				e.Apply(x.id, flow.Signalled{Name: w.Name, Path: w.Path, Value: workload.SignalValue}, func(error) {})
			}
		case 2:
			if !l.calm {
				l.stats.Pauses++
				e.SetPaused(x.id, true, func(error) {})
			}
		case 3, 4:
			e.SetPaused(x.id, false, func(error) {})
		case 5:
			if !l.calm && l.loop.chance(10) {
				x.cancelled = true
				e.Apply(x.id, flow.Cancelled{Reason: "enough"}, func(error) {})
			}
		}
	}
}

// again is a run that somebody has retried, if it goes on.
func (l *life) again(x *expected, status engine.Status) {
	if !status.Ended() {
		l.say("retried %s", x.id)
		x.ended, x.cancelled = false, false
	}
}

// ask sends a request.
func (l *life) ask(r *request) {
	e := l.engine
	e.Submit(context.Background(), r.StartRequest, func(run engine.Run, existed bool, err error) {
		switch {
		case e != l.engine || err != nil:
		case r.run != "" && r.run != run.ID:
			l.report("key %s gave run %s and then %s", r.Key, r.run, run.ID)
		case r.run == "":
			l.accepted(r, run)
		}
	})
}

// accepted is the answer to a request: from now on the run must not be lost.
func (l *life) accepted(r *request, run engine.Run) {
	l.say("accepted %s %s", run.ID, run.Workflow)
	r.run = run.ID
	l.stats.Runs++
	want, err := workload.Reference(l.program.App, run.Workflow, run.ID, r.Input, nil, evaluate)
	if err != nil {
		l.report("%v", err)
		return
	}
	l.runs[run.ID] = &expected{id: run.ID, req: r, output: want.Output}
	l.engine.WhenEnded(run.ID, l.told)
}

// told is the news that a run has ended.
func (l *life) told(run engine.Run) {
	x := l.runs[run.ID]
	l.say("ended %s %s", run.ID, run.Status)
	switch {
	case x.ended && x.status != run.Status:
		l.report("run %s ended as %s and then as %s", run.ID, x.status, run.Status)
	case run.Status == engine.Cancelled && !x.cancelled:
		l.report("run %s was cancelled by nobody", run.ID)
	case run.Status == engine.Failed:
		l.report("run %s failed: %v", run.ID, run.Failure)
	case run.Status == engine.Succeeded:
		got, err := workload.Recode(run.Output)
		if err != nil || !reflect.DeepEqual(got, x.output) {
			l.report("run %s gave %v, %v; want %v", run.ID, got, err, x.output)
		}
	}
	x.ended, x.status = true, run.Status
	if run.Status == engine.Cancelled {
		l.stats.Cancelled++
	}
}

// started checks that a call may start.
func (l *life) started(run string, c domain.Call) {
	l.stats.Calls++
	l.say("call %s %s attempt %d", run, c.Path, c.Attempt)
	if x := l.runs[run]; x != nil && x.finished[c.Key] {
		l.report("run %s: call %s, which had finished, starts again", run, c.Key)
	}
	if len(c.Function.Dial) == 0 {
		return
	}
	h := l.journal(run)
	if h == nil || h.Open[flow.CallID(c.ID)] != c.Key {
		l.report("run %s: call %s is visible from outside, and what it follows from is not on disk", run, c.Key)
	}
}

// mayFail bounds the failures of a call, so that its retries suffice; what
// stands in for a failure has none.
func (l *life) mayFail(key string) bool {
	if l.calm || l.failed[key] >= 5 || strings.HasSuffix(key, "/catch") {
		return false
	}
	l.failed[key]++
	l.stats.Retries++
	return true
}

// done reports whether everything has ended that was asked for.
func (l *life) done() bool {
	if !l.calm || len(l.runs) < len(l.requests) {
		return false
	}
	for _, x := range l.runs {
		if !x.ended || x.retrying {
			return false
		}
	}
	return true
}

// nudge is for a node to which nothing happens any more.
func (l *life) nudge() {
	l.calm = true
	l.store.Sync()
	for _, r := range l.requests {
		if r.run == "" {
			l.ask(r)
			continue
		}
		x := l.runs[r.run]
		if x.ended {
			continue
		}
		l.engine.SetPaused(x.id, false, func(error) {})
		for _, w := range l.waiting(x.id) {
			l.engine.Apply(x.id, flow.Signalled{Name: w.Name, Path: w.Path, Value: workload.SignalValue}, func(error) {})
		}
	}
}

// journal is what the disk holds of a run; nil if that is nothing.
func (l *life) journal(id string) *engine.Inspection {
	s := l.store.Synced()
	defer s.Close()
	i, err := engine.Inspect(s, l.disk, l.program, id)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return nil
	case err != nil:
		l.report("run %s: %v", id, err)
		return nil
	}
	return i
}

// waiting are the signals that a run waits for, as the disk knows it.
func (l *life) waiting(id string) []flow.WaitingSignal {
	if i := l.journal(id); i != nil {
		return i.Waiting
	}
	return nil
}

// where says how far the runs are.
func (l *life) where() string {
	var lines []string
	for _, r := range l.requests {
		x := l.runs[r.run]
		if x == nil {
			lines = append(lines, fmt.Sprintf("request %s has no answer", r.Key))
			continue
		}
		if x.ended {
			continue
		}
		line := "run " + x.id + ": nothing on disk"
		if i := l.journal(x.id); i != nil {
			line = fmt.Sprintf("run %s: %s, open %v, waiting for %v", x.id, i.Run.Status, i.Open, i.Waiting)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// end checks that nothing is left, now and after the retention.
func (l *life) end() {
	l.settle()
	if left := l.boxes.left(); len(left) > 0 {
		l.report("domains are open that belong to ended runs: %v", left)
	}
	l.loop.now = l.loop.now.Add(retention + time.Hour)
	l.engine.Expire()
	l.settle()
	s := l.store.Snapshot()
	keys, err := engine.Remains(s)
	s.Close()
	if err != nil || len(keys) > 0 {
		l.report("after the retention the store holds %q, %v", keys, err)
	}
	if owners, err := l.disk.Owners(); err != nil || len(owners) > 0 {
		l.report("after the retention there are blobs of %v, %v", owners, err)
	}
	l.stats.Steps = l.loop.steps
}

// settle lets what is about to happen happen, without waiting for timers that
// are far away.
func (l *life) settle() {
	soon := l.loop.now.Add(10 * time.Second)
	for l.loop.soon(soon) {
		l.loop.step()
	}
}
