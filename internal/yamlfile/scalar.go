package yamlfile

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxListed is how many entries a list such as args or hosts may have.
const MaxListed = 1_000

// Key returns the key whose value is being read, for messages.
func (r *Reader) Key() string { return r.key }

// WrongKind reports that n is not what is wanted.
func (r *Reader) WrongKind(n *Node, want, hint string) {
	what := ""
	if r.key != "" {
		what = r.key + ": "
	}
	r.Errorf(n.At, hint, "%swant %s; found %s", what, want, n.Describe())
}

// Each calls fn for each entry of a mapping of at most limit names.
func (r *Reader) Each(n *Node, what string, limit int, fn func(Entry)) {
	if n.Kind != Mapping {
		r.WrongKind(n, "a mapping from names to "+what, "")
		return
	}
	for i, e := range n.Entries {
		if i == limit {
			r.Errorf(e.At, r.form.Many, "more than %d %s", limit, what)
			return
		}
		fn(e)
	}
}

// Text reads a string that is not empty. Numbers and booleans are refused, as
// YAML would change how they are written.
func (r *Reader) Text(n *Node, want string) string {
	if n.Kind != String {
		hint := ""
		if (n.Kind == Number || n.Kind == Boolean) && strings.Contains(want, "string") {
			hint = "quote it to make it a string"
		}
		r.WrongKind(n, want, hint)
		return ""
	}
	s := n.Scalar.(string)
	if s == "" {
		r.Errorf(n.At, "", "%s: want %s; found an empty string", r.key, want)
	}
	return s
}

// Pattern reads a string that matches re, which want describes.
func (r *Reader) Pattern(n *Node, re *regexp.Regexp, want string) string {
	s := r.Text(n, want)
	if s != "" && !re.MatchString(s) {
		r.Errorf(n.At, "", "%s: want %s; found %q", r.key, want, Shorten(s, 80))
	}
	return s
}

// Choice reads one of a few words.
func (r *Reader) Choice(n *Node, what string, words ...string) string {
	if n.Kind != String {
		r.WrongKind(n, strings.Join(words, " or "), "")
		return ""
	}
	s := n.Scalar.(string)
	if !slices.Contains(words, s) {
		r.Errorf(n.At, Nearest(s, words), "unknown %s %q: want %s", what, Shorten(s, 60), strings.Join(words, " or "))
	}
	return s
}

// Boolean reads true or false.
func (r *Reader) Boolean(n *Node) bool {
	b, ok := n.Scalar.(bool)
	if !ok {
		hint := ""
		if s := n.Text(); s == "true" || s == "false" {
			hint = "remove the quotes"
		}
		r.WrongKind(n, "true or false", hint)
	}
	return b
}

// Integer reads a whole number within bounds. After an error it returns the
// lower one, as the readers below do.
func (r *Reader) Integer(n *Node, low, high int) int {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	i, ok := n.Scalar.(int)
	if f, is := n.Scalar.(float64); is && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		i, ok = int(f), true
	}
	if n.Kind != Number || !ok || i < low || i > high {
		r.WrongKind(n, want, unquoteHint(n))
		return low
	}
	return i
}

// Float reads a number within bounds.
func (r *Reader) Float(n *Node, low, high float64) float64 {
	f, ok := n.Scalar.(float64)
	if i, is := n.Scalar.(int); is {
		f, ok = float64(i), true
	}
	if n.Kind != Number || !ok || f < low || f > high {
		r.WrongKind(n, fmt.Sprintf("a number from %g to %g", low, high), unquoteHint(n))
		return low
	}
	return f
}

func unquoteHint(n *Node) string {
	if s, ok := n.Scalar.(string); ok {
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return "remove the quotes"
		}
	}
	return ""
}

// List calls fn for each item of a list of at most MaxListed.
func (r *Reader) List(n *Node, want string, fn func(*Node)) {
	if n.Kind != List {
		hint := ""
		if n.Kind == String {
			hint = fmt.Sprintf("write [%s]", Shorten(n.Scalar.(string), 40))
		}
		r.WrongKind(n, want, hint)
		return
	}
	for i, item := range n.Items {
		if i == MaxListed {
			r.Errorf(item.At, "", "list has more than %d entries", MaxListed)
			return
		}
		fn(item)
	}
}
