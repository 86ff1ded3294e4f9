package app

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on an app file. They are far beyond what people write and keep a
// hostile file from costing more than about a second and some megabytes.
const (
	maxFileSize = 1 << 20
	maxDepth    = 64      // lists and mappings inside each other
	maxKeys     = 20_000  // keys of all mappings; the YAML parser is quadratic in them
	maxNodes    = 200_000 // values, those that aliases repeat counted each time
)

// kind is what sort of value a node holds.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

// String names the kind as error messages do.
func (k kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "a mapping"}[k]
}

// node is one value of a YAML document, with its place: what the rest of the
// package reads instead of the YAML library's tree.
type node struct {
	kind    kind
	at      span
	scalar  any // bool, int, float64 or string
	style   style
	items   []*node
	entries []entry
	size    int // this node and all below it
}

// entry is one key of a mapping. No two of a mapping have the same name.
type entry struct {
	name  string
	at    span
	value *node
}

// style is how a string is written, which decides where its n-th character
// stands in the file.
type style int

const (
	plain style = iota
	singleQuoted
	doubleQuoted
	block
)

// get returns the value of a key, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, e := range n.entries {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// describe says what a node is, for "found ...": scalars with their value.
func (n *node) describe() string {
	switch n.kind {
	case boolean, number:
		return fmt.Sprintf("%s %v", strings.Replace(n.kind.String(), "a ", "the ", 1), n.scalar)
	case text:
		return fmt.Sprintf("the string %q", shorten(n.scalar.(string), 40))
	case list:
		if len(n.items) == 0 {
			return "an empty list"
		}
	case mapping:
		if len(n.entries) == 0 {
			return "an empty mapping"
		}
	}
	return n.kind.String()
}

func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// value returns the node as encoding/json would give it: nil, bool, int,
// float64, string, []any or map[string]any.
func (n *node) value() any {
	switch n.kind {
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = item.value()
		}
		return items
	case mapping:
		m := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			m[e.name] = e.value.value()
		}
		return m
	case null:
		return nil
	}
	return n.scalar
}

// document parses src into a node. It returns nil, with an error reported,
// when there is no mapping to go on with.
func (r *report) document(src []byte) *node {
	whole := span{}
	if len(src) > maxFileSize {
		r.errorf(whole, "app files are small: move data into files that functions read", "file has %d bytes; the limit is %d", len(src), maxFileSize)
		return nil
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(src) {
		valid := 0
		for rest := src; ; {
			c, n := utf8.DecodeRune(rest)
			if c == utf8.RuneError && n <= 1 {
				break
			}
			rest, valid = rest[n:], valid+n
		}
		line := 1 + bytes.Count(src[:valid], []byte("\n"))
		column := 1 + utf8.RuneCount(src[bytes.LastIndexByte(src[:valid], '\n')+1:valid])
		if bytes.IndexByte(src, 0) >= 0 {
			r.errorf(span{Pos: Pos{line, column}}, "an app file is YAML text", "file is not text: byte 0x%02x is not UTF-8", src[valid])
		} else {
			r.errorf(span{Pos: Pos{line, column}}, "save the file with UTF-8 encoding", "byte 0x%02x is not UTF-8", src[valid])
		}
		return nil
	}
	normal := strings.ReplaceAll(string(src), "\r\n", "\n")
	r.lines = strings.Split(normal, "\n")
	file := r.syntaxTree(normal)
	if file == nil {
		return nil
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		r.errorf(whole, "an app file begins with a name and functions; `weft init` writes an example", "file is empty")
		return nil
	case len(bodies) > 1:
		r.errorf(spanOf(bodies[1].GetToken()), "keep one document in the file", "second YAML document in one file")
		return nil
	}
	c := converter{report: r, anchors: map[string]*node{}}
	root := c.convert(bodies[0], 0)
	if root == nil {
		return nil
	}
	if root.kind != mapping {
		r.errorf(root.at, "an app file begins with a line such as `name: hello`", "an app file is a mapping; found %s", root.describe())
		return nil
	}
	return root
}

// boundedTokens refuses what would cost the YAML parser too much time or
// stack, before it runs.
func (r *report) boundedTokens(tokens token.Tokens) bool {
	depth, keys, line := 0, 0, 0
	nested := 0 // sequence entries and anchors of this line: `- - - &a &b` nests too
	for _, t := range tokens {
		if t.Position.Line != line {
			line, nested = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth = max(depth-1, 0)
		case token.SequenceEntryType, token.AnchorType:
			nested++
		case token.MappingValueType:
			keys++
		case token.TagType:
			r.errorf(spanOf(t), "leave the tag out; quote the value to make it a string", "YAML tag %s is not supported", strings.TrimSpace(t.Value))
			return false
		case token.MergeKeyType:
			r.errorf(spanOf(t), "write the keys out", "YAML merge keys (<<) are not supported")
			return false
		case token.MappingKeyType:
			r.errorf(spanOf(t), "write `key: value`", "YAML complex keys (?) are not supported")
			return false
		case token.DirectiveType:
			r.errorf(spanOf(t), "leave the line out", "YAML directives (%%) are not supported")
			return false
		}
		if depth > maxDepth || nested > maxDepth {
			r.errorf(spanOf(t), "", "values are nested more than %d deep", maxDepth)
			return false
		}
		if keys > maxKeys {
			r.errorf(spanOf(t), "", "file has more than %d keys", maxKeys)
			return false
		}
	}
	return true
}

// syntaxTree runs the YAML parser. Its first syntax error is the only one it
// can give, and should it panic that is an error like any other.
func (r *report) syntaxTree(src string) (file *ast.File) {
	defer func() {
		if p := recover(); p != nil {
			r.errorf(span{}, "look for unusual YAML and write it more plainly", "YAML parser failed: %v", p)
			file = nil
		}
	}()
	tokens := lexer.Tokenize(src)
	if !r.boundedTokens(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) {
		r.errorf(span{}, "", "not YAML: %v", err)
		return nil
	}
	message, at := syntax.Message, span{}
	if syntax.Token != nil {
		at = spanOf(syntax.Token)
	}
	r.errorf(at, yamlHint(message), "not YAML: %s", message)
	return nil
}

// yamlHint explains the parser's most frequent messages.
func yamlHint(message string) string {
	switch {
	case strings.Contains(message, "tab character"), strings.Contains(message, "cannot start any token"):
		return "indent with spaces, not tabs"
	case strings.Contains(message, "mapping value is not allowed"):
		return "quote a value that holds a colon and a space"
	case strings.Contains(message, "reserved character"):
		return "quote the value"
	case strings.Contains(message, "unexpected key name"), strings.Contains(message, "value is not allowed in this context"):
		return "check the indentation of this line and the one above"
	case strings.Contains(message, "not found"), strings.Contains(message, "could not find"):
		return "close what is opened here"
	}
	return ""
}

// spanOf returns where a token stands.
func spanOf(t *token.Token) span {
	if t == nil || t.Position == nil {
		return span{}
	}
	width := utf8.RuneCountInString(strings.TrimSpace(t.Origin))
	if nl := strings.IndexByte(strings.TrimSpace(t.Origin), '\n'); nl >= 0 {
		width = utf8.RuneCountInString(strings.TrimSpace(t.Origin)[:nl])
	}
	return span{Pos{t.Position.Line, max(t.Position.Column, 1)}, max(width, 1)}
}

// converter turns the YAML library's tree into nodes.
type converter struct {
	*report
	anchors map[string]*node
	nodes   int
	full    bool // maxNodes was passed and has been reported
}

// convert returns nil after it has reported an error that leaves no value.
func (c *converter) convert(n ast.Node, depth int) *node {
	at := span{}
	if n != nil {
		at = spanOf(n.GetToken())
	}
	if depth > maxDepth {
		c.errorf(at, "", "values are nested more than %d deep", maxDepth)
		return nil
	}
	if !c.charge(1, at) {
		return nil
	}
	out := &node{at: at, size: 1}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return out
	case *ast.BoolNode:
		out.kind, out.scalar = boolean, n.Value
	case *ast.IntegerNode:
		out.kind, out.scalar = number, integer(n.Value)
	case *ast.FloatNode:
		out.kind, out.scalar = number, n.Value
	case *ast.InfinityNode, *ast.NanNode:
		c.errorf(at, "quote it to make it a string", "%s is not a number that JSON has", n.GetToken().Value)
		return nil
	case *ast.StringNode:
		out.kind, out.scalar = text, n.Value
		switch n.Token.Type {
		case token.SingleQuoteType:
			out.style = singleQuoted
		case token.DoubleQuoteType:
			out.style = doubleQuoted
		}
	case *ast.LiteralNode:
		out.kind, out.scalar, out.style = text, "", block
		if n.Value != nil {
			out.scalar = n.Value.Value
		}
	case *ast.AnchorNode:
		name := tokenText(n.Name)
		v := c.convert(n.Value, depth+1)
		if v != nil {
			c.anchors[name] = v
		}
		return v
	case *ast.AliasNode:
		return c.alias(n, at)
	case *ast.SequenceNode:
		out.kind = list
		for _, item := range n.Values {
			if v := c.convert(item, depth+1); v != nil {
				out.items = append(out.items, v)
				out.size += v.size
			}
		}
	case *ast.MappingNode:
		out.kind = mapping
		if len(n.Values) > 0 && !n.IsFlowStyle {
			out.at = spanOf(n.Values[0].Key.GetToken())
		}
		c.entries(out, n.Values, depth)
	case *ast.MappingValueNode:
		out.kind = mapping
		out.at = spanOf(n.Key.GetToken())
		c.entries(out, []*ast.MappingValueNode{n}, depth)
	default:
		c.errorf(at, "", "YAML %s is not supported", strings.ToLower(n.Type().String()))
		return nil
	}
	return out
}

// integer brings the YAML library's integers to int or, beyond its range,
// float64, as encoding/json does with all numbers.
func integer(v any) any {
	switch v := v.(type) {
	case int64:
		return int(v)
	case uint64:
		if v <= math.MaxInt {
			return int(v)
		}
		return float64(v)
	}
	return v
}

func tokenText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return strings.TrimSpace(n.GetToken().Value)
}

// charge counts nodes against maxNodes.
func (c *converter) charge(n int, at span) bool {
	c.nodes += n
	if c.nodes <= maxNodes {
		return true
	}
	if !c.full {
		c.full = true
		c.errorf(at, "aliases count as often as they are used", "file holds more than %d values", maxNodes)
	}
	return false
}

func (c *converter) alias(n *ast.AliasNode, at span) *node {
	name := tokenText(n.Value)
	at.width = 1 + utf8.RuneCountInString(name)
	target := c.anchors[name]
	if target == nil {
		known := make([]string, 0, len(c.anchors))
		for k := range c.anchors {
			known = append(known, k)
		}
		c.errorf(at, didYouMean(name, known), "alias *%s has no anchor above it", name)
		return nil
	}
	if !c.charge(target.size, at) {
		return nil
	}
	return target
}

// entries adds the keys of a mapping, each once.
func (c *converter) entries(out *node, values []*ast.MappingValueNode, depth int) {
	first := map[string]Pos{}
	for _, v := range values {
		name, at, ok := c.key(v.Key)
		if !ok {
			continue
		}
		value := c.convert(v.Value, depth+1)
		if earlier, twice := first[name]; twice {
			c.errorf(at, "remove one of the two", "key %q is given twice; first in line %d", shorten(name, 60), earlier.Line)
			continue
		}
		first[name] = at.Pos
		if value == nil {
			continue
		}
		out.entries = append(out.entries, entry{name, at, value})
		out.size += value.size
		if value.kind == null && value.at.Line == 0 {
			value.at = at
		}
	}
}

func (c *converter) key(k ast.MapKeyNode) (string, span, bool) {
	at := span{}
	if k != nil {
		at = spanOf(k.GetToken())
	}
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, at, true
	case *ast.AnchorNode, *ast.AliasNode:
		c.errorf(at, "write the key out", "a key cannot be an anchor or an alias")
	case nil:
		c.errorf(at, "", "a key is missing")
	default:
		c.errorf(at, fmt.Sprintf("quote it: %q", tokenText(k)), "a key is a string; found %s", tokenText(k))
	}
	return "", at, false
}
