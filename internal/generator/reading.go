package generator

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// The directives of methods that only read.
const (
	shared   = "shared"
	snapshot = "snapshot"
)

// modeOf reads the directive of a method, "" where it has none, and where it is.
func (g *generation) modeOf(decl *ast.FuncDecl) (mode string, at token.Pos) {
	if at = decl.Name.Pos(); decl.Doc == nil {
		return "", at
	}
	for _, c := range decl.Doc.List {
		word, found := strings.CutPrefix(c.Text, "//weft:")
		switch word = strings.TrimSpace(word); {
		case !found:
		case mode != "":
			g.refuse(c.Pos(), "method %s has two directives", decl.Name.Name)
		case word != shared && word != snapshot:
			g.refuse(c.Pos(), "method %s: there is no directive //weft:%s: methods have //weft:shared and //weft:snapshot", decl.Name.Name, word)
		default:
			mode, at = word, c.Pos()
		}
	}
	return mode, at
}

// readers refuses what methods that only read, and the functions of the module that
// they use, may not do.
func (p *program) readers() {
	for _, s := range p.services {
		for _, m := range s.methods {
			if m.mode == "" {
				continue
			}
			r := &reader{mode: m.mode, name: s.typ.Name() + "." + m.fn.Name()}
			r.reach = p.reach(r.node)
			r.method(s, m.fn)
			r.all()
		}
	}
}

// reader looks at what a method that only reads reaches.
type reader struct {
	*reach
	mode, name string
}

func (r *reader) node(n ast.Node) bool {
	if id, ok := n.(*ast.Ident); ok {
		if fn, ok := r.info.Uses[id].(*types.Func); ok && fromSDK(fn) {
			r.asked(id.Pos(), fn.Origin())
		}
	}
	return true
}

// asked looks at a use of the SDK.
func (r *reader) asked(at token.Pos, fn *types.Func) {
	field := receiver(fn)
	switch {
	case field != nil && persistentName(field.Name()) && slices.Contains([]string{"Set", "Update", "Delete", "Append", "Pop"}, fn.Name()):
		r.against(at, "%s is //weft:%s, and %s.%s writes", r.name, r.mode, field.Name(), fn.Name())
	case field == nil && r.mode == snapshot && slices.Contains([]string{"Run", "Sleep", "Send", "SendAfter", "Compensate", "Continue", "Promise", "After"}, fn.Name()):
		r.against(at, "%s is //weft:snapshot: it only reads, and service.%s does more", r.name, fn.Name())
	}
}
