package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Template is a JSON-like value in which strings may hold expressions:
// "${ .split.parts }". A string that is exactly one expression stands for the
// expression's value, of whatever type; in any other string the values are
// written into the text. "$${" is a literal "${". The zero Template is absent,
// which is not the same as null.
type Template struct {
	root  part
	exprs []Expression
}

// part is one node of the parsed value: a constant, value (one expression),
// text, list or object.
type part any

type (
	constant struct{ value any }
	value    int    // index of its expression
	text     []part // constants (strings) and values
	list     []part
	object   []field // sorted by key
	field    struct {
		key  string
		part part
	}
)

// SyntaxError says where in a value an expression is malformed.
type SyntaxError struct {
	Path    string // where in the value, such as ".parts[2]"; empty at its top
	Offset  int    // bytes into that string
	Message string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return "parse template: " + e.Message
	}
	return "parse template " + e.Path + ": " + e.Message
}

// Parse makes a template of a value as encoding/json or a YAML reader gives
// it. Its errors are of type [*SyntaxError]. Expressions other than plain
// paths are not looked into: jq's own errors come when they are evaluated.
func Parse(v any) (Template, error) {
	var t Template
	root, err := t.parse(v, "")
	if err != nil {
		return Template{}, err
	}
	t.root = root
	return t, nil
}

// Literal makes a template that gives v as it is, whatever its strings hold.
func Literal(v any) Template { return Template{root: constant{v}} }

// IsZero reports whether the template is absent.
func (t Template) IsZero() bool { return t.root == nil }

// Constant returns the template's value when that depends on nothing.
func (t Template) Constant() (any, bool) {
	c, ok := t.root.(constant)
	return c.value, ok
}

// Expressions returns the template's expressions, in the order of evaluation.
func (t Template) Expressions() []Expression { return t.exprs }

func (t *Template) parse(v any, path string) (part, error) {
	switch v := v.(type) {
	case string:
		return t.parseText(v, path)
	case []any:
		l, fixed := make(list, len(v)), true
		for i, elem := range v {
			p, err := t.parse(elem, fmt.Sprintf("%s[%d]", path, i))
			if err != nil {
				return nil, err
			}
			l[i], fixed = p, fixed && isConstant(p)
		}
		if !fixed {
			return l, nil
		}
		return constant{t.render(l, nil)}, nil
	case map[string]any:
		o, fixed := make(object, 0, len(v)), true
		for _, key := range sortedKeys(v) {
			p, err := t.parse(v[key], path+"."+key)
			if err != nil {
				return nil, err
			}
			o, fixed = append(o, field{key, p}), fixed && isConstant(p)
		}
		if !fixed {
			return o, nil
		}
		return constant{t.render(o, nil)}, nil
	}
	scalar, err := normal(v)
	if err != nil {
		return nil, &SyntaxError{Path: path, Message: err.Error()}
	}
	return constant{scalar}, nil
}

// parseText splits a string into literal text and expressions.
func (t *Template) parseText(s, path string) (part, error) {
	var parts text
	literal := ""
	for at := 0; ; {
		n := strings.Index(s[at:], "${")
		if n < 0 {
			literal += s[at:]
			break
		}
		open := at + n
		if n > 0 && s[open-1] == '$' {
			literal += s[at:open-1] + "${"
			at = open + 2
			continue
		}
		literal += s[at:open]
		end := closingBrace(s, open+2)
		if end < 0 {
			return nil, &SyntaxError{path, open, "${ without its }"}
		}
		source := strings.Trim(s[open+2:end], " \t\r\n")
		if source == "" {
			return nil, &SyntaxError{path, open, "${ } holds no expression"}
		}
		if literal != "" {
			parts = append(parts, constant{literal})
			literal = ""
		}
		parts = append(parts, value(len(t.exprs)))
		t.exprs = append(t.exprs, parseExpression(source, path))
		at = end + 1
	}
	switch {
	case len(parts) == 0:
		return constant{literal}, nil
	case len(parts) == 1 && literal == "":
		if v, ok := parts[0].(value); ok {
			return v, nil
		}
	}
	if literal != "" {
		parts = append(parts, constant{literal})
	}
	return parts, nil
}

// closingBrace returns the index of the brace that ends the expression
// starting at from, or -1. Braces within jq strings do not count, unless an
// interpolation "\( )" brings the string's inside back to being code.
func closingBrace(s string, from int) int {
	depth, quoted := 0, false
	parens := 0
	var outer []int // parens around each interpolation that is open
	for i := from; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
			if i < len(s) && s[i] == '(' {
				outer, parens, quoted = append(outer, parens), 0, false
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			parens++
		case c == ')':
			if parens == 0 && len(outer) > 0 {
				parens, outer, quoted = outer[len(outer)-1], outer[:len(outer)-1], true
				continue
			}
			parens--
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}':
			return i
		}
	}
	return -1
}

// Render gives the template's value over a scope, outside a run: plain
// expressions are looked up here, the others are given to evaluate together. The
// value of an absent template is null.
func (t Template) Render(scope any, evaluate func(expressions []string) ([]any, error)) (any, error) {
	if t.IsZero() {
		return nil, nil
	}
	values := make([]any, len(t.exprs))
	var sources []string
	var asked []int
	for i := range t.exprs {
		x := &t.exprs[i]
		if !x.plain {
			sources, asked = append(sources, x.Source), append(asked, i)
			continue
		}
		v, err := lookup(scope, x.path)
		if err != nil {
			return nil, fmt.Errorf("evaluate ${ %s }: %w", x.Source, err)
		}
		values[i] = v
	}
	if len(sources) > 0 {
		got, err := evaluate(sources)
		if err != nil {
			return nil, err
		}
		if len(got) != len(asked) {
			return nil, fmt.Errorf("%d values for %d expressions", len(got), len(asked))
		}
		for i, at := range asked {
			values[at] = got[i]
		}
	}
	return t.render(t.root, values), nil
}

// render builds the template's value from the values of its expressions.
func (t *Template) render(p part, values []any) any {
	switch p := p.(type) {
	case constant:
		return p.value
	case value:
		return values[p]
	case text:
		var b strings.Builder
		for _, piece := range p {
			b.WriteString(textOf(t.render(piece, values)))
		}
		return b.String()
	case list:
		out := make([]any, len(p))
		for i, elem := range p {
			out[i] = t.render(elem, values)
		}
		return out
	case object:
		out := make(map[string]any, len(p))
		for _, f := range p {
			out[f.key] = t.render(f.part, values)
		}
		return out
	}
	return nil
}

// textOf writes a value into text: strings as they are, all else as JSON.
func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// normal returns a scalar with its number, if it is one, as int or float64.
func normal(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int:
		return v, nil
	case int64:
		return int(v), nil
	case uint64:
		if v > math.MaxInt {
			return float64(v), nil
		}
		return int(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is not a JSON number", v)
		}
		return v, nil
	}
	return nil, fmt.Errorf("a value of type %T is not JSON", v)
}

func isConstant(p part) bool { _, ok := p.(constant); return ok }

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
