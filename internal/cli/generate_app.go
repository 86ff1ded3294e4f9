package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/generator"
)

// compared says in what the app file that a package with services belongs to, that of the next
// folder above which has one, differs from the package. hint is what is missing, and no contradiction.
func compared(dir string, p *generator.Package) (differences []string, hint string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, ""
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, app.FileName)); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return nil, ""
		}
	}
	a, err := app.Load(dir)
	if err != nil {
		return nil, fmt.Sprintf("%s is not compared with the services: weft validate says what is wrong with it", shown(filepath.Join(dir, app.FileName)))
	}
	c := &comparison{app: a, pkg: p}
	c.services()
	c.calls()
	var missing []string
	for _, s := range p.Services {
		if a.Services[s.Name] == nil {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		source, err := filepath.Rel(a.Dir, p.Program)
		if err != nil {
			source = p.Program
		}
		hint = fmt.Sprintf("%s has no %s: add `NAME: {source: ./%s}` to its services", shown(a.File), strings.Join(missing, ", "), filepath.ToSlash(source))
	}
	return c.found, hint
}

// comparison compares an app file with a package.
type comparison struct {
	app   *app.App
	pkg   *generator.Package
	found []string
}

func (c *comparison) differ(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// at is a place in the app file.
func (c *comparison) at(p app.Pos) string { return fmt.Sprintf("%s:%d", shown(c.app.File), p.Line) }

// declared is what the app file says of a service, nil if it says nothing or has another
// source for it.
func (c *comparison) declared(name string) *app.Service {
	s := c.app.Services[name]
	if s == nil || !sameFolder(filepath.Join(c.app.Dir, s.Code.Source), c.pkg.Program) && !sameFolder(s.Code.Source, c.pkg.Program) {
		return nil
	}
	return s
}

func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return filepath.Clean(a) == filepath.Clean(b) // it is about to be written
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// services compares names, methods and modes.
func (c *comparison) services() {
	for _, s := range c.pkg.Services {
		d := c.declared(s.Name)
		if d == nil {
			continue
		}
		for _, m := range s.Methods {
			c.method(s, m, d)
		}
		for _, name := range d.Methods {
			if !slices.ContainsFunc(s.Methods, func(m generator.Method) bool { return m.Name == name }) {
				c.differ("%s: service %s has no method %s: %s has none of that name", c.at(d.MethodPos(name)), s.Name, name, lineOf(s.Pos))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.app.Services)) {
		if d := c.declared(name); d != nil && !slices.ContainsFunc(c.pkg.Services, func(s generator.Service) bool { return s.Name == name }) {
			c.differ("%s: there is no service %s in %s", c.at(d.Pos), name, shown(filepath.Dir(c.pkg.Files[0].Path)))
		}
	}
}

func (c *comparison) method(s generator.Service, m generator.Method, d *app.Service) {
	mode := d.Modes[m.Name]
	switch {
	case len(d.Methods) > 0 && !slices.Contains(d.Methods, m.Name):
		c.differ("%s: nobody can call method %s of service %s: the methods that %s lists are others", lineOf(m.Pos), m.Name, s.Name, c.at(d.Pos))
	case mode == m.Mode:
	case mode == "":
		c.differ("%s: method %s of service %s is //weft:%s, and runs as %s, since %s says nothing else: say `methods: {%s: %s, …}`",
			lineOf(m.Pos), m.Name, s.Name, m.Mode, app.ModeExclusive, c.at(d.MethodPos(m.Name)), m.Name, m.Mode)
	case m.Mode == "":
		c.differ("%s: method %s of service %s is %s in %s, and has no line //weft:%s", lineOf(m.Pos), m.Name, s.Name, mode, c.at(d.MethodPos(m.Name)), mode)
	default:
		c.differ("%s: method %s of service %s is //weft:%s, and %s in %s", lineOf(m.Pos), m.Name, s.Name, m.Mode, mode, c.at(d.MethodPos(m.Name)))
	}
}

// calls compares what the services call with who may call them, and whether they have keys.
func (c *comparison) calls() {
	for _, call := range c.pkg.Calls {
		d := c.declared(call.To)
		if d == nil {
			continue
		}
		switch {
		case d.Keyed && call.Key == generator.KeyNone:
			c.differ("%s: service %s is called without a key, and is keyed in %s", lineOf(call.Pos), call.To, c.at(d.Pos))
		case !d.Keyed && call.Key == generator.KeySome:
			c.differ("%s: service %s is called with a key, and is not keyed in %s", lineOf(call.Pos), call.To, c.at(d.Pos))
		}
		if d.Callers != nil && !d.Callers.Services.Has(call.From) {
			c.differ("%s: service %s calls %s, whose callers in %s do not have it", lineOf(call.Pos), call.From, call.To, c.at(d.Pos))
		}
	}
}
