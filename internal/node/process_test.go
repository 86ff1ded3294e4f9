package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/telemetry"
)

// needProcesses skips the test where what functions in Python or C need is not
// installed.
func needProcesses(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"python3", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("not installed: ", err)
		}
	}
}

// python is an app of one function in Python and a workflow that calls it.
func python(t *testing.T, settings, step, source string) *app.App {
	t.Helper()
	return load(t, "functions:\n  f: {runtime: python, source: ./f.py"+settings+"}\nworkflows:\n  main: {steps: {f: {call: f"+step+"}}, output: '${ .f }'}\n", "f.py", source)
}

// Values go from one runtime to the next by their slots, whatever the policies are.
func TestSlotsOfAllRuntimes(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	a := load(t, `
functions:
  wasm: {source: ACTOR}
  py: {runtime: python, source: ./py.py}
  nat: {runtime: native, source: ./nat.c}
workflows:
  main:
    steps:
      a: {call: wasm, with: {do: put x 100000; put small 5}}
      b: {call: py, needs: [a], with: {}}
      c: {call: nat, needs: [b]}
      d: {call: wasm, needs: [c], with: {do: take c/x; take c/small; len b/y; len a/x}}
    output: {b: "${ .b }", c: "${ .c }", d: "${ .d }"}
`, "py.py", `
import weft

def handler(event, context):
    x, small = weft.take("a/x"), weft.borrow("a/small")
    y = weft.alloc(2 * len(x))
    y.view[:len(x)] = x
    y.view[len(x):] = bytes(b + 1 for b in x)
    weft.put("y", y)
    weft.put("tiny", bytes(small) * 2)
    return {"step": context.step, "bytes": len(x), "small": bytes(small).decode()}
`, "nat.c", `
#include <weft.h>

WEFT_FUNCTION(nat) {
	weft_view y, tiny, x;
	int e = weft_take("b/y", 0, &y);
	if (!e) e = weft_take("b/tiny", 0, &tiny);
	if (!e) e = weft_alloc(&x, 100000);
	if (e) return weft_fail("slots: %s", weft_error(e));
	size_t n = 0;
	for (size_t i = 0; i < y.size; i++) n += ((char *)y.data)[i] == (i < 100000 ? 'x' : 'y');
	memset(x.data, 'x', 100000);
	if ((e = weft_put("x", 0, x.data, 100000)) || (e = weft_put("small", 0, tiny.data, 5))) return weft_fail("put: %s", weft_error(e));
	return weft_return_json("{\"right\": %zu, \"tiny\": \"%.*s\"}", n, (int)tiny.size, (char *)tiny.data);
}
`)
	const want = "map[b:map[bytes:100000 small:xxxxx step:b] c:map[right:200000 tiny:xxxxxxxxxx] " +
		"d:[take c/x: 100000 bytes of " + sum100000 + " take c/small: 5 bytes of 114516600 len b/y: errno 44 len a/x: errno 44]]"
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			wantOutput(t, run(t, n, a, func(r *node.RunRequest) { r.Load, r.Pass, r.Apart = way.load, way.pass, way.apart }), want)
		})
	}
}

// What a failed attempt has put and taken is undone; what it waited for may come.
func TestSlotsOfFailedProcesses(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	a := load(t, `
functions:
  wasm: {source: ACTOR}
  py: {runtime: python, source: ./py.py}
workflows:
  main:
    steps:
      a: {call: wasm, with: {do: put x 100000}}
      b: {call: py, needs: [a], retry: {max: 1, backoff: 1ms}}
      c: {call: wasm, needs: [a], with: {do: sleep 50; put late 3}}
    output: "${ .b }"
  stuck:
    steps:
      a: {call: py, with: {never: true}}
`, "py.py", `
import weft

def handler(event, context):
    if "never" in event:
        weft.wait("never")
    x = weft.take("x")
    weft.put("y", x)
    if context.attempt == 1:
        raise ValueError("once")
    weft.wait("c/late")
    return [len(x), len(weft.borrow("late"))]
`)
	wantOutput(t, run(t, n, a), "[100000 3]")
	wantFailure(t, run(t, n, a, func(r *node.RunRequest) { r.Workflow = "stuck" }), "deadlock", `a waits for "never"`)
}

// A value that each runtime takes and publishes again is in one memory file all the way: what the kernel says is mapped
// where each of them sees it.
func TestNothingIsCopiedAmongRuntimes(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	for _, size := range []int{2 << 20, 5<<20 + 1000} {
		a := load(t, fmt.Sprintf(`
functions:
  wasm: {source: ACTOR}
  py: {runtime: python, source: ./py.py}
  kept: {runtime: python, source: ./py.py, resident: true}
  nat: {runtime: native, source: ./nat.c}
workflows:
  main:
    steps:
      a: {call: nat, with: {size: %d}}
      b: {call: py, needs: [a], with: {from: a/x}}
      c: {call: wasm, needs: [b], with: {do: look b/x; forward x}}
      d: {call: nat, needs: [c], with: {from: c/x}}
      e: {call: kept, needs: [d], with: {from: d/x}}
      f: {call: wasm, needs: [e], with: {do: look e/x; forward x}}
      g: {call: py, needs: [f], with: {from: f/x, write: true}}
    output: ["${ .a }", "${ .b }", "${ .d }", "${ .e }", "${ .g }"]
`, size), "py.py", `
import ctypes
import weft

def handler(event, context):
    view = weft.borrow(event["from"])
    at, file = ctypes.addressof(ctypes.c_char.from_buffer(view)), 0
    for line in open("/proc/self/maps"):
        low, high = (int(x, 16) for x in line.split()[0].split("-"))
        if low <= at < high:
            file = int(line.split()[4])
    if "write" in event:
        view[5] = 1
        weft.put("x", view)
        copy = weft.borrow("x")
        return [copy[5], weft.borrow(event["from"])[5], len(copy)]
    weft.put("x", view)
    return file
`, "nat.c", `
#include <weft.h>

static unsigned long file_at(const void *at) {
	char line[512];
	unsigned long low, high, file, found = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &low, &high, &file) == 3 && low <= (unsigned long)at && (unsigned long)at < high) found = file;
	if (f) fclose(f);
	return found;
}

WEFT_FUNCTION(nat) {
	weft_view v;
	const char *from = weft_arg_str("from", "");
	int e = *from ? weft_borrow(from, 0, &v) : weft_alloc(&v, (size_t)weft_arg_int("size", 0));
	if (e) return weft_fail("get: %s", weft_error(e));
	if (!*from) memset(v.data, 7, v.size);
	if ((e = weft_put("x", 0, v.data, v.size))) return weft_fail("put: %s", weft_error(e));
	return weft_return_json("%lu", file_at(v.data));
}
`)
		r := run(t, n, a)
		if r.Failure != nil {
			t.Fatal(r.Failure)
		}
		out := r.Output.([]any)
		for i, file := range out[:4] {
			if fmt.Sprint(file) != fmt.Sprint(out[0]) || fmt.Sprint(file) == "0" {
				t.Errorf("%d bytes: the %d. function has them in the memory file %v, the first in %v", size, i+1, file, out[0])
			}
		}
		if got, want := fmt.Sprint(out[4]), fmt.Sprintf("[1 7 %v]", float64(size)); got != want {
			t.Errorf("what was written to: %s, want %s", got, want)
		}
	}
}

// Processes get files, folders and connections by the words that WebAssembly gets them by.
func TestGrantsOfProcesses(t *testing.T) {
	needProcesses(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "pong")
			c.Close()
		}
	}()
	n := newNode(t)
	a := load(t, fmt.Sprintf(`
functions:
  py: {runtime: python, source: ./py.py, files: ["./a::/data/x", "./b::/y:rw", "./dir::/dir:rw"], dial: ["localhost:%[1]d"]}
  sh: {runtime: native, source: ./f.sh, output: text, files: ["./a::/data/x", "./b::/y:rw", "./dir::/dir:rw"]}
  sdk: {runtime: native, source: ./sdk.c, dial: ["localhost:%[1]d"]}
workflows:
  main:
    steps:
      py: {call: py, with: %[1]d}
      sh: {call: sh, needs: [py]}
      sdk: {call: sdk, with: {port: %[1]d}}
`, l.Addr().(*net.TCPAddr).Port), "a", "in a", "b", "in b", "dir/c", "in c", "py.py", `
import socket

def handler(event, context):
    said = [open("/data/x").read(), open("/y").read(), open("/dir/c").read()]
    open("/y", "a").write(" and py")
    open("/dir/py", "w").write("by py")
    try:
        open("/data/x", "a")
    except OSError as e:
        said.append(e.strerror)
    with socket.create_connection(("localhost", event)) as s:
        said.append(s.recv(10).decode())
    return said
`, "f.sh", "#!/bin/sh\ncat /data/x /y /dir/py\ntrue >> /data/x || true\n", "sdk.c", `
#include <weft.h>

WEFT_FUNCTION(sdk) {
	int fd, other, port = (int)weft_arg_int("port", 0);
	char got[8] = "";
	int e = weft_dial("localhost", port, &fd);
	if (e) return weft_fail("dial: %s", weft_error(e));
	if (read(fd, got, sizeof got - 1) < 0) return weft_fail("read");
	return weft_return_json("[\"%s\", %d, %d]", got, weft_dial("elsewhere.invalid", port, &other) == WEFT_ENOTGRANTED, weft_dial("localhost", port - 1, &other) != 0);
}
`)
	wantOutput(t, run(t, n, a), "map[sdk:[pong 1 1] sh:in ain b and pyby py]")
	if b, err := os.ReadFile(filepath.Join(a.Dir, "b")); err != nil || string(b) != "in b and py" {
		t.Errorf("%q, %v", b, err)
	}
	a = load(t, "functions:\n  py: {runtime: python, source: ./py.py}\nworkflows:\n  main: {steps: {py: {call: py}}}\n", "py.py", `
import socket

def handler(event, context):
    socket.create_connection(("127.0.0.1", 80))
`)
	wantFailure(t, run(t, n, a), "exit", "Operation not permitted")
}

// Standard input may be a buffer, and output may be as long as it is.
func TestStreamsOfProcesses(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	a := load(t, `
functions:
  wasm: {source: ACTOR}
  cat: {runtime: native, source: ./cat.sh, output: bytes}
  py: {runtime: python, source: ./py.py, output: bytes}
workflows:
  main:
    steps:
      a: {call: wasm, with: {do: put x 100000}}
      b: {call: cat, needs: [a], stdin: '${ {"$buffer": "a/x"} }'}
      c: {call: py, needs: [b], stdin: "${ .b }"}
      d: {call: cat, needs: [c], stdin: few}
    output: {b: "${ .b }", c: "${ .c }", d: "${ .d }"}
`, "cat.sh", "#!/bin/sh\ncat\n", "py.py", "def handler(event, context):\n    return bytes(event) + b'!'\n")
	r := run(t, n, a)
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	out := r.Output.(map[string]any)
	for step, want := range map[string]string{"b": strings.Repeat("x", 100000), "c": strings.Repeat("x", 100000) + "!", "d": "few"} {
		if got := content(t, r, out[step]); got != want {
			t.Errorf("step %s: %d bytes that end in %.20q, want %d", step, len(got), got[max(0, len(got)-5):], len(want))
		}
	}
}

// Whatever a function in Python does wrong is a failure that says what.
func TestFailuresOfPython(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	for _, test := range []struct {
		name, settings, source string
		kind                   string // "": it succeeds
		want                   []string
	}{
		{"exception", "", "def deep():\n    raise KeyError('lost')\ndef handler(e, c):\n    deep()\n", "exit", []string{"step f: function f raised KeyError: 'lost'", `File "f.py", line 2, in deep`}},
		{"exit status", "", "import sys\ndef handler(e, c):\n    sys.exit(3)\n", "exit", []string{"exited with status 3"}},
		{"signal", "", "import os, signal\ndef handler(e, c):\n    os.kill(os.getpid(), signal.SIGSEGV)\n", "exit", []string{"SIGSEGV"}},
		{"not JSON", "", "def handler(e, c):\n    return {'items': [1, {'deep': object()}]}\n", "output", []string{"a value of type object at .items[1].deep"}},
		{"memory", ", memory: 64MiB", "def handler(e, c):\n    return len(bytearray(200 << 20))\n", "limit", []string{"more than the 64 MiB of memory"}},
		{"cpu", ", cpu: 1s", "def handler(e, c):\n    while True: pass\n", "limit", []string{"CPU time"}},
		{"output", ", max_output: 1KiB", "def handler(e, c):\n    return 'x' * 2000\n", "output", []string{"2002 bytes of output, the limit is 1024"}},
		{"ignores SIGTERM", ", timeout: 200ms", "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef handler(e, c):\n    time.sleep(60)\n", "timeout", []string{"function f took longer than 200ms"}},
		{"open files", "", "def handler(e, c):\n    return len([open('/dev/null') for _ in range(100000)])\n", "exit", []string{"Too many open files"}},
		{"prints", "", "def handler(e, c):\n    print('to the log')\n    return 'out'\n", "", []string{"out"}},
		{"daemon", "", "import os, time\ndef handler(e, c):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(3600)\n    return 'out'\n", "", []string{"out"}},
		{"closes its descriptors", "", "import os\ndef handler(e, c):\n    os.closerange(3, 100)\n    return 'out'\n", "", []string{"out"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &watcher{}
			r := run(t, n, python(t, test.settings, "", test.source), watched(w))
			if test.kind == "" {
				wantOutput(t, r, test.want[0])
			} else {
				wantFailure(t, r, test.kind, test.want...)
			}
			if test.name == "prints" && w.count(telemetry.EventLog, "f", "to the log") != 1 {
				t.Error("what it printed is not in the log")
			}
		})
	}
}

// What is wrong with a function before it is called is said when it is built.
func TestUnusableProcesses(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	for _, test := range []struct {
		name, settings string
		files          []string
		want           []string
	}{
		{"import fails", "python, source: ./f.py", []string{"f.py", "import nothing_of_that_name\n"}, []string{"function f", "No module named 'nothing_of_that_name'", "f.py", "line 1"}},
		{"no handler", "python, source: ./f.py", []string{"f.py", "def other(e, c): pass\n"}, []string{"module f has no function handler; it has other"}},
		{"no module", `python, source: ./d, handler: "reports.daily:run"`, []string{"d/main.py", ""}, []string{"its source has no module reports.daily", "reports/daily.py"}},
		{"several modules", "python, source: ./d", []string{"d/a.py", "", "d/b.py", ""}, []string{"2 modules and none is main", "handler: MODULE:handler"}},
		{"no Python in it", "python, source: ./d", []string{"d/a.txt", ""}, []string{"holds no Python file", "hint: the source of a Python function"}},
		{"absent", "python, source: ./f.py", nil, []string{"source ./f.py does not exist"}},
		{"no name of a module", "python, source: ./my-f.py", []string{"my-f.py", ""}, []string{"cannot be imported", "letters, digits and _"}},
		{"not Python", "python, source: ./f.txt", []string{"f.txt", ""}, []string{"unknown kind", ".py file"}},
		{"not a program", "native, source: ./f.txt", []string{"f.txt", "text"}, []string{"neither a program of this machine (ELF) nor a script"}},
		{"WebAssembly", "native, source: ./f.wasm", []string{"f.wasm", ""}, []string{"say `runtime: wasm`"}},
		{"C that does not compile", "native, source: ./f.c", []string{"f.c", "int main(void) { return x; }\n"}, []string{"compiler failed", "undeclared", "f.c:1:25"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := load(t, "functions:\n  f: {runtime: "+test.settings+"}\nworkflows:\n  main: {steps: {f: {call: f}}}\n", test.files...)
			wantError(t, n.Build(t.Context(), a, nil), test.want...)
		})
	}
}

// sleepers counts the processes of this machine that sleep for so many seconds.
func sleepers(t *testing.T, seconds string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && string(b) == "sleep\x00"+seconds+"\x00" {
			n++
		}
	}
	return n
}

// A call that is over leaves no process, whatever it has started.
func TestTreesEndWithTheirCall(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	script := func(seconds string) string {
		return "#!/bin/sh\ntrap '' TERM\n(trap '' TERM; setsid sleep " + seconds + ") &\necho started >&2\nsleep " + seconds + "\nsleep " + seconds + "\n"
	}
	app := func(settings, seconds string) *app.App {
		return load(t, "functions:\n  f: {runtime: native, source: ./f.sh"+settings+"}\nworkflows:\n  main: {steps: {f: {call: f}}}\n", "f.sh", script(seconds))
	}
	t.Run("timeout", func(t *testing.T) {
		wantFailure(t, run(t, n, app(", timeout: 300ms", "98401")), "timeout", "function f took longer than 300ms")
		if !eventually(func() bool { return sleepers(t, "98401") == 0 }) {
			t.Error("processes are left")
		}
	})
	t.Run("cancel", func(t *testing.T) {
		w := &watcher{}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done := make(chan *engine.Result, 1)
		go func() { done <- runContext(ctx, t, n, app("", "98402"), watched(w)) }()
		w.await(t, telemetry.EventLog, "f", "started")
		cancel()
		if r := <-done; r.Status != flow.CancelledRun {
			t.Errorf("status %s", r.Status)
		}
		if !eventually(func() bool { return sleepers(t, "98402") == 0 }) {
			t.Error("processes are left")
		}
	})
	t.Run("node", func(t *testing.T) {
		cmd, lines := otherNode(t, app("", "98403").Dir, t.TempDir(), func(*exec.Cmd) {})
		for lines.Scan() && lines.Text() != "log: started" {
		}
		if !eventually(func() bool { return sleepers(t, "98403") > 0 }) {
			t.Error("nothing runs")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if !eventually(func() bool { return sleepers(t, "98403") == 0 }) {
			t.Error("processes outlive their node")
		}
	})
}

// deployProcesses deploys an app whose functions and services are built here.
func deployProcesses(t *testing.T, s *node.Server, a *app.App) (registry.Version, error) {
	t.Helper()
	b := build.New(build.Config{CacheDir: filepath.Join(cache, "modules")})
	modules := map[string]string{}
	for name, f := range a.Units() {
		m, err := b.Build(t.Context(), a.Dir, build.Source{Function: name, Runtime: f.Runtime, Path: f.Source}, nil)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = m.Path
	}
	made, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := made.Write(&archive); err != nil {
		t.Fatal(err)
	}
	v, _, err := s.Apps.Deploy(t.Context(), &archive, deployment)
	return v, err
}

// A server runs what a deployment brings, version by version.
func TestDeployedProcesses(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	version := func(n int) *app.App {
		return load(t, `
functions:
  py: {runtime: python, source: ./py, handler: "sub.work:run", timeout: 1m, env: {WHO: you}}
  hasty: {runtime: python, source: ./py, handler: "sub.work:run", timeout: 1s}
  nat: {runtime: native, source: ./nat.c, output: text, args: [one, two]}
workflows:
  main: {steps: {a: {call: py, with: {do: ok}}}, output: "${ .a }"}
`, "py/sub/__init__.py", "", "py/sub/work.py", fmt.Sprintf(`
import os, sub.other, time
def run(event, context):
    if event["do"] == "late":
        time.sleep(60)
    if event["do"] == "fail":
        raise ValueError("no")
    return [%d, sub.other.name, os.environ["WHO"], context.remaining() > 0]
`, n), "py/sub/other.py", "name = 'other'\n", "nat.c", `
#include <stdio.h>
int main(int n, char **v) { printf("%s %s", v[1], v[2]); return 0; }
`)
	}
	for v := 1; v <= 2; v++ {
		if _, err := deployProcesses(t, s, version(v)); err != nil {
			t.Fatal(err)
		}
		if got, want := mustInvoke(t, s, "py", "ok"), fmt.Sprintf(`[%d,"other","you",true]`, v); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := mustInvoke(t, s, "nat", ""); got != "one two" {
		t.Errorf("got %q", got)
	}
	_, err := invoke(t.Context(), s, "py", "fail")
	wantError(t, err, "function py raised ValueError: no")
	_, err = invoke(t.Context(), s, "hasty", "late")
	wantError(t, err, "function hasty took longer than 1s")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := invoke(ctx, s, "py", "late"); err == nil {
		t.Error("a call that its caller has left succeeded")
	}
	r := start(t, s, nil)
	if r = ended(t, s, r.ID); r.Status != engine.Succeeded {
		t.Errorf("run %s", r.Status)
	}
	broken := load(t, "functions:\n  f: {runtime: python, source: ./f.py}\n", "f.py", "1 / 0\n")
	_, err = deployProcesses(t, s, broken)
	wantError(t, err, "division by zero")
}

// A resident function has its memory at the next call, and its slots are those of the
// call's run.
func TestResidentProcesses(t *testing.T) {
	needProcesses(t)
	n := newNode(t)
	a := load(t, `
functions:
  wasm: {source: ACTOR}
  py: {runtime: python, source: ./py.py, resident: true, concurrency: 1}
workflows:
  main:
    steps:
      a: {call: wasm, with: {do: put x 100000}}
      b: {call: py, needs: [a], foreach: "${ 3 }", concurrency: 1}
      c: {call: wasm, needs: [b], with: {do: "take b[2]/y"}}
    output: {b: "${ .b }", c: "${ .c }"}
`, "py.py", `
import weft
calls = 0
def handler(event, context):
    global calls
    calls += 1
    weft.put("y", weft.borrow("x"))
    return [calls, context.index]
`)
	wantOutput(t, run(t, n, a), "map[b:[[1 0] [2 1] [3 2]] c:[take b[2]/y: 100000 bytes of "+sum100000+"]]")
}

// A node without a usable Python says so, and runs what needs none.
func TestPythonIsMissing(t *testing.T) {
	needProcesses(t)
	old := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho '{\"version\": [3, 6], \"path\": \"/x\", \"prefix\": \"/usr\", \"exec\": \"/usr\", \"ctypes\": true}'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/no/python": "there is no /no/python", old: "is Python 3.6, which is too old"} {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) {
			n := newNode(t, func(c *node.Config) { c.Python = name })
			wantError(t, n.Build(t.Context(), python(t, "", "", "def handler(e, c): pass\n"), nil), "function f", want, "install Python 3.9 or later")
			a := load(t, "functions:\n  f: {runtime: native, source: ./f.sh}\nworkflows:\n  main: {steps: {f: {call: f}}, output: '${ .f }'}\n", "f.sh", "#!/bin/sh\necho 1\n")
			wantOutput(t, run(t, n, a), "1")
		})
	}
}
