package node_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// killHosts kills the domain hosts of this process as an administrator would.
func killHosts(t *testing.T) {
	t.Helper()
	for _, pid := range hostsOf(os.Getpid()) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
}

func TestHostKilled(t *testing.T) {
	n := newNode(t)
	for _, pass := range []string{"reference", "file"} {
		for _, test := range []struct {
			name, retry string
			siblings    bool
		}{
			{"one call with a retry", "retry: {max: 1}, ", false},
			{"one call without a retry", "", false},
			{"two calls without a retry", "", true},
		} {
			t.Run(pass+" "+test.name, func(t *testing.T) {
				lines := []string{
					"a: {call: actor, with: {do: put made 100000}}",
					"b: {call: actor, needs: [a], " + test.retry + "with: {do: take a/made; log taken; first 1 spin}}",
				}
				if test.siblings {
					lines = append(lines, "c: {call: actor, needs: [a], with: {do: log there; first 1 spin}}")
				}
				a := steps(t, lines...)
				a.Workflows["main"].Output = output(t, "${ .b }")
				w := &watcher{}
				done := make(chan *engine.Result)
				go func() { done <- run(t, n, a, watched(w), func(r *node.RunRequest) { r.Pass = pass }) }()
				w.await(t, telemetry.EventLog, "b", "taken")
				if test.siblings {
					w.await(t, telemetry.EventLog, "c", "there")
				}
				killHosts(t)
				r := <-done
				wantOutput(t, r, "[take a/made: 100000 bytes of 308785152]")
				if w.count(telemetry.EventStepRetried, "b", "ended: signal killed") == 0 {
					t.Errorf("no event says that the call was tried again because of its host")
				}
			})
		}
	}
}

// Whoever kills every host that a call gets makes it fail in the end.
func TestHostKilledAgainAndAgain(t *testing.T) {
	n := newNode(t)
	a := steps(t, "a: {call: actor, with: {do: log there; spin}}")
	w := &watcher{}
	done := make(chan *engine.Result, 1)
	go func() { done <- run(t, n, a, watched(w)) }()
	for killed := 0; ; {
		select {
		case r := <-done:
			wantFailure(t, r, "lost", "step a: domain host host-", "ended: signal killed")
			if killed < 2 {
				t.Errorf("it was tried %d times", killed)
			}
			return
		case <-time.After(time.Millisecond):
		}
		if n := w.count(telemetry.EventLog, "a", "there"); n > killed {
			killed = n
			killHosts(t)
		}
	}
}

// A host that dies between two calls is nobody's failure.
func TestIdleHostKilled(t *testing.T) {
	n := newNode(t)
	a := steps(t, "a: {call: actor, with: {do: put made 100000}}", "b: {needs: [a], wait: 300ms}", "c: {call: actor, needs: [b], with: {do: take a/made}}")
	w := &watcher{}
	done := make(chan *engine.Result)
	go func() { done <- run(t, n, a, watched(w)) }()
	w.await(t, telemetry.EventStepFinished, "a", "")
	killHosts(t)
	wantOutput(t, <-done, "[take a/made: 100000 bytes of 308785152]")
	// The next run starts with hosts that died while they were idle.
	killHosts(t)
	wantOutput(t, run(t, n, a), "[take a/made: 100000 bytes of 308785152]")
}

// output makes the output expression of a workflow.
func output(t *testing.T, expression string) flow.Template {
	t.Helper()
	o, err := flow.Parse(expression)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// beNode is the life of the test binary as a node of its own: it runs the app
// in a folder and says how that ended.
func beNode(dir string) {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	ctx := context.Background()
	cfg := node.Config{CacheDir: os.Getenv("WEFT_TEST_CACHE")}
	backend := os.Getenv("WEFT_TEST_CPU")
	apart := backend != ""
	if apart { // every call in a host of its own, and one of them at a time
		settings := scheduler.Defaults(2)
		settings.Backend = backend
		settings.Options.Weft.Slots = 1
		var err error
		if cfg.CPU, err = scheduler.New(scheduler.Options{Settings: settings}); err != nil {
			fail(err)
		}
	}
	n, err := node.New(ctx, cfg)
	if err != nil {
		fail(err)
	}
	for _, d := range n.Degraded() {
		fmt.Println("degraded:", d)
	}
	a, err := app.Load(dir)
	if err != nil {
		fail(err)
	}
	r, err := n.Run(ctx, node.RunRequest{App: a, Workflow: "main", Observer: printer{}, Apart: apart})
	if err != nil {
		fail(err)
	}
	fmt.Println("output:", r.Output)
	if r.Failure != nil {
		fmt.Println("failure:", r.Failure.Error())
	}
	if err := r.Close(); err != nil {
		fail(err)
	}
	if err := n.Close(); err != nil {
		fail(err)
	}
	fmt.Println("closed")
	os.Exit(0)
}

type printer struct{}

func (printer) Observe(e telemetry.Event) {
	if e.Kind == telemetry.EventLog {
		fmt.Println("log:", e.Text)
	}
}

// otherNode starts the test binary as a node that runs the app in dir.
func otherNode(t *testing.T, dir, tmp string, change func(*exec.Cmd)) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "WEFT_TEST_NODE="+dir, "WEFT_TEST_CACHE="+cache, "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func TestNodeKilled(t *testing.T) {
	for _, pass := range []string{"reference", "file"} {
		t.Run(pass, func(t *testing.T) {
			n := newNode(t) // compiles the actor, and sweeps what the other one leaves
			a := steps(t, "a: {call: actor, with: {do: put made 100000; log there; wait never 60000}}")
			wantOutput(t, run(t, n, steps(t, "a: {call: actor, with: {do: len x}}")), "[len x: errno 44]")
			file := filepath.Join(a.Dir, "weft.yaml")
			src, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, append([]byte("pass: "+pass+"\n"), src...), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			tmp := t.TempDir()
			cmd, out := otherNode(t, a.Dir, tmp, nil)
			for out.Scan() && out.Text() != "log: there" {
			}
			if out.Text() != "log: there" {
				t.Fatalf("the node ended with %q", out.Text())
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			hosts := hostsOf(cmd.Process.Pid)
			if len(hosts) == 0 {
				b, err := exec.Command("ps", "-ef").CombinedOutput()
				t.Fatalf("the node %d has no hosts: %v\n%s", cmd.Process.Pid, err, b)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for out.Scan() { // hosts hold no copy of its standard output
			}
			cmd.Wait()
			gone := func(pid int) bool { return unix.Kill(pid, 0) == unix.ESRCH || zombie(pid) }
			for _, pid := range hosts {
				if !eventually(func() bool { return gone(pid) }) {
					t.Errorf("host %d of a killed node lives on", pid)
				}
			}
			// The next node removes what could not be removed.
			old := time.Now().Add(-time.Hour)
			left, _ := filepath.Glob(filepath.Join(tmp, "weft-*"))
			for _, dir := range left {
				if err := os.Chtimes(dir, old, old); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("TMPDIR", tmp)
			next, err := node.New(t.Context(), node.Config{CacheDir: cache})
			if err != nil {
				t.Fatal(err)
			}
			if err := next.Close(); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
				t.Errorf("folders of a killed node are left: %v", left)
			}
			if left := cgroupsOf(cmd.Process.Pid); len(left) > 0 {
				t.Errorf("cgroups of a killed node are left: %v", left)
			}
		})
	}
}

// zombie reports whether a process has ended and waits to be reaped by whoever
// inherited it.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b[strings.LastIndexByte(string(b), ')')+1:]), " Z ")
}

// An ordinary user gets fewer walls, is told which, and the same output.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	const nobody = 65534
	n := newNode(t)
	a := steps(t, "a: {call: actor, with: {do: put made 100000}}", "b: {call: actor, needs: [a], with: {do: take a/made}}")
	wantOutput(t, run(t, n, a), "[take a/made: 100000 bytes of 308785152]")
	dir, err := os.MkdirTemp("/tmp", "node-test-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	module, err := os.ReadFile(actor(t))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(a.Dir, "weft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	src = []byte(strings.ReplaceAll(string(src), actor(t), "./actor.wasm"))
	for name, b := range map[string][]byte{"weft.yaml": src, "actor.wasm": module} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "node.test"), binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "weft.yaml", "actor.wasm", "node.test"} {
		if err := os.Chown(filepath.Join(dir, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cache", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd, out := otherNode(t, dir, filepath.Join(dir, "tmp"), func(c *exec.Cmd) {
		c.Path, c.Dir = filepath.Join(dir, "node.test"), dir
		c.Env = append(c.Env, "WEFT_TEST_CACHE="+filepath.Join(dir, "cache"), "HOME="+dir)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	})
	var lines []string
	for out.Scan() {
		lines = append(lines, out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, strings.Join(lines, "\n"))
	}
	said := strings.Join(lines, "\n")
	t.Log(said)
	for _, want := range []string{"output: [take a/made: 100000 bytes of 308785152]", "closed"} {
		if !strings.Contains(said, want) {
			t.Errorf("the node of an ordinary user does not say %q:\n%s", want, said)
		}
	}
	if !strings.Contains(said, "degraded: ") {
		t.Errorf("the node of an ordinary user, who has no cgroups here, does not say what is degraded:\n%s", said)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
