package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// An endless loop ends its host: who shares it is run again without using a
// retry, and the offender's next attempt shares its host with nobody.
func TestOffenderAndSiblings(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct{ name, settings, kind, text string }{
		{"cpu", "cpu: 200ms", "limit", "step bad: function bad was ended: it used more than 200ms of CPU time"},
		{"timeout", "timeout: 200ms, cpu: 1m", "timeout", "step bad: function bad took longer than 200ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, fmt.Sprintf(`
functions:
  good: {source: ACTOR, concurrency: 8}
  bad: {source: ACTOR, %s}
workflows:
  main:
    steps:
      bad: {call: bad, retry: {max: 1}, with: {do: "log there; spin"}, catch: {value: "${ .error }"}}
      good: {call: good, foreach: "${ 3 }", with: {do: "put x 100000; wait /go; take x; env WEFT_ATTEMPT"}}
      go: {call: good, needs: [bad], with: {do: "put /go 1"}}
    output: {failure: "${ .bad.message }", kind: "${ .bad.kind }", good: "${ [.good[][0]] }"}
`, test.settings))
			w := &watcher{}
			r := run(t, n, a, watched(w))
			taken := "take x: 100000 bytes of " + sum100000
			_, message, _ := strings.Cut(test.text, ": ")
			wantOutput(t, r, fmt.Sprintf("map[failure:%s good:[%s %s %s] kind:%s]", message, taken, taken, taken, test.kind))
			hosts := map[int]string{}
			shared := false
			for _, s := range r.Trace.Spans {
				if s.Kind == telemetry.KindAttempt && s.Step == "bad" {
					hosts[s.Attempt] = s.Host
				}
			}
			for _, s := range r.Trace.Spans {
				shared = shared || s.Kind == telemetry.KindAttempt && s.Step != "bad" && s.Host == hosts[2]
			}
			if test.kind == "limit" && (len(hosts) != 2 || hosts[1] == hosts[2] || hosts[2] == "") {
				t.Errorf("the attempts of the offender ran in %v", hosts)
			}
			if test.kind == "limit" && shared {
				t.Errorf("the offender's second attempt shared host %s", hosts[2])
			}
			if n := w.count(telemetry.EventLog, "bad", "there"); n != 2 {
				t.Errorf("the offender was tried %d times, want 2", n)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		name, do   string
		kind, want string
	}{
		{"growing ends at the limit", "grow", "", "[grown by 14 MiB]"},
		{"touching ends at the limit", "touch 64", "exit", "step s: function f exited with status 1"},
		{"within the limit", "touch 12", "", "[touched 12 MiB]"},
		{"reading a view is free", "look /big; read", "", "[look /big: errno 0, 268435456 bytes read 7864320]"},
		{"a buffer of its own is free", "fill y 134217728; len y", "", "[len y: 134217728 of type 0]"},
		{"writing to a view is not", "look /big; dirty; dirty; sleep 10000", "limit", "step s: function f was ended: it uses "},
		{"writing to a view says the limit", "look /big; dirty; sleep 10000", "limit", "of its own memory, pages that it wrote to in views included; the limit is 16 MiB"},
		{"memory beyond the limit next to a view", "look /big; touch 64; sleep 10000", "limit", "the limit is 16 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, fmt.Sprintf(`
functions:
  make: {source: ACTOR}
  f: {source: ACTOR, memory: 16MiB}
workflows:
  main:
    steps:
      big: {call: make, with: {do: fill /big 268435456}}
      s: {call: f, needs: [big], with: {do: %q}}
      sibling: {call: make, needs: [big], with: {do: wait s/y 100}}
    output: "${ .s }"
`, test.do))
			if !strings.Contains(test.do, "/big") {
				a.Workflows["main"].Steps[0].With = output(t, "${ {do: \"\"} }")
			}
			r := run(t, n, a)
			if test.kind == "" {
				wantOutput(t, r, test.want)
			} else {
				wantFailure(t, r, test.kind, test.want)
			}
		})
	}
}

// A function that uses up the memory of its host takes nobody else with it.
func TestStorm(t *testing.T) {
	n := newNode(t)
	a := load(t, `
functions:
  good: {source: ACTOR}
  storm: {source: ACTOR, memory: 64MiB}
workflows:
  main:
    steps:
      storm: {call: storm, foreach: "${ 4 }", with: {do: "touch 4000"}, catch: {value: caught}}
      good: {call: good, with: {do: "put x 100000; take x"}}
    output: ["${ .storm }", "${ .good }"]
`)
	wantOutput(t, run(t, n, a), "[[caught caught caught caught] [take x: 100000 bytes of "+sum100000+"]]")
}

// A log without an end is cut, and does not hold up the run.
func TestLongLog(t *testing.T) {
	n := newNode(t)
	many := strings.Repeat("log "+strings.Repeat("l", 900)+";", 60)
	a := steps(t, "a: {call: actor, foreach: '${ 20 }', with: {do: '"+many+"'}}")
	w := &watcher{}
	r := run(t, n, a, watched(w))
	if r.Failure != nil {
		t.Fatal(r.Failure.Error())
	}
	if got := w.count(telemetry.EventLog, "a", "lll"); got != 20*60 {
		t.Errorf("%d lines of log, want %d", got, 20*60)
	}
}

// TestDeadlock has calls wait for slots that nobody can publish: a deadlock is
// named, and what can still end is not called one.
func TestDeadlock(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		name  string
		steps []string
		want  []string // of the failure; none: the run succeeds
	}{
		{"one", []string{"a: {call: actor, with: {do: wait x}}"},
			[]string{`step a: deadlock: a waits for "x"; no running step can publish it`}},
		{"one, of a step that has ended", []string{"a: {call: actor, with: {do: put x 1}}", "b: {call: actor, needs: [a], with: {do: wait a/y}}"},
			[]string{`step b: deadlock: b waits for "a/y"`}},
		{"one, after another has ended without it", []string{"a: {call: actor, with: {do: wait x}}", "b: {call: actor, with: {do: sleep 50; put y 1}}"},
			[]string{`step a: deadlock: a waits for "x"`}},
		{"one, after a step that waits for a time", []string{"a: {call: actor, with: {do: wait x}}", "b: {call: actor, wait: 50ms, with: {do: put y 1}}"},
			[]string{`step a: deadlock: a waits for "x"`}},
		{"two for one another", []string{"a: {call: actor, with: {do: wait b/x; put x 1}}", "b: {call: actor, with: {do: wait a/x; put x 1}}"},
			[]string{"step ", `deadlock: a waits for "b/x", b waits for "a/x"; no running step can publish them`}},
		{"a foreach", []string{"a: {call: actor, foreach: '${ 40 }', with: {do: wait x}}"},
			[]string{`waits for "x"`, "and 36 more wait"}},
		{"what a step publishes is not there before it ends", []string{"a: {call: actor, with: {do: put x 1; wait b/y}}", "b: {call: actor, with: {do: wait a/x; put y 1}}"},
			[]string{`deadlock: a waits for "b/y", b waits for "a/x"`}},
		{"not while a call runs", []string{"a: {call: actor, with: {do: wait x}}", "b: {call: actor, with: {do: sleep 100; put x 1}}"}, nil},
		{"not while a step waits for its time", []string{"a: {call: actor, with: {do: wait x}}", "b: {call: actor, wait: 100ms, with: {do: put x 1}}"}, nil},
		{"not while a backoff lasts", []string{"a: {call: actor, with: {do: wait x}}", "b: {call: actor, retry: {max: 1, backoff: 100ms}, with: {do: first 1 exit 1; put x 1}}"}, nil},
		{"not while there is a time-out", []string{"a: {call: actor, with: {do: wait x 100}}"}, nil},
		{"not while calls are queued", []string{"a: {call: actor, foreach: '${ 40 }', with: {do: 'wait /x'}}", "b: {call: actor, with: {do: put /x 1}}"}, nil},
		{"not while its own step's items are queued", []string{"a: {call: one, foreach: ['wait a[2]/x', 'wait a[2]/x', 'put x 1'], with: {do: '${ .item }'}}"}, nil},
		{"not while an expression is evaluated", []string{"a: {call: actor, with: {do: wait x}}", "c: {call: actor, with: {do: put y 1}}",
			"b: {call: actor, needs: [c], with: {do: '${ last(range(3e5)) | \"put x 1\" }'}}"}, nil},
		{"not for who gives up", []string{"a: {call: actor, retry: {max: 3}, with: {do: first 3 exit 1; put x 1}}", "b: {call: actor, with: {do: wait x}}"}, nil},
	} {
		for _, apart := range []bool{false, true} {
			if apart && strings.Contains(test.steps[0], "40") {
				continue // 40 hosts are a lot for a test
			}
			t.Run(fmt.Sprintf("%s apart=%v", test.name, apart), func(t *testing.T) {
				a := load(t, "functions:\n  actor: {source: ACTOR, concurrency: 16}\n  one: {source: ACTOR, concurrency: 1}\nworkflows:\n  main:\n    steps:\n      "+
					strings.Join(test.steps, "\n      ")+"\n")
				r := run(t, n, a, func(r *node.RunRequest) { r.Apart = apart })
				if test.want != nil {
					wantFailure(t, r, "deadlock", test.want...)
				} else if r.Failure != nil {
					t.Errorf("%s: %s", r.Failure.Kind, r.Failure.Error())
				}
			})
		}
	}
}

// Items wait for what one that is queued behind them publishes: they make room
// for it, up to as many as a domain has room for.
func TestManyWaiting(t *testing.T) {
	n := newNode(t)
	for _, width := range []int{120, 400} {
		// Plain expressions: jq ones may end in any order.
		a := steps(t, "a: {call: actor, foreach: ["+strings.Repeat("wait /x, ", width-1)+"put /x 1], with: {do: '${ .item }'}}")
		if r := run(t, n, a); width > 160 {
			wantFailure(t, r, "deadlock", `waits for "/x"`, "no running step can publish them")
		} else if r.Failure != nil {
			t.Errorf("%s: %s", r.Failure.Kind, r.Failure.Error())
		}
	}
	// More at a time than a host has room for take turns.
	a := load(t, "functions:\n  f: {source: ACTOR, concurrency: 1000}\nworkflows:\n  main:\n    steps:\n      a: {call: f, foreach: '${ 600 }', with: {do: sleep 1}}\n")
	if r := run(t, n, a); r.Failure != nil {
		t.Errorf("%s: %s", r.Failure.Kind, r.Failure.Error())
	}
}
