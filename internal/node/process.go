package node

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/process"
)

// processOf is a built function as a process; fn has all but that. layer is
// the folder of what it requires, or empty.
func (n *Node) processOf(f *app.Function, fn *domain.Function, m build.Module, layer string) (*process.Function, error) {
	dir, err := n.builder.Folder(f.Runtime, m)
	if err != nil {
		return nil, err
	}
	p := &process.Function{
		Name: f.Name, Runtime: process.Runtime(f.Runtime), Dir: dir, Args: fn.Args, Env: fn.Env, Files: map[string]string{}, Dial: fn.Dial,
		Limits: process.Limits{Memory: f.Memory, CPU: f.CPU, Output: f.MaxOutput},
	}
	switch {
	case f.Serves != "":
		p.Resident = process.Resident(f.Serves)
	case f.Resident:
		p.Resident = process.ResidentHandler
	}
	p.Workers = f.Workers
	if f.Runtime == app.RuntimeNative {
		p.Program = build.ProgramName
	} else {
		module, name, found := strings.Cut(f.Handler, ":")
		if !found {
			module, name = "", f.Handler
		}
		if p.Module, err = build.PythonModule(dir, module); err != nil {
			return nil, err
		}
		p.Handler = name
		if layer != "" {
			p.Layers = []string{layer}
		}
	}
	for _, g := range fn.Files {
		p.Mounts = append(p.Mounts, process.Mount{Host: g.Host, Path: g.Guest, ReadOnly: g.ReadOnly, File: g.Form == "file"})
	}
	for _, secret := range fn.Secrets {
		p.Files[secret.Guest] = string(secret.Data)
	}
	return p, nil
}

// classes are the services of an app, with the classes that its file names.
func classes(a *app.App) map[string]string {
	all := map[string]string{}
	for name, s := range a.Services {
		_, class, found := strings.Cut(s.Code.Handler, ":")
		if !found {
			class = s.Code.Handler
		}
		all[name] = class
	}
	return all
}

// declared is what the app file says of the methods of a service.
func declared(a *app.App, s *app.Service) map[string]process.Method {
	at := func(p app.Pos) string { return fmt.Sprintf("%s:%d", filepath.Base(a.File), p.Line) }
	all := map[string]process.Method{"": {Mode: app.ModeExclusive, Place: at(s.Pos)}}
	for _, name := range s.Methods {
		all[name] = process.Method{Mode: cmp.Or(s.Modes[name], app.ModeExclusive), Place: at(s.MethodPos(name))}
	}
	return all
}

// modes are those of the methods, whichever place in the app file says so.
func modes(methods map[string]process.Method) map[string]string {
	all := map[string]string{}
	for name, m := range methods {
		all[name] = m.Mode
	}
	return all
}

// dropProcesses ends the fork servers of those functions of a program that no
// program which is served has. The caller holds serving.
func (s *Server) dropProcesses(p *engine.Program) {
	for name, f := range p.Functions {
		if f.Process == nil {
			continue
		}
		used := false
		for _, other := range s.ready {
			g := other.program.Functions[name]
			used = used || g != nil && g.Process != nil && g.Process.Version == f.Process.Version
		}
		if !used {
			s.pool.DropProcess(f)
		}
	}
}
