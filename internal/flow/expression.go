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

	// The parts of its scope that an expression reads, as far as that is seen
	// without parsing jq; whole: it may read more than these.
	reads []string
	whole bool
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
	s = strings.Trim(s, " \t\r\n")
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
// from the end; a string has letters.
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
			if i, ok := position(a.index, len(c)); ok {
				v = c[i]
			} else {
				v = nil
			}
		case string:
			if a.isKey {
				return nil, fmt.Errorf("cannot index a string with %q", a.key)
			}
			letters := []rune(c)
			if i, ok := position(a.index, len(letters)); ok {
				v = string(letters[i])
			} else {
				v = nil
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

// position counts a negative index from the end; false if there is nothing.
func position(i, length int) (int, bool) {
	if i < 0 {
		i += length
	}
	return i, 0 <= i && i < length
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

// scan finds out which parts of the scope the expression reads, from its
// tokens alone. A dot or a function takes the scope itself until a pipe on the
// same level of brackets gives it something else. Whatever scan does not know
// makes the expression read all.
func (e *Expression) scan() {
	var (
		s       = e.Source
		operand bool   // the last token ended one: a dot continues it
		piped   bool   // the scope is out of sight
		outer   []bool // piped, around each open bracket
		kinds   []byte // of those brackets; i is an if
	)
	open := func(kind byte) { outer, kinds = append(outer, piped), append(kinds, kind) }
	restart := func() { piped = len(outer) > 0 && outer[len(outer)-1] }
	closeBracket := func() {
		restart()
		n := max(0, len(outer)-1)
		outer, kinds = outer[:n], kinds[:n]
	}
	for i := 0; i < len(s) && !e.whole; {
		c, rest, word := s[i], s[i+1:], wordLength(s[i:])
		size, ends := 1, false
		switch {
		case strings.IndexByte(" \t\n\r?", c) >= 0:
			ends = operand
		case c == '"':
			size, ends = stringLength(s[i:]), true
			e.whole = size < 0 || strings.Contains(s[i:i+size], `\(`)
		case c == '.' && operand && !strings.HasPrefix(rest, "."):
			size, ends = 1+wordLength(rest), true
		case c == '.' && wordLength(rest) > 0:
			size, ends = 1+wordLength(rest), true
			if !piped {
				e.read(rest[:size-1])
			}
		case isDigit(c) || c == '.' && rest != "" && isDigit(rest[0]):
			ends = true
		case c == '.':
			e.whole, ends = !piped, true
		case word > 0:
			size, ends = word, true
			switch s[i : i+word] {
			case "true", "false", "null":
			case "and", "or":
				ends = false
			case "if":
				open('i')
				ends = false
			case "then", "elif", "else":
				restart()
				ends = false
			case "end":
				closeBracket()
			case "as", "def", "reduce", "foreach", "label", "try", "catch":
				e.whole = true
			default: // the key of an object, or a function, which takes what is in sight
				isKey := strings.HasPrefix(strings.TrimLeft(s[i+word:], " \t\n\r"), ":")
				e.whole = !isKey && !piped
			}
		case strings.IndexByte("([{", c) >= 0:
			open(c)
		case strings.IndexByte(")]}", c) >= 0:
			closeBracket()
			ends = true
		case strings.HasPrefix(s[i:], "|="): // an assignment gives what is in sight, changed
			size, e.whole = 2, !piped
		case c == '|':
			piped = true
		case strings.IndexByte("=!<>", c) >= 0 && strings.HasPrefix(rest, "="):
			size = 2
		case c == '=':
			e.whole = !piped
		case c == ';' || c == ',' && len(kinds) > 0 && kinds[len(kinds)-1] == '{':
			restart()
		case strings.IndexByte(",:+-*/%<>", c) >= 0:
		default:
			e.whole = true
		}
		operand = ends
		i += size
	}
}

func (e *Expression) read(name string) {
	if !slices.Contains(e.reads, name) {
		e.reads = append(e.reads, name)
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
