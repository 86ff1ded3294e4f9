package telemetry

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Measures of the picture in pixels.
const (
	svgWidth     = 1080
	svgMargin    = 16
	svgHead      = 56  // title and axis
	svgTall      = 20  // a row among few
	svgLow       = 8   // a row among more than svgFewRows
	svgFewRows   = 80  // up to here every row is labelled
	svgMaxLabel  = 240 // widest column of labels
	svgDuration  = 64  // column of durations on the right
	svgLetters   = 35  // that fit into it
	svgPerLetter = 6.7 // width of one
)

// svgStyle has one palette for light and one for dark surroundings. Hosts take the eight hues in turn.
const svgStyle = `
  svg { background: #fff; font: 12px ui-sans-serif, system-ui, sans-serif; }
  text { fill: #1b1f24; } .dim { fill: #59636e; } .grid { stroke: #d8dee4; } .stripe { fill: #f6f8fa; }
  .wait { fill: #d8dee4; } .bad { fill: #cf222e; } .node { fill: #8c959f; }
  .h0 { fill: #0969da; } .h1 { fill: #1a7f37; } .h2 { fill: #bf8700; } .h3 { fill: #8250df; }
  .h4 { fill: #1b7c83; } .h5 { fill: #bc4c00; } .h6 { fill: #bf3989; } .h7 { fill: #57606a; }
  .module { stroke: #1b1f24; stroke-width: 2; } .put { fill: #1b1f24; } .take { fill: #fff; stroke: #1b1f24; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #e6edf3; } .dim { fill: #9198a1; } .grid { stroke: #30363d; } .stripe { fill: #151b23; }
    .wait { fill: #3d444d; } .bad { fill: #f85149; } .node { fill: #656c76; }
    .h0 { fill: #4493f8; } .h1 { fill: #3fb950; } .h2 { fill: #d29922; } .h3 { fill: #ab7df8; }
    .h4 { fill: #39c5cf; } .h5 { fill: #db6d28; } .h6 { fill: #db61a2; } .h7 { fill: #9198a1; }
    .module { stroke: #e6edf3; } .put { fill: #e6edf3; } .take { fill: #0d1117; stroke: #e6edf3; }
  }
`

// WriteSVG draws the trace as a Gantt picture: a bar for every step and item, from ready to done; its attempts in
// the colour of their domain host, failed ones in red; ticks where a module was loaded; marks where buffers were put
// (full) and taken (hollow). Pointing at anything shows its figures. The picture suits light and dark pages.
func WriteSVG(w io.Writer, t *Trace) error {
	g := newGantt(w, t)
	g.head()
	for i, r := range g.rows {
		g.row(i, r)
	}
	g.legend()
	g.printf("</svg>\n")
	return g.out.Flush()
}

// gantt is a picture being drawn. Errors of the writer surface at the last flush.
type gantt struct {
	out    *bufio.Writer
	trace  *Trace
	rows   []row
	hosts  []string
	number map[string]int // of hosts
	end    time.Duration
	left   float64 // where time 0 is
	scale  float64 // pixels per nanosecond
	high   int     // of a row
}

// newGantt measures the picture of t.
func newGantt(w io.Writer, t *Trace) *gantt {
	g := &gantt{out: bufio.NewWriter(w), trace: t, rows: rows(t), end: max(t.Duration(), 1), high: svgTall}
	g.hosts, g.number = hosts(t)
	if len(g.rows) > svgFewRows {
		g.high = svgLow
	}
	widest := 0
	for _, r := range g.rows {
		widest = max(widest, len([]rune(r.label)))
	}
	g.left = svgMargin + min(float64(widest)*svgPerLetter, svgMaxLabel) + 10
	g.scale = (svgWidth - svgMargin - svgDuration - g.left) / float64(g.end)
	return g
}

func (g *gantt) printf(format string, args ...any) { fmt.Fprintf(g.out, format, args...) }

// x is where d is on the time axis.
func (g *gantt) x(d time.Duration) float64 { return g.left + float64(d)*g.scale }

// head opens the picture: title, axis and grid.
func (g *gantt) head() {
	bottom := svgHead + len(g.rows)*g.high
	height := bottom + 36
	g.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		svgWidth, height, svgWidth, height, escape("timeline of run "+g.trace.Run))
	g.printf("<style>%s</style>\n", svgStyle)
	g.printf(`<text x="%d" y="22" font-size="14" font-weight="600">%s</text>`+"\n", svgMargin, escape("run "+g.trace.Run))
	facts := fmt.Sprintf("%s · %d rows · %s", FormatDuration(g.trace.Duration()), len(g.rows), count(len(g.hosts), "host"))
	g.printf(`<text x="%d" y="22" class="dim" text-anchor="end">%s</text>`+"\n", svgWidth-svgMargin, escape(facts))
	at, labels := axis(g.end, 8)
	for i, d := range at {
		g.printf(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, g.x(d), g.x(d), svgHead-6, bottom)
		g.printf(`<text class="dim" x="%.1f" y="%d" text-anchor="middle" font-size="11">%s</text>`+"\n", g.x(d), svgHead-12, labels[i])
	}
}

// row draws row number i.
func (g *gantt) row(i int, r row) {
	y := svgHead + i*g.high
	bar := g.high - max(g.high/4, 1)
	if i%2 == 1 && g.high == svgTall {
		g.printf(`<rect class="stripe" x="%d" y="%d" width="%d" height="%d"/>`, svgMargin, y, svgWidth-2*svgMargin, g.high)
	}
	if g.high == svgTall {
		g.printf(`<text x="%d" y="%d">%s</text>`, svgMargin, y+14, escape(clip(r.label, svgLetters)))
		g.printf(`<text class="dim" x="%d" y="%d" text-anchor="end" font-size="11">%s</text>`+"\n", svgWidth-svgMargin, y+14, FormatDuration(r.whole.Duration()))
	}
	top := y + (g.high-bar)/2
	class := "wait"
	if len(r.calls) == 0 && r.failed() {
		class = "bad"
	}
	g.bar(r.whole, class, top, bar)
	for _, c := range r.calls {
		class := "node"
		if n, ok := g.number[c.Host]; ok {
			class = fmt.Sprintf("h%d", n%8)
		}
		if c.Attr("error") != "" {
			class = "bad"
		}
		g.bar(c, class, top, bar)
	}
	for _, m := range r.marks {
		g.mark(m, top, bar)
	}
}

// bar draws a span as a rectangle, never narrower than can be seen.
func (g *gantt) bar(s Span, class string, top, high int) {
	g.printf(`<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>%s</title></rect>`+"\n",
		class, g.x(s.Start), top, max(float64(s.Duration())*g.scale, 1.5), high, escape(describe(s)))
}

// mark draws a module as a tick and a put or take as a circle, at its start.
func (g *gantt) mark(s Span, top, high int) {
	x := g.x(s.Start)
	switch s.Kind {
	case KindModule:
		g.printf(`<line class="module" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s</title></line>`+"\n", x, x, top-1, top+high/2, escape(describe(s)))
	case KindPut, KindTake:
		g.printf(`<circle class="%s" cx="%.1f" cy="%d" r="%d"><title>%s</title></circle>`+"\n", s.Kind, x, top+high*3/4, max(high/5, 1), escape(describe(s)))
	}
}

// legend explains the colours and marks under the rows.
func (g *gantt) legend() {
	y := svgHead + len(g.rows)*g.high + 22
	x := float64(svgMargin)
	entry := func(shape, text string) {
		g.printf(`<g transform="translate(%.0f %d)">%s<text x="16" y="0" class="dim" font-size="11">%s</text></g>`+"\n", x, y, shape, escape(text))
		x += 28 + float64(len([]rune(text)))*svgPerLetter
	}
	entry(`<rect class="wait" y="-9" width="11" height="11" rx="2"/>`, "waiting")
	for i, h := range g.hosts[:min(len(g.hosts), 8)] {
		entry(fmt.Sprintf(`<rect class="h%d" y="-9" width="11" height="11" rx="2"/>`, i), h)
	}
	entry(`<rect class="bad" y="-9" width="11" height="11" rx="2"/>`, "failed")
	entry(`<line class="module" x1="5" x2="5" y1="-9" y2="2"/>`, "module loaded")
	entry(`<circle class="put" cx="5" cy="-4" r="3"/>`, "put")
	entry(`<circle class="take" cx="5" cy="-4" r="3"/>`, "take")
}

// escape makes s safe as XML text and attribute value.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// clip shortens s to n letters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// count writes "1 host", "3 hosts".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
