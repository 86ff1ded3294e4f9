package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Expression is one ${ } of a template: a jq program.
//
// Most are plain paths, such as .split.parts[0]: the machine evaluates these
// itself, with jq's results. All others leave it as [Evaluate] commands,
// because a jq program may take any amount of time and memory.
type Expression struct {
	Source string // without ${ and }, and without space around it
	Path   string // where in the template's value it is, such as ".parts[2]"

	plain bool
	path  []accessor // of a plain expression

	// Which parts of its scope an expression reads, as far as that is seen
	// without parsing jq. reads has every name that it may read, unless whole
	// says that it may read any; certain has those that it reads for sure.
	reads, certain []string
	whole          bool
}

// accessor is one step of a plain path.
type accessor struct {
	key   string
	index int
	isKey bool
}

func parseExpression(source, path string) Expression {
	e := Expression{Source: source, Path: path}
	if e.path, e.plain = parsePath(source); e.plain {
		e.whole = len(e.path) == 0 || !e.path[0].isKey
		if !e.whole {
			e.reads = []string{e.path[0].key}
			e.certain = e.reads
		}
		return e
	}
	e.scan()
	return e
}

// Plain reports whether the expression is a plain path: a dot, or keys and
// numbers like .a.b[0]["c"].
func (e Expression) Plain() bool { return e.plain }

// parsePath splits a plain path; false when s is not one.
func parsePath(s string) ([]accessor, bool) {
	s = strings.TrimSpace(s)
	if s == "." {
		return nil, true
	}
	var path []accessor
	if strings.HasPrefix(s, ".[") {
		s = s[1:]
	} else if !strings.HasPrefix(s, ".") {
		return nil, false
	}
	for s != "" {
		switch s[0] {
		case '.':
			n := wordLength(s[1:])
			if n == 0 {
				return nil, false
			}
			path = append(path, accessor{key: s[1 : 1+n], isKey: true})
			s = s[1+n:]
		case '[':
			inside, rest, ok := cutBracket(s)
			if !ok {
				return nil, false
			}
			path, s = append(path, inside), rest
		default:
			return nil, false
		}
	}
	return path, true
}

// cutBracket takes ["key"] or [number] off the front of s.
func cutBracket(s string) (a accessor, rest string, ok bool) {
	s = strings.TrimLeft(s[1:], " ")
	if strings.HasPrefix(s, `"`) {
		end := stringLength(s)
		if end < 0 || json.Unmarshal([]byte(s[:end]), &a.key) != nil {
			return a, "", false
		}
		a.isKey, s = true, s[end:]
	} else {
		end := strings.IndexAny(s, "] ")
		if end < 0 {
			return a, "", false
		}
		n, err := strconv.Atoi(s[:end])
		if err != nil || s[0] == '+' {
			return a, "", false
		}
		a.index, s = n, s[end:]
	}
	return a, strings.TrimPrefix(strings.TrimLeft(s, " "), "]"), strings.HasPrefix(strings.TrimLeft(s, " "), "]")
}

// lookup follows a plain path into v as jq does: anything below null is null,
// and so is a missing key or an index out of range; negative indices count
// from the end.
func lookup(v any, path []accessor) (any, error) {
	for _, a := range path {
		switch c := v.(type) {
		case nil:
			return nil, nil
		case map[string]any:
			if !a.isKey {
				return nil, fmt.Errorf("cannot index an object with the number %d", a.index)
			}
			v = c[a.key]
		case []any:
			if a.isKey {
				return nil, fmt.Errorf("cannot index a list with %q", a.key)
			}
			i := a.index
			if i < 0 {
				i += len(c)
			}
			if i < 0 || i >= len(c) {
				v = nil
			} else {
				v = c[i]
			}
		default:
			if a.isKey {
				return nil, fmt.Errorf("cannot index %s with %q", typeOf(v), a.key)
			}
			return nil, fmt.Errorf("cannot index %s with the number %d", typeOf(v), a.index)
		}
	}
	return v, nil
}

// typeOf names the JSON type of v with its article, for messages.
func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	case int, float64:
		return "a number"
	}
	return fmt.Sprintf("a %T", v)
}

// What came before a token decides what a dot or a word there refers to.
type before int

const (
	operator before = iota // an operand is expected: a dot is the scope itself
	operand                // a dot continues what came before
	pipe                   // a dot or function takes what was piped
)

// scan finds out what the expression reads. It errs on the side of reading
// more: whatever it does not understand makes the expression read all.
func (e *Expression) scan() {
	s, prev, rebound := e.Source, operator, false
	for i := 0; i < len(s) && !e.whole; {
		c, rest := s[i], s[i+1:]
		size, next := 1, operator
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '?':
			next = prev
		case c == '"':
			size, next = stringLength(s[i:]), operand
			e.whole = size < 0 || strings.Contains(s[i:i+size], `\(`)
		case c == '.' && wordLength(rest) > 0:
			size, next = 1+wordLength(rest), operand
			if prev != operand {
				e.read(rest[:size-1], !rebound)
			}
		case c == '.' && prev == operand && !strings.HasPrefix(rest, "."):
			next = operand
		case c == '.' && rest != "" && isDigit(rest[0]), isDigit(c):
			next = operand
		case wordLength(s[i:]) > 0:
			size = wordLength(s[i:])
			switch s[i : i+size] {
			case "true", "false", "null", "end":
				next = operand
			case "and", "or", "if", "then", "elif", "else":
			case "as", "def", "reduce", "foreach", "label", "try":
				e.whole = true
			default:
				if isKey := strings.HasPrefix(strings.TrimLeft(s[i+size:], " \t\n"), ":"); !isKey {
					// A function: it reads its input, which is the scope unless
					// something was piped into it.
					e.whole, rebound, next = prev != pipe, true, operand
				}
			}
		case c == '|' && !strings.HasPrefix(rest, "="):
			rebound, next = true, pipe
		case (c == '=' || c == '!' || c == '<' || c == '>') && strings.HasPrefix(rest, "="):
			size = 2
		case c == ')' || c == ']' || c == '}':
			next = operand
		default:
			// Assignments give the scope back, changed; the others are rare.
			e.whole = !strings.ContainsRune("([{,:;+-*/%<>", rune(c))
		}
		prev = next
		i += size
	}
}

func (e *Expression) read(name string, certain bool) {
	if !slices.Contains(e.reads, name) {
		e.reads = append(e.reads, name)
	}
	if certain && !slices.Contains(e.certain, name) {
		e.certain = append(e.certain, name)
	}
}

// wordLength returns the length of the jq identifier that s begins with.
func wordLength(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || n > 0 && isDigit(s[n])) {
		n++
	}
	return n
}

// stringLength returns the length of the string literal that s begins with,
// or -1. It does not see into interpolations.
func stringLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
