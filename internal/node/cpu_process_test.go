package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
)

const residentApp = `
functions:
  handler: {runtime: python, source: ./f.py, resident: true, workers: 1}
  wsgi: {runtime: python, source: ./f.py, handler: "f:wsgi", serves: wsgi, workers: 1}
  asgi: {runtime: python, source: ./f.py, handler: "f:asgi", serves: asgi, workers: 1}
`

const residentSource = `
import asyncio, json, time

def work(do):
    while do == "spin":
        pass
    return do

def handler(event, context):
    return work(event["do"])

def wsgi(environ, start_response):
    do = json.load(environ["wsgi.input"])["do"]
    start_response("200 OK", [])
    return [work(do).encode()]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    do = json.loads((await receive())["body"])["do"]
    if do == "wait":
        await asyncio.sleep(600)
    do = await asyncio.get_running_loop().run_in_executor(None, work, do)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": do.encode()})
`

// A long call of a process that stays is measured and demoted, and the next one is a short
// one again.
func TestResidentCallsAreScheduled(t *testing.T) {
	needProcesses(t)
	for _, name := range []string{backend.Auto, backend.NameSched} {
		for _, function := range []string{"handler", "wsgi", "asgi"} {
			t.Run(name+"/"+function, func(t *testing.T) {
				settings := scheduler.Defaults(2)
				settings.Backend = name
				s := serve(t, t.TempDir(), scheduled(t, settings))
				if _, err := deployProcesses(t, s, load(t, residentApp, "f.py", residentSource)); err != nil {
					t.Fatal(err)
				}
				mustInvoke(t, s, function, "x")
				for range 2 {
					stop := background(t, s, function, "spin")
					c := current(t, s, "in batch", func(c backend.Current) bool { return c.Watched && c.Tier == policy.Batch && c.Used > 0 })
					if c.Call.Flags != 0 {
						t.Errorf("it may not be stopped: %+v", c)
					}
					stop()
					if out := mustInvoke(t, s, function, "y"); !strings.Contains(out, "y") {
						t.Errorf("the call after it: %s", out)
					}
				}
			})
		}
	}
}

// While others are in the process of a long call, that is not stopped, whatever waits for
// its slot; alone it is, and a request that comes finds it running.
func TestRequestsShareAProcess(t *testing.T) {
	needProcesses(t)
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = 1
	s := serve(t, t.TempDir(), scheduled(t, settings))
	if _, err := deployProcesses(t, s, load(t, residentApp, "f.py", residentSource)); err != nil {
		t.Fatal(err)
	}
	of := func(c backend.Current, function string) bool {
		return strings.HasSuffix(c.Call.Function, "/"+function) && c.Watched
	}
	background(t, s, "handler", "spin")
	current(t, s, "with the slot", func(c backend.Current) bool { return of(c, "handler") && c.Tier == policy.Batch })
	background(t, s, "asgi", "spin")
	stopped := func(c backend.Current) bool { return of(c, "asgi") && c.Stopped }
	current(t, s, "that is stopped", stopped)

	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() { _, _ = invoke(ctx, s, "asgi", "wait") })
	current(t, s, "that goes on beside another one", func(c backend.Current) bool {
		return of(c, "asgi") && c.Used > 0 && !c.Stopped && c.Call.Flags&policy.Unstoppable != 0
	})
	if out := mustInvoke(t, s, "asgi", "x"); out != "x" { // its process runs
		t.Errorf("output %q", out)
	}
	cancel()
	waiting.Wait()
	current(t, s, "that is stopped again", stopped)
}

// The node of an ordinary user, who has no groups, schedules processes by their classes:
// a long call runs when nothing else does, another one is stopped while it waits, and what
// it has orphaned is too.
func TestProcessesWithoutGroups(t *testing.T) {
	needProcesses(t)
	if os.Getuid() == 0 {
		asNobody(t, "^(TestProcessesWithoutGroups|TestResidentCallsAreScheduled)$/^(sched|)$")
		return
	}
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = 1
	s := serve(t, t.TempDir(), scheduled(t, settings))
	if st := s.CPU().Status(); st.Backend != backend.NameSched || st.Traits.Undo {
		t.Skipf("this user has %s, %+v", st.Backend, st.Traits)
	}
	source := `
import os
def handler(event, context):
    if event["do"] == "spin":
        if os.fork() == 0:
            if os.fork() == 0:
                while True: pass
            os._exit(0)
        os.wait()
        while True: pass
    return event["do"]
`
	if _, err := deployProcesses(t, s, load(t, "functions: {long: {runtime: python, source: ./f.py}}\n", "f.py", source)); err != nil {
		t.Fatal(err)
	}
	mustInvoke(t, s, "long", "x")
	// states are those of the processes below this one that are in the class that runs when
	// nothing else does, and that are stopped.
	states := func() (idle, stopped int) {
		for pids := []int{os.Getpid()}; len(pids) > 0; pids = pids[1:] {
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pids[0]))
			for _, dir := range tasks {
				text, _ := os.ReadFile(dir + "/children")
				for _, child := range strings.Fields(string(text)) {
					pid, _ := strconv.Atoi(child)
					pids = append(pids, pid)
					if a, err := unix.SchedGetAttr(pid, 0); err == nil && a.Policy == unix.SCHED_IDLE {
						idle++
					}
					if status, _ := os.ReadFile("/proc/" + child + "/status"); strings.Contains(string(status), "\nState:\tT") {
						stopped++
					}
				}
			}
		}
		return idle, stopped
	}
	wait := func(what string, want func(idle, stopped int) bool) {
		t.Helper()
		if !eventually(func() bool { return want(states()) }) {
			idle, stopped := states()
			t.Fatalf("never %s: %d idle, %d stopped: %+v", what, idle, stopped, s.CPU().Status())
		}
	}
	end := background(t, s, "long", "spin")
	wait("a long call and its orphan in the lowest class", func(idle, _ int) bool { return idle == 2 })
	second := background(t, s, "long", "spin")
	wait("another one that is stopped", func(_, stopped int) bool { return stopped == 2 })
	end()
	wait("goes on alone", func(idle, stopped int) bool { return idle == 2 && stopped == 0 })
	second()
	wait("nothing", func(idle, stopped int) bool { return idle+stopped == 0 })
	if stats := s.CPU().Status().Stats; stats.Failed > 0 {
		t.Errorf("commands failed: %+v", stats)
	}
}

// asNobody runs tests of this package again, as nobody in particular.
func asNobody(t *testing.T, tests string) {
	t.Helper()
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "node-test-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, "node.test"), binary, 0o755), os.Chown(dir, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "node.test"), "-test.v", "-test.run", tests)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
