package sandbox_test

import (
	"context"
	"fmt"
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
// itself into it; so does a server that a parent has forked.
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
	p, err := process.New(process.Options{Spawner: s, Spare: -1})
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
		{Name: "a", Version: "1", Runtime: process.Python, Dir: dir, Module: "main", Family: "app"},
		{Name: "b", Version: "1", Runtime: process.Python, Dir: dir, Module: "main", Family: "app"},
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
	all, groups := servers(t), map[string]bool{} // of the servers that a parent has forked, and its own
	for pid, parent := range all {
		if _, ok := all[parent]; ok {
			groups[groupOf(pid)], groups[groupOf(parent)] = true, true
		}
	}
	delete(groups, "")
	if len(groups) != 3 {
		t.Errorf("a parent and its two servers are in the groups %v", groups)
	}
}

// servers are the processes that run the Python server, each with its parent.
func servers(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		text, err := os.ReadFile(line)
		if err != nil || !strings.Contains(string(text), "/weft/server.py") {
			continue
		}
		stat, _ := os.ReadFile(filepath.Dir(line) + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			found[filepath.Base(filepath.Dir(line))] = fields[1]
		}
	}
	return found
}

// groupOf is the group of version 2 that a process is in, of those that this test has made;
// or "".
func groupOf(pid string) string {
	text, _ := os.ReadFile("/proc/" + pid + "/cgroup")
	for line := range strings.Lines(string(text)) {
		if group, ok := strings.CutPrefix(line, "0::"); ok && strings.Contains(group, fmt.Sprintf("/weft-%d-", os.Getpid())) {
			return strings.TrimSpace(group)
		}
	}
	return ""
}
