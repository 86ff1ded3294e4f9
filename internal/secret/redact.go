package secret

import (
	"bytes"
	"encoding/json"
	"slices"
)

const (
	// redactMin is how long a value must be to be hidden: shorter ones are in
	// every other line.
	redactMin = 4
	// redactLineMin is the same for the lines of a value of several lines.
	redactLineMin = 8
	// mask stands for what is hidden.
	mask = "***"
)

// Redactor hides values in lines of a log. It is safe for concurrent use. It sees
// a value as it is, each line of a value of several lines, and what a value is in
// a JSON string; a program that encodes it otherwise, or writes it in pieces, can
// still show it.
type Redactor struct {
	patterns []pattern
}

// NewRedactor makes a Redactor of values; those shorter than 4 bytes are not
// hidden.
func NewRedactor(values ...[]byte) *Redactor {
	var texts [][]byte
	add := func(text []byte, least int) {
		if len(text) < least {
			return
		}
		texts = append(texts, bytes.Clone(text))
		if quoted, err := json.Marshal(string(text)); err == nil {
			if inner := quoted[1 : len(quoted)-1]; !bytes.Equal(inner, text) {
				texts = append(texts, inner)
			}
		}
	}
	for _, value := range values {
		whole := bytes.TrimRight(value, "\r\n") // an editor's, or echo's
		add(whole, redactMin)
		if bytes.ContainsAny(whole, "\r\n") {
			for line := range bytes.FieldsFuncSeq(whole, func(c rune) bool { return c == '\n' || c == '\r' }) {
				add(line, redactLineMin)
			}
		}
	}
	slices.SortFunc(texts, bytes.Compare)
	texts = slices.CompactFunc(texts, bytes.Equal)
	r := &Redactor{}
	for _, text := range texts {
		r.patterns = append(r.patterns, newPattern(text))
	}
	return r
}

// span is a part of a line.
type span struct{ from, to int }

// Redact returns a line with each value replaced by ***. Values that overlap or
// touch become one. A line without values is returned as it is, and none is
// changed.
func (r *Redactor) Redact(line []byte) []byte {
	if r == nil {
		return line
	}
	var found []span
	for i := range r.patterns {
		found = r.patterns[i].find(line, found)
	}
	if len(found) == 0 {
		return line
	}
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	out := make([]byte, 0, len(line))
	end := 0 // of what is done
	for _, s := range found {
		if s.from > end || s.from == 0 && end == 0 {
			out = append(out, line[end:s.from]...)
			out = append(out, mask...)
		}
		end = max(end, s.to)
	}
	return append(out, line[end:]...)
}

// pattern finds a text, also where it overlaps itself, in a time that grows with
// the line only (Knuth, Morris, Pratt).
type pattern struct {
	text []byte
	// border[i] is how long the longest proper prefix of text is that text[:i+1]
	// ends with.
	border []int
}

func newPattern(text []byte) pattern {
	p := pattern{text, make([]int, len(text))}
	n := 0
	for i := 1; i < len(text); i++ {
		for n > 0 && text[i] != text[n] {
			n = p.border[n-1]
		}
		if text[i] == text[n] {
			n++
		}
		p.border[i] = n
	}
	return p
}

// find adds where the text is in a line. Those that overlap are added as one.
func (p *pattern) find(line []byte, found []span) []span {
	first := bytes.Index(line, p.text)
	if first < 0 {
		return found
	}
	mine := len(found)
	n := 0
	for i := first; i < len(line); i++ {
		for n > 0 && line[i] != p.text[n] {
			n = p.border[n-1]
		}
		if line[i] == p.text[n] {
			n++
		}
		if n < len(p.text) {
			continue
		}
		from := i + 1 - n
		if last := len(found) - 1; last >= mine && found[last].to >= from {
			found[last].to = i + 1
		} else {
			found = append(found, span{from, i + 1})
		}
		n = p.border[n-1]
	}
	return found
}
