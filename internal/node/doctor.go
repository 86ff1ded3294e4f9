package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/sandbox/process"
	"github.com/weft-run/weft/internal/scratch"
)

// ProbeProcesses finds out whether functions that are processes work on this
// machine for this user, by calling one of each runtime. interpreter is the Python,
// a name or a path.
func ProbeProcesses(ctx context.Context, interpreter string) []sandbox.Feature {
	const without = "functions of runtime wasm"
	native := sandbox.Feature{Name: "native functions", State: sandbox.StateOK, Use: "runtime: native, each call a confined process"}
	py := sandbox.Feature{Name: "Python functions", State: sandbox.StateOK, Use: "runtime: python, each call a fork in a confined process"}
	missing := func(f *sandbox.Feature, err error, enable string) {
		f.State, f.Detail, f.Fallback, f.Enable = sandbox.StateMissing, err.Error(), without, enable
	}
	found, err := python.Find(ctx, interpreter)
	if err != nil {
		missing(&py, err, "install Python 3.9 or later (apt-get install python3), or name one by `python` in the node's configuration")
	} else {
		py.Detail = found.Tag + ", " + found.Path
	}
	degraded, errs := tryProcesses(ctx, interpreter, err == nil)
	for i, f := range []*sandbox.Feature{&native, &py} {
		switch {
		case f.State == sandbox.StateMissing:
		case errs[i] != nil:
			missing(f, errs[i], enabling(errs[i]))
		case len(degraded) > 0:
			f.State, f.Fallback = sandbox.StateDegraded, strings.Join(degraded, "; ")
			f.Enable = "run weft as root, or in a cgroup that is delegated to its user"
		}
	}
	return []sandbox.Feature{native, py}
}

// errConfine is why no process can be confined here at all.
type errConfine struct{ error }

// enabling says what to do about a function that could not be called. What is
// about namespaces is said where they are what is missing; otherwise the reason,
// which is shown beside it, says more than a guess would.
func enabling(err error) string {
	var confine errConfine
	switch {
	case errors.As(err, &confine):
		return "allow user namespaces, or run weft as root"
	case strings.Contains(err.Error(), "/proc"):
		return "in a container, give it a /proc that hides nothing (docker: --security-opt systempaths=unconfined)"
	case strings.Contains(err.Error(), "namespace"):
		return "allow user namespaces, or run weft as root; in a container, allow unshare and mount"
	}
	return "see to what the detail names, and run weft doctor again"
}

// tryProcesses calls a native function and, if there is one, a Python function. It
// returns what each of them met, and what is weaker than weft wants.
func tryProcesses(ctx context.Context, interpreter string, usable bool) (degraded []string, errs [2]error) {
	fail := func(err error) ([]string, [2]error) { return nil, [2]error{err, err} }
	host, err := hostbin.Open()
	if err != nil {
		return fail(err)
	}
	defer host.Close()
	exe, err := sandbox.Executable(host)
	if err != nil {
		return fail(err)
	}
	defer exe.Close()
	spawner, err := sandbox.NewSpawner(ctx, sandbox.SpawnerOptions{Exec: exe})
	if err != nil {
		return fail(err)
	}
	defer spawner.Close()
	if err := spawner.CanConfine(); err != nil {
		return fail(errConfine{err})
	}
	pool, err := process.New(process.Options{Spawner: spawner, Python: interpreter, Spare: -1})
	if err != nil {
		return fail(err)
	}
	defer pool.Close()
	folder, err := scratch.Make("")
	if err != nil {
		return fail(err)
	}
	defer folder.Remove()
	if err := os.WriteFile(filepath.Join(folder.Path, "probe.py"), []byte("def handler(event, context):\n    return None\n"), 0o644); err != nil {
		return fail(err)
	}
	for i, f := range []*process.Function{
		{Name: "native", Version: "probe", Runtime: process.Native, Program: "/bin/sh", Args: []string{"-c", ":"}},
		{Name: "python", Version: "probe", Runtime: process.Python, Dir: folder.Path, Module: "probe"},
	} {
		if f.Runtime == process.Python && !usable {
			continue
		}
		p, err := pool.Start(ctx, process.Call{Function: f})
		if err == nil {
			if r := p.Wait(); r.Failure != nil {
				err = errors.New(r.Failure.Message)
			}
		}
		errs[i] = err
	}
	return pool.Degraded()[len(spawner.Degraded()):], errs // the rest is among the machine's features
}
