package telemetry

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// TextOptions says what the terminal can show. The zero value is 80 columns of ASCII.
type TextOptions struct {
	Width   int  // columns, default 80
	Unicode bool // block letters instead of # and =
	Rows    int  // more rows than this are merged by step, default 40
}

// EnsureDefaults fills in what is zero.
func (o *TextOptions) EnsureDefaults() {
	if o.Width <= 0 {
		o.Width = 80
	}
	o.Width = max(o.Width, 40)
	if o.Rows <= 0 {
		o.Rows = 40
	}
}

// inks are the letters of a timeline.
type inks struct {
	wait, work, bad, edge string
	shades                []string // from few to many attempts at a time
}

var (
	asciiInks   = inks{wait: ".", work: "#", bad: "x", edge: "|", shades: []string{"-", "=", "#"}}
	unicodeInks = inks{wait: "·", work: "█", bad: "✗", edge: "│", shades: []string{"░", "▒", "▓", "█"}}
)

// WriteText draws the trace for a terminal: one line per step or item with its bar and duration, and an axis.
//
//	split     |###                 |  12.1 ms
//	count[0]  |...##########       |  40.2 ms
//	merge     |             .##### |  19.8 ms
//	          0                  80.0 ms
//
// Dots are waiting, a cross is a failed attempt. When there are too many rows the items of a step share one, shaded by
// how many ran at a time.
func WriteText(w io.Writer, t *Trace, opts TextOptions) error {
	opts.EnsureDefaults()
	ink := asciiInks
	if opts.Unicode {
		ink = unicodeInks
	}
	out := bufio.NewWriter(w)
	lines := textLines(t, opts.Rows)
	label := 0
	for _, l := range lines {
		label = max(label, utf8.RuneCountInString(l.label))
	}
	label = min(label, opts.Width/3)
	const durationWidth = 9
	cells := opts.Width - label - durationWidth - 6
	end := max(t.Duration(), 1)
	for _, l := range lines {
		name := clip(l.label, label)
		if !opts.Unicode {
			name = strings.ReplaceAll(name, "×", "x")
		}
		name += strings.Repeat(" ", label-utf8.RuneCountInString(name))
		fmt.Fprintf(out, "%s  %s%s%s  %s\n", name, ink.edge, l.bar(cells, end, ink), ink.edge, asciiUnit(FormatDuration(l.hull()), opts.Unicode))
	}
	total := asciiUnit(FormatDuration(t.Duration()), opts.Unicode)
	fmt.Fprintf(out, "%s  0%*s\n", strings.Repeat(" ", label), cells+1+len(total)-utf8.RuneCountInString(total), total)
	return out.Flush()
}

// asciiUnit spells microseconds without their letter mu.
func asciiUnit(s string, unicode bool) string {
	if unicode {
		return s
	}
	return strings.Replace(s, "µ", "u", 1)
}

// line is a line of the timeline: one row, or all items of a step.
type line struct {
	label string
	rows  []row
}

// textLines merges the items of each foreach when there would be more than most lines.
func textLines(t *Trace, most int) []line {
	all := rows(t)
	var lines []line
	for _, r := range all {
		last := len(lines) - 1
		if len(all) > most && last >= 0 && r.index != NoIndex && lines[last].rows[0].step == r.step && lines[last].rows[0].index != NoIndex {
			lines[last].rows = append(lines[last].rows, r)
			lines[last].label = fmt.Sprintf("%s ×%d", r.step, len(lines[last].rows))
			continue
		}
		lines = append(lines, line{r.label, []row{r}})
	}
	return lines
}

// hull is the time from the first start to the last end of the line.
func (l line) hull() time.Duration {
	start, end := l.rows[0].whole.Start, l.rows[0].whole.End
	for _, r := range l.rows[1:] {
		start, end = min(start, r.whole.Start), max(end, r.whole.End)
	}
	return end - start
}

// bar draws the line into so many cells, which stand for the time until end.
func (l line) bar(cells int, end time.Duration, ink inks) string {
	cell := func(d time.Duration) int {
		return min(int(float64(d)/float64(end)*float64(cells)), cells-1)
	}
	working := make([]int, cells)
	drawn := slices.Repeat([]string{" "}, cells)
	for _, r := range l.rows {
		for c := cell(r.whole.Start); c <= cell(r.whole.End); c++ {
			drawn[c] = ink.wait
		}
		for _, s := range r.calls {
			for c := cell(s.Start); c <= max(cell(s.End-1), cell(s.Start)); c++ {
				working[c]++
			}
		}
	}
	most := slices.Max(working)
	for c, n := range working {
		switch {
		case n == 0:
		case len(l.rows) == 1:
			drawn[c] = ink.work
		default:
			drawn[c] = ink.shades[(n*len(ink.shades)-1)/most]
		}
	}
	for _, r := range l.rows {
		for _, s := range r.calls {
			if s.Attr("error") != "" {
				drawn[cell(s.End)] = ink.bad
			}
		}
	}
	return strings.Join(drawn, "")
}
