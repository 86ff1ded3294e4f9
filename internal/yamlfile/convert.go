package yamlfile

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// converter turns the YAML library's tree into nodes.
type converter struct {
	*Reader
	anchors map[string]*Node
	nodes   int
	full    bool // maxNodes was passed and has been reported
}

// convert returns nil after it has reported an error that leaves no value.
func (c *converter) convert(n ast.Node, depth int) *Node {
	at := Span{}
	if n != nil {
		at = spanOf(n.GetToken())
	}
	if depth > maxDepth {
		c.Errorf(at, "", "values are nested more than %d deep", maxDepth)
		return nil
	}
	if !c.charge(1, at) {
		return nil
	}
	out := &Node{At: at, size: 1}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return out
	case *ast.BoolNode:
		out.Kind, out.Scalar = Boolean, n.Value
	case *ast.IntegerNode:
		out.Kind, out.Scalar = Number, integer(n.Value)
	case *ast.FloatNode:
		out.Kind, out.Scalar = Number, n.Value
	case *ast.InfinityNode, *ast.NanNode:
		c.Errorf(at, "quote it to make it a string", "%s is not a number that JSON has", n.GetToken().Value)
		return nil
	case *ast.StringNode:
		out.Kind, out.Scalar = String, n.Value
		switch n.Token.Type {
		case token.SingleQuoteType:
			out.style = singleQuoted
		case token.DoubleQuoteType:
			out.style = doubleQuoted
		}
	case *ast.LiteralNode:
		out.Kind, out.Scalar, out.style = String, "", block
		if n.Value != nil {
			out.Scalar = n.Value.Value
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
		out.Kind = List
		for _, item := range n.Values {
			if v := c.convert(item, depth+1); v != nil {
				out.Items = append(out.Items, v)
				out.size += v.size
			}
		}
	case *ast.MappingNode:
		out.Kind = Mapping
		if len(n.Values) > 0 && !n.IsFlowStyle {
			out.At = spanOf(n.Values[0].Key.GetToken())
		}
		c.entries(out, n.Values, depth)
	case *ast.MappingValueNode:
		out.Kind = Mapping
		out.At = spanOf(n.Key.GetToken())
		c.entries(out, []*ast.MappingValueNode{n}, depth)
	default:
		c.Errorf(at, "", "YAML %s is not supported", strings.ToLower(n.Type().String()))
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
func (c *converter) charge(n int, at Span) bool {
	c.nodes += n
	if c.nodes <= maxNodes {
		return true
	}
	if !c.full {
		c.full = true
		c.Errorf(at, "aliases count as often as they are used", "file holds more than %d values", maxNodes)
	}
	return false
}

func (c *converter) alias(n *ast.AliasNode, at Span) *Node {
	name := tokenText(n.Value)
	at.Width = 1 + utf8.RuneCountInString(name)
	target := c.anchors[name]
	if target == nil {
		known := make([]string, 0, len(c.anchors))
		for k := range c.anchors {
			known = append(known, k)
		}
		c.Errorf(at, DidYouMean(name, known), "alias *%s has no anchor above it", name)
		return nil
	}
	if !c.charge(target.size, at) {
		return nil
	}
	return target
}

// entries adds the keys of a mapping, each once.
func (c *converter) entries(out *Node, values []*ast.MappingValueNode, depth int) {
	first := map[string]Pos{}
	for _, v := range values {
		name, at, ok := c.key(v.Key)
		if !ok {
			continue
		}
		value := c.convert(v.Value, depth+1)
		if earlier, twice := first[name]; twice {
			c.Errorf(at, "remove one of the two", "key %q is given twice; first in line %d", Shorten(name, 60), earlier.Line)
			continue
		}
		first[name] = at.Pos
		if value == nil {
			continue
		}
		out.Entries = append(out.Entries, Entry{name, at, value})
		out.size += value.size
		if value.Kind == Null && value.At.Line == 0 {
			value.At = at
		}
	}
}

func (c *converter) key(k ast.MapKeyNode) (string, Span, bool) {
	at := Span{}
	if k != nil {
		at = spanOf(k.GetToken())
	}
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, at, true
	case *ast.AnchorNode, *ast.AliasNode:
		c.Errorf(at, "write the key out", "a key cannot be an anchor or an alias")
	case nil:
		c.Errorf(at, "", "a key is missing")
	default:
		c.Errorf(at, fmt.Sprintf("quote it: %q", tokenText(k)), "a key is a string; found %s", tokenText(k))
	}
	return "", at, false
}
