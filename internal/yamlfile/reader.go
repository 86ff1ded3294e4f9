package yamlfile

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// Form says what messages call a kind of file, and what they advise.
type Form struct {
	Name  string // "an app file"
	Empty string // hint for a file without content; "": that is a mapping without keys
	First string // hint for a file that is no mapping
	Large string // hint for a file of more than MaxSize bytes
	Many  string // hint for a mapping of too many names
}

// Reader reads one file and collects what is wrong with it.
type Reader struct {
	form  Form
	name  string   // of the file, in errors
	lines []string // of the source, without line ends
	key   string   // that is being read, for messages
	errs  Errors
}

// NewReader makes a Reader of a file whose errors call it name.
func NewReader(name string, form Form) *Reader {
	return &Reader{name: name, form: form}
}

// Source reads the file at path, but one byte more than Document accepts at
// most.
func Source(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// Errors returns what has been noted so far, in that order.
func (r *Reader) Errors() Errors { return r.errs }

// Errorf notes an error that stands at the span, or with the zero Span is of
// the whole file.
// A hint may be empty.
func (r *Reader) Errorf(at Span, hint, format string, args ...any) {
	e := &Error{File: r.name, Line: at.Line, Column: at.Column, Hint: hint, Message: fmt.Sprintf(format, args...)}
	if at.Line > 0 && at.Line <= len(r.lines) {
		e.Excerpt = excerpt(r.lines[at.Line-1], at)
	}
	r.errs = append(r.errs, e)
}

// Result returns the errors in the order of the file, each once, or nil.
func (r *Reader) Result() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return Pos{a.Line, a.Column}.before(Pos{b.Line, b.Column})
	})
	r.errs = slices.CompactFunc(r.errs, func(a, b *Error) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
	return r.errs
}

// Span is a stretch of one source line. The zero Span is no place at all.
type Span struct {
	Pos
	Width int // in characters
}
