package app

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"github.com/weft-run/weft/internal/flow"
)

// maxExpression bounds the length of one expression in bytes: jq's compiler
// recurses as deep as an expression nests.
const maxExpression = 16 << 10

// expressionSite is an expression and where it is written.
type expressionSite struct {
	in   *node // the string that holds it
	at   int   // byte offset of the source in that string
	text string
}

// template reads a value whose strings may hold expressions, and checks each
// of them as a program. What they refer to is checked with the whole
// workflow. A value with an error becomes an empty list.
func (b *builder) template(d *draft, step, key string, n *node) flow.Template {
	d.mark(step, key, n.At)
	before := len(b.Errors())
	b.expressions(d, step, key, n)
	if len(b.Errors()) == before {
		t, err := flow.Parse(n.Plain())
		if err == nil {
			return t
		}
		b.Errorf(n.At, "", "%s: %v", key, err)
	}
	d.spoil(step, key)
	return flow.Literal([]any{})
}

// expressions finds the expressions of all strings below n.
func (b *builder) expressions(d *draft, step, key string, n *node) {
	for i, item := range n.Items {
		b.expressions(d, step, fmt.Sprintf("%s[%d]", key, i), item)
	}
	for _, e := range n.Entries {
		b.expressions(d, step, key+"."+e.Name, e.Value)
	}
	s, ok := n.Scalar.(string)
	if !ok || !strings.Contains(s, "${") {
		return
	}
	t, err := flow.Parse(s)
	if err != nil {
		var syntax *flow.SyntaxError
		if errors.As(err, &syntax) {
			b.Errorf(span{Pos: b.Place(n, syntax.Offset), Width: 2}, "write a literal ${ as $${", "%s", syntax.Message)
		} else {
			b.Errorf(n.At, "", "%v", err)
		}
		return
	}
	from := 0
	for _, x := range t.Expressions() {
		// Expressions come in the order of the text, so the next place after
		// a ${ that holds this source is this expression's.
		i := strings.Index(s[from:], x.Source)
		if i < 0 {
			continue
		}
		site := expressionSite{n, from + i, x.Source}
		from += i + len(x.Source)
		if b.syntax(site) {
			at := keyOf{step, key}
			d.expressions[at] = append(d.expressions[at], site)
		}
	}
}

// spanAt returns where a stretch of an expression stands in the file.
func (b *builder) spanAt(x expressionSite, offset, width int) span {
	return span{Pos: b.Place(x.in, x.at+offset), Width: max(width, 1)}
}

// undefined matches the compile errors that name what is missing.
var undefined = regexp.MustCompile(`^(function|variable|label) not defined: (\$?[\w:]+)`)

// syntax reports what is wrong with an expression as a jq program.
func (b *builder) syntax(x expressionSite) bool {
	if len(x.text) > maxExpression {
		b.Errorf(b.spanAt(x, 0, 1), "compute it in a function", "expression has %d bytes; the limit is %d", len(x.text), maxExpression)
		return false
	}
	q, err := gojq.Parse(x.text)
	var syntax *gojq.ParseError
	switch {
	case errors.As(err, &syntax):
		token := syntax.Token
		at := max(syntax.Offset-len(token), 0)
		if token == "" || at >= len(x.text) {
			b.Errorf(b.spanAt(x, max(len(x.text)-1, 0), 1), "", "expression ends too early: %v", err)
		} else {
			b.Errorf(b.spanAt(x, at, utf8.RuneCountInString(token)), "", "expression is not jq: %v", err)
		}
		return false
	case err != nil:
		b.Errorf(b.spanAt(x, 0, utf8.RuneCountInString(x.text)), "", "expression is not jq: %v", err)
		return false
	}
	if _, err := gojq.Compile(q); err != nil {
		at, width, hint := 0, utf8.RuneCountInString(x.text), ""
		if m := undefined.FindStringSubmatch(err.Error()); m != nil {
			name := m[2]
			if i := strings.Index(x.text, name); i >= 0 {
				at, width = i, len(name)
			}
			if m[1] == "function" {
				hint = "names of steps and of input begin with a dot: ." + name
			}
		}
		b.Errorf(b.spanAt(x, at, width), hint, "expression is not jq: %v", err)
		return false
	}
	return true
}

// isExpression reports whether n is a string that is one expression and
// nothing else, or may be once its syntax error is corrected.
func isExpression(n *node) bool {
	s, ok := n.Scalar.(string)
	if !ok || !strings.HasPrefix(s, "${") {
		return false
	}
	t, err := flow.Parse(s)
	if err != nil {
		return true
	}
	x := t.Expressions()
	return len(x) == 1 && strings.HasSuffix(s, "}") && strings.TrimSpace(s[2:len(s)-1]) == x[0].Source
}

// expressionHint suggests what to write where one expression is wanted.
func expressionHint(n *node) string {
	s, ok := n.Scalar.(string)
	if !ok || len(s) > 60 {
		return ""
	}
	if strings.Contains(s, "${") {
		return "put the whole value inside one ${ }"
	}
	if strings.HasPrefix(s, ".") {
		return fmt.Sprintf("write ${ %s }", s)
	}
	return ""
}

// findName returns where in an expression a field that the message talks of
// is accessed, so that the caret stands below it. Problems name their key but
// not the place within an expression.
func findName(program, message string) (offset, width int, found bool) {
	for _, m := range access.FindAllStringSubmatchIndex(program, -1) {
		name := program[m[2]:m[3]]
		if strings.Contains(message, fmt.Sprintf("%q", name)) || strings.Contains(message, "."+name+" ") {
			return m[0], m[1] - m[0], true
		}
	}
	return 0, utf8.RuneCountInString(program), false
}

// access matches the access to a field.
var access = regexp.MustCompile(`\.\s*(?:\[\s*)?"?([A-Za-z_]\w*)`)
