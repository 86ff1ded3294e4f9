package process

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/sdk/python"
)

//go:embed python/server.py
var pythonServer string

// oldest is the oldest Python that is served: 3.9.
var oldest = [2]int{3, 9}

// interpreter is a Python of the host, or of a function's root.
type interpreter struct {
	path    string   // of the executable, links resolved
	version [2]int   //
	prefix  string   // where its library is
	places  []string // folders that are not in the host's /usr and must be there for it
}

// ask is what an interpreter is asked; -S and -I keep it from running anything
// of a user.
const ask = `import sys, os, json
try:
    import ctypes
    c = True
except ImportError:
    c = False
print(json.dumps({"version": list(sys.version_info[:2]), "path": os.path.realpath(sys.executable), "prefix": sys.base_prefix, "exec": sys.base_exec_prefix, "ctypes": c}))`

// findPython finds out about the interpreter: a path or a name.
func findPython(ctx context.Context, name string) (*interpreter, error) {
	const install = "install Python 3.9 or later (apt-get install python3), or name one with the option python"
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("python: there is no %s on this machine: %s", name, install)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-I", "-S", "-c", ask).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, last(string(exit.Stderr), 200))
		}
		return nil, fmt.Errorf("python: %s does not run: %w; %s", path, err, install)
	}
	var got struct {
		Version            [2]int
		Path, Prefix, Exec string
		Ctypes             bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, fmt.Errorf("python: %s says %q where it should describe itself; %s", path, last(string(out), 100), install)
	}
	if got.Version[0] != oldest[0] || got.Version[1] < oldest[1] {
		return nil, fmt.Errorf("python: %s is Python %d.%d, which is too old; %s", path, got.Version[0], got.Version[1], install)
	}
	if !got.Ctypes {
		return nil, fmt.Errorf("python: %s was built without the module ctypes; %s", path, install)
	}
	py := &interpreter{path: got.Path, version: got.Version, prefix: got.Prefix}
	for _, place := range []string{got.Prefix, got.Exec, filepath.Dir(filepath.Dir(got.Path))} {
		if place == "/usr" || strings.HasPrefix(place, "/usr/") || place == "/" {
			continue
		}
		known := false
		for _, p := range py.places {
			known = known || place == p || strings.HasPrefix(place, p+"/")
		}
		if !known {
			py.places = append(py.places, place)
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

// python adds the interpreter, the server and the function's place in it.
func (c *config) python(f *Function, py *interpreter, env []string) error {
	c.flags |= flagPython
	path := py.path
	if f.Root == "" {
		for _, place := range py.places {
			c.add(recBind, 0, place, in(place))
		}
	} else {
		path = "/usr/bin/python3"
	}
	modules, err := python.Files()
	if err != nil {
		return err
	}
	c.add(recFile, 0o444, "weft/server.py", pythonServer)
	for name, text := range modules {
		c.add(recFile, 0o444, "weft/"+name, text)
	}
	for _, a := range []string{path, "-I", "-S", "-B", "/weft/server.py"} {
		c.add(recArg, 0, a)
	}
	paths := []string{"/fn"}
	for i := range f.Layers {
		paths = append(paths, "/layers/"+strconv.Itoa(i))
	}
	callFilter, err := filter(false)
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]any{
		"function": f.Name, "module": f.Module, "handler": f.Handler, "paths": paths, "oldest": oldest,
		"cpu": int64((f.Limits.CPU + time.Second - 1) / time.Second),
	})
	if err != nil {
		return err
	}
	c.add(recFile, 0o444, "weft/settings.json", string(settings))
	c.add(recFile, 0o444, "weft/filter", string(callFilter))
	// Libraries that compute in threads of their own would have them before the
	// fork; what a call may use is for the call to say.
	single := []string{"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
	c.environment(env, single, f.Env)
	return nil
}
