package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build/buildtest"
	"github.com/weft-run/weft/internal/bundle"
)

// patience bounds what a test waits for. Nothing should come near it: it is
// there so that a hang names its test.
const patience = 60 * time.Second

// cache is the folder of modules and images that all tests share.
var cache string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		root, err := os.MkdirTemp("", "api-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(root)
		cache = filepath.Join(root, "cache")
		if err := os.Mkdir(cache, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if code == 0 {
			code = spoken.check()
		}
		return code
	}())
}

// pack writes an app into a folder, builds it and packs it. PROBE in the app
// file stands for the module of probe.c, STATE for a folder that functions may
// write to.
func pack(t *testing.T, yaml string) []byte {
	t.Helper()
	module := buildtest.C(t, cache, "testdata/probe.c")
	dir := t.TempDir()
	yaml = strings.ReplaceAll(yaml, "PROBE", module)
	if err := os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]string{}
	for name := range a.Functions {
		modules[name] = module
	}
	for name, s := range a.Services {
		modules[name] = s.Code.Source
	}
	b, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := b.Write(&out); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}

// eventually tries until f is true, for as long as a test is patient with what
// happens by itself.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to be that %s", what)
		}
	}
}

// touch makes a file that a function waits for.
func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// read reads a file that functions have written.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
