package process

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// member makes a function of a family.
func member(t testing.TB, name, source string, common ...string) *Function {
	f := pythonFunction(t, source)
	f.Name, f.Family, f.Common = name, "app", common
	return f
}

// adoptedBy is what the server of a function was forked from; nil: nothing.
func adoptedBy(p *Pool, f *Function) *parent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.servers[f.key()]; s != nil {
		return s.above
	}
	return nil
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("servers have parents on root's nodes only")
	}
}

// hash is the same in all processes that were forked from one interpreter, and
// in no others.
const hash = `
import sys
first = "json" in sys.modules and "colorsys" in sys.modules
import colorsys

def handler(event, context):
    return [hash("weft"), first]
`

func TestServersHaveAParent(t *testing.T) {
	needRoot(t)
	var log logged
	p := newPool(t, Options{Log: func(_, line string) { log.add(line) }})
	var outputs []string
	for name, resident := range map[string]Resident{"a": ResidentNone, "b": ResidentNone, "c": ResidentHandler} {
		f := member(t, name, hash, "colorsys", "nothing_like_this")
		f.Resident = resident
		r := run(t, p, Call{Function: f})
		if r.Failure != nil {
			t.Fatalf("%v\n%s", r.Failure, log.text())
		}
		if err := p.Prepare(context.Background(), f); err != nil || adoptedBy(p, f) == nil {
			t.Fatalf("%s has no parent, %v\n%s", name, err, log.text())
		}
		outputs = append(outputs, string(r.Output))
	}
	if outputs[0] != outputs[1] || outputs[0] != outputs[2] || !strings.HasSuffix(outputs[0], ",true]") {
		t.Errorf("%v: not of one interpreter that has imported colorsys\n%s", outputs, log.text())
	}
}

// prying looks for what another function of the family has: while it is imported,
// and in a call. It returns what it has found.
const prying = `
import ctypes, gc, json, os, signal, resource

def readable(path):
    try:
        with open(path, "rb") as f:
            return f.read(1 << 20)
    except OSError:
        return b""

def found():
    out = []
    if "OWNED" in os.environ:
        out.append("its environment")
    for path in ("/private/key", "/granted/file"):
        if os.path.exists(path):
            out.append(path)
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in ["self"] + [str(n) for n in range(1, 2000)]:
        if b"hidden-value" in readable("/proc/%s/environ" % pid):
            out.append("the environment of %s" % pid)
        if pid == "self":
            continue
        for kind in ("mnt", "user", "net", "pid"):
            try:
                fd = os.open("/proc/%s/root/private/key" % pid, os.O_RDONLY)
                out.append("the files of %s" % pid)
                os.close(fd)
            except OSError:
                pass
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            continue
        if int(fd) > 3 and ("cgroup" in name or "mnt:" in name or "user:" in name or "private" in name):
            out.append("descriptor %s: %s" % (fd, name))
    marker = "hidden-" + "value"
    for o in gc.get_objects():
        if isinstance(o, dict) and any(isinstance(v, str) and marker in v for v in list(o.values())):
            out.append("an object")
    for line in open("/proc/self/mounts"):
        if "/granted" in line or "/private" in line:
            out.append("its mounts")
    try:
        os.kill(-1, signal.SIGKILL)
        out.append("processes to kill")
    except OSError:
        pass
    import colorsys
    if getattr(colorsys, "left", None):
        out.append("what it left in a module")
    return out

at_import = [x for x in found() if x != "processes to kill"]

def handler(event, context):
    return {"import": at_import, "call": [x for x in found() if x != "processes to kill"], "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "fsize": resource.getrlimit(resource.RLIMIT_FSIZE)[0], "tmp": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize, "env": sorted(os.environ),
            "pids": sorted(int(n) for n in os.listdir("/proc") if n.isdigit())}
`

func TestMembersSeeNothingOfEachOther(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{})
	dir := folder(t)
	write(t, dir+"/file", "granted")
	owner := member(t, "owner", `
import colorsys, os
colorsys.left = "hidden-value"
assert os.environ["OWNED"] == "hidden-value"

def handler(event, context):
    assert open("/private/key").read() == "hidden-value"
    assert open("/granted/file").read() == "granted"
    return os.environ["OWNED"]
`, "colorsys")
	owner.Env, owner.Files = []string{"OWNED=hidden-value"}, map[string]string{"/private/key": "hidden-value"}
	owner.Mounts = []Mount{{Host: dir, Path: "/granted", ReadOnly: true}}
	owner.Limits = Limits{Files: 700, Tmp: 8 << 20, Output: 8 << 20}
	if r := run(t, p, Call{Function: owner}); r.Failure != nil || string(r.Output) != `"hidden-value"` {
		t.Fatalf("%s, %v", r.Output, r.Failure)
	}
	other := member(t, "other", prying, "colorsys")
	other.Limits = Limits{Files: 300, Tmp: 4 << 20, Output: 4 << 20}
	other.Env = []string{"MINE=1"}
	r := run(t, p, Call{Function: other})
	want := `{"import":[],"call":[],"files":300,"fsize":4194304,"tmp":4194304,"env":["HOME","LANG","MINE","MKL_NUM_THREADS","OMP_NUM_THREADS","OPENBLAS_NUM_THREADS","PATH","USER"],"pids":[1,2]}`
	if r.Failure != nil || string(r.Output) != want {
		t.Errorf("%s, %v\nwant %s", r.Output, r.Failure, want)
	}
	if a, b := adoptedBy(p, owner), adoptedBy(p, other); a == nil || a != b {
		t.Errorf("%p and %p are not the same parent", a, b)
	}
}

// TestMembersAreLimited lets a member take more than it may have: it alone pays.
func TestMembersAreLimited(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{})
	if !p.limited.memory || !p.limited.pids {
		t.Skip("no cgroups")
	}
	good := member(t, "good", "def handler(event, context):\n    return open('/proc/self/cgroup').read()\n")
	greedy := member(t, "greedy", `
import os
def handler(event, context):
    if event == "memory":
        return len(bytearray(200 << 20))
    if event == "processes":
        n = 0
        try:
            for n in range(100):
                if os.fork() == 0:
                    os.read(os.pipe()[0], 1)
        except OSError:
            pass
        return n < 20
`)
	greedy.Limits = Limits{Memory: 64 << 20, Pids: 16}
	if r := run(t, p, Call{Function: good}); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	if r := run(t, p, Call{Function: greedy, Input: []byte(`"memory"`)}); r.Failure == nil || r.Failure.Kind != KindLimit {
		t.Errorf("%s, %v", r.Output, r.Failure)
	}
	if r := run(t, p, Call{Function: greedy, Input: []byte(`"processes"`)}); r.Failure != nil || string(r.Output) != "true" {
		t.Errorf("%s, %v", r.Output, r.Failure)
	}
	if r := run(t, p, Call{Function: good}); r.Failure != nil {
		t.Error(r.Failure)
	}
	// An import takes from its function too.
	hungry := member(t, "hungry", "kept = bytearray(300 << 20)\ndef handler(event, context):\n    return 1\n")
	hungry.Limits.Memory = 64 << 20
	if err := p.Prepare(context.Background(), hungry); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("%v", err)
	}
	if r := run(t, p, Call{Function: good}); r.Failure != nil {
		t.Error(r.Failure)
	}
}

// TestFunctionsThatHaveNoParent checks that what does not suit is as if there were none.
func TestFunctionsThatHaveNoParent(t *testing.T) {
	needRoot(t)
	var log logged
	p := newPool(t, Options{Log: func(_, line string) { log.add(line) }})
	const source = "def handler(event, context):\n    return 1\n"
	bad := folder(t)
	write(t, bad+"/broken.py", "raise ValueError('on purpose')\n")
	write(t, bad+"/slow.py", "import os, time\nif not os.listdir('/fn'):\n    time.sleep(1000)\n")
	write(t, bad+"/threads.py", "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n")
	for _, c := range []struct {
		name string
		f    *Function
		edit func(*Function)
		want bool
	}{
		{"suits", member(t, "a", source), func(*Function) {}, true},
		{"of no family", member(t, "b", source), func(f *Function) { f.Family = "" }, false},
		{"hides a module", member(t, "c", source), func(f *Function) { write(t, f.Dir+"/json.py", "") }, false},
		{"hides what is common", member(t, "d", source, "colorsys"), func(f *Function) { write(t, f.Dir+"/colorsys.py", "") }, false},
		{"threads of a library", member(t, "e", source), func(f *Function) { f.Env = []string{"OMP_NUM_THREADS=2"} }, false},
		{"a variable of a library", member(t, "f", source, "colorsys"), func(f *Function) { f.Env = []string{"COLORSYS_MODE=2"} }, false},
		{"a layer that does not import", member(t, "g", source, "broken"), func(f *Function) { f.Layers = []string{bad} }, false},
		{"a layer with threads", member(t, "h", source, "threads"), func(f *Function) { f.Layers = []string{bad} }, false},
		{"a layer that is slow", member(t, "s", source, "slow"), func(f *Function) { f.Layers, f.Limits.Import = []string{bad}, 16*time.Second }, false},
		{"not there", member(t, "i", source, "no.such.module"), func(*Function) {}, true},
	} {
		c.edit(c.f)
		if r := run(t, p, Call{Function: c.f}); r.Failure != nil || string(r.Output) != "1" {
			t.Errorf("%s: %s, %v", c.name, r.Output, r.Failure)
		}
		if got := adoptedBy(p, c.f) != nil; got != c.want {
			t.Errorf("%s: has a parent: %v", c.name, got)
		}
	}
	for _, want := range []string{"ValueError: on purpose", "one of threads starts threads when it is imported"} {
		if !strings.Contains(log.text(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.text())
		}
	}
}

// TestParentEnds kills the parent's Python: its members stay, and what comes then
// is on its own.
func TestParentEnds(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{})
	dir := folder(t)
	// It ends when it is to fork.
	write(t, dir+"/fatal.py", `
import os
real = os.fork
count = 0
def fork():
    global count
    count += 1
    if count == 2:
        os._exit(3)
    return real()
os.fork = fork
`)
	first := member(t, "first", "import os, fatal\nos.fork = fatal.real\ndef handler(event, context):\n    return 1\n", "fatal")
	second := member(t, "second", "import os, fatal\nos.fork = fatal.real\ndef handler(event, context):\n    return 2\n", "fatal")
	third := member(t, "third", "import os, fatal\nos.fork = fatal.real\ndef handler(event, context):\n    return 3\n", "fatal")
	for _, f := range []*Function{first, second, third} {
		f.Layers = []string{dir}
		for range 2 {
			if r := run(t, p, Call{Function: f}); r.Failure != nil {
				t.Fatalf("%s: %v", f.Name, r.Failure)
			}
		}
	}
	if r := run(t, p, Call{Function: first}); r.Failure != nil || string(r.Output) != "1" {
		t.Errorf("%s, %v", r.Output, r.Failure)
	}
	if adoptedBy(p, first) == nil || adoptedBy(p, third) != nil {
		t.Errorf("parents %v %v", adoptedBy(p, first), adoptedBy(p, third))
	}
}

// TestFamiliesComeAndGo starts and ends members and parents while calls run.
func TestFamiliesComeAndGo(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{Idle: time.Second, Servers: 2})
	var functions []*Function
	for i := range 6 {
		functions = append(functions, member(t, "f", "def handler(event, context):\n    return 1\n", []string{"colorsys", "json"}[i%2]))
	}
	var calls sync.WaitGroup
	for i := range 24 {
		calls.Go(func() {
			process, err := p.Start(context.Background(), Call{Function: functions[i%len(functions)]})
			if err != nil {
				t.Error(err)
				return
			}
			if r := process.Wait(); r.Failure != nil && r.Failure.Kind != KindLost { // its server may have been one too many
				t.Error(r.Failure)
			}
		})
	}
	calls.Wait()
	empty := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.parents) == 0 && len(p.servers) == 0
	}
	for late := time.After(60 * time.Second); !empty(); {
		select {
		case <-late:
			t.Fatal("unused parents stay")
		case <-time.After(50 * time.Millisecond):
		}
	}
	if r := run(t, p, Call{Function: functions[0]}); r.Failure != nil || adoptedBy(p, functions[0]) == nil {
		t.Errorf("%v: it has no new parent", r.Failure)
	}
}
