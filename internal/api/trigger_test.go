package api_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
)

const web = `name: web
functions:
  cat: {source: PROBE, args: [cat], output: bytes, content_type: image/png}
  do: {source: PROBE, output: text}
workflows:
  echo: {steps: {x: {with: "${ .input }"}}}
  act: {steps: {x: {call: do}}}
  bytes: {steps: {x: {call: cat}}}
  none: {steps: {x: {with: null}}}
  hold: {steps: {x: {signal: go}}}
  strict: {input: {type: object, required: [n]}, steps: {x: {with: "${ .input }"}}}
triggers:
  - {http: POST /echo, workflow: echo}
  - {http: "PUT /orders/{id}", workflow: echo, with: {id: "${ .path.id }", q: "${ .query.q }", how: "${ .method }", type: '${ .headers["content-type"] }', auth: "${ .headers.authorization }", n: "${ .body.n }"}}
  - {http: "GET /files/{rest...}", workflow: echo, with: "${ .path.rest }"}
  - {http: GET /, workflow: echo, with: root}
  - {http: POST /act, workflow: act}
  - {http: POST /bytes, workflow: bytes}
  - {http: POST /none, workflow: none}
  - {http: POST /strict, workflow: strict}
  - {http: POST /later, workflow: hold, wait: 0}
  - {http: POST /soon, workflow: hold, wait: 1ms}
  - {http: POST /call, function: cat}
  - {http: POST /bad, workflow: echo, with: "${ .body.a.b.c + 1 }"}
  - {event: order.*, filter: "${ .event.data.total > 100 }", workflow: echo, with: "${ .event.data }"}
  - {event: order.created, workflow: echo, name: all}
  - {event: strict, workflow: strict, with: "${ .event.data }"}
  - {event: strict, workflow: echo}
  - {event: broken, filter: "${ .event.data.total | error }", workflow: echo}
`

func TestHTTPTriggers(t *testing.T) {
	s := newSite(t)
	s.deploy(t, web)
	for _, c := range []struct {
		name, method, path string
		body               any
		headers            []string
		want               string // JSON, or the bytes
		kind               string
	}{
		{"JSON", "POST", "/echo", `{"a": [1, "b"]}`, []string{"Content-Type", "application/json"}, `{"a":[1,"b"]}`, "application/json"},
		{"JSON of a kind", "POST", "/echo", `[1]`, []string{"Content-Type", "application/vnd.x+json"}, `[1]`, "application/json"},
		{"JSON without a type", "POST", "/echo", `{"a": 1}`, nil, `{"a":1}`, "application/json"},
		{"text", "POST", "/echo", `hello`, []string{"Content-Type", "text/plain"}, `hello`, "text/plain; charset=utf-8"},
		{"text that looks like JSON", "POST", "/echo", `12`, []string{"Content-Type", "text/plain"}, `12`, "text/plain; charset=utf-8"},
		{"with", "PUT", "/orders/a%2Fb?q=1&q=2", `{"n": 3}`, []string{"Content-Type", "application/json"},
			`{"auth":null,"how":"PUT","id":"a/b","n":3,"q":"1","type":"application/json"}`, "application/json"},
		{"the rest of a path", "GET", "/files/a/b%20c", nil, nil, `a/b c`, "text/plain; charset=utf-8"},
		{"the root", "GET", "/", nil, nil, `root`, "text/plain; charset=utf-8"},
		{"bytes", "POST", "/bytes", `"hello"`, []string{"Content-Type", "application/json"}, `"hello"`, "application/octet-stream"},
		{"a function", "POST", "/call", "raw", nil, "raw", "image/png"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.ask(t, auth.Invoke, c.method, "/t/web"+c.path, c.body, c.headers...).status(t, 200)
			if string(a.body) != c.want || a.Header.Get("Content-Type") != c.kind {
				t.Errorf("%s: %s, want %s: %s", a.Header.Get("Content-Type"), a.body, c.kind, c.want)
			}
			if c.name == "a function" {
				return
			}
			if run := s.run(t, a.Header.Get("Weft-Run")); !strings.HasPrefix(run.Trigger, "http "+c.method+" /") {
				t.Errorf("the run's trigger is %q", run.Trigger)
			}
		})
	}
	if a := s.ask(t, auth.Invoke, "POST", "/t/%77eb/echo", `1`).status(t, 200); string(a.body) != "1" {
		t.Errorf("with an escaped name: %s", a.body)
	}
	s.ask(t, auth.Invoke, "POST", "/t/web/none", nil).status(t, 204)
	for _, path := range []string{"/later", "/soon"} {
		a := s.ask(t, auth.Invoke, "POST", "/t/web"+path, nil).status(t, 202)
		var run engine.Run
		if a.decode(t, &run); run.ID == "" || a.Header.Get("Location") != "/v1/runs/"+run.ID || a.Header.Get("Weft-Run") != run.ID {
			t.Errorf("%s: %+v, %v", path, run, a.Header)
		}
	}
	one := s.ask(t, auth.Invoke, "POST", "/t/web/echo", `1`, "Idempotency-Key", "k").Header.Get("Weft-Run")
	if two := s.ask(t, auth.Invoke, "POST", "/t/web/echo", `1`, "Idempotency-Key", "k").Header.Get("Weft-Run"); one == "" || two != one {
		t.Errorf("the same key is run %s and %s", one, two)
	}

	failed := s.ask(t, auth.Invoke, "POST", "/t/web/act", do("fail sorry"))
	if p := failed.problem(t, 502, "function-failed"); p.Kind != "exit" || p.Instance != "/v1/runs/"+failed.Header.Get("Weft-Run") {
		t.Errorf("problem %+v", p)
	}
	for _, c := range []struct {
		method, path string
		body         any
		headers      []string
		status       int
		word         string
	}{
		{"POST", "/echo", `{"a": `, []string{"Content-Type", "application/json"}, 400, "bad-request"},
		{"POST", "/echo", "\xff\xfe", nil, 400, "bad-request"},
		{"POST", "/bad", `{"a": 1}`, []string{"Content-Type", "application/json"}, 422, "trigger"},
		{"POST", "/strict", `{"m": 1}`, []string{"Content-Type", "application/json"}, 422, "input"},
		{"POST", "/echo", `1`, []string{"Idempotency-Key", strings.Repeat("k", 257)}, 400, "bad-request"},
		{"POST", "/echo", `2`, []string{"Idempotency-Key", "k"}, 409, "conflict"},
		{"POST", "/echo", `"` + strings.Repeat("x", 1<<20) + `"`, []string{"Content-Type", "application/json"}, 413, "too-large"},
		{"GET", "/nope", nil, nil, 404, "not-found"},
		{"DELETE", "/echo", nil, nil, 405, "method"},
	} {
		s.ask(t, auth.Invoke, c.method, "/t/web"+c.path, c.body, c.headers...).problem(t, c.status, c.word)
	}
	if a := s.ask(t, auth.Invoke, "OPTIONS", "/t/web/echo", nil); a.StatusCode != 405 || a.Header.Get("Allow") != "POST" {
		t.Errorf("OPTIONS: status %d, Allow %q", a.StatusCode, a.Header.Get("Allow"))
	}
	if a := s.ask(t, auth.Invoke, "GET", "/t/web", nil).status(t, 200); string(a.body) != "root" {
		t.Errorf("without a slash: %s", a.body)
	}
	for _, path := range []string{"/t/web//echo", "/t/web/./echo", "/t/web/../web/echo", "/t//web/echo"} {
		s.ask(t, auth.Invoke, "POST", path, `1`).problem(t, 404, "not-found")
	}
	s.ask(t, auth.Invoke, "GET", "/t/nobody/", nil).problem(t, 404, "not-found")
	s.ask(t, auth.Read, "POST", "/t/web/echo", `1`).problem(t, 403, "refused")
	s.ask(t, 0, "POST", "/t/web/echo", `1`).problem(t, 401, "refused")
}

func TestCloudEvents(t *testing.T) {
	s := newSite(t)
	s.deploy(t, web)
	at := "/v1/apps/web/events"
	event := func(id, kind string, data any) map[string]any {
		return map[string]any{"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": data}
	}
	send := func(kind string, body any, headers ...string) []string {
		t.Helper()
		if kind != "" {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			body, headers = text, append(headers, "Content-Type", kind)
		}
		var got wire.Accepted
		s.ask(t, auth.Invoke, "POST", at, body, headers...).status(t, 202).decode(t, &got)
		return got.Runs
	}
	const structured, batch = "application/cloudevents+json", "application/cloudevents-batch+json"

	one := send("", `{"total": 120}`, "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/shop", "ce-type", "order.paid", "Content-Type", "application/json")
	if len(one) != 1 {
		t.Fatalf("binary mode starts %v", one)
	}
	if run := s.ended(t, one[0]); fmt.Sprint(run.Output) != "map[total:120]" || run.Trigger != "event order.paid" {
		t.Errorf("run: %+v", run.Run)
	}
	if again := send(structured, event("1", "order.paid", map[string]any{"total": 120})); !reflect.DeepEqual(again, one) {
		t.Errorf("the same event starts %v, want %v", again, one)
	}
	if runs := send(structured, event("2", "order.created", map[string]any{"total": 120})); len(runs) != 2 {
		t.Errorf("an event of two triggers starts %v", runs)
	}
	if runs := send(structured, event("3", "order.created", map[string]any{"total": 20})); len(runs) != 1 {
		t.Errorf("an event that the filter does not want starts %v", runs)
	}
	if runs := send(structured, event("4", "nobody.cares", nil)); runs == nil || len(runs) != 0 {
		t.Errorf("an event of no trigger starts %v", runs)
	}
	if runs := send(batch, []any{event("5", "order.paid", map[string]any{"total": 200}), event("6", "order.created", nil)}); len(runs) != 2 {
		t.Errorf("a batch starts %v", runs)
	}
	if runs := send(batch, []any{}); len(runs) != 0 {
		t.Errorf("an empty batch starts %v", runs)
	}

	for _, c := range []struct {
		name, kind string
		body       any
		status     int
		word       string
	}{
		{"no event", "", "hello", 400, "bad-request"},
		{"no JSON", structured, "hello", 400, "bad-request"},
		{"without a type", structured, `{"specversion": "1.0", "id": "1", "source": "/"}`, 400, "bad-request"},
		{"another version", structured, `{"specversion": "0.3", "id": "1", "source": "/", "type": "x"}`, 400, "bad-request"},
		{"a batch with one that is none", batch, `[{"specversion": "1.0", "id": "9", "source": "/shop", "type": "order.created"}, {}]`, 400, "bad-request"},
		{"another format", "application/cloudevents+avro", "x", 415, "unsupported"},
		{"too many", batch, "[" + strings.Repeat("{},", 1000) + "{}]", 413, "too-large"},
		{"one that the workflow does not take", structured, `{"specversion": "1.0", "id": "8", "source": "/", "type": "strict", "data": {"m": 1}}`, 422, "trigger"},
		{"one whose filter fails", structured, `{"specversion": "1.0", "id": "7", "source": "/", "type": "broken"}`, 422, "trigger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.ask(t, auth.Invoke, "POST", at, c.body, "Content-Type", c.kind).problem(t, c.status, c.word)
		})
	}
	// What one trigger cannot use, another one can.
	var runs wire.Page[engine.Run]
	if s.ask(t, auth.Read, "GET", "/v1/runs?trigger=event%20strict", nil).decode(t, &runs); len(runs.Items) != 1 || runs.Items[0].Workflow != "echo" {
		t.Errorf("runs of the event that one trigger cannot use: %+v", runs.Items)
	}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/nobody/events", event("1", "x", nil), "Content-Type", structured).problem(t, 404, "not-found")
}
