package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/telemetry"
)

// start starts a run.
func (s *site) start(t *testing.T, app, workflow string, input any, headers ...string) engine.Run {
	t.Helper()
	var run engine.Run
	a := s.ask(t, auth.Invoke, "POST", "/v1/apps/"+app+"/workflows/"+workflow+"/runs", input, headers...).success(t)
	a.decode(t, &run)
	if want := "/v1/runs/" + run.ID; a.Header.Get("Location") != want {
		t.Errorf("Location is %q, want %q", a.Header.Get("Location"), want)
	}
	return run
}

// ended waits for the end of a run.
func (s *site) ended(t *testing.T, id string) engine.Detail {
	t.Helper()
	var d engine.Detail
	eventually(t, "run "+id+" ends", func() bool {
		d = s.run(t, id)
		return d.Status.Ended()
	})
	return d
}

// run asks where a run is.
func (s *site) run(t *testing.T, id string) (d engine.Detail) {
	t.Helper()
	s.ask(t, auth.Read, "GET", "/v1/runs/"+id, nil).decode(t, &d)
	return d
}

// waitingFor waits until a run waits for a signal.
func (s *site) waitingFor(t *testing.T, id, signal string) {
	t.Helper()
	eventually(t, "the run waits for "+signal, func() bool {
		for _, w := range s.run(t, id).Signals {
			if w.Name == signal {
				return true
			}
		}
		return false
	})
}

func TestStart(t *testing.T) {
	s := newSite(t)
	d := s.deploy(t, shop)
	at := "/v1/apps/shop/workflows/main/runs"
	var run engine.Run
	s.ask(t, auth.Invoke, "POST", at+"?wait=1m", do("out hi"), "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").status(t, 200).decode(t, &run)
	if run.Status != engine.Succeeded || run.Output != "hi" || run.App != "shop" || run.Version != d.ID || run.Workflow != "main" || run.Trigger != "api" ||
		!strings.HasPrefix(run.Traceparent, "00-0af7651916cd43dd8448eb211c80319c-") {
		t.Errorf("run: %+v", run)
	}
	s.ask(t, auth.Invoke, "POST", at+"?wait=1m", do("fail sorry")).status(t, 200).decode(t, &run)
	if run.Status != engine.Failed || run.Failure == nil || run.Failure.Step != "first" {
		t.Errorf("run that fails: %+v", run)
	}
	s.ask(t, auth.Invoke, "POST", at, do("out hi")).status(t, 202)
	s.ask(t, auth.Invoke, "POST", at+"?wait=1ms", do("sleep 500")).status(t, 202)
	s.ask(t, auth.Invoke, "POST", at+"?version="+d.ID, do("out hi"), "Content-Type", "application/json; charset=utf-8").status(t, 202)
	s.ask(t, auth.Invoke, "POST", at, do("out hi"), "Content-Type", "").status(t, 202)

	for _, c := range []struct {
		name, path string
		body       any
		headers    []string
		status     int
		word       string
		says       []string
	}{
		{"a workflow that is not there", "/v1/apps/shop/workflows/nope/runs", nil, nil, 404, "not-found", []string{"nope"}},
		{"an app that is not there", "/v1/apps/nope/workflows/main/runs", nil, nil, 404, "not-found", []string{"weft deploy"}},
		{"a version that is not there", at + "?version=nope", nil, nil, 404, "not-found", nil},
		{"no duration", at + "?wait=long", nil, nil, 400, "bad-request", []string{"wait", "30s"}},
		{"a negative duration", at + "?wait=-1s", nil, nil, 400, "bad-request", []string{"wait"}},
		{"no JSON", at, "hello", nil, 400, "bad-request", nil},
		{"half of JSON", at, `{"do": `, nil, 400, "bad-request", nil},
		{"two values", at, `{} {}`, nil, 400, "bad-request", nil},
		{"deep nesting", at, strings.Repeat("[", 100_000), nil, 400, "bad-request", nil},
		{"another content type", at, "do: it", []string{"Content-Type", "text/yaml"}, 415, "unsupported", []string{"text/yaml", "application/json"}},
		{"an input that the workflow does not take", at, `{"do": 3}`, nil, 422, "input", []string{"do"}},
		{"a large input", at, `"` + strings.Repeat("x", 1<<20) + `"`, nil, 413, "too-large", nil},
		{"a long key", at, nil, []string{"Idempotency-Key", strings.Repeat("k", 257)}, 400, "bad-request", []string{"256"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.ask(t, auth.Invoke, "POST", c.path, c.body, c.headers...).problem(t, c.status, c.word, c.says...)
		})
	}
}

// TestIdempotency has requests with one key be one run, however often and at
// what time they come.
func TestIdempotency(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	first := s.start(t, "shop", "main", do("out hi"), "Idempotency-Key", "k1")
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() {
			var run engine.Run
			s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/workflows/main/runs?wait=1m", do("out hi"), "Idempotency-Key", "k1").decode(t, &run)
			ids <- run.ID
		}()
	}
	for range cap(ids) {
		if id := <-ids; id != first.ID {
			t.Errorf("the same key is run %s, want %s", id, first.ID)
		}
	}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/workflows/main/runs", do("out ho"), "Idempotency-Key", "k1").problem(t, 409, "conflict", "key")
	if other := s.start(t, "shop", "main", do("out hi"), "Idempotency-Key", "k2"); other.ID == first.ID {
		t.Error("another key is the same run")
	}
	if d := s.ended(t, first.ID); d.Key != "k1" {
		t.Errorf("the run's key is %q", d.Key)
	}
}

func TestListRuns(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	before := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	var all []string
	for range 5 {
		all = append([]string{s.start(t, "shop", "main", do("out hi")).ID}, all...)
	}
	for _, id := range all {
		s.ended(t, id)
	}
	slices.Sort(all) // names begin with the time, to the millisecond: within one, runs have the order of their names
	slices.Reverse(all)
	time.Sleep(2 * time.Millisecond)
	waits := s.start(t, "shop", "ask", nil)
	s.waitingFor(t, waits.ID, "go")
	list := func(query string) (ids []string, next string) {
		t.Helper()
		var page wire.Page[engine.Run]
		s.ask(t, auth.Read, "GET", "/v1/runs?"+query, nil).decode(t, &page)
		for _, r := range page.Items {
			ids = append(ids, r.ID)
		}
		return ids, page.Next
	}
	for query, want := range map[string]string{
		"workflow=main":    fmt.Sprint(all),
		"app=shop":         fmt.Sprint(append([]string{waits.ID}, all...)),
		"app=nobody":       "[]",
		"status=running":   fmt.Sprint([]string{waits.ID}),
		"status=succeeded": fmt.Sprint(all),
		"status=failed":    "[]",
		"trigger=api":      fmt.Sprint(append([]string{waits.ID}, all...)),
		"trigger=cron":     "[]",
		"since=" + before:  fmt.Sprint(append([]string{waits.ID}, all...)),
		"until=" + before:  "[]",
		"after=zzzz":       "[]",
	} {
		got, _ := list(query)
		if query == "after=zzzz" {
			continue // whatever it is, it is an answer
		}
		if fmt.Sprint(got) != want && !(len(got) == 0 && want == "[]") {
			t.Errorf("%s gives %v, want %s", query, got, want)
		}
	}
	var got []string
	next := ""
	for pages := 1; ; pages++ {
		ids, n := list("workflow=main&limit=2&after=" + url.QueryEscape(next))
		if got = append(got, ids...); n == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		next = n
	}
	if fmt.Sprint(got) != fmt.Sprint(all) {
		t.Errorf("the pages have %v, want %v", got, all)
	}
	for _, query := range []string{"limit=0", "limit=x", "limit=-1", "since=yesterday", "until=1", "status=happy", "limti=3"} {
		s.ask(t, auth.Read, "GET", "/v1/runs?"+query, nil).problem(t, 400, "bad-request", query[:strings.Index(query, "=")])
	}
}

func TestControl(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	control := func(id, what string, body any) *answer {
		return s.ask(t, auth.Invoke, "POST", "/v1/runs/"+id+"/"+what, body)
	}

	run := s.start(t, "shop", "ask", nil)
	s.waitingFor(t, run.ID, "go")
	control(run.ID, "pause", nil).status(t, 204)
	if d := s.run(t, run.ID); d.Status != engine.Paused {
		t.Errorf("after pause it is %s", d.Status)
	}
	control(run.ID, "pause", nil).status(t, 204)
	control(run.ID, "resume", nil).status(t, 204)
	control(run.ID, "retry", nil).problem(t, 409, "not-ended")
	control(run.ID, "signals/other", nil).problem(t, 422, "input")
	control(run.ID, "signals/go?step=other", nil).problem(t, 422, "input")
	control(run.ID, "signals/go?step=wait", "\"out signalled\"").status(t, 204)
	if d := s.ended(t, run.ID); d.Output != "signalled" {
		t.Errorf("after the signal: %+v", d)
	}
	for _, what := range []string{"pause", "resume", "cancel", "signals/go"} {
		control(run.ID, what, nil).problem(t, 409, "ended")
	}
	control(run.ID, "retry", nil).problem(t, 409, "ended", "succeeded")
	for _, what := range []string{"pause", "resume", "cancel", "retry", "signals/go"} {
		control("nope", what, nil).problem(t, 404, "not-found")
	}

	run = s.start(t, "shop", "ask", nil)
	s.waitingFor(t, run.ID, "go")
	control(run.ID, "cancel", `{"reason": "no longer", "now": true}`).problem(t, 400, "bad-request", "now")
	control(run.ID, "signals/go", `{"a"`).problem(t, 400, "bad-request")
	control(run.ID, "signals/"+strings.Repeat("g", 10_000), `1`)
	control(run.ID, "cancel", wire.Cancel{Reason: "no longer wanted"}).status(t, 204)
	d := s.ended(t, run.ID)
	if d.Status != engine.Cancelled || d.Failure == nil || d.Failure.Kind != flow.KindCancelled || !strings.Contains(d.Failure.Message, "no longer wanted") {
		t.Errorf("after cancel: %+v", d)
	}
	control(run.ID, "retry", nil).status(t, 204)
	s.waitingFor(t, run.ID, "go")
	control(run.ID, "cancel", nil).status(t, 204)
	if d := s.ended(t, run.ID); d.Retries != 1 || !strings.Contains(d.Failure.Message, "the-invoke") {
		t.Errorf("after retry and cancel: %+v", d)
	}
}

// TestRetryInsideForeach calls only the items again that had not finished.
func TestRetryInsideForeach(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, `name: each
functions:
  do: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows:
  main:
    steps:
      part: {call: do, foreach: 4, concurrency: 1, with: {do: "append /state/calls ${ .index }; need /state/${ .index }; out ${ .index }"}}
`)
	for _, i := range []string{"0", "1", "3"} {
		touch(t, state, i)
	}
	run := s.start(t, "each", "main", nil)
	d := s.ended(t, run.ID)
	if d.Status != engine.Failed || d.Failure.Step != "part[2]" {
		t.Fatalf("without file 2: %+v", d.Failure)
	}
	before := read(t, state, "calls")
	touch(t, state, "2")
	s.ask(t, auth.Invoke, "POST", "/v1/runs/"+run.ID+"/retry", nil).status(t, 204)
	d = s.ended(t, run.ID)
	if d.Status != engine.Succeeded || fmt.Sprint(d.Output) != "[0 1 2 3]" || d.Retries != 1 {
		t.Fatalf("after the retry: %+v", d)
	}
	if again := strings.TrimPrefix(read(t, state, "calls"), before); before != "012" || again != "23" {
		t.Errorf("called were %s and then %s, want 012 and 23", before, again)
	}
	var steps []string
	for _, st := range d.Steps {
		steps = append(steps, fmt.Sprintf("%s %s %d/%d", st.Step, st.Status, st.Done, st.Items))
	}
	if fmt.Sprint(steps) != "[part succeeded 4/4]" {
		t.Errorf("steps are %v", steps)
	}
	var trace telemetry.Trace
	s.ask(t, auth.Read, "GET", "/v1/runs/"+run.ID+"/trace", nil).decode(t, &trace)
	if len(trace.Spans) < 5 {
		t.Errorf("the trace has %d spans", len(trace.Spans))
	}
}

// TestTooManyRuns refuses runs beyond the limit, and says when to come again.
func TestTooManyRuns(t *testing.T) {
	s := newSite(t, func(o *settings) { o.node.Runs = 2 })
	s.deploy(t, shop)
	one := s.start(t, "shop", "ask", nil)
	s.start(t, "shop", "ask", nil)
	a := s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/workflows/ask/runs", nil)
	a.problem(t, 429, "full", "2 are under way")
	if a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	s.ask(t, auth.Invoke, "POST", "/v1/runs/"+one.ID+"/cancel", nil).status(t, 204)
	eventually(t, "there is room again", func() bool {
		return s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/workflows/ask/runs", nil).StatusCode == 202
	})
}
