package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/flow"
)

func TestPythonHandlers(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, `
import asyncio, json, os, random, sys, time, weft

loaded = time.time_ns()
print("imported")

def handler(event, context):
    what = event["do"]
    if what == "json":
        return {"a": [1, 2.5, None, True, "ü"], "of": event}
    if what == "bytes":
        return b"\x00\xff raw"
    if what == "view":
        return memoryview(bytearray(b"view"))
    if what == "nothing":
        return None
    if what == "print":
        print("to the log")
        print("more", file=sys.stderr)
        os.write(1, b"by descriptor\n")
        os.system("echo from a child")
        return 1
    if what == "context":
        assert weft.context() is context
        return [context.function, context.run, context.step, context.index, context.attempt, context.key,
                context.trace, 50 < context.remaining() <= 60, os.environ["CALL"], os.environ["FUNC"]]
    if what == "generator":
        return ("%d," % i for i in range(3))
    if what == "lines":
        return ({"n": i} for i in range(2))
    if what == "exit0":
        sys.exit(0)
    if what == "exit":
        sys.exit(7)
    if what == "state":
        global loaded
        was, loaded = loaded, 0
        return was != 0
    if what == "random":
        import uuid
        return [random.random(), os.urandom(4).hex(), str(uuid.uuid4())]
    if what == "subprocess":
        import subprocess
        return subprocess.run(["sh", "-c", "echo $((1+1))"], capture_output=True, text=True).stdout
    if what == "threads":
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            return sum(pool.map(lambda x: x * x, range(10)))
    if what == "multiprocessing":
        import multiprocessing
        with multiprocessing.Pool(2) as pool:
            return pool.map(abs, [-1, -2])
    if what == "async":
        async def later():
            await asyncio.sleep(0.01)
            return "later"
        return later()
`)
	f.Env = []string{"FUNC=f"}
	f.Limits.Time = time.Minute
	for _, c := range []struct{ do, want, log string }{
		{"json", `{"a":[1,2.5,null,true,"ü"],"of":{"do":"json"}}`, ""},
		{"bytes", "\x00\xff raw", ""},
		{"view", "view", ""},
		{"nothing", "null", ""},
		{"print", "1", "to the log\nmore\nby descriptor\nfrom a child"},
		{"context", `["f","r-1","s[2]",2,3,"k","00-ab",true,"c","f"]`, ""},
		{"generator", "0,1,2,", ""},
		{"lines", "{\"n\":0}\n{\"n\":1}\n", ""},
		{"exit0", "", ""},
		{"state", "true", ""},
		{"state", "true", ""},
		{"subprocess", `"2\n"`, ""},
		{"threads", "285", ""},
		{"multiprocessing", "[1,2]", ""},
		{"async", `"later"`, ""},
	} {
		t.Run(c.do, func(t *testing.T) {
			var log logged
			r := run(t, p, Call{Function: f, Input: []byte(`{"do": "` + c.do + `"}`), Log: log.add,
				Run: "r-1", Step: "s[2]", Index: 2, Attempt: 3, Key: "k", Trace: "00-ab", Env: []string{"CALL=c"}})
			if r.Failure != nil || string(r.Output) != c.want {
				t.Errorf("%q, %v, want %q", r.Output, r.Failure, c.want)
			}
			if log.text() != c.log {
				t.Errorf("log %q, want %q", log.text(), c.log)
			}
		})
	}
	seen := map[string]bool{}
	for range 3 {
		r := run(t, p, Call{Function: f, Input: []byte(`{"do": "random"}`)})
		for part := range strings.SplitSeq(string(r.Output), ",") {
			if seen[part] {
				t.Errorf("two calls have the same random %s", part)
			}
			seen[part] = true
		}
	}
	if r := run(t, p, Call{Function: f, Input: []byte(`{"do": "exit"}`)}); r.Code != 7 || r.Failure == nil || r.Failure.Kind != KindExit {
		t.Errorf("%+v", r)
	}
	if r := run(t, p, Call{Function: f, Input: []byte(`{broken`)}); r.Failure == nil || r.Failure.Kind != KindRefused ||
		!strings.Contains(r.Failure.Message, "the input is not JSON") {
		t.Errorf("%+v", r)
	}
}

func TestPythonRawInput(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, "def handler(event, context):\n    event[0:1] = b'X'\n    return [type(event).__name__, len(event), bytes(event[:3]).decode()]\n")
	for _, n := range []int{3, 100_000} {
		want := fmt.Sprintf(`["memoryview",%d,"Xaa"]`, n)
		if r := run(t, p, Call{Function: f, Raw: true, Input: []byte(strings.Repeat("a", n))}); string(r.Output) != want {
			t.Errorf("%q, %v", r.Output, r.Failure)
		}
	}
}

func TestPythonStream(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, `
import os, time

def handler(event, context):
    yield "first"
    while not os.path.exists("/shared/go"):
        time.sleep(0.001)
    yield b"second"
`)
	dir := folder(t)
	f.Mounts = []Mount{{Host: dir, Path: "/shared", ReadOnly: true}}
	read, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	process, err := p.Start(context.Background(), Call{Function: f, Stream: writer})
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	b := make([]byte, 100)
	if n, err := read.Read(b); err != nil || string(b[:n]) != "first" {
		t.Errorf("%q, %v", b[:n], err)
	}
	write(t, filepath.Join(dir, "go"), "")
	if n, err := read.Read(b); err != nil || string(b[:n]) != "second" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if r := process.Wait(); r.Failure != nil {
		t.Error(r.Failure)
	}
}

func TestPythonFailures(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, `
import ctypes, json, os, signal, stat, time, weft

class Thing: pass

def inner(n):
    raise ValueError("bad number %d" % n)

def mode(fd):
    try: return os.fstat(fd).st_mode
    except OSError: return 0


def handler(event, context):
    if event == "raise": inner(3)
    if event == "library": json.loads("{")
    if event == "chain":
        try: inner(4)
        except ValueError as e: raise RuntimeError("wrapped") from e
    if event == "object": return {"items": [1, {"deep": Thing()}]}
    if event == "nan": return [1.0, float("nan")]
    if event == "loop":
        x = []; x.append(x); return x
    if event == "bytes in json": return {"a": b"x"}
    if event == "sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(100)
    if event == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(985)
            os._exit(0)
        return "left"
    if event == "crash": ctypes.string_at(0)
    if event == "memory": bytearray(1 << 40)
    if event == "files":
        held = [open("/dev/null") for _ in range(100_000)]
    if event == "files held":
        held = []
        while True: held.append(open("/dev/null"))
    if event == "closes":
        os.closerange(0, 1000)
        return "closed"
    if event == "closes, raises":
        os.closerange(3, 1000)
        raise ValueError("unheard")
    if event == "closes its output":
        for fd in range(4, 1000):
            if stat.S_ISREG(mode(fd)): os.close(fd)
        return "closed"
    if event == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "os exit": os._exit(9)
    if event == "recursion": return handler(event, context)
`)
	own := "Traceback (most recent call last):\n  File \"main.py\", line 15, in handler\n    if event == \"raise\": inner(3)\n"
	for event, c := range map[string]struct{ kind, message string }{
		"raise":             {KindExit, "raised ValueError: bad number 3\n" + own},
		"library":           {KindExit, "raised json.decoder.JSONDecodeError: "},
		"chain":             {KindExit, "raised RuntimeError: wrapped\n"},
		"object":            {KindOutput, "what is not JSON: a value of type Thing at .items[1].deep"},
		"nan":               {KindOutput, "what is not JSON: nan at [1]"},
		"loop":              {KindOutput, "contains itself"},
		"bytes in json":     {KindOutput, "a value of type bytes at .a"},
		"sigterm":           {KindTimeout, "ran longer than"},
		"crash":             {KindExit, "SIGSEGV"},
		"memory":            {KindLimit, "MemoryError"},
		"files":             {KindExit, "Too many open files"},
		"files held":        {KindExit, "raised OSError: [Errno 24] Too many open files"},
		"closes":            {KindExit, "has closed descriptors that it did not open, as os.closerange does"},
		"closes, raises":    {KindExit, "has closed descriptors that it did not open, as os.closerange does"},
		"closes its output": {KindOutput, "the handler has closed the descriptor that its output is written to"},
		"kill":              {KindLost, "was killed, by itself or by something"},
		"os exit":           {KindExit, "exited with status 9"},
		"recursion":         {KindExit, "RecursionError"},
	} {
		t.Run(event, func(t *testing.T) {
			patience := time.Minute
			if c.kind == KindTimeout {
				patience = 500 * time.Millisecond
			}
			r := run(t, p, Call{Function: f, Input: []byte(`"` + event + `"`), Time: patience, Grace: 50 * time.Millisecond, Log: func(l string) { t.Log(l) }})
			if r.Failure == nil || r.Failure.Kind != c.kind || !strings.Contains(r.Failure.Message, c.message) {
				t.Fatalf("%+v, want %s with %q", r.Failure, c.kind, c.message)
			}
			for _, not := range []string{"/weft/", "server.py", "importlib"} {
				if strings.Contains(r.Failure.Message, not) {
					t.Errorf("the message shows frames that are not the user's:\n%s", r.Failure.Message)
				}
			}
		})
	}
	if r := run(t, p, Call{Function: f, Input: []byte(`"daemon"`)}); r.Failure != nil || string(r.Output) != `"left"` {
		t.Errorf("%q, %v", r.Output, r.Failure)
	}
	if n := forks(t); n > 2 { // the server and a spare
		t.Errorf("%d processes of the function are left", n)
	}
	if r := run(t, p, Call{Function: f, Input: []byte(`"none of these"`)}); r.Failure != nil { // the server has survived all that
		t.Error(r.Failure)
	}
}

// forks counts the processes of this test's pools that run the Python server.
func forks(t *testing.T) int {
	t.Helper()
	n := 0
	for _, pid := range processes(t, "/weft/server.py") {
		if descends(pid, os.Getpid()) {
			n++
		}
	}
	return n
}

// descends reports whether a process was started by another one, or by those that it
// started.
func descends(pid, from int) bool {
	for pid > 1 && pid != from {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			return false
		}
	}
	return pid == from
}

func TestPythonThatDoesNotImport(t *testing.T) {
	p := newPool(t, Options{})
	if err := p.Prepare(context.Background(), pythonFunction(t, "def handler(e, c): pass\n")); err != nil { // now Python is found
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ source, message string }{
		"raises":  {"import json\nprint('so far')\nraise KeyError('gone')\n", "KeyError: 'gone'\nTraceback (most recent call last):\n  File \"main.py\", line 3, in <module>"},
		"syntax":  {"def handler(:\n", "SyntaxError: "},
		"missing": {"import no_such_module\ndef handler(e, c): pass\n", "No module named 'no_such_module'\nhint: if a package has no_such_module, name that in the function's requirements"},
		"handler": {"def other(e, c): pass\n", "module main has no function handler; it has other"},
		"exits":   {"import sys\nsys.exit(3)\n", "SystemExit: 3"},
		"slow":    {"import time\ntime.sleep(100)\n", "it was not ready within 700ms"},
		"dies":    {"import os\nos._exit(5)\n", "ended"},
		"crashes": {"import ctypes\nctypes.string_at(0)\n", "its fork server was ended by the signal SIGSEGV"},
		"eats":    {"x = []\nwhile True: x.append(bytearray(1 << 20))\n", "memory"},
	} {
		t.Run(name, func(t *testing.T) {
			f := pythonFunction(t, c.source)
			f.Limits.Memory = 128 << 20
			if name == "slow" {
				f.Limits.Import = 700 * time.Millisecond
			}
			err := p.Prepare(context.Background(), f)
			var failure *flow.Failure
			if !errors.As(err, &failure) || failure.Kind != KindRefused || !strings.Contains(strings.ToLower(failure.Message), strings.ToLower(c.message)) {
				t.Errorf("%v, want %q", err, c.message)
			}
			if strings.Contains(err.Error(), "importlib") || strings.Contains(err.Error(), "/weft/") {
				t.Errorf("it shows frames that are not the user's: %v", err)
			}
		})
	}
}

func TestPythonThatIsNotThere(t *testing.T) {
	dir := folder(t)
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	answer := func(version, ctypes string) string {
		return `echo '{"version": [` + version + `], "path": "/usr/bin/x", "prefix": "/usr", "exec": "/usr", "ctypes": ` + ctypes + `}'`
	}
	for name, c := range map[string]struct{ python, message string }{
		"absent":    {filepath.Join(dir, "nothing"), "there is no"},
		"too old":   {script("old", answer("3, 6", "true")), "is Python 3.6, which is too old; install Python 3.9 or later"},
		"two":       {script("two", answer("2, 7", "true")), "is Python 2.7, which is too old"},
		"no ctypes": {script("bare", answer("3, 11", "false")), "was built without the module ctypes"},
		"broken":    {script("broken", "echo cannot >&2; exit 1"), "does not run: exit status 1: cannot"},
		"no python": {script("other", "echo hello"), "where it should describe itself"},
	} {
		p := newPool(t, Options{Python: c.python})
		err := p.Prepare(context.Background(), &Function{Name: "f", Version: "1", Runtime: Python, Module: "main"})
		var failure *flow.Failure
		if !errors.As(err, &failure) || failure.Kind != KindRefused || !strings.Contains(failure.Message, c.message) {
			t.Errorf("%s: %v, want %q", name, err, c.message)
		}
	}
}

func TestPythonLayersAndNames(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, "")
	layer := folder(t)
	if err := os.Mkdir(filepath.Join(layer, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(layer, "lib", "__init__.py"), "answer = 42\n")
	if err := os.Mkdir(filepath.Join(f.Dir, "jobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(f.Dir, "jobs", "daily.py"), "import lib\ndef run(event, context): return lib.answer\n")
	f.Layers, f.Module, f.Handler = []string{layer}, "jobs.daily", "run"
	if r := run(t, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "42" {
		t.Errorf("%q, %v", r.Output, r.Failure)
	}
}

func TestPythonMemoryLimit(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, "def handler(event, context):\n    x = []\n    while True:\n        x.append(bytearray(1 << 20))\n")
	f.Limits.Memory = 96 << 20
	r := run(t, p, Call{Function: f})
	if r.Failure == nil || r.Failure.Kind != KindLimit || !strings.Contains(r.Failure.Message, "more than the 96 MiB of memory") {
		t.Errorf("%+v", r.Failure)
	}
	if r := run(t, p, Call{Function: f}); r.Failure == nil || r.Failure.Kind != KindLimit { // the server has survived
		t.Errorf("%+v", r.Failure)
	}
}

// A function may be called like a module of Python; everybody else still has Python's.
func TestPythonNamedLikeAModule(t *testing.T) {
	p := newPool(t, Options{})
	for name, resident := range map[string]Resident{"json": "", "random": "", "site": "", "email": "", "struct": ResidentHandler} {
		t.Run(name, func(t *testing.T) {
			f := pythonFunction(t, "")
			write(t, filepath.Join(f.Dir, name+".py"), fmt.Sprintf(`
import dataclasses, pickle, sys, %[1]s

@dataclasses.dataclass
class Own:
    x: int = 1

def handler(event, context):
    import random, tempfile
    with tempfile.TemporaryDirectory(): pass
    assert pickle.loads(pickle.dumps(Own(2))).x == 2
    assert sys.modules[__name__].handler is handler
    return [__name__, "/fn/" in (getattr(%[1]s, "__file__", None) or ""), 0 <= random.random() < 1]
`, name))
			f.Module, f.Resident = name, resident
			r := run(t, p, Call{Function: f})
			if want := `["fn_` + name + `",false,true]`; r.Failure != nil || string(r.Output) != want {
				t.Errorf("%q, %v, want %q", r.Output, r.Failure, want)
			}
		})
	}
}

// A fork server, or a warden, that somebody has stopped is replaced when the first call of it
// has run out of time.
func TestServerThatDoesNotAnswer(t *testing.T) {
	for name, text := range map[string]string{"server": "/weft/server.py", "warden": "weft-warden"} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, Options{Spare: -1})
			p.patience = time.Millisecond
			f := pythonFunction(t, "def handler(e, c): return 1\n")
			if r := run(t, p, Call{Function: f}); r.Failure != nil {
				t.Fatal(r.Failure)
			}
			for _, pid := range processes(t, text) {
				if descends(pid, os.Getpid()) {
					syscall.Kill(pid, syscall.SIGSTOP)
				}
			}
			r := run(t, p, Call{Function: f, Time: 100 * time.Millisecond})
			if r.Failure == nil || r.Failure.Kind != KindTimeout {
				t.Errorf("%v, want a time-out", r.Failure)
			}
			if r := run(t, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "1" {
				t.Errorf("%q, %v afterwards", r.Output, r.Failure)
			}
		})
	}
}
