package report

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes of the plot. Panels stand in two columns, as high as their bars need.
const (
	panelWidth  = 5.6 * vg.Inch
	barPitch    = 17 * vg.Length(1)
	barWidth    = 11 * vg.Length(1)
	panelFrame  = 62 * vg.Length(1) // title, axis and its label
	plotMargin  = 10 * vg.Length(1)
	titleHeight = 40 * vg.Length(1)
	// logRange is the ratio of the largest value to the smallest from which on a panel's axis is logarithmic.
	logRange = 20
)

// sans is the typeface of all text.
var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// Plot writes the report as an SVG picture: a panel for each measure, in it a bar for each variant's median, a whisker from there to the p99
// and the median as a number. The axis is logarithmic where a linear one would hide the small bars.
func (r *Report) Plot(w io.Writer) error {
	panels := r.panels()
	columns := min(2, len(panels))
	var rows [][]panel
	height := titleHeight + 2*plotMargin
	for row := range slices.Chunk(panels, columns) {
		rows = append(rows, row)
		height += rowHeight(row)
	}
	width := vg.Length(columns)*panelWidth + 2*plotMargin
	canvas := vgsvg.New(width, height)
	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	r.title(c)
	top := c.Max.Y - plotMargin - titleHeight
	for _, row := range rows {
		for i, p := range row {
			left := c.Min.X + plotMargin + vg.Length(i)*panelWidth
			area := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: left, Y: top - p.height()},
				Max: vg.Point{X: left + panelWidth - plotMargin, Y: top},
			}}
			p.plot().Draw(area)
		}
		top -= rowHeight(row)
	}
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("plot %s: %w", r.Experiment, err)
	}
	return nil
}

// title writes the experiment's name and the machine across the top.
func (r *Report) title(c draw.Canvas) {
	style := func(size font.Length) draw.TextStyle {
		return draw.TextStyle{Color: color.Black, Font: font.From(sans, size), Handler: text.Plain{Fonts: font.DefaultCache}, YAlign: draw.YTop}
	}
	at := vg.Point{X: c.Min.X + plotMargin, Y: c.Max.Y - plotMargin}
	c.FillText(style(14), at, r.Experiment+": "+r.Description)
	at.Y -= 19
	machine := style(8)
	machine.Color = color.Gray{90}
	line := r.Machine.String() + "; bar: median, whisker: p99"
	if r.Interrupted != "" {
		line += "; interrupted " + r.Interrupted
	}
	c.FillText(machine, at, line)
}

// panel is one measure of a report.
type panel struct {
	measure, unit string
	rows          []Row
}

// panels groups the rows by measure.
func (r *Report) panels() []panel {
	var panels []panel
	for _, row := range r.Rows {
		if n := len(panels); n == 0 || panels[n-1].measure != row.Measure {
			panels = append(panels, panel{measure: row.Measure, unit: row.Unit})
		}
		p := &panels[len(panels)-1]
		p.rows = append(p.rows, row)
	}
	return panels
}

func (p panel) height() vg.Length { return panelFrame + vg.Length(len(p.rows))*barPitch }

// rowHeight is that of the highest panel in a row.
func rowHeight(row []panel) vg.Length {
	highest := vg.Length(0)
	for _, p := range row {
		highest = max(highest, p.height())
	}
	return highest + plotMargin
}

// plot lays the panel out, the first variant on top.
func (p panel) plot() *plot.Plot {
	pl := plot.New()
	pl.Title.Text = p.measure
	pl.Title.TextStyle.Font = font.From(sans, 10)
	pl.X.Label.Text = p.unit
	pl.X.Label.TextStyle.Font = font.From(sans, 8)
	pl.X.Tick.Label.Font = font.From(sans, 7)
	names := make([]string, len(p.rows))
	for i, row := range p.rows {
		names[len(names)-1-i] = row.Variant
	}
	b := bars{rows: p.rows}
	b.low, b.high, b.log = p.scale()
	pl.Add(b)
	pl.NominalY(names...)
	pl.Y.Tick.Label.Font = font.From(sans, 8)
	pl.Y.Padding = vg.Points(6)
	pl.Y.Min, pl.Y.Max = -0.5, float64(len(names))-0.5
	pl.X.Min, pl.X.Max = b.low, b.high
	pl.X.Tick.Marker = plainTicks{}
	if b.log {
		pl.X.Scale = plot.LogScale{}
		pl.X.Tick.Marker = decades{}
		pl.X.Label.Text += ", logarithmic"
	}
	return pl
}

// scale chooses the axis: whole decades around the values when they spread widely, otherwise from zero.
func (p panel) scale() (low, high float64, log bool) {
	low, high = math.Inf(1), 0
	for _, row := range p.rows {
		if row.Median > 0 {
			low = min(low, row.Median)
		}
		high = max(high, row.P99, row.Median)
	}
	if high <= 0 {
		return 0, 1, false
	}
	if high/low < logRange {
		return 0, high * 1.12, false // room for the number beside the longest bar
	}
	return math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.5))), true
}

// bars draws the medians as horizontal bars with whiskers to the p99.
type bars struct {
	rows      []Row
	low, high float64
	log       bool
}

var (
	_ plot.Plotter    = bars{}
	_ plot.DataRanger = bars{}
)

// DataRange is called by gonum/plot when the bars are added.
func (b bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	return b.low, b.high, -0.5, float64(len(b.rows)) - 0.5
}

// Plot is called by gonum/plot to draw the bars.
func (b bars) Plot(c draw.Canvas, pl *plot.Plot) {
	x, y := pl.Transforms(&c)
	label := pl.X.Tick.Label
	label.XAlign, label.YAlign = draw.XLeft, draw.YCenter
	whisker := draw.LineStyle{Color: color.Gray{60}, Width: 0.8}
	for i, row := range b.rows {
		middle := y(float64(len(b.rows) - 1 - i))
		from, to := x(b.low), x(max(row.Median, b.low))
		c.FillPolygon(variantColor(row.Variant), []vg.Point{
			{X: from, Y: middle - barWidth/2}, {X: to, Y: middle - barWidth/2}, {X: to, Y: middle + barWidth/2}, {X: from, Y: middle + barWidth/2},
		})
		end := x(max(row.P99, b.low))
		c.StrokeLine2(whisker, to, middle, end, middle)
		c.StrokeLine2(whisker, end, middle-barWidth/4, end, middle+barWidth/4)
		c.FillText(label, vg.Point{X: max(to, end) + 3, Y: middle}, number(row.Median))
	}
}

// plainTicks labels the usual ticks without exponents and without zeros behind the point.
type plainTicks struct{}

// Ticks is called by gonum/plot for the axis from low to high.
func (plainTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if !ticks[i].IsMinor() {
			ticks[i].Label = strconv.FormatFloat(math.Round(ticks[i].Value*1e6)/1e6, 'f', -1, 64)
		}
	}
	return ticks
}

// decades marks the powers of ten, with short ticks between them.
type decades struct{}

// Ticks is called by gonum/plot for the axis from low to high.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for d := math.Floor(math.Log10(low)); d <= math.Ceil(math.Log10(high)); d++ {
		base := math.Pow(10, d)
		label := fmt.Sprintf("%.0f", base)
		if d < 0 {
			label = fmt.Sprintf("%.*f", int(-d), base)
		}
		ticks = append(ticks, plot.Tick{Value: base, Label: label})
		for m := 2.0; m < 10; m++ {
			ticks = append(ticks, plot.Tick{Value: m * base})
		}
	}
	return slices.DeleteFunc(ticks, func(t plot.Tick) bool { return t.Value < low || t.Value > high })
}

// variantColor gives a variant the same colour in every picture: blue for weft's own policies, green for the limit, sand for the policies
// that weft keeps to be compared with, grey for everything that is not weft.
func variantColor(variant string) color.Color {
	first, _, _ := strings.Cut(variant, "-")
	switch {
	case variant == "limit" || variant == "resident":
		return color.RGBA{0x5b, 0xa3, 0x6b, 0xff}
	case strings.Contains(variant, "eager") || strings.HasPrefix(variant, "file"):
		return color.RGBA{0xd9, 0xa5, 0x5c, 0xff}
	case first == "lazy" || strings.HasPrefix(first, "reference"):
		return color.RGBA{0x3f, 0x74, 0xb5, 0xff}
	}
	return color.RGBA{0xa0, 0xa0, 0xa0, 0xff}
}
