package process

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/sandbox"
	_ "github.com/weft-run/weft/internal/sandbox/process/warden" // the test binary is its own host executable
)

// newPool makes a pool that is closed, with its spawner, when the test ends.
func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	// Another host executable, such as what "make host" has built, can be tried.
	exe, err := os.Open(cmp.Or(os.Getenv("WEFT_TEST_HOST"), "/proc/self/exe"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.NewSpawner(context.Background(), sandbox.SpawnerOptions{Exec: exe})
	exe.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close spawner: %v", err)
		}
	})
	if err := s.CanConfine(); err != nil {
		t.Skip(err)
	}
	o.Spawner = s
	if o.Log == nil {
		o.Log = func(f, line string) { t.Logf("%s: %s", f, line) }
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close pool: %v", err)
		}
	})
	return p
}

// needPython skips the test where there is none.
func needPython(t testing.TB) {
	t.Helper()
	if _, err := python.Find(context.Background(), "python3"); err != nil {
		t.Skip(err)
	}
}

// pythonFunction writes a module and returns the function in it.
func pythonFunction(t testing.TB, source string) *Function {
	t.Helper()
	needPython(t)
	dir := folder(t)
	write(t, filepath.Join(dir, "main.py"), source)
	return &Function{Name: "f", Version: unique(), Runtime: Python, Dir: dir, Module: "main"}
}

var versions atomic.Int64

// unique is a version that no other function of the tests has.
func unique() string { return strconv.FormatInt(versions.Add(1), 10) }

// folder is a temporary folder that other users can read.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-process-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shellFunction is a native function that runs a script.
func shellFunction(t testing.TB, script string) *Function {
	t.Helper()
	return &Function{Name: "f", Version: unique(), Runtime: Native, Program: "/bin/sh", Args: []string{"-c", script}}
}

// cFunction compiles a program.
func cFunction(t testing.TB, source string, flags ...string) *Function {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed: ", err)
	}
	dir := folder(t)
	write(t, filepath.Join(dir, "main.c"), source)
	args := append([]string{"-O1", "-o", filepath.Join(dir, "main"), filepath.Join(dir, "main.c")}, flags...)
	if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return &Function{Name: "f", Version: unique(), Runtime: Native, Dir: dir, Program: "main"}
}

// logged collects log lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// run runs one call to its end.
func run(t testing.TB, p *Pool, c Call) Result {
	t.Helper()
	process, err := p.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-process.Done():
	case <-time.After(60 * time.Second):
		process.Kill()
		t.Fatal("the call does not end")
	}
	return process.Wait()
}
