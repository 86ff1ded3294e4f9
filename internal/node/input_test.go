package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// TestHandMade runs modules made byte by byte.
func TestHandMade(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct {
		name     string
		module   []byte
		settings string
		kind     string
		want     string
	}{
		{"prints", moduleOf("[1,2]", 0, printIt...), "", "", "[1 2]"},
		{"prints nothing", moduleOf("", 0), "", "", "<nil>"},
		{"exits", moduleOf("", 0, exit5...), "", "exit", "step s: function f exited with status 5"},
		{"unreachable", moduleOf("", 0, 0), "", "trap", "function f trapped: wasm `unreachable` instruction executed"},
		{"reads outside of memory", moduleOf("", 0, loadFar...), "", "trap", "out of bounds memory access"},
		{"divides by zero", moduleOf("", 0, divideBy0...), "", "trap", "function f trapped: integer divide by zero"},
		{"calls itself for ever", moduleOf("", 0, recurse...), "", "trap", "function f trapped: call stack exhausted"},
		{"loops, with a limit of CPU time", moduleOf("", 0, spinOn...), "cpu: 200ms", "limit", "step s: function f was ended: it used more than 200ms of CPU time"},
		{"loops, with a time-out", moduleOf("", 0, spinOn...), "timeout: 200ms, cpu: 10s", "timeout", "step s: function f took longer than 200ms"},
		{"grows for ever", moduleOf("", 0, growOn...), "memory: 4GiB", "trap", "unreachable"},
		{"ten functions of ten thousand instructions", bomb(10, 1000), "", "", "<nil>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, fmt.Sprintf("functions:\n  f: {source: %s, %s}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n", moduleFile(t, test.module), test.settings))
			r := run(t, n, a)
			if test.kind == "" {
				wantOutput(t, r, test.want)
			} else {
				wantFailure(t, r, test.kind, test.want)
			}
		})
	}
}

// TestBadSource builds what cannot be built; nothing is run.
func TestBadSource(t *testing.T) {
	n := newNode(t)
	valid := moduleOf("", 0)
	for _, test := range []struct {
		name, source, content string
		want                  []string
	}{
		{"missing", "./gone.c", "", []string{"weft.yaml:3:3: build function f: source ./gone.c does not exist (looked for /", "hint: a source is a Go package folder"}},
		{"unknown kind", "./f.js", "1", []string{"weft.yaml:3:3: build function f: source ./f.js is of an unknown kind \".js\""}},
		{"empty folder", "./f", "", []string{"source folder ./f holds neither Go nor C files"}},
		{"text", "./f.wasm", "hello", []string{"source ./f.wasm cannot be used: is not a WebAssembly module but "}},
		{"empty", "./f.wasm", "", []string{"file is empty, not a WebAssembly module"}},
		{"an executable for this machine", "./f.wasm", "\x7fELF\x02\x01\x01", []string{"is not a WebAssembly module but "}},
		{"a component", "./f.wasm", "\x00asm\x0d\x00\x01\x00", []string{"is a WebAssembly component (WASI 0.2)"}},
		{"truncated", "./f.wasm", string(valid[:len(valid)-10]), []string{"module is truncated: section at byte "}},
		{"exports nothing", "./f.wasm", string(moduleHeader), []string{"module exports nothing: a function exports _start (a program with main) or weft_handle"}},
		{"another target", "./f.wasm", string(join(moduleHeader, moduleTypes, section(2, vector(join(name("gojs"), name("runtime.wasmExit"), []byte{0, 0}))))),
			[]string{"it is built for GOOS=js; build it with GOOS=wasip1"}},
		{"malformed code", "./f.wasm", string(join(valid[:8], moduleTypes, section(3, vector(leb(0))), section(5, vector([]byte{0, 1})),
			section(7, vector(join(name("memory"), []byte{2, 0}), join(name("_start"), []byte{0, 0}))), section(10, vector([]byte{3, 0, 0x6a, 0x0b})))),
			[]string{"function f: compile module ", "invalid module: ", "type mismatch"}},
		{"a mistake in C", "./f.c", "int main(void) { return x; }\n", []string{"build function f: ", "f.c:1:25: error: use of undeclared identifier 'x'"}},
		{"a mistake in Go", "./f", "go", []string{"build function f: ", "undefined: x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.HasSuffix(test.source, ".c") && test.content != "" {
				actor(t) // or skip
			}
			files := []string{strings.TrimPrefix(test.source, "./"), test.content}
			switch {
			case test.name == "missing":
				files = nil
			case test.content == "go":
				files = []string{"f/main.go", "package main\n\nfunc main() { x() }\n", "go.mod", "module example.com/f\n\ngo 1.24\n"}
			case test.source == "./f":
				files = []string{"f/notes.txt", ""}
			}
			a := load(t, "functions:\n  f: {source: "+test.source+"}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n", files...)
			w := &watcher{}
			wantError(t, n.Build(t.Context(), a, w), test.want...)
			if w.count(telemetry.EventBuildFailed, "", "") != 1 {
				t.Error("no event says that the build failed")
			}
			_, err := n.Run(t.Context(), node.RunRequest{App: a, Workflow: "main"})
			wantError(t, err, test.want...)
		})
	}
}

// All that is wrong with an app's functions is reported at once.
func TestAllErrorsAtOnce(t *testing.T) {
	n := newNode(t)
	a := load(t, "functions:\n  a: {source: ./a.wasm}\n  b: {source: ./b.wasm}\n  c: {source: ./c.wasm, files: ['./gone::/data']}\nworkflows:\n  main:\n    steps:\n      s: {call: a}\n",
		"b.wasm", "b", "c.wasm", string(moduleOf("", 0)))
	wantError(t, n.Build(t.Context(), a, nil), "function a: source ./a.wasm does not exist", "function b: source ./b.wasm cannot be used", "function c: grant /data: ")
}

func TestWrongAppFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte("name: x\nfunction:\n  f: {source: ./f.c}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := app.Load(dir)
	wantError(t, err, "weft.yaml:2:1: ", `unknown key "function"`)
}

func TestUnknownWorkflow(t *testing.T) {
	n := newNode(t)
	a := load(t, "functions:\n  f: {source: ./f.wasm}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n", "f.wasm", string(moduleOf("", 0)))
	_, err := n.Run(t.Context(), node.RunRequest{App: a, Workflow: "other"})
	wantError(t, err, "app test has no workflow other")
}

// A node whose cache cannot be written says so, and starts nothing.
func TestNoCache(t *testing.T) {
	before := take(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := node.New(t.Context(), node.Config{CacheDir: file})
	wantError(t, err, "make cache folder: ", "not a directory")
	checkNothingLeft(t, before)
}

func TestCancelled(t *testing.T) {
	n := newNode(t)
	why := errors.New("somebody pressed a key")
	for _, test := range []struct {
		name  string
		steps []string
		event telemetry.EventKind
		text  string
	}{
		{"computing", []string{"a: {call: actor, with: {do: log there; spin}}"}, telemetry.EventLog, "there"},
		{"waiting for a slot", []string{"a: {call: actor, with: {do: log there; wait never 60000}}"}, telemetry.EventLog, "there"},
		{"sleeping", []string{"a: {call: actor, with: {do: log there; sleep 60000}}"}, telemetry.EventLog, "there"},
		{"queued", []string{"a: {call: actor, foreach: '${ 40 }', with: {do: log there; spin}}"}, telemetry.EventLog, "there"},
		{"between steps", []string{"a: {call: actor, with: {do: put x 1}}", "b: {needs: [a], wait: 60s}"}, telemetry.EventStepFinished, ""},
		{"an expression", []string{"a: {call: actor, with: {do: put x 1}}", "b: {call: actor, needs: [a], with: '${ last(range(1e12)) }'}"}, telemetry.EventStepFinished, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := steps(t, test.steps...)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			w := &watcher{}
			done := make(chan *engine.Result, 1)
			go func() { done <- runContext(ctx, t, n, a, watched(w)) }()
			w.await(t, test.event, "a", test.text)
			cancel(why)
			r := <-done
			if r.Status != flow.CancelledRun || r.Failure == nil || r.Failure.Kind != flow.KindCancelled || r.Failure.Message != why.Error() {
				t.Errorf("run %s: %+v", r.Status, r.Failure)
			}
		})
	}
	t.Run("building", func(t *testing.T) {
		a := load(t, "functions:\n  f: {source: "+moduleFile(t, bomb(2000, 2000))+"}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n")
		ctx, cancel := context.WithCancelCause(t.Context())
		w := &watcher{}
		failed := make(chan error, 1)
		go func() { failed <- n.Build(ctx, a, w) }()
		if !eventually(func() bool { return compiling() }) {
			t.Error("no compiler was started")
		}
		cancel(why)
		err := <-failed
		if !errors.Is(err, context.Canceled) && !errors.Is(err, why) {
			t.Errorf("a cancelled build failed with: %v", err)
		}
		if err != nil && strings.Contains(err.Error(), "invalid module") {
			t.Errorf("a cancelled build calls its module invalid: %v", err)
		}
	})
}

// compiling reports whether a compile process of this node runs.
func compiling() bool {
	for _, pid := range hostsOf(os.Getpid()) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(b), "compile") {
			return true
		}
	}
	return false
}
