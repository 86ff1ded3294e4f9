package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/telemetry"
)

// Options configure an Engine. World and Sandboxes are always there; without a
// Store and Blobs every run is one that may be lost.
type Options struct {
	World     World
	Sandboxes Sandboxes
	Store     store.Store
	Blobs     Blobs
	Catalog   Catalog
	Gate      Gate     // nil: calls are admitted at once
	CPU       CPU      // nil: the kernel alone schedules calls
	Logs      Logs     // nil: nobody keeps what functions write to standard error
	Meter     Meter    // nil: nobody counts
	Services  Services // nil: there are none

	// Speculate lets functions that nobody outside can watch (no connections, no
	// writable files) start before what they depend on is on disk.
	Speculate bool
	// Predict gets sandboxes ready for the steps after one that starts.
	Predict bool
	// Trace records the spans of runs.
	Trace bool

	Runs       int           // that may be under way; default 100,000
	RunsPerApp int           // the same for one app; default Runs
	Input      int           // bytes of a run's input; default 1 MiB
	Lag        time.Duration // after which a line of a journal is flushed that nobody waits for; default 5 ms
	Retention  time.Duration // of ended runs, where their workflow does not say; default 7 days
	Quota      int64         // bytes of buffers of one run; default 4 GiB
	Scratch    string        // folder for buffers that are passed as files
	Cores      int           // calls of one function at a time in one run, where the app does not say; default: those of the machine

	// Broken is told, once, that the store has failed: nothing can be promised
	// from then on, and the process should end.
	Broken func(error)
	// Lacking is told of a run that cannot go on after a restart because its app
	// could not be made ready, and when that is tried again.
	Lacking func(r Run, why error, again time.Duration)
	// Ended is told of every run that has ended, durably. The trace is nil unless
	// Trace is set.
	Ended func(Run, *telemetry.Trace)
	// Context is the W3C traceparent that the calls of a run find in their
	// environment. Nil: they find none.
	Context func(Run) string
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Runs <= 0 {
		o.Runs = 100_000
	}
	if o.RunsPerApp <= 0 {
		o.RunsPerApp = o.Runs
	}
	if o.Input <= 0 {
		o.Input = 1 << 20
	}
	if o.Retention <= 0 {
		o.Retention = 7 * 24 * time.Hour
	}
	if o.Lag <= 0 {
		o.Lag = 5 * time.Millisecond
	}
	if o.Cores <= 0 {
		o.Cores = runtime.NumCPU()
	}
	if o.Quota <= 0 {
		o.Quota = 4 << 30
	}
}

// Engine keeps the runs of a node.
type Engine struct {
	o      Options
	ctx    context.Context // ends with the engine
	cancel context.CancelFunc
	tasks  tasks // what World.Go was asked to do
	traces traces
	lag    lag

	expiring sync.Mutex // held while runs are forgotten, or one is found to be retried; before mu

	mu       sync.Mutex
	runs     map[string]*run // that have not ended; guarded by mu, as all below
	perApp   map[string]int
	entering map[edition]int // that have a place, and are not yet in runs
	starting int             // the sum of them
	recent   []*run          // that had no journal and have ended, the newest last
	draining bool
	closed   bool
	broken   error
	idle     chan struct{} // closed when draining and no run is left
}

// New makes an engine. Recover brings back the runs of an earlier life; Close
// it.
func New(o Options) *Engine {
	o.EnsureDefaults()
	e := &Engine{o: o, runs: map[string]*run{}, perApp: map[string]int{}, entering: map[edition]int{}, idle: make(chan struct{})}
	e.tasks.quiet = make(chan struct{})
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// work has something done apart from the caller. Close waits for it; later it
// is not done any more.
func (e *Engine) work(f func()) {
	if !e.tasks.begin() {
		return
	}
	e.o.World.Go(func() {
		defer e.tasks.end()
		f()
	})
}

// tasks counts what is under way and lets no more begin once it is closed and
// nothing is left.
type tasks struct {
	mu      sync.Mutex
	n       int
	closing bool
	quiet   chan struct{} // closed when nothing is left
}

func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing && t.n == 0 {
		return false
	}
	t.n++
	return true
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.closing {
		close(t.quiet)
	}
}

// close waits until nothing is left.
func (t *tasks) close() {
	t.mu.Lock()
	t.closing = true
	if t.n == 0 {
		close(t.quiet)
	}
	t.mu.Unlock()
	<-t.quiet
}

// Start accepts a run and returns when it is durable; existed says that the
// key's first request had started it. It fails with *FullError, ErrConflict,
// ErrDraining or ErrTooLarge, or because there is no such workflow.
func (e *Engine) Start(ctx context.Context, req StartRequest) (r Run, existed bool, err error) {
	type answer struct {
		run     Run
		existed bool
		err     error
	}
	done := make(chan answer, 1)
	e.Submit(ctx, req, func(r Run, existed bool, err error) { done <- answer{r, existed, err} })
	select {
	case a := <-done:
		return a.run, a.existed, a.err
	case <-ctx.Done():
		return Run{}, false, ctx.Err()
	case <-e.ctx.Done():
		return Run{}, false, e.why()
	}
}

// Submit is Start without waiting: it tells accepted, once, when the run is
// durable or refused.
func (e *Engine) Submit(ctx context.Context, req StartRequest, accepted func(r Run, existed bool, err error)) {
	p, err := e.o.Catalog.Program(ctx, req.App, req.Version)
	if err != nil {
		accepted(Run{}, false, err)
		return
	}
	input, err := json.Marshal(req.Input)
	if err == nil && len(input) > e.o.Input {
		err = fmt.Errorf("the input is %d bytes of JSON, the limit is %d; upload large values and pass them as buffers: %w", len(input), e.o.Input, ErrTooLarge)
	}
	if err != nil {
		accepted(Run{}, false, fmt.Errorf("start %s: %w", req.Workflow, err))
		return
	}
	sum := sha256.Sum256(input)
	hash := hex.EncodeToString(sum[:])
	if req.Key != "" && e.o.Store != nil && e.existing(p, req, hash, accepted) {
		return // whatever this version of the app has
	}
	if p.App.Workflows[req.Workflow] == nil {
		accepted(Run{}, false, fmt.Errorf("app %s, version %s, has no workflow %q: %w", p.App.Name, p.Version, req.Workflow, ErrNotFound))
		return
	}
	if err := p.App.Outlines[req.Workflow].CheckInput(req.Input); err != nil {
		accepted(Run{}, false, &InputError{err})
		return
	}
	if err := e.enter(p.edition()); err != nil {
		accepted(Run{}, false, err)
		return
	}
	// Whoever deletes a version first takes it away and then counts its runs; here
	// it is counted first.
	if _, err := e.o.Catalog.Program(ctx, p.App.Name, p.Version); err != nil {
		e.leave(p.edition())
		if req.Version == "" && errors.Is(err, ErrGone) { // another one is active by now, or the app is gone
			e.Submit(ctx, req, accepted)
			return
		}
		accepted(Run{}, false, err)
		return
	}
	now := e.o.World.Now()
	rec := record{Run: Run{
		ID: newID(now, e.o.World.Random()), App: p.App.Name, Version: p.Version, Workflow: req.Workflow, Status: Running, Input: req.Input,
		Created: now, Key: req.Key, Trigger: req.Trigger, Traceparent: req.Traceparent, Durability: app.DurabilityJournal,
	}, Seed: req.Seed}
	if rec.Seed == 0 {
		rec.Seed = e.o.World.Random()
	}
	if o := p.App.Outlines[req.Workflow]; o != nil && o.Durability != "" {
		rec.Durability = o.Durability
	}
	r := e.newRun(rec, rec.Durability == app.DurabilityJournal && e.o.Store != nil)
	if err := r.claim(); err != nil {
		e.leave(p.edition())
		r.disclaim()
		accepted(Run{}, false, err)
		return
	}
	r.box.post(func() {
		if err := r.begin(p, req, hash, accepted); err != nil {
			e.leave(p.edition())
			r.dead = true
			r.cancel()
			r.disclaim()
			accepted(Run{}, false, err)
		}
	})
}

// begin writes the record of a new run and starts its machine. If the request's
// key was taken meanwhile, the answer is that other run's.
func (r *run) begin(p *Program, req StartRequest, hash string, accepted func(Run, bool, error)) error {
	r.program = p
	if err := r.make(); err != nil {
		return err
	}
	first := r.rec.Run
	if r.durable {
		err := r.write(req, hash)
		if errors.Is(err, store.ErrPrecondition) && r.e.existing(p, req, hash, accepted) {
			r.e.leave(p.edition())
			r.dead = true
			r.cancel()
			r.disclaim()
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.e.add(r)
	there := func() {
		r.spend()
		accepted(first, false, nil)
	}
	if r.durable {
		r.journal.durable(there)
	} else {
		there()
	}
	if m := r.e.o.Meter; m != nil {
		m.RunStarted(first.App, first.Workflow)
	}
	r.observe(telemetry.Event{Kind: telemetry.EventRunStarted, Index: telemetry.NoIndex, Text: r.id})
	r.apply(flow.Started{})
	return nil
}

// make gives the run its machine.
func (r *run) make() error {
	m, err := r.program.machine(&r.rec)
	if err != nil {
		return err
	}
	r.machine, r.shelf, r.restore = m, newShelf(r.e.o.Blobs, r.id, r.rec.Uploads), len(r.rec.Uploads) > 0
	if r.e.o.Trace {
		r.spans = telemetry.NewRecorderAt(r.id, r.rec.Created)
	}
	return nil
}

// machine makes the machine of a run of the program.
func (p *Program) machine(rec *record) (*flow.Machine, error) {
	w := p.App.Workflows[rec.Workflow]
	if w == nil {
		return nil, fmt.Errorf("app %s, version %s, has no workflow %q: %w", p.App.Name, p.Version, rec.Workflow, ErrNotFound)
	}
	return flow.New(flow.Spec{Workflow: w, Library: p.App.Workflows, RunID: rec.ID, Seed: rec.Seed, Input: rec.Input})
}

// write appends the record of a new run.
func (r *run) write(req StartRequest, hash string) error {
	value, blobs, err := r.rec.encode()
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if _, err := r.e.o.Blobs.Save(r.id, b.name, bytes.NewReader(b.data)); err != nil {
			return err
		}
	}
	var b store.Batch
	b.Put(runKey(r.id), value)
	b.Put(openKey(r.id), []byte{recordVersion})
	if req.Key != "" {
		k := idempotencyKey(r.rec.App, req.Workflow, req.Key)
		taken, err := encode(keyed{Run: r.id, Input: hash})
		if err != nil {
			return err
		}
		b.IfAbsent(k)
		b.Put(k, taken)
	}
	v, err := r.e.o.Store.Append(r.e.ctx, &b)
	if err != nil {
		return fmt.Errorf("write run %s: %w", r.id, err)
	}
	r.journal.added, r.journal.appended, r.journal.version = 1, 1, v
	if m := r.e.o.Meter; m != nil {
		m.JournalBytes(b.Size())
	}
	return nil
}

// existing answers a request whose key belongs to a run already, once that is
// durable. It reports whether there is one.
func (e *Engine) existing(p *Program, req StartRequest, hash string, accepted func(Run, bool, error)) bool {
	s := e.o.Store.Snapshot()
	defer s.Close()
	item, err := s.Get(idempotencyKey(p.App.Name, req.Workflow, req.Key))
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	var k keyed
	if err == nil {
		err = decode(item.Value, &k)
	}
	if err == nil && k.Input != hash && !req.Repeat {
		err = fmt.Errorf("key %q, run %s: %w", req.Key, k.Run, ErrConflict)
	}
	var rec *record
	if err == nil {
		rec, err = loadRecord(s, k.Run)
	}
	if err == nil {
		err = rec.load(e.o.Blobs)
	}
	if err != nil {
		accepted(Run{}, false, err)
		return true
	}
	e.o.Store.Notify(s.Version(), func(err error) {
		if err != nil {
			accepted(Run{}, false, err)
			return
		}
		accepted(rec.Run, true, nil)
	})
	return true
}

// edition is a version of an app.
type edition struct{ app, version string }

// enter reserves a place among the runs.
func (e *Engine) enter(of edition) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.broken != nil:
		return e.broken
	case e.draining || e.closed:
		return ErrDraining
	case len(e.runs)+e.starting >= e.o.Runs:
		return &FullError{What: "runs of this node", Limit: e.o.Runs, RetryAfter: time.Second}
	case e.perApp[of.app] >= e.o.RunsPerApp:
		return &FullError{What: "runs of app " + of.app, Limit: e.o.RunsPerApp, RetryAfter: time.Second}
	}
	e.starting++
	e.entering[of]++
	e.perApp[of.app]++
	return nil
}

// leave gives back a place that no run has taken.
func (e *Engine) leave(of edition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entered(of)
	if e.perApp[of.app]--; e.perApp[of.app] == 0 {
		delete(e.perApp, of.app)
	}
	e.quiet()
}

// add makes a run one of those under way; its place was reserved.
func (e *Engine) add(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entered(edition{r.rec.App, r.rec.Version})
	e.runs[r.id] = r
}

// entered notes that a place is not reserved any longer; mu is held.
func (e *Engine) entered(of edition) {
	e.starting--
	if e.entering[of]--; e.entering[of] == 0 {
		delete(e.entering, of)
	}
}

// quiet tells who drains when no run is left; mu is held.
func (e *Engine) quiet() {
	if e.draining && len(e.runs)+e.starting == 0 {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
}

// recentMax is how many ended runs without a journal are remembered, with the
// buffers of their output.
const recentMax = 64

// forget takes a run out of those under way.
func (e *Engine) forget(r *run) {
	rec := r.view()
	e.lose(r)
	e.mu.Lock()
	var old *run
	if !r.durable && !r.options.own {
		e.recent = append(e.recent, r)
		if len(e.recent) > recentMax {
			old = e.recent[0]
			e.recent = e.recent[1:]
		}
	}
	e.mu.Unlock()
	if old != nil && old.domain != nil {
		old.domain.Close()
	}
	if m := e.o.Meter; m != nil {
		m.RunEnded(rec.App, rec.Workflow, string(rec.Status), rec.Ended.Sub(rec.Created))
	}
	var t *telemetry.Trace
	if r.spans != nil {
		t = r.spans.Trace()
		e.traces.add(t)
	}
	if e.o.Ended != nil {
		e.o.Ended(rec, t)
	}
}

// lose takes a run out of the table of those under way.
func (e *Engine) lose(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runs, r.id)
	if e.perApp[r.rec.App]--; e.perApp[r.rec.App] == 0 {
		delete(e.perApp, r.rec.App)
	}
	e.quiet()
}

// view is what is known of the run now.
func (r *run) view() Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec.Run
}

// live finds a run that has not ended.
func (e *Engine) live(id string) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

// breakDown stops everything: the store or the disk has failed, so nothing that
// happens from now on could be promised.
func (e *Engine) breakDown(err error) {
	e.mu.Lock()
	first := e.broken == nil && !e.closed
	if first {
		e.broken = err
	}
	e.mu.Unlock()
	if first {
		e.cancel()
		if e.o.Broken != nil {
			e.o.Broken(err)
		}
	}
}

// why says why the engine's context has ended.
func (e *Engine) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken != nil {
		return e.broken
	}
	return ErrDraining
}

// Active counts the runs that have not ended.
func (e *Engine) Active() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runs)
}

// Drain refuses new runs, and returns when those under way have ended or ctx
// has. What has not ended goes on at the next start.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.draining = true
	none := len(e.runs)+e.starting == 0
	e.mu.Unlock()
	if none {
		return nil
	}
	select {
	case <-e.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops at once. Runs with a journal go on when an engine recovers them;
// others are lost.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed, e.draining = true, true
	var runs []*run
	for _, r := range e.runs {
		runs = append(runs, r)
	}
	recent := e.recent
	e.recent = nil
	e.mu.Unlock()
	e.cancel()
	for _, r := range runs {
		r.box.post(r.abandon)
	}
	e.tasks.close()
	var err error
	for _, r := range recent {
		if r.domain != nil {
			err = errors.Join(err, r.domain.Close())
		}
	}
	return err
}
