package yamlfile

import (
	"fmt"
	"strings"
)

// Kind is what sort of value a node holds.
type Kind int

// The kinds, which are those of JSON.
const (
	Null Kind = iota
	Boolean
	Number
	String
	List
	Mapping
)

// String names the kind as error messages do.
func (k Kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "a mapping"}[k]
}

// Node is one value of a YAML document, with its place: what readers see
// instead of the YAML library's tree.
type Node struct {
	Kind    Kind
	At      Span
	Scalar  any     // bool, int, float64 or string
	Items   []*Node // of a List
	Entries []Entry // of a Mapping, in the order of the file
	style   style
	size    int // this node and all below it
}

// Entry is one key of a mapping. No two of a mapping have the same name.
type Entry struct {
	Name  string
	At    Span // of the name
	Value *Node
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

// Get returns the value of a key, or nil. A nil node has no keys.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Name == name {
			return e.Value
		}
	}
	return nil
}

// Describe says what a node is, for "found ...": scalars with their value.
func (n *Node) Describe() string {
	switch n.Kind {
	case Boolean, Number:
		return fmt.Sprintf("%s %v", strings.Replace(n.Kind.String(), "a ", "the ", 1), n.Scalar)
	case String:
		return fmt.Sprintf("the string %q", Shorten(n.Scalar.(string), 40))
	case List:
		if len(n.Items) == 0 {
			return "an empty list"
		}
	case Mapping:
		if len(n.Entries) == 0 {
			return "an empty mapping"
		}
	}
	return n.Kind.String()
}

// Text returns the string that a node holds; that of nil, and of any other
// value, is empty.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	s, _ := n.Scalar.(string)
	return s
}

// Shorten cuts a string to n characters, for messages.
func Shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// Plain returns the node as encoding/json would give it: nil, bool, int,
// float64, string, []any or map[string]any.
func (n *Node) Plain() any {
	switch n.Kind {
	case List:
		items := make([]any, len(n.Items))
		for i, item := range n.Items {
			items[i] = item.Plain()
		}
		return items
	case Mapping:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Name] = e.Value.Plain()
		}
		return m
	case Null:
		return nil
	}
	return n.Scalar
}
