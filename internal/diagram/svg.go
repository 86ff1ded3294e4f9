package diagram

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Measures of the picture in pixels.
const (
	svgMargin  = 20
	svgTitle   = 34
	svgBox     = 48 // height of a box
	svgNotes   = 14 // more where boxes have notes
	svgGap     = 28 // between boxes of a layer
	svgChannel = 56 // between layers
	svgLetter  = 7.3
	svgSmall   = 6.2
	svgStack   = 4 // offset of the boxes behind a foreach
)

const svgStyle = `
  svg { background: #fff; font: 13px ui-sans-serif, system-ui, sans-serif; }
  text { fill: #1b1f24; text-anchor: middle; } .name { font-weight: 600; } .call { fill: #59636e; font-size: 11px; } .title { text-anchor: start; font-size: 14px; font-weight: 600; }
  .box { fill: #f6f8fa; stroke: #0969da; } .edge { fill: none; stroke: #59636e; } .tip { fill: #59636e; } .dashed { stroke-dasharray: 5 4; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .call { fill: #9198a1; }
    .box { fill: #151b23; stroke: #4493f8; } .edge { stroke: #9198a1; } .tip { fill: #9198a1; }
  }
`

// WriteSVG draws the graph from top to bottom: a box for every step, a stack of boxes for a foreach, dashed edges into
// steps that have a condition. The picture suits light and dark pages.
func WriteSVG(w io.Writer, g Graph) error {
	l, err := arrange(g, svgBoxWidth, svgGap)
	if err != nil {
		return err
	}
	high := float64(svgBox)
	for _, n := range g.Nodes {
		if n.Notes != "" {
			high = svgBox + svgNotes
		}
	}
	out := bufio.NewWriter(w)
	width := max(l.width+2*svgMargin+2*svgStack, float64(utf8.RuneCountInString(g.Name))*8+2*svgMargin)
	height := svgTitle + svgMargin + float64(len(l.layers))*(high+svgChannel) - svgChannel + svgMargin
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n",
		width, height, width, height, escape("workflow "+g.Name))
	fmt.Fprintf(out, "<style>%s</style>\n", svgStyle)
	fmt.Fprintf(out, `<text class="title" x="%d" y="26">%s</text>`+"\n", svgMargin, escape(g.Name))
	top := func(layer int) float64 { return svgTitle + svgMargin + float64(layer)*(high+svgChannel) }
	for _, v := range l.vertices {
		for _, b := range v.below {
			l.svgEdge(out, v, l.vertices[b], top, high)
		}
	}
	for _, v := range l.vertices {
		if v.node != nil {
			v.svgBox(out, top(v.layer), high)
		}
	}
	fmt.Fprint(out, "</svg>\n")
	return out.Flush()
}

// svgBoxWidth is how wide the box of n must be for its text.
func svgBoxWidth(n Node) float64 {
	letters := max(float64(utf8.RuneCountInString(n.Name))*svgLetter, float64(max(utf8.RuneCountInString(n.Call), utf8.RuneCountInString(n.Notes)))*svgSmall)
	return max(letters+24, 80)
}

// svgEdge draws the part of an edge between two layers as a curve, with its tip where it reaches a box.
func (l *layout) svgEdge(out io.Writer, from, to vertex, top func(int) float64, high float64) {
	x1, y1 := from.x+svgMargin, top(from.layer)+high
	if from.node == nil {
		y1 -= high / 2
	}
	x2, y2 := to.x+svgMargin, top(to.layer)
	dashed := to.dashed
	tip := ""
	if to.node == nil {
		y2 += high / 2
	} else {
		dashed = to.node.When
		if to.node.Foreach {
			y2 -= 2 * svgStack
		}
		tip = fmt.Sprintf(`<path class="tip" d="M%.1f %.1fl-4 -8h8z"/>`, x2, y2)
		y2 -= 7
	}
	class := "edge"
	if dashed {
		class = "edge dashed"
	}
	mid := (y1 + y2) / 2
	fmt.Fprintf(out, `<path class="%s" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f"/>%s`+"\n", class, x1, y1, x1, mid, x2, mid, x2, y2, tip)
}

// svgBox draws the box of a step at the height top.
func (v vertex) svgBox(out io.Writer, top, high float64) {
	left := v.x - v.width/2 + svgMargin
	class := "box"
	if v.node.When {
		class = "box dashed"
	}
	back := 0
	if v.node.Foreach {
		back = 2
	}
	for i := back; i >= 0; i-- {
		off := float64(i * svgStack)
		fmt.Fprintf(out, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>`, class, left+off, top-off, v.width, high)
	}
	lines := []string{v.node.Name, v.node.Call, v.node.Notes}
	used := 1
	for _, t := range lines[1:] {
		if t != "" {
			used++
		}
	}
	y := top + high/2 + 5 - float64(used-1)*7.5
	for i, t := range lines {
		if t == "" {
			continue
		}
		class := "call"
		if i == 0 {
			class = "name"
		}
		fmt.Fprintf(out, `<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, v.x+svgMargin, y, escape(t))
		y += 15
	}
	fmt.Fprintln(out)
}

// escape makes s safe as XML text and attribute value.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
