package alloystack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// node is a JSON value that knows where it stands.
type node struct {
	offset  int    // of its first byte
	kind    string // with its article, as messages have it
	text    string // of a string
	truth   bool   // of a boolean
	elems   []node // of a list
	members []member
}

type member struct {
	offset int
	key    string
	value  node
}

const (
	isString = "a string"
	isBool   = "a boolean"
	isList   = "a list"
	isObject = "an object"
	isNumber = "a number"
	isNull   = "null"
)

// maxDepth is far more than a workflow file has, and far less than a stack.
const maxDepth = 64

// syntaxError is the first place where a text is not JSON.
type syntaxError struct {
	offset  int
	message string
}

func (e *syntaxError) Error() string { return e.message }

// parseJSON reads a text that is one JSON value. Its errors are of type
// *syntaxError.
func parseJSON(src []byte) (node, error) {
	// The decoder of tokens does not say where an error is; this does.
	var whole json.RawMessage
	if err := json.Unmarshal(src, &whole); err != nil {
		offset, message := len(src), "the file ends too early"
		if bad, ok := errors.AsType[*json.SyntaxError](err); ok && bad.Error() != "unexpected end of JSON input" {
			offset, message = int(bad.Offset)-1, bad.Error()
		}
		return node{}, &syntaxError{offset, message}
	}
	p := parser{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	p.dec.UseNumber()
	return p.value(0)
}

type parser struct {
	src []byte
	dec *json.Decoder
}

// next returns the offset of the token that the decoder reads next.
func (p *parser) next() int {
	at := int(p.dec.InputOffset())
	for at < len(p.src) && bytes.IndexByte([]byte(" \t\r\n,:"), p.src[at]) >= 0 {
		at++
	}
	return at
}

func (p *parser) value(depth int) (node, error) {
	n := node{offset: p.next()}
	if depth > maxDepth {
		return n, &syntaxError{n.offset, fmt.Sprintf("values are nested more than %d deep", maxDepth)}
	}
	token, err := p.dec.Token()
	if err != nil {
		return n, &syntaxError{n.offset, err.Error()}
	}
	switch token := token.(type) {
	case string:
		n.kind, n.text = isString, token
	case bool:
		n.kind, n.truth = isBool, token
	case json.Number:
		n.kind = isNumber
	case nil:
		n.kind = isNull
	case json.Delim:
		if token == '[' {
			n.kind = isList
			err = p.list(&n, depth)
		} else {
			n.kind = isObject
			err = p.object(&n, depth)
		}
	}
	return n, err
}

func (p *parser) list(n *node, depth int) error {
	for p.dec.More() {
		elem, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.elems = append(n.elems, elem)
	}
	p.dec.Token() // the bracket
	return nil
}

func (p *parser) object(n *node, depth int) error {
	for p.dec.More() {
		m := member{offset: p.next()}
		key, err := p.dec.Token()
		if err != nil {
			return &syntaxError{m.offset, err.Error()}
		}
		m.key = key.(string) // the decoder refuses any other key
		if m.value, err = p.value(depth + 1); err != nil {
			return err
		}
		n.members = append(n.members, m)
	}
	p.dec.Token() // the brace
	return nil
}

// place returns the line and the column of an offset, both from 1; columns
// count bytes.
func place(src []byte, offset int) (line, column int) {
	before := src[:min(offset, len(src))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
