package wasitest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"golang.org/x/sys/unix"
)

// TestGoStandardLibrary runs tests of Go's own packages, built for WASI, with
// the host's files to read and a temporary folder to write to.
func TestGoStandardLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles large programs; not with -short")
	}
	goroot := strings.TrimSpace(output1(t, "go", "env", "GOROOT"))
	for _, c := range []struct {
		pkg  string
		skip string // tests that want a network of their own
	}{
		{pkg: "io/fs"},
		{pkg: "bufio"},
		{pkg: "internal/poll"},
		{pkg: "path/filepath"},
		{pkg: "net", skip: "TestLookup|TestDial|TestDNS|TestResolve"},
		{pkg: "time"},
		{pkg: "os"},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			module := filepath.Join(t.TempDir(), "test.wasm")
			build := exec.Command("go", "test", "-c", "-o", module, c.pkg)
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build the tests of %s: %v\n%s", c.pkg, err, out)
			}
			tmp := t.TempDir()
			args := []string{"test", "-test.short", "-test.timeout=2m"}
			if c.skip != "" {
				args = append(args, "-test.skip="+c.skip)
			}
			var out output
			code := run(t, load(t, module), wasi.Config{
				Args:   args,
				Env:    []string{"PWD=" + filepath.Join(goroot, "src", c.pkg), "TMPDIR=/tmp", "HOME=/tmp", "GOROOT=" + goroot, "PATH=" + os.Getenv("PATH")},
				Stdout: io.Writer(&out), Stderr: &out,
				Mounts: []wasi.Mount{
					{Guest: "/", FD: openPath(t, "/", unix.O_PATH), ReadOnly: true},
					{Guest: "/tmp", FD: openPath(t, tmp, unix.O_PATH)},
					{Guest: "/dev", FD: openPath(t, "/dev", unix.O_PATH)}, // /dev/null is written to
				},
			})
			if code != 0 {
				t.Errorf("exit status %d\n%s", code, tail(out.bytes()))
			}
		})
	}
}

// output1 runs a command and returns what it prints.
func output1(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(b)
}
