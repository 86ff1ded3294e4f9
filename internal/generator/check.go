package generator

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// check refuses what methods, and the functions of the module that they use, may not
// do. What is given to service.Run may.
func (p *program) check() {
	w := &walk{told: map[token.Pos]bool{}, sorted: map[*ast.Ident]bool{}, uses: map[types.Object]*use{}, tables: p.tables()}
	w.reach = p.reach(w.node)
	for _, s := range p.services {
		for _, m := range s.methods {
			w.method(s, m.fn)
		}
		if s.migrate != nil {
			w.method(s, s.migrate)
		}
	}
	w.all()
	w.assigned()
	p.readers()
}

// walk looks at what methods reach.
type walk struct {
	*reach
	sorted map[*ast.Ident]bool   // names of functions that go through maps whose order does not matter
	told   map[token.Pos]bool    // variables that something was said about
	tables map[types.Object]bool // variables that are only looked at
	uses   map[types.Object]*use // of variables, the first one of each
}

// use is a use of a variable.
type use struct {
	pos token.Pos
	at  *step
}

// node looks at a part of a function.
func (w *walk) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		w.against(n.Pos(), "%s starts a goroutine: its steps would come in another order when the method is run again; use service.Go for calls", w.at)
		return false
	case *ast.SelectStmt:
		w.against(n.Pos(), "%s has a select statement: use service.Any", w.at)
		return false
	case *ast.SendStmt:
		w.channel(n.Pos())
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			w.channel(n.Pos())
		}
	case *ast.ChanType:
		w.channel(n.Pos())
	case *ast.RangeStmt:
		w.loop(n)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, x := range n.Lhs {
				w.overwrites(x)
			}
		}
	case *ast.BasicLit:
		if n.Kind == token.STRING && strings.Contains(n.Value, "%p") {
			w.against(n.Pos(), "%s prints an address, which is another one each time", w.at)
		}
	case *ast.CallExpr:
		return w.call(n)
	case *ast.Ident:
		w.ident(n)
	}
	w.writes(n, w.changes)
	return true
}

func (w *walk) channel(at token.Pos) {
	w.against(at, "%s uses a channel: a method has one goroutine; use service.Go and futures", w.at)
}

// loop refuses what goes through a map, whose order is another one each time.
func (w *walk) loop(n *ast.RangeStmt) {
	t := w.info.TypeOf(n.X)
	if t == nil {
		return
	}
	for _, u := range underlying(t) {
		switch u.(type) {
		case *types.Chan:
			w.channel(n.Pos())
		case *types.Map:
			if n.Key != nil {
				w.against(n.X.Pos(), "%s goes through a Go map, in another order each time: range over slices.Sorted(maps.Keys(m))", w.at)
			}
		}
	}
}

// underlying is what a type consists of; a type parameter may be one of several.
func underlying(t types.Type) []types.Type {
	param, ok := types.Unalias(t).(*types.TypeParam)
	if !ok {
		return []types.Type{t.Underlying()}
	}
	var all []types.Type
	for e := range param.Underlying().(*types.Interface).EmbeddedTypes() {
		if u, ok := e.(*types.Union); ok {
			for term := range u.Terms() {
				all = append(all, term.Type().Underlying())
			}
		} else {
			all = append(all, e.Underlying())
		}
	}
	return all
}

// unordered are the functions of package maps that go through a map.
var unordered = []string{"Keys", "Values", "All"}

// call looks at a call; what is given to service.Run is left out.
func (w *walk) call(n *ast.CallExpr) bool {
	fn := w.callee(n.Fun)
	switch {
	case fn == nil:
	case fromSDK(fn) && fn.Name() == "Run" && len(n.Args) == 3:
		w.visit(n.Fun)
		w.visit(n.Args[0])
		w.visit(n.Args[1])
		w.effect(n.Args[2])
		return false
	case path(fn) == "maps" && (fn.Name() == "DeleteFunc" || fn.Name() == "EqualFunc"):
		for _, a := range n.Args {
			if w.asked(a) {
				w.against(a.Pos(), "%s uses the service for each entry of a Go map, in another order each time: range over slices.Sorted(maps.Keys(m))", w.at)
			}
		}
	case path(fn) == "slices" && fn.Name() == "Sorted", path(fn) == "maps" && (fn.Name() == "Collect" || fn.Name() == "Insert"):
		for _, a := range n.Args {
			if inner, ok := ast.Unparen(a).(*ast.CallExpr); ok {
				ast.Inspect(inner.Fun, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok {
						w.sorted[id] = true
					}
					return true
				})
			}
		}
	}
	return true
}

// asked reports whether an expression uses the SDK.
func (p *program) asked(x ast.Expr) (found bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if fn, ok := p.info.Uses[id].(*types.Func); ok && fromSDK(fn) {
				found = true
			}
		}
		return true
	})
	return found
}

// effect refuses a side effect that leaves something in variables of the method: where its
// result is recorded it is not done again.
func (w *walk) effect(x ast.Expr) {
	lit, ok := ast.Unparen(x).(*ast.FuncLit)
	if !ok {
		return
	}
	leaves := func(x ast.Expr) {
		id := root(x)
		if id == nil {
			return
		}
		if v, ok := w.info.Uses[id].(*types.Var); ok && !isGlobal(v) && (v.Pos() < lit.Pos() || v.Pos() >= lit.End()) {
			w.against(x.Pos(), "a side effect of %s changes the variable %s: when the method is run again the effect is not, and the variable is as it was before; return the value from the effect", w.at, v.Name())
		}
	}
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt, *ast.IncDecStmt, *ast.RangeStmt:
			w.writes(n, leaves)
		}
		return true
	})
}

// root is the variable that an expression is a part of, nil if it is none.
func root(x ast.Expr) *ast.Ident {
	switch x := ast.Unparen(x).(type) {
	case *ast.Ident:
		return x
	case *ast.SelectorExpr:
		return root(x.X)
	case *ast.IndexExpr:
		return root(x.X)
	case *ast.StarExpr:
		return root(x.X)
	}
	return nil
}

func path(o types.Object) string {
	if o.Pkg() == nil {
		return ""
	}
	return o.Pkg().Path()
}

// writes calls written for each expression that a node writes, or whose address it takes.
func (p *program) writes(n ast.Node, written func(ast.Expr)) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, x := range n.Lhs {
				written(x)
			}
		}
	case *ast.IncDecStmt:
		written(n.X)
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			written(n.Key)
			written(n.Value)
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			written(n.X)
		}
	case *ast.SelectorExpr:
		if s := p.info.Selections[n]; s != nil && s.Kind() == types.MethodVal && pointer(s.Obj().(*types.Func).Signature().Recv().Type()) && !pointer(s.Recv()) {
			written(n.X) // the method gets its address
		}
	}
}

// variable is the variable of a package that an expression is a part of, nil if it is
// none.
func (p *program) variable(x ast.Expr) (*ast.Ident, types.Object) {
	switch x := ast.Unparen(x).(type) {
	case *ast.Ident:
		if o := p.info.Uses[x]; isGlobal(o) {
			return x, o
		}
	case *ast.SelectorExpr:
		if o := p.info.Uses[x.Sel]; isGlobal(o) {
			return x.Sel, o
		}
		return p.variable(x.X)
	case *ast.IndexExpr:
		return p.variable(x.X)
	case *ast.SliceExpr:
		return p.variable(x.X)
	case *ast.StarExpr:
		return p.variable(x.X)
	}
	return nil, nil
}

// changes refuses an expression that is written if it is a part of a variable of a package.
func (w *walk) changes(x ast.Expr) {
	id, o := w.variable(x)
	if o == nil || w.told[id.Pos()] {
		return
	}
	w.told[id.Pos()] = true
	w.against(id.Pos(), "%s changes the variable %s of a package: it would be another one in each instance; keep it in a field of the service", w.at, o.Name())
}

// overwrites refuses assignments to what holds the state of an object.
func (w *walk) overwrites(x ast.Expr) {
	t := w.info.TypeOf(x)
	if t == nil {
		return
	}
	if n, ok := types.Unalias(t).(*types.Named); ok && (persistent(n) != nil || slices.ContainsFunc(w.services, func(s *spec) bool { return s.typ.Name() == n.Obj().Name() && n.Obj().Pkg() == w.types })) {
		w.against(x.Pos(), "%s overwrites a %s, which stands for state and is none: use its methods", w.at, n.Obj().Name())
	}
}

func pointer(t types.Type) bool {
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

func isGlobal(o types.Object) bool {
	v, ok := o.(*types.Var)
	return ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope()
}

// used looks at the use of a variable of the module.
func (w *walk) used(at ast.Node, o types.Object) {
	switch {
	case !isGlobal(o) || w.told[at.Pos()] || w.tables[o]:
	case mutable(o.Type()):
		w.against(at.Pos(), "%s uses the variable %s of a package, whose type %s can be changed: make it a constant, a function that returns it, or a field of the service",
			w.at, o.Name(), types.TypeString(o.Type(), types.RelativeTo(w.types)))
	case w.uses[o] == nil:
		w.uses[o] = &use{at.Pos(), w.at}
	}
}

// assigned refuses variables that methods use, and that functions which they do not reach
// change: init, say.
func (w *walk) assigned() {
	for _, f := range w.files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || w.seen[w.info.Defs[fn.Name]] {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				w.writes(n, func(x ast.Expr) {
					id, o := w.variable(x)
					u := w.uses[o]
					if o == nil || u == nil {
						return
					}
					w.at = u.at
					w.against(u.pos, "%s uses the variable %s, which %s changes: it may be another one in each instance; keep it in a field of the service", w.at, o.Name(), w.place(fn, id))
					delete(w.uses, o)
				})
				return true
			})
		}
	}
}

// place names a function and a line in it.
func (p *program) place(fn *ast.FuncDecl, at ast.Node) string {
	name := fn.Name.Name
	if o, ok := p.info.Defs[fn.Name].(*types.Func); ok {
		name = p.label(o)
	}
	pos := p.pkg.Fset.Position(at.Pos())
	return fmt.Sprintf("%s (%s:%d)", name, filepath.Base(pos.Filename), pos.Line)
}

// mutable reports whether what a variable refers to can be changed by who has its
// value. Errors, logs and others that are made once are not.
func mutable(t types.Type) bool {
	if types.Identical(t, types.Universe.Lookup("error").Type()) {
		return false
	}
	name := types.TypeString(t, nil)
	if slices.Contains([]string{"embed.FS", "*regexp.Regexp", "*strings.Replacer", "*log.Logger", "*log/slog.Logger", "*time.Location", "*text/template.Template", "*html/template.Template"}, name) || strings.HasPrefix(name, "net/netip.") {
		return false
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return false
	case *types.Array:
		return mutable(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if path(f) != "time" && mutable(f.Type()) {
				return true
			}
		}
		return false
	}
	return true
}

// ident looks at a name that is used.
func (w *walk) ident(n *ast.Ident) {
	o := w.info.Uses[n]
	switch {
	case o == nil || o.Pkg() == nil:
	case w.own[o.Pkg()]:
		w.used(n, o)
	case path(o) == "maps" && slices.Contains(unordered, o.Name()):
		if !w.sorted[n] {
			w.against(n.Pos(), "%s goes through a Go map, in another order each time: put slices.Sorted around it", w.at)
		}
	default:
		if why := world(o); why != "" {
			name := o.Name()
			if fn, ok := o.(*types.Func); ok && receiver(fn) != nil {
				name = receiver(fn).Name() + "." + name
			}
			w.against(n.Pos(), "%s uses %s.%s: %s", w.at, o.Pkg().Name(), name, why)
		}
	}
}
