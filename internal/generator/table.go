package generator

import (
	"go/ast"
	"go/types"
	"slices"
)

// readers are functions of the standard library that read lists which they are given, and do not keep them.
var readers = []string{"slices.BinarySearch", "slices.Clone", "slices.Compare", "slices.Contains", "slices.ContainsFunc", "slices.Equal", "slices.Index", "slices.IndexFunc",
	"slices.Max", "slices.Min", "strings.Join"}

// tables finds the lists and Go maps in variables of packages that nobody changes: what is not
// exported, is written down, has elements that cannot be changed, and is used for those and for its length, or by readers, nowhere else.
func (p *program) tables() map[types.Object]bool {
	reads := map[*ast.Ident]bool{}
	look := func(x ast.Expr) {
		if id, ok := ast.Unparen(x).(*ast.Ident); ok {
			reads[id] = true
		}
	}
	tables, others := map[types.Object]bool{}, map[types.Object]bool{}
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.IndexExpr:
				look(n.X)
			case *ast.RangeStmt:
				look(n.X)
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) == 1 {
					if b, ok := p.info.Uses[id].(*types.Builtin); ok && (b.Name() == "len" || b.Name() == "cap") {
						look(n.Args[0])
					}
				}
				if fn := p.callee(n.Fun); fn != nil && slices.Contains(readers, path(fn)+"."+fn.Name()) {
					for _, x := range n.Args {
						look(x)
					}
				}
			}
			return true
		})
		ast.Inspect(f, func(n ast.Node) bool {
			if n != nil {
				p.writes(n, func(x ast.Expr) {
					if _, o := p.variable(x); o != nil {
						others[o] = true
					}
				})
			}
			if id, ok := n.(*ast.Ident); ok {
				if o := p.info.Uses[id]; isGlobal(o) && p.own[o.Pkg()] {
					if tables[o] = true; !reads[id] || o.Exported() || !p.fixed(o) {
						others[o] = true
					}
				}
			}
			return true
		})
	}
	for o := range others {
		delete(tables, o)
	}
	return tables
}

// fixed reports whether a variable begins with a list or a table of its own, whose elements cannot be
// changed by who has them.
func (p *program) fixed(o types.Object) bool {
	if _, literal := ast.Unparen(p.values[o]).(*ast.CompositeLit); !literal {
		return false
	}
	switch u := o.Type().Underlying().(type) {
	case *types.Slice:
		return !mutable(u.Elem())
	case *types.Map:
		return !mutable(u.Elem())
	}
	return false
}
