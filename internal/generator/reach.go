package generator

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// program is what can be looked at: the package with the services, and those of its module that
// it imports, directly or through each other. What other modules and the standard library do
// is known by name only: world.go.
type program struct {
	*generation
	own    map[*types.Package]bool
	files  []*ast.File
	decls  map[types.Object]*ast.FuncDecl
	values map[types.Object]ast.Expr // that constants and variables begin with
}

// program puts the packages together.
func (g *generation) program() *program {
	p := &program{generation: g, own: map[*types.Package]bool{g.types: true}, files: slices.Clone(g.files),
		decls: map[types.Object]*ast.FuncDecl{}, values: map[types.Object]ast.Expr{}}
	for _, h := range g.module {
		p.own[h.Types] = true
		p.files = append(p.files, h.Syntax...)
	}
	for _, f := range p.files {
		for _, d := range f.Decls {
			switch decl := d.(type) {
			case *ast.FuncDecl:
				p.decls[g.info.Defs[decl.Name]] = decl
			case *ast.GenDecl:
				for _, s := range decl.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) > 0 {
						for i, name := range v.Names {
							p.values[g.info.Defs[name]] = v.Values[min(i, len(v.Values)-1)]
						}
					}
				}
			}
		}
	}
	return p
}

// step is a function, or a variable with what it begins with, that a method uses, and how it
// comes to it.
type step struct {
	name string
	from *step // nil: a method of a service
}

func (s *step) String() string { return s.name }

// path is how a method comes to a step, "" for the method itself.
func (s *step) path() string {
	if s == nil || s.from == nil {
		return ""
	}
	names := []string{}
	for ; s != nil; s = s.from {
		names = append(names, s.name)
	}
	slices.Reverse(names)
	return " (" + strings.Join(names, " > ") + ")"
}

// reach finds the functions that methods come to. A call of an interface's method may mean that of
// any type whose values the functions have that were found (rapid type analysis: Bacon and Sweeney, OOPSLA 1996).
type reach struct {
	*program
	look    func(ast.Node) bool // at each node, before it is followed; false leaves it out
	at      *step
	queue   []*body
	seen    map[types.Object]bool
	met     map[types.Type]bool
	alive   []*types.Named // types that there are values of
	virtual []*virtual     // methods of interfaces that are called
}

// body is a function that is reached.
type body struct {
	decl *ast.FuncDecl
	at   *step
}

// virtual is a method of an interface that is called.
type virtual struct {
	fn *types.Func
	of *types.Interface
	at *step
}

func (p *program) reach(look func(ast.Node) bool) *reach {
	return &reach{program: p, look: look, seen: map[types.Object]bool{}, met: map[types.Type]bool{}}
}

// method begins with a method of a service.
func (r *reach) method(s *spec, fn *types.Func) {
	r.at = nil
	t := r.types.Scope().Lookup(s.typ.Name()).Type()
	r.dynamic(t, fn.Name())
	r.at = &step{name: s.typ.Name() + "." + fn.Name()}
	for f := range t.Underlying().(*types.Struct).Fields() {
		r.live(f.Type())
	}
	if o, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), true, r.types, fn.Name()); o != nil {
		r.live(o.Type())
	}
}

// all goes through what is reached.
func (r *reach) all() {
	for len(r.queue) > 0 {
		next := r.queue[0]
		r.queue = r.queue[1:]
		r.at = next.at
		if next.decl.Body == nil {
			r.refuse(next.decl.Pos(), "%s has no body in Go, so nobody can see what it does%s", r.at, r.at.path())
			continue
		}
		r.visit(next.decl.Body)
	}
	r.at = nil
}

func (r *reach) visit(n ast.Node) { ast.Inspect(n, r.node) }

func (r *reach) node(n ast.Node) bool {
	if n == nil || !r.look(n) {
		return false
	}
	if x, ok := n.(ast.Expr); ok {
		if t, ok := r.info.Types[x]; ok && !t.IsType() {
			r.live(t.Type)
		}
	}
	switch n := n.(type) {
	case *ast.Ident:
		if o := r.info.Uses[n]; o != nil {
			r.object(o)
		}
	case *ast.CallExpr:
		r.given(n)
	}
	return true
}

// object takes what a name stands for into the queue.
func (r *reach) object(o types.Object) {
	fn, ok := o.(*types.Func)
	if !ok {
		r.begins(o)
		return
	}
	if recv := fn.Signature().Recv(); recv != nil {
		if of, ok := recv.Type().Underlying().(*types.Interface); ok {
			r.means(fn, of)
			return
		}
	}
	fn = fn.Origin()
	if decl := r.decls[fn]; decl != nil && !r.seen[fn] {
		r.seen[fn] = true
		r.queue = append(r.queue, &body{decl, &step{r.label(fn), r.at}})
	}
}

// label is the name of a function in messages.
func (p *program) label(fn *types.Func) string {
	name := fn.Name()
	if t := receiver(fn); t != nil {
		name = t.Name() + "." + name
	}
	if fn.Pkg() != p.types {
		name = fn.Pkg().Name() + "." + name
	}
	return name
}

// begins looks at what a variable begins with.
func (r *reach) begins(o types.Object) {
	if value := r.values[o]; value != nil && !r.seen[o] {
		r.seen[o] = true
		at := r.at
		r.at = &step{"the variable " + o.Name(), at}
		r.visit(value)
		r.at = at
	}
}

// means takes the methods into the queue that a method of an interface may stand for, of
// types that are there and of those that will be found.
func (r *reach) means(fn *types.Func, of *types.Interface) {
	if r.seen[fn] {
		return
	}
	r.seen[fn] = true
	v := &virtual{fn, of, r.at}
	r.virtual = append(r.virtual, v)
	for _, n := range r.alive {
		r.stands(n, v)
	}
}

func (r *reach) stands(n *types.Named, v *virtual) {
	if n.TypeParams().Len() == 0 && !types.Implements(types.NewPointer(n), v.of) {
		return
	}
	at := r.at
	r.at = v.at
	r.dynamic(n, v.fn.Name())
	r.at = at
}

// dynamic takes the method of a type that has a name into the queue.
func (r *reach) dynamic(t types.Type, name string) {
	pkg := r.types
	if n, ok := types.Unalias(t).(*types.Named); ok {
		pkg = n.Obj().Pkg()
	}
	o, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), true, pkg, name)
	if fn, ok := o.(*types.Func); ok {
		r.object(fn)
	}
}

// unasked are methods that the standard library calls on any value that it is given.
var unasked = []string{"String", "GoString", "Format", "Error", "Is", "As", "Unwrap", "IsZero", "LogValue",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "AppendText"}

// live notes that there are values of a type.
func (r *reach) live(t types.Type) {
	if t == nil || r.met[t] {
		return
	}
	r.met[t] = true
	switch t := types.Unalias(t).(type) {
	case *types.Pointer:
		r.live(t.Elem())
	case *types.Slice:
		r.live(t.Elem())
	case *types.Array:
		r.live(t.Elem())
	case *types.Map:
		r.live(t.Key())
		r.live(t.Elem())
	case *types.Tuple:
		for v := range t.Variables() {
			r.live(v.Type())
		}
	case *types.Signature:
		r.live(t.Params())
		r.live(t.Results())
	case *types.Struct:
		for f := range t.Fields() {
			r.live(f.Type())
		}
	case *types.Named:
		for a := range t.TypeArgs().Types() {
			r.live(a)
		}
		if !r.own[t.Obj().Pkg()] {
			return
		}
		if s, ok := t.Underlying().(*types.Struct); ok {
			r.live(s)
		}
		if slices.Contains(r.alive, t) {
			return
		}
		r.alive = append(r.alive, t)
		for _, v := range r.virtual {
			r.stands(t, v)
		}
		if types.IsInterface(t) {
			return
		}
		for _, name := range unasked {
			r.dynamic(t, name)
		}
	}
}

// given takes in the methods that another module's function may call on what it is given.
func (r *reach) given(call *ast.CallExpr) {
	fn := r.callee(call.Fun)
	if fn == nil || fn.Pkg() == nil || r.own[fn.Pkg()] || fromSDK(fn) {
		return
	}
	for p := range fn.Signature().Params().Variables() {
		t := p.Type()
		if s, ok := t.(*types.Slice); ok {
			t = s.Elem()
		}
		if of, ok := t.Underlying().(*types.Interface); ok {
			for m := range of.Methods() {
				r.means(m, of)
			}
		}
	}
}

// callee is the function that an expression names.
func (p *program) callee(x ast.Expr) *types.Func {
	switch x := ast.Unparen(x).(type) {
	case *ast.Ident:
		fn, _ := p.info.Uses[x].(*types.Func)
		return fn
	case *ast.SelectorExpr:
		fn, _ := p.info.Uses[x.Sel].(*types.Func)
		return fn
	case *ast.IndexExpr:
		return p.callee(x.X)
	case *ast.IndexListExpr:
		return p.callee(x.X)
	}
	return nil
}

// against refuses something with the path to it.
func (r *reach) against(at token.Pos, format string, args ...any) {
	r.refuse(at, format+"%s", append(args, r.at.path())...)
}
