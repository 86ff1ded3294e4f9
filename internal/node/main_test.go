package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build/buildtest"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/telemetry"
)

// patience bounds what a test waits for. Nothing should come near it: it is
// there so that a hang names its test.
const patience = 60 * time.Second

// cache is the folder of modules and images that all tests share, so that each
// is compiled once.
var cache string

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEFT_TEST_NODE"); dir != "" {
		beNode(dir)
		return
	}
	if dir := os.Getenv("WEFT_TEST_BANK"); dir != "" {
		beBank(dir)
		return
	}
	os.Exit(func() int {
		root, err := os.MkdirTemp("", "node-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(root)
		cache = filepath.Join(root, "cache")
		scratch := filepath.Join(root, "tmp")
		for _, dir := range []string{cache, scratch} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		os.Setenv("TMPDIR", scratch)
		return m.Run()
	}())
}

// newNode starts a node for one test, and checks at the test's end that
// nothing of it is left.
func newNode(t *testing.T, change ...func(*node.Config)) *node.Node {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	cfg := node.Config{CacheDir: cache}
	for _, f := range change {
		f(&cfg)
	}
	before := take(t)
	n, err := node.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close the node: %v", err)
		}
		checkNothingLeft(t, before)
	})
	return n
}

// traces is what a process can leave behind.
type traces struct {
	files      []string
	goroutines int
}

func take(t *testing.T) traces {
	t.Helper()
	runtime.GC() // files that earlier tests forgot are closed by their finalizers
	return traces{openFiles(t), pprof.Lookup("goroutine").Count()}
}

// checkNothingLeft compares with what there was before: processes, cgroups,
// descriptors, folders, mounts and goroutines.
func checkNothingLeft(t *testing.T, before traces) {
	t.Helper()
	if left := hostsOf(os.Getpid()); len(left) > 0 {
		t.Errorf("domain hosts are left: %v", left)
	}
	if left := cgroupsOf(os.Getpid()); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "weft-*")); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
	for _, pattern := range []string{"*/.new-*", "*/*/.new-*", "*/weft-*"} {
		if left, _ := filepath.Glob(filepath.Join(cache, pattern)); len(left) > 0 {
			t.Errorf("half-written files are left: %v", left)
		}
	}
	// What a host mounts has the source "weft"; tests of other packages mount at the same time.
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), " weft ") {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
	var files, goroutines string
	eventually(func() bool {
		now := take(t)
		files, goroutines = "", ""
		if extra := surplus(before.files, now.files); len(extra) > 0 {
			files = strings.Join(extra, ", ")
		}
		if now.goroutines > before.goroutines {
			var b strings.Builder
			pprof.Lookup("goroutine").WriteTo(&b, 1)
			goroutines = fmt.Sprintf("%d, there were %d:\n%s", now.goroutines, before.goroutines, b.String())
		}
		return files == "" && goroutines == ""
	})
	if files != "" {
		t.Errorf("descriptors are left: %s", files)
	}
	if goroutines != "" {
		t.Errorf("goroutines are left: %s", goroutines)
	}
}

// eventually tries until f is true, for as long as a test is patient with what
// happens by itself, and reports whether it was.
func eventually(f func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// openFiles lists what the descriptors of this process are, apart from those of
// the runtime itself.
func openFiles(t *testing.T) []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" || strings.HasPrefix(target, "/proc/") {
			continue
		}
		kind, _, ok := strings.Cut(target, ":[") // the numbers of pipes and sockets differ
		if ok {
			target = kind
		}
		files = append(files, target)
	}
	slices.Sort(files)
	return files
}

// surplus returns what b holds beyond a, both sorted.
func surplus(a, b []string) []string {
	var more []string
	for _, s := range b {
		if len(a) > 0 && a[0] < s {
			for len(a) > 0 && a[0] < s {
				a = a[1:]
			}
		}
		if len(a) > 0 && a[0] == s {
			a = a[1:]
			continue
		}
		more = append(more, s)
	}
	return more
}

// hostsOf returns the domain hosts that a process has started, by walking /proc.
func hostsOf(parent int) []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		fields := strings.Fields(string(b[end+1:]))
		// The second field is the name; a host is started through /proc/self/fd/N, so
		// that its name is a number until it names itself.
		if name := string(b[open+1 : end]); name != "weft-host" && strings.Trim(name, "0123456789") != "" {
			continue
		}
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// cgroupsOf finds the directories of a node's process in any hierarchy.
func cgroupsOf(pid int) []string {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/weft-%d-*", "/sys/fs/cgroup/*/weft-%d-*", "/sys/fs/cgroup/*/*/weft-%d-*"} {
		dirs, _ := filepath.Glob(fmt.Sprintf(pattern, pid))
		found = append(found, dirs...)
	}
	return found
}

// actor is the module of testdata/actor.c. It skips tests where C functions cannot
// be compiled.
func actor(t testing.TB) string {
	t.Helper()
	return buildtest.C(t, cache, "testdata/actor.c")
}

// load writes an app into a folder of its own and reads it. ACTOR in the app
// file stands for the actor's module.
func load(t testing.TB, yaml string, files ...string) *app.App {
	t.Helper()
	dir := t.TempDir()
	if strings.Contains(yaml, "ACTOR") {
		yaml = strings.ReplaceAll(yaml, "ACTOR", actor(t))
	}
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte("name: test\n"+yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// steps is an app of the actor alone: the workflow main with these steps, in
// which {do: "…"} calls it.
func steps(t *testing.T, lines ...string) *app.App {
	t.Helper()
	return load(t, "functions:\n  actor: {source: ACTOR, concurrency: 16}\nworkflows:\n  main:\n    steps:\n      "+strings.Join(lines, "\n      ")+"\n")
}

// run executes a workflow to its end, within the bounds of patience.
func run(t *testing.T, n *node.Node, a *app.App, change ...func(*node.RunRequest)) *engine.Result {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the test has no patience left"))
	defer cancel()
	return runContext(ctx, t, n, a, change...)
}

func runContext(ctx context.Context, t *testing.T, n *node.Node, a *app.App, change ...func(*node.RunRequest)) *engine.Result {
	t.Helper()
	req := node.RunRequest{App: a, Workflow: "main"}
	for _, f := range change {
		f(&req)
	}
	r, err := n.Run(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close the run: %v", err)
		}
	})
	return r
}

// wantOutput demands that a run succeeded with an output.
func wantOutput(t *testing.T, r *engine.Result, want string) {
	t.Helper()
	if r.Status != flow.Succeeded {
		t.Fatalf("run %s: %+v", r.Status, r.Failure)
	}
	if got := fmt.Sprint(r.Output); got != want {
		t.Fatalf("output %s, want %s", got, want)
	}
}

// wantFailure demands that a run failed with a kind, and a message that holds
// each of the words.
func wantFailure(t *testing.T, r *engine.Result, kind string, words ...string) {
	t.Helper()
	if r.Status != flow.Failed {
		t.Fatalf("run %s with output %v, want a failure of kind %s", r.Status, r.Output, kind)
	}
	if r.Failure.Kind != kind {
		t.Errorf("failure of kind %s, want %s: %s", r.Failure.Kind, kind, r.Failure.Error())
	}
	for _, w := range words {
		if !strings.Contains(r.Failure.Error(), w) {
			t.Errorf("failure %q does not say %q", r.Failure.Error(), w)
		}
	}
}

// wantError demands an error that says each of the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// watcher is an observer that remembers, and can be waited on.
type watcher struct {
	mu     sync.Mutex
	events []telemetry.Event // guarded by mu
}

var _ engine.Observer = (*watcher)(nil)

func (w *watcher) Observe(e telemetry.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// count counts events of a kind that belong to a step ("" is any) and say text.
func (w *watcher) count(kind telemetry.EventKind, step, text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e.Kind == kind && (step == "" || e.Step == step) && strings.Contains(e.Text, text) {
			n++
		}
	}
	return n
}

// await waits until an event has come.
func (w *watcher) await(t *testing.T, kind telemetry.EventKind, step, text string) {
	t.Helper()
	if !eventually(func() bool { return w.count(kind, step, text) > 0 }) {
		t.Errorf("no event %s of step %q with %q came", kind, step, text)
	}
}

func watched(w *watcher) func(*node.RunRequest) {
	return func(r *node.RunRequest) { r.Observer = w }
}

// content reads a buffer of a run.
func content(t *testing.T, r *engine.Result, ref any) string {
	t.Helper()
	m, ok := ref.(map[string]any)
	if !ok {
		t.Fatalf("%v is no reference to a buffer", ref)
	}
	rd, size, err := r.Open(m["$buffer"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	if err != nil || int64(len(b)) != size {
		t.Fatalf("read %d of %d bytes: %v", len(b), size, err)
	}
	return string(b)
}
