package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

// sandboxes run functions of the test in goroutines.
type sandboxes struct {
	mu    sync.Mutex
	fn    map[string]func(input any) (any, *flow.Failure) // nil result and failure: it never ends
	calls []string                                        // idempotency keys and attempts, in order
}

func (s *sandboxes) Domain(o domain.Options) (engine.Domain, error) {
	return &box{sandboxes: s, o: o}, nil
}

func (s *sandboxes) Evaluate(_ context.Context, _ []string, _ any, done func([]any, error)) {
	go done(nil, errors.New("no jq here"))
}

func (s *sandboxes) Prepare(string, ...*domain.Function) {}

func (s *sandboxes) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

type box struct {
	*sandboxes
	o domain.Options
}

var never = &flow.Failure{Kind: "never"}

func (b *box) Start(c domain.Call) {
	b.mu.Lock()
	b.calls = append(b.calls, fmt.Sprintf("%s %d", c.Path, c.Attempt))
	f := b.fn[c.Function.Name]
	b.mu.Unlock()
	go func() {
		var input any
		if err := json.Unmarshal(c.Input, &input); err != nil {
			panic(err)
		}
		out, failure := f(input)
		if failure == never {
			return
		}
		r := domain.Result{Call: c.ID, Failure: failure}
		if failure == nil {
			r.Output, _ = json.Marshal(out)
		}
		b.o.Done(r)
	}()
}

func (b *box) Stop(uint64)                           {}
func (b *box) Commit(uint64) (domain.Effects, error) { return domain.Effects{}, nil }
func (b *box) Withdraw(uint64)                       {}
func (b *box) Discard(string)                        {}
func (b *box) Stuck(int) bool                        { return false }
func (b *box) Break(int)                             {}
func (b *box) Restore([]domain.Saved) error          { return nil }
func (b *box) Finish()                               {}
func (b *box) Close() error                          { return nil }
func (b *box) Hold(slot string) (io.Reader, int64, func(), error) {
	return nil, 0, nil, fmt.Errorf("no slot %s", slot)
}
func (b *box) Open(slot string) (io.Reader, int64, error) {
	return nil, 0, fmt.Errorf("no slot %s", slot)
}

// noBlobs is a data folder that nothing is put into.
type noBlobs struct{}

func (noBlobs) Save(string, string, io.Reader) (int64, error) { return 0, errors.New("no disk") }
func (noBlobs) Open(string, string) (engine.Blob, int64, error) {
	return nil, 0, errors.New("no disk")
}
func (noBlobs) Remove(string, string) error                 { return nil }
func (noBlobs) Drop(string) error                           { return nil }
func (noBlobs) Owners() ([]string, error)                   { return nil, nil }
func (noBlobs) Spend(string) error                          { return nil }
func (noBlobs) Claim(string, string, string) (int64, error) { return 0, errors.New("no uploads") }

// bench is an app, a store and an engine.
type bench struct {
	t       testing.TB
	program *engine.Program
	boxes   *sandboxes
	store   store.Store
	engine  *engine.Engine
}

func (b *bench) Program(_ context.Context, name, version string) (*engine.Program, error) {
	if name != b.program.App.Name || version != "" && version != b.program.Version {
		return nil, fmt.Errorf("app %s, version %s, is %w", name, version, engine.ErrGone)
	}
	return b.program, nil
}

const appFile = `
name: shop
functions:
  double: {source: double.wasm}
  other: {source: other.wasm}
workflows:
  order:
    steps:
      a: {call: double}
      b: {call: other, needs: [a], with: "${ .a }"}
  approve:
    steps:
      wait: {signal: approve}
  slow:
    steps:
      nap: {wait: 1h}
  patient:
    steps:
      a: {signal: approve, call: double, with: "${ .signal }"}
  mortal:
    durability: none
    steps:
      a: {call: double}
`

func newBench(t testing.TB, o engine.Options) *bench {
	t.Helper()
	b := &bench{t: t, program: program(t, appFile), store: memory.New(memory.Options{}), boxes: &sandboxes{fn: map[string]func(any) (any, *flow.Failure){}}}
	for name := range b.program.Functions {
		b.boxes.fn[name] = func(input any) (any, *flow.Failure) {
			n, _ := input.(float64)
			return 2 * n, nil
		}
	}
	b.start(o)
	return b
}

// program is that of an app file whose functions nobody builds.
func program(t testing.TB, file string) *engine.Program {
	t.Helper()
	p, err := parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(file string) (*engine.Program, error) {
	a, err := app.Parse("weft.yaml", []byte(file))
	if err != nil {
		return nil, err
	}
	functions := map[string]*domain.Function{}
	for name := range a.Functions {
		functions[name] = &domain.Function{Name: name}
	}
	return engine.NewProgram(engine.Program{App: a, Version: "v1", Functions: functions}), nil
}

func (b *bench) start(o engine.Options) {
	b.t.Helper()
	o.World, o.Sandboxes, o.Store, o.Blobs, o.Catalog = engine.Real, b.boxes, b.store, noBlobs{}, b
	b.engine = engine.New(o)
	if err := b.engine.Recover(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.engine.Close() })
}

func (b *bench) begin(r engine.StartRequest) engine.Run {
	b.t.Helper()
	if r.App == "" {
		r.App = "shop"
	}
	run, _, err := b.engine.Start(context.Background(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

func (b *bench) wait(id string) engine.Run {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	run, err := b.engine.Wait(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

func TestRun(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true, Trace: true})
	id := b.begin(engine.StartRequest{Workflow: "order", Input: 5.0, Trigger: "api"}).ID
	run := b.wait(id)
	if run.Status != engine.Succeeded || run.Output != 20.0 || run.Version != "v1" || run.Ended.Before(run.Created) {
		t.Errorf("the run gave %+v", run)
	}
	d, err := b.engine.Get(context.Background(), id)
	if err != nil || len(d.Steps) != 2 || d.Steps[1].Status != flow.Succeeded || !reflect.DeepEqual(d.Output, 20.0) {
		t.Errorf("get: %+v, %v", d, err)
	}
	var kinds []string
	for n, err := range b.engine.Watch(context.Background(), id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, fmt.Sprintf("%v %s", n.Event.Kind, n.Event.Step))
	}
	if len(kinds) != 6 {
		t.Errorf("watching tells %q, want the start and end of the run and of two steps", kinds)
	}
	if tr, err := b.engine.Trace(context.Background(), id); err != nil || len(tr.Spans) < 3 {
		t.Errorf("trace: %+v, %v", tr, err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	first := b.begin(engine.StartRequest{Workflow: "order", Input: 1.0, Key: "k"})
	b.wait(first.ID)
	again, existed, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0, Key: "k"})
	if err != nil || !existed || again.ID != first.ID || again.Output != 4.0 {
		t.Errorf("the same request gives %+v, %v, %v", again, existed, err)
	}
	if _, _, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 2.0, Key: "k"}); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("another input under the same key: %v, want ErrConflict", err)
	}
	repeated, existed, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 2.0, Key: "k", Repeat: true})
	if err != nil || !existed || repeated.ID != first.ID {
		t.Errorf("a repeat with another input gives %+v, %v, %v", repeated, existed, err)
	}
	if other := b.begin(engine.StartRequest{Workflow: "approve", Input: 1.0, Key: "k"}); other.ID == first.ID {
		t.Error("a key belongs to more than its workflow")
	}
	b.program = program(t, "{name: shop, workflows: {else: {steps: {a: {}}}}}")
	if after, existed, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0, Key: "k"}); err != nil || !existed || after.ID != first.ID {
		t.Errorf("with an active version that has no such workflow the same request gives %+v, %v, %v", after, existed, err)
	}
	if _, _, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0, Key: "new"}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a workflow that is not there: %v, want ErrNotFound", err)
	}
}

// What an engine leaves behind when it is closed, the next one goes on with.
func TestRecover(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	b.boxes.fn["other"] = func(any) (any, *flow.Failure) { return nil, never }
	id := b.begin(engine.StartRequest{Workflow: "order", Input: 3.0}).ID
	for n := range b.engine.Watch(context.Background(), id, 0) {
		if n.Event.Step == "b" {
			break
		}
	}
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	b.boxes.mu.Lock()
	b.boxes.fn["other"] = func(input any) (any, *flow.Failure) { return input, nil }
	b.boxes.calls = nil
	b.boxes.mu.Unlock()
	b.start(engine.Options{Speculate: true})
	if run := b.wait(id); run.Status != engine.Succeeded || run.Output != 6.0 {
		t.Errorf("the run gave %+v", run)
	}
	if got := b.boxes.made(); !slices.Equal(got, []string{"b 1"}) {
		t.Errorf("after the restart %v was called, want b alone", got)
	}
}

func TestRetry(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	b.boxes.fn["other"] = func(any) (any, *flow.Failure) { return nil, &flow.Failure{Kind: "exit", Message: "exit status 1"} }
	ctx := context.Background()
	id := b.begin(engine.StartRequest{Workflow: "order", Input: 3.0}).ID
	if run := b.wait(id); run.Status != engine.Failed || run.Failure.Step != "b" {
		t.Fatalf("the run gave %+v", run)
	}
	b.boxes.mu.Lock()
	b.boxes.fn["other"] = func(input any) (any, *flow.Failure) { return input, nil }
	b.boxes.calls = nil
	b.boxes.mu.Unlock()
	if err := b.engine.Retry(ctx, id); err != nil {
		t.Fatal(err)
	}
	if run := b.wait(id); run.Status != engine.Succeeded || run.Output != 6.0 || run.Retries != 1 || run.Failure != nil {
		t.Errorf("the retried run gave %+v", run)
	}
	if got := b.boxes.made(); !slices.Equal(got, []string{"b 1"}) {
		t.Errorf("the retry called %v, want b alone", got)
	}
	if err := b.engine.Retry(ctx, id); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("retry of a run that has succeeded: %v, want ErrEnded", err)
	}
}

// A run that was paused when it ended is not when it is retried.
func TestRetryOfPaused(t *testing.T) {
	b := newBench(t, engine.Options{})
	ctx := context.Background()
	id := b.begin(engine.StartRequest{Workflow: "patient", Input: 3.0}).ID
	if err := errors.Join(b.engine.Pause(ctx, id), b.engine.Cancel(ctx, id, "enough")); err != nil {
		t.Fatal(err)
	}
	b.wait(id)
	if err := b.engine.Retry(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.engine.Signal(ctx, id, "approve", "", 4.0); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if run, err := b.engine.Wait(wait, id); err != nil || run.Status != engine.Succeeded || run.Output != 8.0 {
		t.Errorf("the run gave %+v, %v", run, err)
	}
}

func TestControl(t *testing.T) {
	b := newBench(t, engine.Options{})
	ctx := context.Background()
	id := b.begin(engine.StartRequest{Workflow: "approve"}).ID
	if err := b.engine.Pause(ctx, id); err != nil {
		t.Fatal(err)
	}
	d, err := b.engine.Get(ctx, id)
	if err != nil || d.Status != engine.Paused || !reflect.DeepEqual(d.Signals, []flow.WaitingSignal{{Path: "wait", Name: "approve"}}) {
		t.Errorf("get: %+v, %v", d, err)
	}
	if err := b.engine.Resume(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.engine.Signal(ctx, id, "aprove", "", "no"); !errors.Is(err, flow.ErrNoSignal) {
		t.Errorf("a signal that no step is for: %v, want ErrNoSignal", err)
	}
	if err := b.engine.Signal(ctx, id, "approve", "", "yes"); err != nil {
		t.Fatal(err)
	}
	if run := b.wait(id); run.Output != "yes" {
		t.Errorf("the run gave %+v", run)
	}
	slow := b.begin(engine.StartRequest{Workflow: "slow"}).ID
	if err := b.engine.Retry(ctx, slow); !errors.Is(err, engine.ErrNotEnded) {
		t.Errorf("retry: %v, want ErrNotEnded", err)
	}
	if err := b.engine.Cancel(ctx, slow, "enough"); err != nil {
		t.Fatal(err)
	}
	if run := b.wait(slow); run.Status != engine.Cancelled || run.Failure.Message != "enough" {
		t.Errorf("the run gave %+v", run)
	}
	for what, err := range map[string]error{
		"cancel": b.engine.Cancel(ctx, slow, ""), "pause": b.engine.Pause(ctx, slow), "signal": b.engine.Signal(ctx, slow, "x", "", nil),
	} {
		if !errors.Is(err, engine.ErrEnded) {
			t.Errorf("%s of a run that has ended: %v, want ErrEnded", what, err)
		}
	}
	for _, none := range []string{"", "nothing", strings.Repeat("0", 22)} {
		if _, err := b.engine.Get(ctx, none); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("get %q: %v, want ErrNotFound", none, err)
		}
		if err := b.engine.Cancel(ctx, none, ""); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("cancel %q: %v, want ErrNotFound", none, err)
		}
	}
}

func TestList(t *testing.T) {
	b := newBench(t, engine.Options{Speculate: true})
	var ids []string
	for i := range 7 {
		workflow := "order"
		if i%3 == 2 {
			workflow = "mortal"
		}
		id := b.begin(engine.StartRequest{Workflow: workflow, Input: 1.0, Trigger: fmt.Sprintf("cron %d", i)}).ID
		b.wait(id)
		ids = append(ids, id)
		time.Sleep(2 * time.Millisecond) // names of runs have milliseconds
	}
	slices.Reverse(ids)
	var got []string
	f := engine.Filter{App: "shop", Limit: 3}
	for pages := 0; ; pages++ {
		runs, next, err := b.engine.List(context.Background(), f)
		if err != nil || pages > 3 {
			t.Fatal(err, pages)
		}
		for _, r := range runs {
			got = append(got, r.ID)
		}
		if f.After = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("pages give %v, want %v", got, ids)
	}
	for _, test := range []struct {
		f    engine.Filter
		want int
	}{{engine.Filter{Workflow: "mortal"}, 2}, {engine.Filter{Status: engine.Failed}, 0}, {engine.Filter{App: "x"}, 0}, {engine.Filter{Trigger: "cron 3"}, 1}, {engine.Filter{Since: time.Now()}, 0}} {
		if runs, _, err := b.engine.List(context.Background(), test.f); err != nil || len(runs) != test.want {
			t.Errorf("%+v: %d runs, %v; want %d", test.f, len(runs), err, test.want)
		}
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t, engine.Options{Runs: 2, Input: 100})
	ctx := context.Background()
	ids := []string{b.begin(engine.StartRequest{Workflow: "approve"}).ID, b.begin(engine.StartRequest{Workflow: "approve"}).ID}
	var full *engine.FullError
	if _, _, err := b.engine.Start(ctx, engine.StartRequest{App: "shop", Workflow: "approve"}); !errors.As(err, &full) || full.Limit != 2 || full.RetryAfter <= 0 {
		t.Errorf("a run too many: %v", err)
	}
	if _, _, err := b.engine.Start(ctx, engine.StartRequest{App: "shop", Workflow: "order", Input: strings.Repeat("x", 100)}); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("a large input: %v, want ErrTooLarge", err)
	}
	if _, _, err := b.engine.Start(ctx, engine.StartRequest{App: "shop", Workflow: "nothing"}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("no such workflow: %v, want ErrNotFound", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- b.engine.Drain(ctx) }()
	for _, id := range ids {
		if err := b.engine.Cancel(ctx, id, ""); err != nil {
			t.Error(err)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if _, _, err := b.engine.Start(ctx, engine.StartRequest{App: "shop", Workflow: "order"}); !errors.Is(err, engine.ErrDraining) {
		t.Errorf("a run while draining: %v, want ErrDraining", err)
	}
}

// A store that fails ends the engine, and nobody is told that anything was
// done.
func TestStoreFails(t *testing.T) {
	broken := make(chan error, 1)
	b := newBench(t, engine.Options{Broken: func(err error) { broken <- err }})
	id := b.begin(engine.StartRequest{Workflow: "approve"}).ID
	b.store.(*memory.Store).Inject(func(op string) error {
		if op == "append" {
			return errors.New("no space left on device")
		}
		return nil
	})
	if err := b.engine.Signal(context.Background(), id, "approve", "", "yes"); !errors.Is(err, store.ErrFailed) {
		t.Errorf("signal: %v, want ErrFailed", err)
	}
	if err := <-broken; !errors.Is(err, store.ErrFailed) {
		t.Errorf("broken by %v, want ErrFailed", err)
	}
	if _, _, err := b.engine.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order"}); err == nil {
		t.Error("a run is accepted after that")
	}
}

func TestExecute(t *testing.T) {
	b := newBench(t, engine.Options{})
	r, err := b.engine.Execute(context.Background(), engine.Execution{Program: b.program, Workflow: "order", Input: 2.0})
	if err != nil || r.Status != flow.Succeeded || r.Output != 8.0 {
		t.Fatalf("the run gave %+v, %v", r, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if runs, _, err := b.engine.List(context.Background(), engine.Filter{}); err != nil || len(runs) != 0 {
		t.Errorf("a run of this process is listed: %v, %v", runs, err)
	}
	if _, err := b.engine.Execute(context.Background(), engine.Execution{Program: b.program, Workflow: "approve"}); err == nil || !strings.Contains(err.Error(), "signal: {name: approve, timeout: 1m}") {
		t.Errorf("a run that waits for ever: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := b.engine.Execute(ctx, engine.Execution{Program: b.program, Workflow: "slow"}); err != nil || r.Status != flow.CancelledRun {
		t.Errorf("a cancelled run gave %+v, %v", r, err)
	}
}

// Without a store there are no runs but those of this process.
func TestWithoutStore(t *testing.T) {
	b := newBench(t, engine.Options{})
	e := engine.New(engine.Options{World: engine.Real, Sandboxes: b.boxes, Catalog: b})
	defer e.Close()
	r, _, err := e.Start(context.Background(), engine.StartRequest{App: "shop", Workflow: "order", Input: 1.0})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = e.Wait(context.Background(), r.ID); err != nil || r.Output != 4.0 {
		t.Errorf("the run gave %+v, %v", r, err)
	}
	none := strings.Repeat("0", 22)
	for _, err := range e.Watch(context.Background(), none, 0) {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("watch: %v, want ErrNotFound", err)
		}
	}
	_, traceErr := e.Trace(context.Background(), none)
	_, getErr := e.Get(context.Background(), none)
	for what, err := range map[string]error{"trace": traceErr, "get": getErr, "retry": e.Retry(context.Background(), none), "cancel": e.Cancel(context.Background(), none, "")} {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", what, err)
		}
	}
}
