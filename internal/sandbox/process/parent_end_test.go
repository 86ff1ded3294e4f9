package process

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
)

// interpreterOf finds the Python of a parent: its keeper's warden has started it, and
// the servers of its members are its own children.
func interpreterOf(t *testing.T, a *parent) int {
	t.Helper()
	for _, pid := range processes(t, "/weft/server.py") {
		if warden, ok := parentOf(pid); ok {
			if keeper, ok := parentOf(warden); ok && keeper == a.process.PID() {
				return pid
			}
		}
	}
	t.Fatal("the parent has no Python")
	return 0
}

// TestParentIsKilled kills a parent while a member has a call. The member goes on when
// the namespaces above its own do; otherwise its call is lost, and it is started elsewhere.
func TestParentIsKilled(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name string
		kill func(*parent)
		lost bool
	}{
		{"its Python", func(a *parent) { unix.Kill(interpreterOf(t, a), unix.SIGKILL) }, false},
		{"with its warden", func(a *parent) { a.process.Kill() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, Options{})
			const source = "import os, time\ndef handler(event, context):\n    print('up', flush=True)\n" +
				"    while event and not os.path.exists('/granted/go'):\n        time.sleep(0.01)\n    return 1\n"
			first, second := member(t, "first", source), member(t, "second", source)
			dir := folder(t)
			first.Mounts = []Mount{{Host: dir, Path: "/granted", ReadOnly: true}}
			up := make(chan struct{})
			process, err := p.Start(context.Background(), Call{Function: first, Input: []byte("1"), Log: func(string) { close(up) }})
			if err != nil {
				t.Fatal(err)
			}
			<-up
			a := adoptedBy(p, first)
			if a == nil {
				t.Fatal("it has no parent")
			}
			c.kill(a)
			for late := time.Now().Add(60 * time.Second); !a.lost(); time.Sleep(time.Millisecond) {
				if time.Now().After(late) {
					t.Fatal("nobody has noticed")
				}
			}
			write(t, dir+"/go", "")
			r := process.Wait()
			if lost := r.Failure != nil && r.Failure.Kind == KindLost && r.Failure.Free; lost != c.lost || !lost && string(r.Output) != "1" {
				t.Errorf("the call that ran: %s, %v", r.Output, r.Failure)
			}
			for _, f := range []*Function{first, second} {
				if r := run(t, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "1" {
					t.Errorf("%s: %s, %v", f.Name, r.Output, r.Failure)
				}
			}
			if adoptedBy(p, second) != nil {
				t.Error("what has started since has the lost parent")
			}
		})
	}
}

// TestFamilyWhoseImportFails has a module in common that does not import: each member
// imports for itself, and who needs the module says where in its own file.
func TestFamilyWhoseImportFails(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{})
	dir := folder(t)
	write(t, dir+"/broken.py", "def deep():\n    raise ValueError('on purpose')\ndeep()\n")
	needs := member(t, "needs", "import json\nimport broken\ndef handler(event, context):\n    return 1\n", "broken", "colorsys")
	without := member(t, "without", "import colorsys\ndef handler(event, context):\n    return 1\n", "broken", "colorsys")
	needs.Layers, without.Layers = []string{dir}, []string{dir}
	err := p.Prepare(context.Background(), needs)
	var failure *flow.Failure
	if !errors.As(err, &failure) || failure.Kind != KindRefused {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"function needs: ", "ValueError: on purpose", `File "main.py", line 2, in <module>`} {
		if !strings.Contains(failure.Message, want) {
			t.Errorf("%q does not say %q", failure.Message, want)
		}
	}
	for _, not := range []string{"/weft/", "importlib"} {
		if strings.Contains(failure.Message, not) {
			t.Errorf("%q shows %q", failure.Message, not)
		}
	}
	if r := run(t, p, Call{Function: without}); r.Failure != nil || adoptedBy(p, without) != nil {
		t.Errorf("%v, %v", r.Failure, adoptedBy(p, without))
	}
}

// writing attacks what a member shares with its parent and with other members: pages, files,
// descriptors. It changes all that it can reach, and says what it should not have had.
const writing = `
import colorsys, ctypes, gc, os, sys

TEXT = colorsys.__doc__

def attack():
    out = []
    ctypes.memset(id(TEXT) + sys.getsizeof(TEXT) - 5, ord("#"), 4)
    colorsys.ONE_THIRD = "changed"
    sys.modules["json"].dumps = None
    for folder in ["/fn", "/weft", "/layers/0", os.path.dirname(os.__file__)]:
        for path in [folder + "/new.py", folder + "/" + (sorted(os.listdir(folder)) or [""])[0]]:
            try:
                open(path, "ab").close()
                out.append("writes to " + path)
            except OSError:
                pass
    return out

found = attack()
for line in open("/proc/self/maps"):
    if line.split()[1] == "rw-s":
        found.append("a shared mapping: " + line)
for fd in os.listdir("/proc/self/fd"):
    try:
        name = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        continue
    if int(fd) > 3 and name != "anon_inode:[pidfd]":
        found.append("descriptor %s: %s" % (fd, name))

def handler(event, context):
    return (" ".join(found + attack()) + "|" + TEXT.strip()[-4:]).encode()
`

// TestMembersCannotWriteToEachOther has one member write to what it shares with the
// others, while it is imported and in calls. A later member finds all as it was.
func TestMembersCannotWriteToEachOther(t *testing.T) {
	needRoot(t)
	p := newPool(t, Options{})
	layer := folder(t)
	write(t, layer+"/tiny.py", "kept = [1]\n")
	bad := member(t, "bad", writing, "colorsys", "tiny")
	good := member(t, "good", "import colorsys, json, tiny\ndef handler(event, context):\n"+
		"    return json.dumps([colorsys.ONE_THIRD * 3, '#' in colorsys.__doc__, tiny.kept]).encode()\n", "colorsys", "tiny")
	bad.Layers, good.Layers = []string{layer}, []string{layer}
	if r := run(t, p, Call{Function: bad}); r.Failure != nil || !strings.HasPrefix(string(r.Output), "|") || !strings.Contains(string(r.Output), "#") {
		t.Fatalf("%s, %v", r.Output, r.Failure)
	}
	if r := run(t, p, Call{Function: good}); r.Failure != nil || string(r.Output) != "[1.0, false, [1]]" {
		t.Errorf("%s, %v", r.Output, r.Failure)
	}
	if a, b := adoptedBy(p, bad), adoptedBy(p, good); a == nil || a != b {
		t.Errorf("%p and %p are not the same parent", a, b)
	}
}

// TestParentsAreCounted has somebody count the memory of parents: what they may have, less
// when they have imported, and nothing when they are gone. Without room there is no parent.
func TestParentsAreCounted(t *testing.T) {
	needRoot(t)
	const source = "import colorsys\ndef handler(event, context):\n    return 1\n"
	for _, c := range []struct {
		name   string
		room   int64
		parent bool
	}{{"room", 1 << 40, true}, {"little room", 300 << 20, true}, {"no room", 100 << 20, false}} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var counted []int64
			count := func(bytes int64) {
				mu.Lock()
				defer mu.Unlock()
				counted = append(counted, bytes)
			}
			p := newPool(t, Options{Keep: func(family string, bytes int64) (func(int64), bool) {
				if family != "app" || bytes > c.room {
					return nil, false
				}
				count(bytes)
				return count, true
			}})
			f := member(t, "f", source, "colorsys")
			if r := run(t, p, Call{Function: f}); r.Failure != nil {
				t.Fatal(r.Failure)
			}
			a := adoptedBy(p, f)
			if (a != nil) != c.parent {
				t.Fatalf("a parent: %v", a)
			}
			if a == nil {
				return
			}
			if held := a.process.Held(); p.limited.memory && (len(counted) != 2 || counted[1] >= counted[0] || held == 0 || held > counted[1]) {
				t.Errorf("counted %v, it has %d", counted, held)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if n := len(counted); counted[n-1] != 0 {
				t.Errorf("counted %v, and it is gone", counted)
			}
		})
	}
}

// TestParentHangs stops a parent's Python: who is to be forked from it is started
// otherwise, and the parent is given up. Its members stay.
func TestParentHangs(t *testing.T) {
	needRoot(t)
	var log logged
	p := newPool(t, Options{Log: func(_, line string) { log.add(line) }})
	const source = "def handler(event, context):\n    return 1\n"
	first, second, third := member(t, "first", source), member(t, "second", source), member(t, "third", source)
	if r := run(t, p, Call{Function: first}); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	a := adoptedBy(p, first)
	if a == nil {
		t.Fatal("it has no parent")
	}
	hung, err := unix.PidfdOpen(interpreterOf(t, a), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(hung)
	if err := unix.PidfdSendSignal(hung, unix.SIGSTOP, nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*Function{second, first, third} {
		if r := run(t, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "1" {
			t.Errorf("%s: %s, %v", f.Name, r.Output, r.Failure)
		}
	}
	if !a.lost() || adoptedBy(p, third) != nil {
		t.Errorf("the parent is used further: lost %v, %v", a.lost(), adoptedBy(p, third))
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(hung), Events: unix.POLLIN}}, 60_000); n != 1 {
		t.Errorf("its process stays: %d, %v", n, err)
	}
	if !strings.Contains(log.text(), "does not answer") {
		t.Errorf("the log does not say so:\n%s", log.text())
	}
}
