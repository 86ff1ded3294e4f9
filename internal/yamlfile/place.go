package yamlfile

import (
	"strings"
	"unicode/utf8"
)

// Place returns where the character with the given byte offset in a string
// node's value stands in the file.
func (r *Reader) Place(n *Node, offset int) Pos {
	s, _ := n.Scalar.(string)
	offset = min(max(offset, 0), len(s))
	target := utf8.RuneCountInString(s[:offset])
	if n.style == block {
		return r.placeInBlock(n, s, offset)
	}
	line, col := n.At.Line, n.At.Column
	if n.style != plain {
		col++
	}
	last := Pos{line, col}
	for count := 0; line >= 1 && line <= len(r.lines); {
		src := []rune(r.lines[line-1])
		i := col - 1
		rest := strings.TrimRight(string(src[min(i, len(src)):]), " \t")
		for end := i + utf8.RuneCountInString(rest); i < end; count++ {
			last = Pos{line, i + 1}
			if count == target {
				return last
			}
			i += advance(src[i:], n.style)
		}
		// A line break and the indentation after it fold into one space, or
		// into as many line breaks as there are empty lines.
		count++
		line++
		for line <= len(r.lines) && strings.TrimSpace(r.lines[line-1]) == "" {
			line++
		}
		if line <= len(r.lines) {
			l := r.lines[line-1]
			col = 1 + len(l) - len(strings.TrimLeft(l, " \t"))
		}
		if count > target {
			break
		}
	}
	return last
}

// advance returns how many characters of source one character of the value
// takes.
func advance(src []rune, s style) int {
	switch {
	case s == singleQuoted && len(src) > 1 && src[0] == '\'' && src[1] == '\'':
		return 2
	case s == doubleQuoted && len(src) > 1 && src[0] == '\\':
		switch src[1] {
		case 'x':
			return 4
		case 'u':
			return 6
		case 'U':
			return 10
		}
		return 2
	}
	return 1
}

// placeInBlock places an offset in a literal or folded block, whose lines
// begin below the line of the indicator. Folded lines are found by their
// length, which is right unless they hold runs of spaces.
func (r *Reader) placeInBlock(n *Node, s string, offset int) Pos {
	line := n.At.Line + 1
	indent := -1
	for i := line; i <= len(r.lines); i++ {
		if l := r.lines[i-1]; strings.TrimSpace(l) != "" {
			indent = len(l) - len(strings.TrimLeft(l, " "))
			break
		}
	}
	if indent < 0 {
		return n.At.Pos
	}
	at := 0
	for ; line <= len(r.lines); line++ {
		l := r.lines[line-1]
		content := l[min(indent, len(l)):]
		if at+len(content) >= offset {
			column := indent + 1 + utf8.RuneCountInString(content[:max(offset-at, 0)])
			return Pos{line, column}
		}
		at += len(content) + 1
	}
	return n.At.Pos
}
