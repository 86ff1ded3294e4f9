// Package buildtest builds the functions that tests call.
package buildtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/sdk/c"
)

// NeedC skips a test where functions in C cannot be compiled.
func NeedC(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs clang, lld and wasi-libc: run make deps")
		}
	}
	if _, err := os.Stat("/usr/lib/wasm32-wasi/libc.a"); err != nil {
		t.Skip("needs clang, lld and wasi-libc: run make deps")
	}
}

// C compiles a source file and returns the path of the module. What has been
// built in the cache folder is there already the next time. Without a compiler
// the test is skipped.
func C(t testing.TB, cache, source string) string {
	t.Helper()
	NeedC(t)
	source, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	include := filepath.Join(cache, "include")
	if err := os.MkdirAll(include, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(include, "weft.h"), c.Header, 0o644); err != nil {
		t.Fatal(err)
	}
	b := build.New(build.Config{CacheDir: filepath.Join(cache, "modules"), IncludeDir: include})
	m, err := b.Build(context.Background(), ".", build.Source{Function: "test", Path: source}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Path
}
