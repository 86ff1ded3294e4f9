package yamlfile

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxRendered bounds how many errors Errors.Error writes out. The slice
// itself holds all of them.
const maxRendered = 50

// maxExcerpt is the number of characters of a source line that an excerpt
// shows. A longer line is cut on both sides of the fault.
const maxExcerpt = 100

// Pos is a place in a file. Lines and columns count from one, columns
// in characters. The zero Pos is no place at all.
type Pos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// before orders positions as they stand in the file.
func (p Pos) before(q Pos) int {
	if p.Line != q.Line {
		return p.Line - q.Line
	}
	return p.Column - q.Column
}

// Error is one thing that is wrong with a file. Line is zero when the
// fault is with the file as a whole, which then has no excerpt either.
type Error struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`           // what is wrong: lower case, no full stop
	Hint    string `json:"hint,omitempty"`    // what to do about it
	Excerpt string `json:"excerpt,omitempty"` // the source line, and below it a caret
}

// Error returns place and message in one line, as compilers print them:
//
//	weft.yaml:12:7: unknown key "neeeds" in step count
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Render returns the error with its excerpt and its hint, over several lines:
//
//	weft.yaml:12:7: unknown key "neeeds" in step count
//	   12 |       neeeds: [split]
//	      |       ^^^^^^
//	hint: did you mean "needs"?
func (e *Error) Render() string {
	var b strings.Builder
	b.WriteString(e.Error())
	if e.Excerpt != "" {
		b.WriteByte('\n')
		b.WriteString(e.Excerpt)
	}
	if e.Hint != "" {
		b.WriteString("\nhint: ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Errors is everything that is wrong with a file, in the order of the
// file. It encodes to JSON as a list of objects.
type Errors []*Error

// Error renders the errors for a person to read, one after the other.
func (es Errors) Error() string {
	var parts []string
	for i, e := range es {
		if i == maxRendered {
			parts = append(parts, fmt.Sprintf("and %d more errors", len(es)-i))
			break
		}
		parts = append(parts, e.Render())
	}
	return strings.Join(parts, "\n")
}

// Unwrap lets errors.As find the single errors.
func (es Errors) Unwrap() []error {
	list := make([]error, len(es))
	for i, e := range es {
		list[i] = e
	}
	return list
}

// excerpt draws line with carets below the span. Tabs become spaces and
// control characters a replacement, so that the carets stand where they
// should whatever the terminal does.
func excerpt(line string, at Span) string {
	text := []rune(strings.TrimRight(line, "\r\n"))
	for i, c := range text {
		if c == '\t' {
			text[i] = ' '
		} else if c < ' ' || c == 0x7f || c == utf8.RuneError {
			text[i] = '\uFFFD'
		}
	}
	col := min(max(at.Column-1, 0), len(text))
	width := min(max(at.Width, 1), max(len(text)-col, 1))
	from := 0
	if col > maxExcerpt-20 {
		from = col - 20
	}
	cut := text[from:]
	before, after := "", ""
	if from > 0 {
		before = "…"
	}
	if len(cut) > maxExcerpt {
		cut, after = cut[:maxExcerpt], "…"
		width = min(width, maxExcerpt-(col-from))
	}
	margin := fmt.Sprintf("%5d | ", at.Line)
	blank := strings.Repeat(" ", len(margin)-2) + "| "
	indent := strings.Repeat(" ", col-from+len([]rune(before)))
	return margin + before + string(cut) + after + "\n" + blank + indent + strings.Repeat("^", width)
}
