package generator

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"
)

// stateDirective gives the state of a service a version.
const stateDirective = "//weft:state"

// state reads the version of the state of a service.
func (g *generation) state(s *spec, at token.Pos, docs ...*ast.CommentGroup) {
	for _, d := range docs {
		if d == nil {
			continue
		}
		for _, c := range d.List {
			rest, found := strings.CutPrefix(c.Text, stateDirective)
			if !found || rest != "" && rest[0] != ' ' {
				continue
			}
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil || n < 2 {
				g.refuse(at, "service %s: %s: write //weft:state N with N of 2 or more: what was stored before is version 1", s.typ.Name(), c.Text)
				return
			}
			s.state = n
		}
	}
}

// migration takes the method in that makes state of an earlier version what it is now.
func (g *generation) migration(s *spec, fn *types.Func) {
	sig := fn.Signature()
	p, r := sig.Params(), sig.Results()
	if p.Len() != 2 || !isContext(p.At(0).Type()) || !types.Identical(p.At(1).Type(), types.Typ[types.Int]) ||
		r.Len() != 1 || !types.Identical(r.At(0).Type(), types.Universe.Lookup("error").Type()) {
		g.refuse(fn.Pos(), "method %s.Migrate: with //weft:state it is Migrate(ctx *service.Context, from int) error", s.typ.Name())
	}
	s.migrate = fn
}
