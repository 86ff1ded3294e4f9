package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/store"
)

// serverConfig is that of the servers of tests.
func serverConfig(t testing.TB, dir string) node.ServerConfig {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	return node.ServerConfig{
		Config: node.Config{CacheDir: cache}, Dir: dir, Speculate: true, Trace: true, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// serve opens a server on a folder, and checks at the test's end that nothing of
// it is left but the folder.
func serve(t *testing.T, dir string, change ...func(*node.ServerConfig)) *node.Server {
	t.Helper()
	before := take(t)
	t.Cleanup(func() { checkNothingLeft(t, before) })
	return serveBeside(t, dir, change...)
}

// serveBeside is serve beside another server of this process.
func serveBeside(t testing.TB, dir string, change ...func(*node.ServerConfig)) *node.Server {
	t.Helper()
	cfg := serverConfig(t, dir)
	for _, f := range change {
		f(&cfg)
	}
	s, err := node.Serve(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
	})
	return s
}

// packed is the bundle of an app whose functions' modules are their sources.
func packed(t testing.TB, yaml string, files ...string) io.Reader {
	t.Helper()
	a := load(t, yaml, files...)
	modules := map[string]string{}
	for name, f := range a.Units() {
		modules[name] = f.Source
	}
	b, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := b.Write(&archive); err != nil {
		t.Fatal(err)
	}
	return &archive
}

// deploy makes an app the active version of the app "test".
func deploy(t testing.TB, s *node.Server, yaml string) registry.Version {
	t.Helper()
	v, _, err := s.Apps.Deploy(t.Context(), packed(t, yaml), deployment)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// invoke has a function of the active version do something, and returns its
// output.
func invoke(ctx context.Context, s *node.Server, function, do string) (string, error) {
	input := fmt.Sprintf(`{"do": %q}`, do)
	out, err := s.Invoke(ctx, node.InvokeRequest{App: "test", Function: function, Body: strings.NewReader(input), Size: int64(len(input))})
	if err != nil {
		return "", err
	}
	defer out.Close()
	if out.Failure != nil {
		return "", out.Failure
	}
	body, _ := out.Body()
	text, err := io.ReadAll(body)
	return string(text), err
}

func mustInvoke(t *testing.T, s *node.Server, function, do string) string {
	t.Helper()
	out, err := invoke(t.Context(), s, function, do)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start starts a run of the workflow main.
func start(t *testing.T, s *node.Server, input any) engine.Run {
	t.Helper()
	r, _, err := s.Runs.Start(t.Context(), engine.StartRequest{App: "test", Workflow: "main", Input: input})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ended waits for the end of a run.
func ended(t *testing.T, s *node.Server, id string) engine.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Runs.Wait(ctx, id)
	if err != nil {
		t.Fatalf("run %s: %v", id, err)
	}
	return r
}

func TestAServerOnAnOddFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder with spaces, \"quotes\" and ünïcödé")
	s := serve(t, dir)
	deploy(t, s, "functions: {f: {source: ACTOR}}\nworkflows: {main: {steps: {a: {call: f, with: {do: put x 100000}}, b: {call: f, needs: [a], with: {do: take a/x}}}, output: \"${ .b }\"}}\n")
	if r := ended(t, s, start(t, s, nil).ID); fmt.Sprint(r.Output) != "[take a/x: 100000 bytes of 308785152]" {
		t.Errorf("%+v", r)
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v: %v", st.Mode(), err)
	}
}

// What a server keeps is closed to others, also in a folder that is open to them.
func TestAFolderThatOthersCanLookInto(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(store, 0o755), os.Chmod(store, 0o755)); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	deploy(t, s, actorApp(""))
	ended(t, s, start(t, s, map[string]any{"do": "log there"}).ID)
	list, err := os.ReadDir(dir)
	if err != nil || len(list) < 5 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, e := range list {
		if st, err := e.Info(); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v: %v", e.Name(), st.Mode(), err)
		}
	}
}

func TestFoldersThatCannotBeServed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	partial := t.TempDir()
	if err := os.WriteFile(filepath.Join(partial, "restore.partial"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir   string
		words []string
	}{
		"a file":                 {file, []string{"make data folder", file, "not a directory"}},
		"an interrupted restore": {partial, []string{partial, "restore", "once more"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := take(t)
			_, err := node.Serve(t.Context(), serverConfig(t, test.dir))
			wantError(t, err, test.words...)
			checkNothingLeft(t, before)
		})
	}
}

// One who gives up waiting for a folder is told, and one who waits long enough
// gets it.
func TestAFolderThatIsInUse(t *testing.T) {
	dir := t.TempDir()
	first, err := node.Serve(t.Context(), serverConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := node.Serve(ctx, serverConfig(t, dir)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lock data folder "+dir) {
		t.Errorf("a second server: %v", err)
	}
	type answer struct {
		s   *node.Server
		err error
	}
	done := make(chan answer)
	go func() {
		s, err := node.Serve(context.Background(), serverConfig(t, dir))
		done <- answer{s, err}
	}()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	a := <-done
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := a.s.Close(); err != nil {
		t.Error(err)
	}
}

// cronJobs counts what the store has of cron jobs.
func cronJobs(t *testing.T, s *node.Server) int {
	t.Helper()
	snap := s.Store.Snapshot()
	defer snap.Close()
	n := 0
	err := snap.Scan([]byte("cron/"), nil, func(store.Item) bool {
		n++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCronJobsFollowTheActiveVersion(t *testing.T) {
	s := serve(t, t.TempDir())
	const app = "functions: {f: {source: ACTOR, env: {N: %q}}}\nworkflows: {main: {steps: {a: {call: f}}}}\n%s"
	expect := func(n int, when string) {
		t.Helper()
		if got := cronJobs(t, s); got != n {
			t.Errorf("%s: %d jobs, want %d", when, got, n)
		}
	}
	one := deploy(t, s, fmt.Sprintf(app, "1", `triggers: [{cron: "0 3 * * *", workflow: main}, {cron: "0 4 * * *", workflow: main}]`))
	expect(2, "with two triggers")
	two := deploy(t, s, fmt.Sprintf(app, "2", ""))
	expect(0, "without triggers")
	if _, err := s.Apps.Rollback(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	expect(2, "rolled back")
	if _, _, err := s.Apps.Deploy(t.Context(), packed(t, fmt.Sprintf(app, "3", `triggers: [{cron: "0 5 * * *", workflow: main}]`)), registry.Deployment{}); err != nil {
		t.Fatal(err)
	}
	expect(2, "with another version that is not active")
	if _, err := s.Apps.Activate(t.Context(), "test", two.ID); err != nil {
		t.Fatal(err)
	}
	expect(0, "activated")
	if _, err := s.Apps.Activate(t.Context(), "test", one.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Apps.Delete(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	expect(0, "deleted")
}

// actorApp is an app of the actor, with keys of its function.
func actorApp(keys string) string {
	return "functions: {f: {source: ACTOR" + keys + "}}\nworkflows: {main: {steps: {a: {call: f, with: {do: \"${ .input.do }\"}}}, output: \"${ .a }\"}}\n"
}
