package process

import (
	"embed"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/python"
	sdk "github.com/weft-run/weft/sdk/python"
)

//go:embed python/*.py
var pythonFiles embed.FS

// last returns the end of a text, in one line.
func last(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return strings.ReplaceAll(s, "\n", " / ")
}

// rlimits are what set_limits of the warden gives a server, by their names in
// Python.
func (c *config) rlimits() map[string]int64 {
	limits := map[string]int64{}
	for name, value := range map[string]int64{"NOFILE": int64(c.files), "FSIZE": c.fileSize, "DATA": c.data, "AS": c.space, "NPROC": c.threads} {
		if value > 0 {
			limits[name] = value
		}
	}
	return limits
}

// python adds the interpreter, the server and the function's place in it.
func (c *config) python(f *Function, py *python.Interpreter, env []string) error {
	c.flags |= flagPython
	program := py.Path
	if f.Root == "" {
		for _, place := range py.Places {
			c.add(recBind, 0, place, in(place))
		}
	} else {
		program = "/usr/bin/python3"
	}
	modules, err := sdk.Files()
	if err != nil {
		return err
	}
	own, err := fs.Glob(pythonFiles, "python/*.py")
	if err != nil {
		return err
	}
	for _, name := range own {
		text, err := pythonFiles.ReadFile(name)
		if err != nil {
			return err
		}
		c.add(recFile, 0o444, "weft/"+path.Base(name), string(text))
	}
	for name, text := range modules {
		c.add(recFile, 0o444, "weft/"+name, text)
	}
	var fixed []string
	args := []string{program, "-I", "-S", "-B", "/weft/server.py"}
	if f.Service != nil {
		args = slices.Replace(args, 1, 2, "-s") // which heeds the environment: the order of a set is the same in all instances
		fixed = []string{"PYTHONHASHSEED=0"}
	}
	for _, a := range args {
		c.add(recArg, 0, a)
	}
	paths := []string{"/fn"}
	for i := range f.Layers {
		paths = append(paths, "/layers/"+strconv.Itoa(i))
	}
	// Libraries that compute in threads of their own would have them before the
	// fork; what a call may use is for the call to say.
	single := []string{"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
	variables := merge(env, single, f.Env, fixed)
	for _, v := range variables {
		c.add(recEnv, 0, v)
	}
	for name, of := range map[string]role{"filter": ofCall, "server.filter": ofServer} {
		program, err := filter(of, len(f.Dial) > 0)
		if err != nil {
			return err
		}
		c.add(recFile, 0o444, "weft/"+name, string(program))
	}
	var common []string
	if c.flags&flagParent != 0 {
		common = append([]string{}, f.Common...)
		paths = paths[1:]
	}
	settings, err := json.Marshal(map[string]any{
		"common": common, "env": variables, "limits": c.rlimits(),
		"function": f.Name, "module": f.Module, "resident": f.Resident, "handler": f.Handler, "paths": paths, "oldest": python.Oldest, "service": f.Service, "methods": f.Methods,
		"cpu": int64((f.Limits.CPU + time.Second - 1) / time.Second),
	})
	if err != nil {
		return err
	}
	c.add(recFile, 0o444, "weft/settings.json", string(settings))
	return nil
}
