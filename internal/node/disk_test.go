package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/node"
)

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("disk", dir, "tmpfs", 0, "size="+size+",mode=755")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("needs root, to mount a small disk")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// halfWritten lists files that are not complete.
func halfWritten(dir string) []string {
	var found []string
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && (strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "weft-")) {
			found = append(found, path)
		}
		return nil
	})
	return found
}

func TestFullDiskUnderTheCache(t *testing.T) {
	code := moduleOf(strings.Repeat("data", 1<<19), 0)
	module := moduleFile(t, code)
	a := load(t, "functions:\n  f: {source: "+module+"}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n")
	for _, test := range []struct {
		name string
		size int
	}{{"the module does not fit", len(code) / 2}, {"its image does not fit", len(code) + 300<<10}} {
		t.Run(test.name, func(t *testing.T) {
			dir := smallDisk(t, fmt.Sprint(test.size))
			n := newNode(t, func(c *node.Config) { c.CacheDir = dir })
			_, err := n.Run(t.Context(), node.RunRequest{App: a, Workflow: "main"})
			wantError(t, err, "function f: ", "no space left on device")
			if err != nil && strings.Contains(err.Error(), "invalid module") {
				t.Errorf("a full disk is said to be the module's fault: %v", err)
			}
			if left := halfWritten(dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFullDiskUnderFiles(t *testing.T) {
	module := actor(t)
	t.Setenv("TMPDIR", smallDisk(t, "1m"))
	n := newNode(t)
	a := steps(t, "a: {call: actor, with: {do: put x 500000; put y 900000; put z 100}}", "b: {call: actor, needs: [a], with: {do: take x; len y; take z}}")
	_ = module
	a.Workflows["main"].Output = output(t, "${ [.a[], .b[]] }")
	r := run(t, n, a, func(r *node.RunRequest) { r.Pass = "file" })
	wantOutput(t, r, "[put y: errno 51 take x: 500000 bytes of "+fmt.Sprint(checksum(strings.Repeat("x", 500000)))+" len y: errno 44 take z: 100 bytes of "+fmt.Sprint(checksum(strings.Repeat("x", 100)))+"]")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*", "run-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
