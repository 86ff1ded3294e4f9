package diagram

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// TextOptions says what the terminal can show. The zero value is 80 columns of ASCII.
type TextOptions struct {
	Width   int  // columns; a graph that is wider is written as a list; default 80
	Unicode bool // box drawing letters instead of + - |
}

// Directions in which a line leaves a cell.
const (
	up = 1 << iota
	down
	left
	right
)

// lineLetters are the letters for lines by their directions.
var (
	unicodeLines = [16]rune{0: ' ', up: '│', down: '│', up | down: '│', left: '─', right: '─', left | right: '─',
		up | left: '┘', up | right: '└', down | left: '┐', down | right: '┌', up | down | left: '┤', up | down | right: '├',
		up | left | right: '┴', down | left | right: '┬', up | down | left | right: '┼'}
	asciiLines = [16]rune{0: ' ', up: '|', down: '|', up | down: '|', left: '-', right: '-', left | right: '-',
		up | left: '+', up | right: '+', down | left: '+', down | right: '+', up | down | left: '+', up | down | right: '+',
		up | left | right: '+', down | left | right: '+', up | down | left | right: '+'}
)

// WriteText draws the graph with one row of boxes for each layer:
//
//	┌───────┐
//	│ split │
//	└───┬───┘
//	    ▼
//	┌───────┐
//	│ count │×n
//	└───┬───┘
//
// A box says the step and, where that is another, what it calls; ×n marks a foreach and ? a condition. A graph wider
// than the terminal is written as a list of layers, with what each step needs.
func WriteText(w io.Writer, g Graph, opts TextOptions) error {
	if opts.Width <= 0 {
		opts.Width = 80
	}
	l, err := arrange(g, func(n Node) float64 {
		return float64(utf8.RuneCountInString(boxText(n)) + 4 + 2*utf8.RuneCountInString(badge(n, opts.Unicode)))
	}, 2)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if int(math.Ceil(l.width)) > opts.Width {
		l.list(out, g)
	} else {
		l.draw(out, opts)
	}
	return out.Flush()
}

// boxText is the text within a box.
func boxText(n Node) string {
	if n.Call == "" || n.Call == n.Name {
		return n.Name
	}
	return n.Name + ": " + n.Call
}

// badge is the text behind a box.
func badge(n Node, unicode bool) string {
	s := ""
	if n.Foreach {
		s = "xn"
		if unicode {
			s = "×n"
		}
	}
	if n.When {
		s += "?"
	}
	return s
}

// list writes a line for each step, grouped by layer.
func (l *layout) list(out io.Writer, g Graph) {
	needs := map[string][]string{}
	for _, e := range g.Edges {
		needs[e.To] = append(needs[e.To], e.From)
	}
	for i, layer := range l.layers {
		mark := fmt.Sprint(i + 1)
		for _, v := range layer {
			n := l.vertices[v].node
			if n == nil {
				continue
			}
			line := fmt.Sprintf("%3s  %s", mark, boxText(*n))
			if b := badge(*n, false); b != "" {
				line += " " + b
			}
			if from := needs[n.Name]; len(from) > 0 {
				line += "  <- " + strings.Join(from, ", ")
			}
			fmt.Fprintln(out, line)
			mark = ""
		}
	}
}

// canvas is a grid of letters and of lines, which join where they meet.
type canvas struct {
	letters [][]rune
	lines   [][]int
}

// newCanvas makes an empty grid.
func newCanvas(width, height int) *canvas {
	c := &canvas{letters: make([][]rune, height), lines: make([][]int, height)}
	for y := range height {
		c.letters[y] = make([]rune, width)
		c.lines[y] = make([]int, width)
	}
	return c
}

// text writes s at x, y.
func (c *canvas) text(x, y int, s string) {
	for i, r := range []rune(s) {
		if x+i < len(c.letters[y]) {
			c.letters[y][x+i] = r
		}
	}
}

// vertical joins the cells from y1 to y2 at x.
func (c *canvas) vertical(x, y1, y2 int) {
	for y := y1; y < y2; y++ {
		c.lines[y][x] |= down
		c.lines[y+1][x] |= up
	}
}

// horizontal joins the cells between x1 and x2 at y.
func (c *canvas) horizontal(x1, x2, y int) {
	for x := min(x1, x2); x < max(x1, x2); x++ {
		c.lines[y][x] |= right
		c.lines[y][x+1] |= left
	}
}

// track is the horizontal part of all edges that leave one vertex towards the next layer.
type track struct {
	from     int // number of vertex
	low, top int // the columns it covers
	row      int
}

// tracks gives each vertex of a layer whose edges bend a row of its own wherever it would touch another's.
func (l *layout) tracks(layer []int, column func(int) int) (all []track, rows int) {
	for _, v := range layer {
		t := track{from: v, low: column(v), top: column(v)}
		for _, b := range l.vertices[v].below {
			t.low, t.top = min(t.low, column(b)), max(t.top, column(b))
		}
		if len(l.vertices[v].below) == 0 {
			continue
		}
		if t.low < t.top {
			for slices.ContainsFunc(all, func(o track) bool { return o.row == t.row && l.touch(o, t, column) }) {
				t.row++
			}
			rows = max(rows, t.row+1)
		}
		all = append(all, t)
	}
	return all, rows
}

// touch reports whether two tracks in one row would be taken for one. They may meet at their ends above a vertex that
// both lead to.
func (l *layout) touch(a, b track, column func(int) int) bool {
	switch {
	case a.low == a.top || a.top < b.low || b.top < a.low:
		return false
	case a.top != b.low && b.top != a.low:
		return true
	}
	return !slices.ContainsFunc(l.vertices[a.from].below, func(v int) bool {
		return (column(v) == a.top || column(v) == a.low) && slices.Contains(l.vertices[b.from].below, v)
	})
}

// draw paints boxes and edges. Each layer takes three rows; below it there is one row for every track and one for tips.
func (l *layout) draw(out io.Writer, opts TextOptions) {
	column := func(v int) int { return int(math.Round(l.vertices[v].x)) }
	lines, tip := asciiLines, 'v'
	if opts.Unicode {
		lines, tip = unicodeLines, '▼'
	}
	tops := make([]int, len(l.layers)+1)
	tracksOf := make([][]track, len(l.layers))
	for i, layer := range l.layers {
		rows := 0
		tracksOf[i], rows = l.tracks(layer, column)
		tops[i+1] = tops[i] + 3 + rows
		if i+1 < len(l.layers) {
			tops[i+1]++
		}
	}
	c := newCanvas(int(math.Ceil(l.width))+2, tops[len(l.layers)])
	for i, layer := range l.layers {
		for _, v := range layer {
			if n := l.vertices[v].node; n != nil {
				c.box(column(v), tops[i], *n, opts.Unicode)
			} else {
				c.vertical(column(v), tops[i]-1, tops[i]+2)
			}
		}
		for _, t := range tracksOf[i] {
			y := tops[i] + 3 + t.row
			c.vertical(column(t.from), tops[i]+2, y)
			c.horizontal(t.low, t.top, y)
			for _, b := range l.vertices[t.from].below {
				end := tops[i+1] - 1
				c.vertical(column(b), y, end)
				if l.vertices[b].node != nil {
					c.letters[end][column(b)] = tip
				}
			}
		}
	}
	for y := range c.letters {
		var line strings.Builder
		for x, r := range c.letters[y] {
			if r == 0 {
				r = lines[c.lines[y][x]]
			}
			line.WriteRune(r)
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

// box draws the box of a step around the column centre.
func (c *canvas) box(centre, y int, n Node, unicode bool) {
	text := boxText(n)
	x1 := centre - (utf8.RuneCountInString(text)+4)/2
	x2 := x1 + utf8.RuneCountInString(text) + 3
	c.horizontal(x1, x2, y)
	c.horizontal(x1, x2, y+2)
	c.vertical(x1, y, y+2)
	c.vertical(x2, y, y+2)
	c.text(x1+2, y+1, text)
	c.text(x2+1, y+1, badge(n, unicode))
}
