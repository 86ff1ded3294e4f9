package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
)

func TestNativeCopiesInputToOutput(t *testing.T) {
	p := newPool(t, Options{})
	var log logged
	f := shellFunction(t, `cat; echo "note $A $B $WEFT_STEP" >&2; printf end >&2`)
	f.Env = []string{"A=1"}
	for i := range 3 {
		input := strings.Repeat("x", i*100_000)
		r := run(t, p, Call{Function: f, Input: []byte(input), Log: log.add, Step: "s", Env: []string{"B=2"}})
		output := string(r.Output)
		if r.File != nil {
			b, err := io.ReadAll(io.NewSectionReader(r.File, 0, r.Size))
			if err != nil {
				t.Fatal(err)
			}
			output = string(b)
			r.File.Close()
		}
		if r.Failure != nil || output != input || r.Size != int64(len(input)) {
			t.Errorf("%d bytes of %d, %v", len(output), len(input), r.Failure)
		}
		if r.CPU <= 0 || r.Wall <= 0 || r.Memory <= 0 {
			t.Errorf("it used nothing: %+v", r)
		}
	}
	if got := log.text(); got != strings.Repeat("note 1 2 s\nend\n", 2)+"note 1 2 s\nend" {
		t.Errorf("log %q", got)
	}
}

func TestWhatACallSees(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, `id -u; pwd; hostname; cat /fn/data /secret/key; ls /; ls /proc | grep '^[0-9]' | wc -l; ls -l /proc/self/fd | wc -l; touch /tmp/x && echo tmp; touch /fn/y 2>/dev/null || echo ro; env | sort`)
	f.Dir = folder(t)
	write(t, filepath.Join(f.Dir, "data"), "data\n")
	if err := os.Chmod(filepath.Join(f.Dir, "data"), 0o600); err != nil { // its owner is not the sandbox's user
		t.Fatal(err)
	}
	f.Files = map[string]string{"/secret/key": "hush\n"}
	r := run(t, p, Call{Function: f})
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	iso, _ := p.spawner.Isolated()
	got := string(r.Output)
	for _, want := range []string{fmt.Sprintf("%d\n/fn\nweft\ndata\nhush\n", iso.UID), "\nsecret\n", "tmp\nro\n", "HOME=/tmp\n", "LANG=C.UTF-8\n", "PATH=", "USER=weft\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for _, not := range []string{"root", "home", "srv", "work", "sys"} {
		if strings.Contains(got, "\n"+not+"\n") {
			t.Errorf("/%s is there:\n%s", not, got)
		}
	}
}

func TestOwnRoot(t *testing.T) {
	p := newPool(t, Options{})
	f := cFunction(t, `#include <stdio.h>
#include <dirent.h>
int main(void) {
	DIR *d = opendir("/");
	for (struct dirent *e; (e = readdir(d)); )
		if (e->d_name[0] != '.')
			puts(e->d_name);
	FILE *f = fopen("/data/text", "r");
	char b[16] = "";
	puts(f && fgets(b, sizeof b, f) ? b : "none");
	return 0;
}
`, "-static")
	root := folder(t)
	for _, dir := range []string{"bin", "data"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "data", "text"), "own")
	if err := os.Rename(filepath.Join(f.Dir, "main"), filepath.Join(root, "bin", "app")); err != nil {
		t.Fatal(err)
	}
	f.Root, f.Dir, f.Program = root, "", "/bin/app"
	r := run(t, p, Call{Function: f})
	lines := strings.Fields(string(r.Output))
	slices.Sort(lines)
	if got := strings.Join(lines, " "); r.Failure != nil || got != "bin data dev fn own proc tmp" {
		t.Errorf("%q, %v", got, r.Failure)
	}
}

func TestMoreCallsThanOneServerHolds(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, "sleep 1000")
	f.Limits.Memory = 16 << 20
	var all []*Process
	for range callsMax + 5 {
		process, err := p.Start(context.Background(), Call{Function: f})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, process)
	}
	time.Sleep(10 * time.Millisecond)
	refused := 0
	for _, process := range all {
		process.Kill()
		if r := process.Wait(); r.Failure.Kind == KindRefused && strings.Contains(r.Failure.Message, "too many calls at a time") {
			refused++
		} else if r.Failure.Kind != KindKilled {
			t.Errorf("%+v", r.Failure)
		}
	}
	t.Logf("%d were refused", refused)
}

func TestWhatIsWeakerIsSaid(t *testing.T) {
	p := newPool(t, Options{})
	said := strings.Join(p.Degraded(), "\n")
	t.Logf("degraded: %q", said)
	for what, there := range map[string]bool{"memory of calls": p.limited.memory, "processes of calls": p.limited.pids} {
		if there == strings.Contains(said, what) {
			t.Errorf("%s: limited %v", what, there)
		}
	}
}

func TestCallsShareNothing(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, `test ! -e /tmp/mark && ipcs -q | grep -c 0x && exit 1; touch /tmp/mark; ipcmk -Q >/dev/null; ls /tmp`)
	for range 3 {
		if r := run(t, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "0\nmark\n" {
			t.Errorf("%q, %v", r.Output, r.Failure)
		}
	}
}

func TestFailuresOfNative(t *testing.T) {
	p := newPool(t, Options{})
	for name, c := range map[string]struct {
		script, kind, message string
		code                  int
		limits                Limits
	}{
		"status":   {"exit 3", KindExit, "exited with status 3", 3, Limits{}},
		"signal":   {"kill -SEGV $$", KindExit, "ended by the signal SIGSEGV", 139, Limits{}},
		"abort":    {"kill -ABRT $$", KindExit, "ended by the signal SIGABRT", 134, Limits{}},
		"time":     {"sleep 100", KindTimeout, "ran longer than 100ms", 137, Limits{Time: 100 * time.Millisecond}},
		"cpu":      {"while :; do :; done", KindLimit, "the 1s of CPU time", 137, Limits{CPU: time.Second}},
		"output":   {"head -c 2000000 /dev/zero", KindOutput, "2000000 bytes of output, the limit is 1048576", 0, Limits{Output: 1 << 20}},
		"filesize": {"head -c 9000000 /dev/zero", KindExit, "exited with status 1", 1, Limits{Output: 1 << 20, Tmp: 1 << 20}},
		"tmp":      {"head -c 3000000 /dev/zero > /tmp/a && head -c 3000000 /dev/zero > /tmp/b", KindExit, "status 1", 1, Limits{Tmp: 4 << 20}},
		"root":     {"kill -9 1; kill -9 -1; exit 4", KindExit, "status 4", 4, Limits{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := shellFunction(t, c.script)
			f.Limits = c.limits
			r := run(t, p, Call{Function: f, Log: func(l string) { t.Log(l) }})
			if r.Failure == nil || r.Failure.Kind != c.kind || !strings.Contains(r.Failure.Message, c.message) {
				t.Errorf("failure %+v", r.Failure)
			}
			if r.Code != c.code && !(name == "filesize" && r.Code == 128+int(unix.SIGXFSZ)) {
				t.Errorf("code %d, want %d", r.Code, c.code)
			}
		})
	}
}

func TestProgramsThatCannotRun(t *testing.T) {
	p := newPool(t, Options{})
	dir := folder(t)
	write(t, filepath.Join(dir, "plain"), "no program")
	for name, c := range map[string]struct {
		program, message string
	}{
		"missing":        {"nothing", "execute the program: No such file"},
		"not executable": {"plain", "execute the program: Permission denied"},
	} {
		r := run(t, p, Call{Function: &Function{Name: name, Version: unique(), Runtime: Native, Dir: dir, Program: c.program}})
		if r.Failure == nil || r.Failure.Kind != KindRefused || !strings.Contains(r.Failure.Message, c.message) {
			t.Errorf("%s: %+v", name, r.Failure)
		}
	}
	for name, f := range map[string]*Function{
		"no program": {Name: "f", Runtime: Native},
		"runtime":    {Name: "f", Runtime: "java", Program: "x"},
		"relative":   {Name: "f", Runtime: Native, Program: "x", Dir: "here"},
		"module":     {Name: "f", Runtime: Python, Module: "a/b"},
		"file":       {Name: "f", Runtime: Native, Program: "x", Files: map[string]string{"/proc/x": ""}},
		"file up":    {Name: "f", Runtime: Native, Program: "x", Files: map[string]string{"/a/../fn/x": ""}},
		"no folder":  {Name: "f", Runtime: Native, Program: "x", Dir: "/nonexistent/folder"},
		"zero byte":  {Name: "f", Runtime: Native, Program: "x", Env: []string{"A=\x00"}},
	} {
		f.Version = unique()
		_, err := p.Start(context.Background(), Call{Function: f})
		var failure *flow.Failure
		if !errors.As(err, &failure) || failure.Kind != KindRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKillEndsTheWholeTree(t *testing.T) {
	p := newPool(t, Options{})
	// Children of all kinds: in other sessions, without a parent, deaf.
	f := shellFunction(t, `setsid sleep 987 & (trap '' TERM INT HUP; setsid setsid sleep 987 &) ; echo started >&2; sleep 987`)
	started := make(chan struct{})
	process, err := p.Start(context.Background(), Call{Function: f, Log: func(string) { close(started) }})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	for end := time.Now().Add(20 * time.Second); len(processes(t, "sleep\x00987")) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its processes do not come")
		}
	}
	process.Kill()
	r := process.Wait()
	if r.Failure == nil || r.Failure.Kind != KindKilled {
		t.Errorf("%+v", r.Failure)
	}
	if n := len(processes(t, "sleep\x00987")); n != 0 {
		t.Errorf("%d processes are left when Wait has returned", n)
	}
}

func TestNothingOutlivesACall(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, `setsid sleep 986 & (setsid sleep 986 &); exit 0`)
	if r := run(t, p, Call{Function: f}); r.Failure != nil {
		t.Error(r.Failure)
	}
	if n := len(processes(t, "sleep\x00986")); n != 0 {
		t.Errorf("%d processes are left when Wait has returned", n)
	}
}

func TestGrace(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, `trap 'echo bye; exit 5' TERM; echo ready >&2; while :; do sleep 0.01; done`)
	f.Limits.Time = 300 * time.Millisecond
	r := run(t, p, Call{Function: f, Grace: 20 * time.Second})
	if r.Code != 5 || string(r.Output) != "bye\n" || r.Failure == nil || r.Failure.Kind != KindTimeout {
		t.Errorf("%+v", r)
	}
	f = shellFunction(t, `trap '' TERM; while :; do sleep 0.01; done`)
	f.Limits.Time = 100 * time.Millisecond
	if r := run(t, p, Call{Function: f, Grace: 50 * time.Millisecond}); r.Failure == nil || r.Failure.Kind != KindTimeout || r.Code != 137 {
		t.Errorf("%+v", r)
	}
}

func TestStreams(t *testing.T) {
	p := newPool(t, Options{})
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	process, err := p.Start(context.Background(), Call{Function: shellFunction(t, "cat"), Stdin: inRead, Stream: outWrite})
	if err != nil {
		t.Fatal(err)
	}
	inRead.Close()
	outWrite.Close()
	b := make([]byte, 100)
	for _, word := range []string{"one", "two"} { // each comes back before the next one is sent
		fmt.Fprint(inWrite, word)
		if n, err := outRead.Read(b); err != nil || string(b[:n]) != word {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
	inWrite.Close()
	if r := process.Wait(); r.Failure != nil || r.Size != 0 {
		t.Errorf("%+v", r)
	}
	outRead.Close()
}

func TestManyAtATime(t *testing.T) {
	p := newPool(t, Options{Spare: 3})
	f := shellFunction(t, "cat")
	var all []*Process
	for i := range 40 {
		process, err := p.Start(context.Background(), Call{Function: f, Input: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, process)
	}
	for i, process := range all {
		if r := process.Wait(); r.Failure != nil || string(r.Output) != fmt.Sprint(i) {
			t.Errorf("%d: %q, %v", i, r.Output, r.Failure)
		}
	}
}

func TestLostForkServer(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, "echo up >&2; sleep 100")
	up := make(chan struct{})
	process, err := p.Start(context.Background(), Call{Function: f, Log: func(string) { close(up) }})
	if err != nil {
		t.Fatal(err)
	}
	<-up
	process.server.process.Kill()
	if r := process.Wait(); r.Failure == nil || r.Failure.Kind != KindLost || !r.Failure.Free {
		t.Errorf("%+v", r.Failure)
	}
	if r := run(t, p, Call{Function: shellFunction(t, "exit 0")}); r.Failure != nil {
		t.Error(r.Failure)
	}
	if err := p.Prepare(context.Background(), f); err != nil { // another one
		t.Error(err)
	}
}

func TestServersComeAndGo(t *testing.T) {
	p := newPool(t, Options{Servers: 2})
	count := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.servers)
	}
	var first *Function
	for range 4 {
		f := shellFunction(t, "exit 0")
		if first == nil {
			first = f
		}
		if r := run(t, p, Call{Function: f}); r.Failure != nil {
			t.Fatal(r.Failure)
		}
	}
	if n := count(); n > 3 { // the one that was used last may still have been busy
		t.Errorf("%d fork servers are kept", n)
	}
	if r := run(t, p, Call{Function: first}); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	p.Drop(first.Version)
	p.mu.Lock()
	_, there := p.servers[first.key()]
	p.mu.Unlock()
	if there {
		t.Error("a dropped version has a fork server")
	}
}

func TestSparesAreMadeAndDiscarded(t *testing.T) {
	p := newPool(t, Options{Spare: 2})
	f := shellFunction(t, "exit 0")
	run(t, p, Call{Function: f})
	settle(p)
	p.mu.Lock()
	s := p.servers[f.key()]
	p.mu.Unlock()
	count := func() (spares, discarded int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.spares), len(s.discarded)
	}
	if n, _ := count(); n != 2 {
		t.Errorf("%d spares", n)
	}
	s.discard()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		spares, discarded := count()
		if spares > 0 { // the call before has had them made late
			s.discard()
		}
		if spares+discarded == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d spares, %d discarded ones are left", spares, discarded)
		}
	}
	if r := run(t, p, Call{Function: f}); r.Failure != nil {
		t.Error(r.Failure)
	}
}

func TestClosedPool(t *testing.T) {
	p := newPool(t, Options{})
	f := shellFunction(t, "sleep 100")
	process, err := p.Start(context.Background(), Call{Function: f})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if r := process.Wait(); r.Failure == nil {
		t.Error("a call outlived its pool")
	}
	if _, err := p.Start(context.Background(), Call{Function: f}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// processes finds those of the machine whose command line contains the text.
func processes(t *testing.T, text string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.Contains(string(line), text) {
			continue
		}
		if pid, err := strconv.Atoi(e.Name()); err == nil { // not "self"
			found = append(found, pid)
		}
	}
	return found
}

// helloGo is what TestAsOrdinaryUser builds into compiledGo, where the ordinary user has no compiler.
const (
	helloGo    = "package main\n\nfunc main() { print(make([]byte, 1<<20)[0], \"\\n\") }\n"
	compiledGo = "testdata/hello"
)

// What Go's runtime maps and does not use must not count against a function's memory where the
// machine has no groups: TestAsOrdinaryUser runs this, too.
func TestGoFitsIntoItsMemory(t *testing.T) {
	var f *Function
	if program, err := os.ReadFile(compiledGo); err == nil {
		f = &Function{Name: "f", Version: unique(), Runtime: Native, Dir: folder(t), Program: "main"}
		if err := os.WriteFile(filepath.Join(f.Dir, f.Program), program, 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		f = goFunction(t, helloGo)
	}
	p := newPool(t, Options{})
	f.Limits.Memory = 128 << 20
	var log logged
	if r := run(t, p, Call{Function: f, Log: log.add}); r.Failure != nil || log.text() != "0" {
		t.Errorf("%v, log %q", r.Failure, log.text())
	}
}

// TestProgramsWhoseInterpreterIsMissing prepares programs that the kernel would say do not exist.
func TestProgramsWhoseInterpreterIsMissing(t *testing.T) {
	p := newPool(t, Options{})
	for text, want := range map[string]string{
		"#!/opt/none/perl -w\n": "bad interpreter: the program wants to be run by /opt/none/perl, which",
		"#!/bin/sh\r\n":         "run by /bin/sh?, which",
		"#! /bin/sh\necho 1\n":  "",
	} {
		dir := folder(t)
		write(t, dir+"/main", text)
		if err := os.Chmod(dir+"/main", 0o755); err != nil {
			t.Fatal(err)
		}
		f := &Function{Name: "f", Version: unique(), Runtime: Native, Dir: dir, Program: "main"}
		err := p.Prepare(context.Background(), f)
		var failure *flow.Failure
		if want == "" && err != nil || want != "" && (!errors.As(err, &failure) || !failure.Permanent || !strings.Contains(failure.Message, want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	linked := cFunction(t, "int main(void) { return 0; }", "-Wl,--dynamic-linker=/lib/none.so")
	if err := p.Prepare(context.Background(), linked); err == nil || !strings.Contains(err.Error(), "run by /lib/none.so") {
		t.Errorf("%v", err)
	}
}
