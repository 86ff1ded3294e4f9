package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
)

// sse is a server-sent event.
type sse struct{ id, event, data string }

// stream reads server-sent events.
type stream struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Scanner
}

func (s *site) stream(ctx context.Context, t *testing.T, path string, headers ...string) *stream {
	t.Helper()
	res := s.send(t, s.request(ctx, t, auth.Read, "GET", path, nil, headers...))
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != wire.TypeEvents || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, header %v", res.StatusCode, res.Header)
	}
	return &stream{t, res.Body, bufio.NewScanner(res.Body)}
}

// next reads an event; false at the end of the stream.
func (s *stream) next() (e sse, ok bool) {
	for s.in.Scan() {
		name, value, _ := strings.Cut(s.in.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			e.data = value
		case "":
			if value == "" && e.event != "" {
				return e, true
			}
		}
	}
	return sse{}, false
}

// all reads events to the end.
func (s *stream) all() (list []sse) {
	for {
		e, ok := s.next()
		if !ok {
			return list
		}
		list = append(list, e)
	}
}

func TestEvents(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := s.start(t, "shop", "ask", nil)
	at := "/v1/runs/" + run.ID + "/events"
	live := s.stream(ctx, t, at)
	if e, ok := live.next(); !ok || e.event != "run-started" {
		t.Fatalf("the first event is %+v", e)
	}
	s.ask(t, auth.Invoke, "POST", "/v1/runs/"+run.ID+"/signals/go", "\"out done\"").status(t, 204)
	rest := live.all()
	var kinds []string
	for _, e := range rest {
		kinds = append(kinds, e.event)
		var got wire.Event
		if e.event == "end" {
			continue
		}
		if err := json.Unmarshal([]byte(e.data), &got); err != nil || fmt.Sprint(got.Seq) != e.id || got.Kind != e.event || got.At.IsZero() {
			t.Errorf("event %+v: %+v, %v", e, got, err)
		}
	}
	if fmt.Sprint(kinds) != "[step-started step-finished run-finished end]" {
		t.Fatalf("events are %v", kinds)
	}
	var end engine.Run
	if err := json.Unmarshal([]byte(rest[3].data), &end); err != nil || end.Status != engine.Succeeded || end.Output != "done" {
		t.Errorf("the end: %+v, %v", end, err)
	}

	// From any event on, the rest is the same, live or later.
	whole := s.stream(ctx, t, at).all()
	if len(whole) != 5 || fmt.Sprint(whole[1:4]) != fmt.Sprint(rest[:3]) {
		t.Errorf("afterwards the events are %v, they were %v", whole, rest)
	}
	for i := range whole[:4] {
		again := s.stream(ctx, t, at, "Last-Event-ID", whole[i].id).all()
		if fmt.Sprint(again) != fmt.Sprint(whole[i+1:]) {
			t.Errorf("after event %d come %v, want %v", i, again, whole[i+1:])
		}
	}
	if again := s.stream(ctx, t, at, "Last-Event-ID", "18446744073709551615").all(); len(again) != 1 || again[0].event != "end" {
		t.Errorf("after what has not been: %v", again)
	}
	for _, id := range []string{"x", "-1", "1.5", "18446744073709551616"} {
		s.ask(t, auth.Read, "GET", at, nil, "Last-Event-ID", id).problem(t, 400, "bad-request", "Last-Event-ID")
	}
	s.ask(t, auth.Read, "GET", "/v1/runs/nope/events", nil).problem(t, 404, "not-found")
}

func TestLogs(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, `name: logs
functions:
  do: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows:
  main: {steps: {one: {call: do}}}
`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := s.start(t, "logs", "main", do("log first; await /state/go; log second; out done"))
	at := "/v1/runs/" + run.ID + "/logs"
	res := s.send(t, s.request(ctx, t, auth.Read, "GET", at+"?follow=true", nil))
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	var line engine.LogLine
	if err := dec.Decode(&line); err != nil || line.Text != "first" || line.Step != "one" || line.Index != -1 || line.Attempt != 1 {
		t.Fatalf("the first line is %+v, %v", line, err)
	}
	touch(t, state, "go")
	if err := dec.Decode(&line); err != nil || line.Text != "second" {
		t.Fatalf("the second line is %+v, %v", line, err)
	}
	if err := dec.Decode(&line); err != io.EOF {
		t.Errorf("after the end of the run: %+v, %v", line, err)
	}
	for _, query := range []string{"", "?follow=true"} {
		a := s.ask(t, auth.Read, "GET", at+query, nil).status(t, 200)
		if n := strings.Count(string(a.body), "\n"); n != 2 || a.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("afterwards the log has %d lines: %s", n, a.body)
		}
	}
	quiet := s.start(t, "logs", "main", do("out done"))
	s.ended(t, quiet.ID)
	if a := s.ask(t, auth.Read, "GET", "/v1/runs/"+quiet.ID+"/logs", nil).status(t, 200); len(a.body) != 0 {
		t.Errorf("the log of a quiet run: %s", a.body)
	}
	s.ask(t, auth.Read, "GET", at+"?follow=perhaps", nil).problem(t, 400, "bad-request")
	s.ask(t, auth.Read, "GET", "/v1/runs/nope/logs", nil).problem(t, 404, "not-found")
	s.ask(t, auth.Read, "GET", "/v1/runs/..%2f..%2fetc%2fpasswd/logs", nil).problem(t, 404, "not-found")
}

// TestClientsThatLeave has nothing stay behind of clients that go while they
// are answered.
func TestClientsThatLeave(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, `name: leave
functions:
  do: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows:
  main: {steps: {one: {call: do}}}
`)
	run := s.start(t, "leave", "main", do("log first; await /state/go; out done"))
	requests := map[string]func(ctx context.Context) error{
		"wait": func(ctx context.Context) error {
			return s.leave(ctx, t, "POST", "/v1/apps/leave/workflows/main/runs?wait=1m", do("await /state/go"))
		},
		"events": func(ctx context.Context) error { return s.leave(ctx, t, "GET", "/v1/runs/"+run.ID+"/events", nil) },
		"logs": func(ctx context.Context) error {
			return s.leave(ctx, t, "GET", "/v1/runs/"+run.ID+"/logs?follow=true", nil)
		},
		"events with a body": func(ctx context.Context) error {
			return s.leave(ctx, t, "GET", "/v1/runs/"+run.ID+"/events", strings.NewReader("hello"))
		},
		"upload": func(ctx context.Context) error { return s.leave(ctx, t, "POST", "/v1/buffers", &endless{ctx: ctx}) },
		"bundle": func(ctx context.Context) error {
			return s.leave(ctx, t, "POST", "/v1/apps", &endless{ctx: ctx}, "Content-Type", wire.TypeBundle)
		},
		"invoke": func(ctx context.Context) error {
			return s.leave(ctx, t, "POST", "/v1/apps/leave/functions/do", do("await /state/go"))
		},
		"stream": func(ctx context.Context) error {
			return s.leave(ctx, t, "POST", "/v1/apps/leave/functions/do?stream=true", do("out first; await /state/go"))
		},
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			eventually(t, "it is quiet", func() bool { return s.underway.Load() == 0 })
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- request(ctx) }()
			eventually(t, "the request is under way", func() bool { return s.underway.Load() == 1 })
			cancel()
			if err := <-done; err == nil {
				t.Error("the request has been answered")
			}
			eventually(t, "the handler has ended", func() bool { return s.underway.Load() == 0 })
		})
	}
	eventually(t, "no call is left but that of the runs", func() bool { return s.node.Gate.Stats().Running <= 2 })
	touch(t, state, "go")
	s.ended(t, run.ID)
}

// leave sends a request and reads its answer to the end.
func (s *site) leave(ctx context.Context, t *testing.T, method, path string, body any, headers ...string) error {
	res, err := client.Do(s.request(ctx, t, auth.Admin, method, path, body, headers...))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// endless is a body that begins, and goes on when its client has left.
type endless struct {
	ctx   context.Context
	begun bool
}

func (e *endless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), nil
	}
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}
