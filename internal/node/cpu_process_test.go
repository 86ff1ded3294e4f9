package node_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/node"
)

// The functions of processApp: one that ends at once, one that counts, in Python another
// one, and one that does not end.
const processApp = `
functions:
  short: {runtime: native, source: ./short.sh, output: text}
  long: {runtime: native, source: ./long.sh, output: text}
  py: {runtime: python, source: ./py.py}
  spin: {runtime: native, source: ./spin.sh, args: ["MARK"]}
workflows:
  main: {steps: {a: {call: spin, foreach: 3, concurrency: 3}}}
`

// processesApp loads processApp; mark tells the processes of spin from others.
func processesApp(t *testing.T, mark string) *app.App {
	t.Helper()
	needProcesses(t)
	return load(t, strings.Replace(processApp, "MARK", mark, 1),
		"short.sh", "#!/bin/sh\necho short\n",
		"long.sh", "#!/bin/sh\ni=0\nwhile [ $i -lt 500000 ]; do i=$((i+1)); done\necho $i\n",
		"py.py", "def handler(event, context):\n    n = 0\n    for i in range(10_000_000):\n        n += 1\n    return n\n",
		"spin.sh", "#!/bin/sh\nwhile :; do :; done\n")
}

// marked are the states of the processes with an argument, by pid.
func marked(mark string) map[string]string {
	states := map[string]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || !strings.HasSuffix(string(b), "\x00"+mark+"\x00") {
			continue
		}
		stat, err := os.ReadFile(filepath.Dir(f) + "/stat")
		if _, rest, ok := strings.Cut(string(stat), ") "); err == nil && ok && rest[:1] != "Z" {
			states[filepath.Base(filepath.Dir(f))] = rest[:1]
		}
	}
	return states
}

func isOf(function string) func(c backend.Current) bool {
	return func(c backend.Current) bool { return strings.HasSuffix(c.Call.Function, "/"+function) }
}

// A call that does not end falls into Batch, and short ones go on beside it.
func TestLongProcessesLoseTheirTier(t *testing.T) {
	for _, name := range []string{backend.Auto, backend.NameSched} {
		t.Run(name, func(t *testing.T) {
			settings := scheduler.Defaults(2)
			settings.Backend = name
			s := serve(t, t.TempDir(), scheduled(t, settings))
			if _, err := deployProcesses(t, s, processesApp(t, "98405")); err != nil {
				t.Fatal(err)
			}
			mustInvoke(t, s, "short", "")
			stop := background(t, s, "spin", "")
			current(t, s, "in batch", func(c backend.Current) bool {
				return isOf("spin")(c) && c.Watched && c.Tier == policy.Batch && c.Used > 0
			})
			for range 5 {
				if out := mustInvoke(t, s, "short", ""); out != "short\n" {
					t.Errorf("output %q", out)
				}
			}
			stop()
			if !eventually(func() bool { return len(s.CPU().Status().Calls) == 0 && len(marked("98405")) == 0 }) {
				t.Errorf("calls are left: %+v, processes %v", s.CPU().Status().Calls, marked("98405"))
			}
			if st := s.CPU().Status().Stats; st.Failed > 0 {
				t.Errorf("%d commands have failed", st.Failed)
			}
		})
	}
}

// There is one slot: long calls in both runtimes are stopped, go on, and end as they would.
func TestLongProcessesTakeTurns(t *testing.T) {
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = 1
	s := serve(t, t.TempDir(), scheduled(t, settings))
	if _, err := deployProcesses(t, s, processesApp(t, "98406")); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	call := func(function, want string) {
		done.Go(func() {
			if out, err := invoke(t.Context(), s, function, ""); err != nil || strings.TrimSpace(out) != want {
				t.Errorf("%s: %q, %v", function, out, err)
			}
		})
	}
	for range 2 {
		call("long", "500000")
		call("py", "10000000")
	}
	current(t, s, "that is stopped", func(c backend.Current) bool { return c.Stopped })
	done.Wait()
	st := s.CPU().Status()
	if st.View.Stops == 0 || len(st.Calls) > 0 || st.Stats.Failed > 0 {
		t.Errorf("status %+v", st)
	}
}

// The calls of a node that is killed end with it, stopped or not.
func TestANodeIsKilledWithStoppedProcesses(t *testing.T) {
	newNode(t)
	a := processesApp(t, "98407")
	cmd, lines := otherNode(t, a.Dir, t.TempDir(), func(c *exec.Cmd) { c.Env = append(c.Env, "WEFT_TEST_CPU=yes") })
	var once sync.Once
	end := func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	t.Cleanup(end)
	if !eventually(func() bool { return strings.Contains(fmt.Sprint(marked("98407")), ":T") }) {
		end()
		for lines.Scan() {
			t.Log(lines.Text())
		}
		t.Fatalf("none is stopped: %v", marked("98407"))
	}
	end()
	if !eventually(func() bool { return len(marked("98407")) == 0 }) {
		t.Errorf("calls of a killed node live on: %v", marked("98407"))
	}
	next, err := node.New(context.WithoutCancel(t.Context()), node.Config{CacheDir: cache}) // sweeps
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
