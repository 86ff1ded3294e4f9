package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// tableWidth is where tables on stdout wrap: at the terminal's edge, and not at all for what reads lines.
func (sh *shell) tableWidth() int {
	if !sh.outStyle.live {
		return math.MaxInt32
	}
	return sh.width
}

// cell is one field of a table.
type cell struct {
	text string
	ink  ink
}

// table is rows under a heading. All tables of the commands are drawn by it.
type table struct {
	heading []string
	rows    [][]cell
	facts   bool // a list of names and values: the heading is its first row
}

// add appends a row of plain cells.
func (t *table) add(texts ...string) {
	row := make([]cell, len(texts))
	for i, s := range texts {
		row[i] = cell{text: s}
	}
	t.rows = append(t.rows, row)
}

// write draws the table: columns as wide as their longest cell and two spaces apart; the last column wraps at width.
func (t *table) write(w io.Writer, st style, width int) error {
	widths := make([]int, len(t.heading))
	for i, h := range t.heading {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	last := len(t.heading) - 1
	indent := 0
	for _, n := range widths[:last] {
		indent += n + 2
	}
	var b strings.Builder
	heading := make([]cell, len(t.heading))
	for i, h := range t.heading {
		heading[i] = cell{strings.ToUpper(h), dim}
		if t.facts {
			heading[i] = cell{text: h}
		}
	}
	for _, row := range append([][]cell{heading}, t.rows...) {
		if t.facts {
			row = append([]cell{{row[0].text, dim}}, row[1:]...)
		}
		for i, c := range row[:len(row)-1] {
			b.WriteString(st.paint(c.ink, c.text))
			b.WriteString(strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(c.text)))
		}
		c := row[len(row)-1]
		for i, part := range wrap(c.text, max(width-indent, 24)) {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", indent))
			}
			b.WriteString(st.paint(c.ink, part))
			b.WriteByte('\n')
		}
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
	}
	return nil
}

// wrap breaks s at spaces into lines of at most width letters; a longer word has a line of its own.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
