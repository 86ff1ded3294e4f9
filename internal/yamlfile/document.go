package yamlfile

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a file. They are far beyond what people write and keep a
// hostile file from costing more than about a second and some megabytes.
const (
	MaxSize  = 1 << 20 // bytes
	maxDepth = 64      // lists and mappings inside each other
	maxKeys  = 20_000  // keys of all mappings; the YAML parser is quadratic in them
	maxNodes = 200_000 // values, those that aliases repeat counted each time
)

// Document parses src into a node. It returns nil, with an error reported,
// when there is no mapping to go on with.
func (r *Reader) Document(src []byte) *Node {
	whole := Span{}
	if len(src) > MaxSize {
		r.Errorf(whole, r.form.Large, "file has %d bytes; the limit is %d", len(src), MaxSize)
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
			r.Errorf(Span{Pos: Pos{line, column}}, r.form.Name+" is YAML text", "file is not text: byte 0x%02x is not UTF-8", src[valid])
		} else {
			r.Errorf(Span{Pos: Pos{line, column}}, "save the file with UTF-8 encoding", "byte 0x%02x is not UTF-8", src[valid])
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
	case len(bodies) == 0 && r.form.Empty == "":
		return &Node{Kind: Mapping, size: 1}
	case len(bodies) == 0:
		r.Errorf(whole, r.form.Empty, "file is empty")
		return nil
	case len(bodies) > 1:
		r.Errorf(spanOf(bodies[1].GetToken()), "keep one document in the file", "second YAML document in one file")
		return nil
	}
	c := converter{Reader: r, anchors: map[string]*Node{}}
	root := c.convert(bodies[0], 0)
	if root == nil {
		return nil
	}
	if root.Kind != Mapping {
		r.Errorf(root.At, r.form.First, "%s is a mapping; found %s", r.form.Name, root.Describe())
		return nil
	}
	return root
}

// boundedTokens refuses what would cost the YAML parser too much time or
// stack, before it runs.
func (r *Reader) boundedTokens(tokens token.Tokens) bool {
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
			r.Errorf(spanOf(t), "leave the tag out; quote the value to make it a string", "YAML tag %s is not supported", strings.TrimSpace(t.Value))
			return false
		case token.MergeKeyType:
			r.Errorf(spanOf(t), "write the keys out", "YAML merge keys (<<) are not supported")
			return false
		case token.MappingKeyType:
			r.Errorf(spanOf(t), "write `key: value`", "YAML complex keys (?) are not supported")
			return false
		case token.DirectiveType:
			r.Errorf(spanOf(t), "leave the line out", "YAML directives (%%) are not supported")
			return false
		}
		if depth > maxDepth || nested > maxDepth {
			r.Errorf(spanOf(t), "", "values are nested more than %d deep", maxDepth)
			return false
		}
		if keys > maxKeys {
			r.Errorf(spanOf(t), "", "file has more than %d keys", maxKeys)
			return false
		}
	}
	return true
}

// syntaxTree runs the YAML parser. Its first syntax error is the only one it
// can give, and should it panic that is an error like any other.
func (r *Reader) syntaxTree(src string) (file *ast.File) {
	defer func() {
		if p := recover(); p != nil {
			r.Errorf(Span{}, "look for unusual YAML and write it more plainly", "YAML parser failed: %v", p)
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
		r.Errorf(Span{}, "", "not YAML: %v", err)
		return nil
	}
	message, at := syntax.Message, Span{}
	if syntax.Token != nil {
		at = spanOf(syntax.Token)
	}
	r.Errorf(at, yamlHint(message), "not YAML: %s", message)
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
func spanOf(t *token.Token) Span {
	if t == nil || t.Position == nil {
		return Span{}
	}
	width := utf8.RuneCountInString(strings.TrimSpace(t.Origin))
	if nl := strings.IndexByte(strings.TrimSpace(t.Origin), '\n'); nl >= 0 {
		width = utf8.RuneCountInString(strings.TrimSpace(t.Origin)[:nl])
	}
	return Span{Pos{t.Position.Line, max(t.Position.Column, 1)}, max(width, 1)}
}
