package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/process"
	_ "github.com/weft-run/weft/internal/sandbox/process/warden"
)

// unified is where a hierarchy of version 2 is mounted.
func unified(t *testing.T) string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("no cgroup2 file system is mounted")
	return ""
}

// With version 2 a native call is born in its group, and a Python call moves
// itself into it.
func TestProcessesInGroupsOfVersion2(t *testing.T) {
	mount := unified(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, to make groups where this user's manager delegates none")
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.NewSpawner(t.Context(), sandbox.SpawnerOptions{Exec: exe})
	exe.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CanConfine(); err != nil {
		t.Skip(err)
	}
	sandbox.UseUnified(t, s, mount)
	p, err := process.New(process.Options{Spawner: s})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	code := "def handler(event, context):\n    return open('/proc/self/cgroup').read().encode()\n"
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*process.Function{
		{Name: "n", Version: "1", Runtime: process.Native, Program: "/bin/cat", Args: []string{"/proc/self/cgroup"}},
		{Name: "p", Version: "1", Runtime: process.Python, Dir: dir, Module: "main"},
	} {
		var groups []string
		for range 2 {
			c, err := p.Start(context.Background(), process.Call{Function: f})
			if err != nil {
				t.Fatal(err)
			}
			r := c.Wait()
			if r.Failure != nil {
				t.Fatal(r.Failure)
			}
			for line := range strings.Lines(string(r.Output)) {
				if group, ok := strings.CutPrefix(line, "0::"); ok {
					groups = append(groups, strings.TrimSpace(group))
				}
			}
		}
		if len(groups) != 2 || groups[0] == groups[1] || groups[0] == "/" || groups[0] == "" {
			t.Errorf("%s: two calls are in the groups %q", f.Name, groups)
		}
	}
}
