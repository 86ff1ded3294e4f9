package generator

import (
	"cmp"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// spec is a service.
type spec struct {
	name    string // outside of Go
	typ     *types.TypeName
	fields  []string
	methods []*method
	state   int         // the version of its state; 0: it has none
	migrate *types.Func // with a version
}

// method is a method of a service.
type method struct {
	name   string // outside of Go
	fn     *types.Func
	params []*types.Var // without the context
	result types.Type   // nil: none
	fails  bool         // it returns an error
	mode   string       // shared, snapshot, or "" for a method that writes
	at     token.Pos    // of the directive, or of the name
}

// directive marks a struct as a service, and may give it another name.
const directive = "//weft:service"

// find reads the services of the package.
func (g *generation) find() {
	for _, f := range g.files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, s := range decl.Specs {
				g.typeSpec(decl, s.(*ast.TypeSpec))
			}
		}
	}
	slices.SortFunc(g.services, func(a, b *spec) int { return cmp.Compare(a.name, b.name) })
	for i, s := range g.services {
		if i > 0 && g.services[i-1].name == s.name {
			g.refuse(s.typ.Pos(), "two services are called %s", s.name)
		}
		for _, suffix := range []string{"At", "Client"} {
			g.reserved(s.typ.Name() + suffix)
		}
	}
	if len(g.services) > 0 {
		g.reserved("Services")
	}
}

// reserved refuses a name that is generated.
func (g *generation) reserved(name string) {
	if o := g.types.Scope().Lookup(name); o != nil {
		g.refuse(o.Pos(), "%s is the name of something that is generated: choose another one", name)
	}
}

// marked looks for the directive.
func marked(docs ...*ast.CommentGroup) (name string, found bool) {
	for _, d := range docs {
		if d == nil {
			continue
		}
		for _, c := range d.List {
			if rest, ok := strings.CutPrefix(c.Text, directive); ok && (rest == "" || rest[0] == ' ') {
				return strings.TrimSpace(rest), true
			}
		}
	}
	return "", false
}

// typeSpec takes a type that is a service in.
func (g *generation) typeSpec(decl *ast.GenDecl, ts *ast.TypeSpec) {
	if ts.Assign.IsValid() {
		return // another name of a type
	}
	name, found := marked(decl.Doc, ts.Doc)
	obj, _ := g.info.Defs[ts.Name].(*types.TypeName)
	if obj == nil {
		return
	}
	fields, isStruct := obj.Type().Underlying().(*types.Struct)
	if isStruct && !found {
		for f := range fields.Fields() {
			found = found || persistent(f.Type()) != nil
		}
	}
	switch {
	case !found:
		return
	case !isStruct:
		g.refuse(ts.Pos(), "service %s: a service is a struct, whose fields are its state", obj.Name())
		return
	case ts.TypeParams != nil:
		g.refuse(ts.Pos(), "service %s has type parameters: others could not say which one they call", obj.Name())
		return
	case !obj.Exported():
		g.refuse(ts.Pos(), "service %s: a service begins with a capital letter", obj.Name())
		return
	}
	s := &spec{name: cmp.Or(name, kebab(obj.Name())), typ: obj}
	if !serviceName.MatchString(s.name) {
		g.refuse(ts.Pos(), "service %s: its name in app files would be %q, which has to be a-z, 0-9, - and _, at most 63: choose another one with //weft:service NAME", obj.Name(), s.name)
	}
	for f := range fields.Fields() {
		named := persistent(f.Type())
		switch {
		case f.Embedded():
			g.refuse(f.Pos(), "service %s embeds %s: give the field a name", obj.Name(), f.Name())
		case named == nil:
			g.refuse(f.Pos(), "field %s of service %s is not persistent, so it would be empty in each call: make it a service.Value, service.Map or service.List", f.Name(), obj.Name())
		case f.Name() == "_":
			g.refuse(f.Pos(), "service %s: a field needs a name", obj.Name())
		default:
			s.fields = append(s.fields, f.Name())
			for t := range named.TypeArgs().Types() {
				g.supported(f.Pos(), "field "+f.Name(), t)
			}
		}
	}
	g.services = append(g.services, s)
	g.state(s, ts.Pos(), decl.Doc, ts.Doc)
	g.methods(s)
	if s.state > 0 && s.migrate == nil {
		g.refuse(ts.Pos(), "service %s has state of version %d, and no method func (x *%s) Migrate(ctx *service.Context, from int) error that makes it of an earlier one", obj.Name(), s.state, obj.Name())
	}
}

// persistent is the type of a field that is state, or nil.
func persistent(t types.Type) *types.Named {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || !fromSDK(named.Obj()) || !persistentName(named.Obj().Name()) {
		return nil
	}
	return named
}

func persistentName(name string) bool { return slices.Contains([]string{"Value", "Map", "List"}, name) }

func fromSDK(o types.Object) bool { return o.Pkg() != nil && o.Pkg().Path() == sdk }

// methods takes the exported methods of a service in.
func (g *generation) methods(s *spec) {
	for _, f := range g.files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok || decl.Recv == nil || !decl.Name.IsExported() {
				continue
			}
			fn, ok := g.info.Defs[decl.Name].(*types.Func)
			if !ok || receiver(fn) != s.typ {
				continue
			}
			mode, at := g.modeOf(decl)
			g.method(s, fn, mode, at)
		}
	}
	slices.SortFunc(s.methods, func(a, b *method) int { return cmp.Or(cmp.Compare(a.name, b.name), int(a.fn.Pos()-b.fn.Pos())) })
	for i := 1; i < len(s.methods); i++ {
		if one, other := s.methods[i-1], s.methods[i]; one.name == other.name {
			g.refuse(other.fn.Pos(), "method %s.%s: outside of Go it is called %s, as %s is: choose another name", s.typ.Name(), other.fn.Name(), one.name, one.fn.Name())
		}
	}
}

// receiver is the type that a method is of, nil for a function.
func receiver(fn *types.Func) *types.TypeName {
	r := fn.Signature().Recv()
	if r == nil {
		return nil
	}
	t := r.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := types.Unalias(t).(*types.Named); ok {
		return n.Obj()
	}
	return nil
}

func (g *generation) method(s *spec, fn *types.Func, mode string, at token.Pos) {
	if s.state > 0 && fn.Name() == "Migrate" {
		g.migration(s, fn)
		return
	}
	sig, label := fn.Signature(), s.typ.Name()+"."+fn.Name()
	m := &method{name: small(fn.Name()), fn: fn, mode: mode, at: at}
	params := slices.Collect(sig.Params().Variables())
	if len(params) == 0 || !isContext(params[0].Type()) {
		g.refuse(fn.Pos(), "method %s: an exported method of a service can be called by others, and has a *service.Context first: add it, or begin with a small letter", label)
		return
	}
	if sig.Variadic() {
		g.refuse(fn.Pos(), "method %s: the number of arguments is fixed: take a slice", label)
		return
	}
	m.params = params[1:]
	for i, p := range m.params {
		what := p.Name()
		if what == "" {
			what = string(rune('1' + i))
		}
		g.supported(p.Pos(), label+": argument "+what, p.Type())
	}
	results := slices.Collect(sig.Results().Variables())
	if n := len(results); n > 0 && types.Identical(results[n-1].Type(), types.Universe.Lookup("error").Type()) {
		m.fails, results = true, results[:n-1]
	}
	if len(results) > 1 {
		g.refuse(fn.Pos(), "method %s: a method returns one value, an error, or both: make a struct of the values", label)
		return
	}
	if len(results) == 1 {
		m.result = results[0].Type()
		g.supported(results[0].Pos(), label+": the result", m.result)
	}
	s.methods = append(s.methods, m)
}

func isContext(t types.Type) bool {
	p, ok := types.Unalias(t).(*types.Pointer)
	if !ok {
		return false
	}
	n, ok := types.Unalias(p.Elem()).(*types.Named)
	return ok && fromSDK(n.Obj()) && n.Obj().Name() == "Context"
}

// small is the name of a method outside of Go: add, moveAll, urlOf.
func small(name string) string {
	runes := []rune(name)
	for i := range runes {
		if i > 0 && (i+1 < len(runes) && unicode.IsLower(runes[i+1]) || !unicode.IsUpper(runes[i])) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return string(runes)
}

// kebab is the name of a service outside of Go, as app files have them: account,
// url-shortener.
func kebab(name string) string {
	runes := []rune(name)
	var out []rune
	for i, r := range runes {
		word := i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if word {
			out = append(out, '-')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}

// serviceName is what app files take as the name of a service.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
