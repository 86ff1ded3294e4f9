package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// modulePath is the import path of the root package.
const modulePath = "github.com/weft-run/weft"

// tree is the parsed source of a module.
type tree struct {
	fset  *token.FileSet
	files []*file
}

// file is one Go file of the tree.
type file struct {
	path  string // relative to the module, with slashes
	dir   string // the folder of path, "." for the root package
	test  bool   // its name ends in _test.go
	ast   *ast.File
	lines int
}

// load parses every Go file below fsys that belongs to the module. Folders of test data, hidden folders and folders
// that hold a module of their own are left out.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			base := path.Base(name)
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil && name != "." {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		t.files = append(t.files, &file{
			path:  name,
			dir:   path.Dir(name),
			test:  strings.HasSuffix(name, "_test.go"),
			ast:   parsed,
			lines: t.fset.File(parsed.FileStart).LineCount(),
		})
		return nil
	})
	return t, err
}

// complaint builds the message for an offence at pos: where, what, why.
func (t *tree) complaint(pos token.Pos, format string, args ...any) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// below reports whether f lies in the folder dir or under it.
func (f *file) below(dir string) bool {
	return f.dir == dir || strings.HasPrefix(f.dir, dir+"/")
}

// imports returns the import paths of f with the local name of each.
func (f *file) imports() map[string]*ast.ImportSpec {
	m := map[string]*ast.ImportSpec{}
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			m[p] = spec
		}
	}
	return m
}

// localName is the name that f uses for the package at importPath, "" when it does not import it.
func (f *file) localName(importPath string) string {
	spec, ok := f.imports()[importPath]
	switch {
	case !ok:
		return ""
	case spec.Name != nil:
		return spec.Name.Name
	default:
		return path.Base(importPath)
	}
}
