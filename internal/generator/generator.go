// Package generator reads the Go package that specifies services, and writes what they need
// besides: clients, what calls their methods, and a program. It refuses what
// cannot be made correct, with position and reason.
//
//	made, err := generator.Generate(ctx, "./bank")
//	var problems generator.Problems
//	if errors.As(err, &problems) { … }
//
// The package is type-checked twice. The first time without what is generated: what
// refers to that has no type yet, but the signatures of methods have. Then once more
// with it, so that what is wrong in the end is an error of the compiler's.
//
//	spec.go     what is a service, with which fields and methods
//	types.go    which types can be kept and sent
//	reach.go    which functions of the module a method comes to
//	check.go    what they may not do
//	world.go    what they may not use of other modules
//	reading.go  what methods that only read may not do
//	calls.go    which services call which
//	render.go   what is written
package generator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// Output is the name of the generated file in the folder of the package, and Program that of
// the folder with its program, where the package is not main itself.
const (
	Output  = "weft_gen.go"
	Program = "instance"
)

// sdk is the package that specifications import.
const sdk = "github.com/weft-run/weft/service"

// File is a generated file.
type File struct {
	Path string
	Text []byte
}

// Package is what was read and made of a package.
type Package struct {
	Files    []File
	Program  string // the folder of the program of an instance
	Services []Service
	Calls    []Call
}

// Problem is something that is wrong in a specification.
type Problem struct {
	Pos  token.Position
	Text string
}

// Problems are what is wrong in a specification, in the order of their positions.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Text
		if one.Pos.IsValid() {
			lines[i] = one.Pos.String() + ": " + one.Text
		}
	}
	return strings.Join(lines, "\n")
}

// generation is the work on one package.
type generation struct {
	pkg      *packages.Package
	info     *types.Info
	types    *types.Package
	files    []*ast.File
	module   []*packages.Package // of the same module, that it imports
	varies   bool                // some files are not built here
	services []*spec
	problems Problems
}

// Generate reads the package in a folder, and returns what there is and the files that belong to it, which are not
// written. The error is of type Problems where the package is to blame.
func Generate(ctx context.Context, dir string) (*Package, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	g, files, err := read(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	p := g.program()
	if p.check(); g.wrong() != nil {
		return nil, g.wrong()
	}
	made := &Package{Files: files, Program: filepath.Dir(files[len(files)-1].Path), Services: g.described(), Calls: p.calls()}
	if !g.varies {
		return made, nil
	}
	// What does not compile there has native instances only.
	module, others, err := read(ctx, dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"))
	if err != nil {
		return made, nil
	}
	if module.program().check(); !slices.EqualFunc(files, others, func(a, b File) bool { return bytes.Equal(a.Text, b.Text) }) {
		module.refuse(token.NoPos, "package %s has other services where it is built for wasip1: files with build constraints specify them", g.pkg.Name)
	}
	for i := range module.problems {
		module.problems[i].Text += " (in the build for wasip1)"
	}
	return made, module.wrong()
}

// read reads the package and makes the files, without looking at what methods do. env is that
// of the go command, nil for that of this process.
func read(ctx context.Context, dir string, env []string) (*generation, []File, error) {
	g, err := load(ctx, dir, env)
	if err != nil {
		return nil, nil, err
	}
	g.find()
	if err := g.wrong(); err != nil {
		return nil, nil, err
	}
	if len(g.services) == 0 {
		return nil, nil, fmt.Errorf("generate: package %s has no services: a service is a struct with a field of type service.Value, service.Map or service.List, or with the line //weft:service", g.pkg.Name)
	}
	files, err := g.render(dir)
	if err != nil {
		return nil, nil, err
	}
	return g, files, g.again(files[0])
}

// load type-checks the package as if nothing had been generated.
func load(ctx context.Context, dir string, env []string) (*generation, error) {
	old := filepath.Join(dir, Output)
	bare := ""
	if text, err := os.ReadFile(old); err == nil {
		f, err := parser.ParseFile(token.NewFileSet(), old, text, parser.PackageClauseOnly)
		if err != nil {
			return nil, fmt.Errorf("generate: %w: remove the file", err)
		}
		bare = "package " + f.Name.Name + "\n"
	}
	config := packages.Config{Context: ctx, Dir: dir, Env: env,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedModule | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
		// With an overlay all that is imported would be read from its source.
		ParseFile: func(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
			if name == old {
				src = []byte(bare)
			}
			return parser.ParseFile(fset, name, src, parser.AllErrors|parser.ParseComments|parser.SkipObjectResolution)
		}}
	list, err := packages.Load(&config, ".")
	var path string
	if err == nil && len(list) == 1 {
		path = list[0].PkgPath
		if paths := ofModule(list[0]); len(paths) > 1 {
			list, err = packages.Load(&config, paths...)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("generate: read the package in %s: %w", dir, err)
	}
	at := slices.IndexFunc(list, func(p *packages.Package) bool { return p.PkgPath == path })
	if at < 0 {
		return nil, fmt.Errorf("generate: %s has %d packages, not one", dir, len(list))
	}
	p := list[at]
	list = slices.Delete(list, at, at+1)
	var wrong Problems
	for _, e := range p.Errors {
		compiler := strings.HasPrefix(e.Msg, "# ") // it misses what is generated
		if e.Kind == packages.ParseError || e.Kind == packages.ListError && !compiler {
			wrong = append(wrong, problem(e))
		}
	}
	varies := len(p.IgnoredFiles) > 0
	for _, h := range list {
		for _, e := range h.Errors {
			wrong = append(wrong, problem(e))
		}
		varies = varies || len(h.IgnoredFiles) > 0
	}
	if wrong != nil {
		return nil, wrong
	}
	g := &generation{pkg: p, info: p.TypesInfo, types: p.Types, module: list, varies: varies}
	for _, f := range p.Syntax {
		if p.Fset.Position(f.Package).Filename != old {
			g.files = append(g.files, f)
		}
	}
	return g, nil
}

// ofModule lists a package, and those of its module, or of another one of its workspace, that it
// imports, directly or through each other.
func ofModule(p *packages.Package) []string {
	var paths []string
	var find func(p *packages.Package)
	find = func(p *packages.Package) {
		if p.PkgPath == sdk || p.Module == nil || !p.Module.Main || slices.Contains(paths, p.PkgPath) {
			return
		}
		paths = append(paths, p.PkgPath)
		for _, path := range slices.Sorted(maps.Keys(p.Imports)) {
			find(p.Imports[path])
		}
	}
	find(p)
	return paths
}

// problem is an error of package packages, whose position is text.
func problem(e packages.Error) Problem {
	if e.Pos == "" || e.Pos == "-" {
		return Problem{Text: e.Msg}
	}
	return Problem{Text: e.Pos + ": " + e.Msg}
}

// again type-checks the package with what was generated.
func (g *generation) again(generated File) error {
	f, err := parser.ParseFile(g.pkg.Fset, generated.Path, generated.Text, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	known := map[string]*types.Package{}
	var learn func(p *types.Package)
	learn = func(p *types.Package) {
		if known[p.Path()] != nil {
			return
		}
		known[p.Path()] = p
		for _, i := range p.Imports() {
			learn(i)
		}
	}
	for _, p := range g.pkg.Imports {
		if p.Types != nil {
			learn(p.Types)
		}
	}
	g.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	config := types.Config{
		Importer: importer(known),
		Error: func(err error) {
			var e types.Error
			if errors.As(err, &e) {
				g.problems = append(g.problems, Problem{e.Fset.Position(e.Pos), e.Msg})
			}
		},
	}
	for _, h := range g.module {
		maps.Copy(g.info.Types, h.TypesInfo.Types)
		maps.Copy(g.info.Defs, h.TypesInfo.Defs)
		maps.Copy(g.info.Uses, h.TypesInfo.Uses)
		maps.Copy(g.info.Selections, h.TypesInfo.Selections)
	}
	g.types, _ = config.Check(g.pkg.PkgPath, g.pkg.Fset, append(slices.Clone(g.files), f), g.info)
	return g.wrong()
}

// importer finds packages that are loaded already.
type importer map[string]*types.Package

// Import implements types.Importer.
func (i importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := i[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("package %s is not there", path)
}

// refuse notes a problem.
func (g *generation) refuse(at token.Pos, format string, args ...any) {
	g.problems = append(g.problems, Problem{g.pkg.Fset.Position(at), fmt.Sprintf(format, args...)})
}

// wrong is what was refused so far.
func (g *generation) wrong() error {
	if len(g.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(g.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pos.Filename, b.Pos.Filename), a.Pos.Line-b.Pos.Line, a.Pos.Column-b.Pos.Column, strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(g.problems)
}
