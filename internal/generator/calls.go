package generator

import (
	"cmp"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// Service is a service as others see it.
type Service struct {
	Name    string // outside of Go
	Pos     token.Position
	Methods []Method
}

// Method is a method of a service.
type Method struct {
	Name string // outside of Go
	Mode string // shared, snapshot, or "" for one that writes
	Pos  token.Position
}

// Call is a place where methods of a service, or functions that they use, name an object of one
// in the package.
type Call struct {
	Pos      token.Position
	From, To string // services
	Key      Key    // whether the object has a name
}

// Key says whether an object has a name.
type Key uint8

// KeyAny is where it is that of the caller's own object, KeyNone where it is empty, and KeySome where there is one, or
// is taken from a variable.
const (
	KeyAny Key = iota
	KeyNone
	KeySome
)

// described are the services of the package.
func (g *generation) described() []Service {
	var all []Service
	for _, s := range g.services {
		d := Service{Name: s.name, Pos: g.pkg.Fset.Position(s.typ.Pos())}
		for _, m := range s.methods {
			d.Methods = append(d.Methods, Method{m.name, m.mode, g.pkg.Fset.Position(m.at)})
		}
		all = append(all, d)
	}
	return all
}

// calls finds what the services of the package call in it, in the order of the places.
func (p *program) calls() []Call {
	var all []Call
	for _, s := range p.services {
		var r *reach
		r = p.reach(func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if to := p.called(r.callee(call.Fun)); to != nil {
					all = append(all, Call{p.pkg.Fset.Position(call.Pos()), s.name, to.name, p.key(call.Args[0])})
				}
			}
			return true
		})
		for _, m := range s.methods {
			r.method(s, m.fn)
		}
		r.all()
	}
	slices.SortStableFunc(all, func(a, b Call) int {
		return cmp.Or(strings.Compare(a.Pos.Filename, b.Pos.Filename), a.Pos.Offset-b.Pos.Offset, strings.Compare(a.From, b.From))
	})
	return all
}

// called is the service that a generated function names an object of, nil if it is another
// function.
func (p *program) called(fn *types.Func) *spec {
	if fn == nil || fn.Pkg() != p.types || receiver(fn) != nil {
		return nil
	}
	i := slices.IndexFunc(p.services, func(s *spec) bool { return s.typ.Name()+"At" == fn.Name() })
	if i < 0 {
		return nil
	}
	return p.services[i]
}

// key looks at the name of an object.
func (p *program) key(x ast.Expr) Key {
	v := p.info.Types[x].Value
	call, isCall := ast.Unparen(x).(*ast.CallExpr)
	switch {
	case v != nil && v.Kind() == constant.String && constant.StringVal(v) == "":
		return KeyNone
	case isCall && v == nil:
		if fn := p.callee(call.Fun); fn != nil && fromSDK(fn) && fn.Name() == "Object" {
			return KeyAny // the caller may have no key itself
		}
	}
	return KeySome
}
