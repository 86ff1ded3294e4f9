// Package python knows the Python interpreters of a machine: which version one
// is, what it can load, and which folders it needs.
//
//	py, err := python.Find(ctx, "python3")
//	py.Tag  // "cp311-linux_x86_64": libraries for one tag do not load in another
package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Oldest is the oldest Python that is served: 3.9.
var Oldest = [2]int{3, 9}

// Interpreter is a Python of the machine.
type Interpreter struct {
	Path    string   // of the executable, links resolved
	Version [2]int   // such as {3, 11}
	Tag     string   // implementation, version and platform, such as "cp311-linux_x86_64"
	Prefix  string   // where its library is
	Places  []string // folders that are not in /usr and must be there for it
}

// ask is what an interpreter is asked; -S and -I keep it from running anything
// of a user.
const ask = `import sys, os, json, sysconfig
try:
    import ctypes
    c = True
except ImportError:
    c = False
print(json.dumps({"version": list(sys.version_info[:2]), "path": os.path.realpath(sys.executable), "prefix": sys.base_prefix, "exec": sys.base_exec_prefix, "ctypes": c,
    "tag": {"cpython": "cp"}.get(sys.implementation.name, sys.implementation.name) + "%d%d" % sys.version_info[:2]
        + getattr(sys, "abiflags", "") + "-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")}))`

// install is what to do without a Python that serves.
const install = "install Python 3.9 or later (apt-get install python3), or name one with the option python"

// Find finds out about an interpreter: a path, or a name that is looked for in
// PATH. It starts it, which takes some 50 ms; errors say what to do.
func Find(ctx context.Context, name string) (*Interpreter, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("python: there is no %s on this machine: %s", name, install)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-I", "-S", "-c", ask).Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("python: %s does not say in time what it is: %w", path, ctx.Err())
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, last(string(exit.Stderr), 200))
		}
		return nil, fmt.Errorf("python: %s does not run: %w; %s", path, err, install)
	}
	var got struct {
		Version                 [2]int
		Path, Prefix, Exec, Tag string
		Ctypes                  bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, fmt.Errorf("python: %s says %q where it should describe itself; %s", path, last(string(out), 100), install)
	}
	if got.Version[0] != Oldest[0] || got.Version[1] < Oldest[1] {
		return nil, fmt.Errorf("python: %s is Python %d.%d, which is too old; %s", path, got.Version[0], got.Version[1], install)
	}
	if !got.Ctypes {
		return nil, fmt.Errorf("python: %s was built without the module ctypes; %s", path, install)
	}
	py := &Interpreter{Path: got.Path, Version: got.Version, Prefix: got.Prefix, Tag: got.Tag}
	for _, place := range []string{got.Prefix, got.Exec, filepath.Dir(filepath.Dir(got.Path))} {
		if place == "/usr" || strings.HasPrefix(place, "/usr/") || place == "/" {
			continue
		}
		known := false
		for _, p := range py.Places {
			known = known || place == p || strings.HasPrefix(place, p+"/")
		}
		if !known {
			py.Places = append(py.Places, place)
		}
	}
	return py, nil
}

// last returns the end of a text, in one line.
func last(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return strings.ReplaceAll(s, "\n", " / ")
}
