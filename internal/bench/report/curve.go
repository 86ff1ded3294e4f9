package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/weft-run/weft/internal/bench/load"
)

// Curve is latency against throughput, of one subject under one variant: a point for each rate at which requests were sent.
type Curve struct {
	Subject string       `json:"subject"`
	Variant string       `json:"variant"`
	Points  []CurvePoint `json:"points"`
}

// CurvePoint is what came of one rate. Latencies are in milliseconds, from the intended time of sending.
type CurvePoint struct {
	Offered  float64 `json:"offered"`  // requests a second
	Achieved float64 `json:"achieved"` // answers a second, the mean of the rounds
	N        int     `json:"n"`        // answers
	Refused  int     `json:"refused"`  // requests that the server has refused for it had too many
	Opened   int     `json:"opened"`   // connections, at most
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`

	latencies []float64
	rates     []float64
}

// Add adds a round at a rate.
func (c *Curve) Add(rate float64, done load.Done) {
	i := slices.IndexFunc(c.Points, func(p CurvePoint) bool { return p.Offered == rate })
	if i < 0 {
		c.Points = append(c.Points, CurvePoint{Offered: rate})
		i = len(c.Points) - 1
	}
	p := &c.Points[i]
	p.N += len(done.Latencies)
	p.Refused += done.Refused
	p.Opened = max(p.Opened, done.Opened)
	p.rates = append(p.rates, done.Rate())
	for _, took := range done.Latencies {
		p.latencies = append(p.latencies, float64(took)/float64(time.Millisecond))
	}
}

// SumUp computes what the points say.
func (c *Curve) SumUp() {
	slices.SortFunc(c.Points, func(a, b CurvePoint) int { return int(math.Copysign(1, a.Offered-b.Offered)) })
	for i := range c.Points {
		p := &c.Points[i]
		p.Achieved = 0
		for _, r := range p.rates {
			p.Achieved += r / float64(len(p.rates))
		}
		if len(p.latencies) > 0 {
			slices.Sort(p.latencies)
			p.P50, p.P90, p.P99 = nearestRank(p.latencies, 50), nearestRank(p.latencies, 90), nearestRank(p.latencies, 99)
		}
	}
}

// curvesTable writes the curves for people.
func (r *Report) curvesTable(b *bytes.Buffer) {
	lines := [][]string{{"subject", "variant", "offered", "achieved", "p50 ms", "p90 ms", "p99 ms", "n", "refused", "connections"}}
	for _, c := range r.Curves {
		for _, p := range c.Points {
			lines = append(lines, []string{c.Subject, c.Variant, number(p.Offered), number(p.Achieved), number(p.P50), number(p.P90), number(p.P99), strconv.Itoa(p.N), strconv.Itoa(p.Refused), strconv.Itoa(p.Opened)})
		}
	}
	align(b, lines, 2)
	fmt.Fprintln(b)
}

// CurvesCSV writes a header and one record a point.
func (r *Report) CurvesCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"subject", "variant", "offered", "achieved", "p50_ms", "p90_ms", "p99_ms", "n", "refused", "connections"}); err != nil {
		return err
	}
	exact := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, curve := range r.Curves {
		for _, p := range curve.Points {
			if err := c.Write([]string{curve.Subject, curve.Variant, exact(p.Offered), exact(p.Achieved), exact(p.P50), exact(p.P90), exact(p.P99), strconv.Itoa(p.N), strconv.Itoa(p.Refused), strconv.Itoa(p.Opened)}); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// lineColors are those of the variants of a subject, in their order.
var lineColors = []color.Color{color.RGBA{0x3f, 0x74, 0xb5, 0xff}, color.RGBA{0xd9, 0xa5, 0x5c, 0xff}, color.RGBA{0x5b, 0xa3, 0x6b, 0xff}, color.RGBA{0xb0, 0x4a, 0x4a, 0xff}, color.Gray{120}}

// CurvesPlot writes the curves as an SVG picture: a panel for each subject, in it a line for each variant through its medians, with whiskers up to the
// p90, against the answers a second.
func (r *Report) CurvesPlot(w io.Writer) error {
	var subjects []string
	for _, c := range r.Curves {
		if !slices.Contains(subjects, c.Subject) {
			subjects = append(subjects, c.Subject)
		}
	}
	const panelTall = 3 * vg.Inch
	columns := min(2, len(subjects))
	rows := (len(subjects) + columns - 1) / columns
	canvas := vgsvg.New(vg.Length(columns)*panelWidth+2*plotMargin, vg.Length(rows)*panelTall+titleHeight+2*plotMargin)
	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	r.title(c)
	for i, subject := range subjects {
		left, top := c.Min.X+plotMargin+vg.Length(i%columns)*panelWidth, c.Max.Y-plotMargin-titleHeight-vg.Length(i/columns)*panelTall
		p, err := r.curvesPanel(subject)
		if err != nil {
			return fmt.Errorf("plot %s: %w", subject, err)
		}
		p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: left, Y: top - panelTall + plotMargin}, Max: vg.Point{X: left + panelWidth - plotMargin, Y: top}}})
	}
	_, err := canvas.WriteTo(w)
	return err
}

// curvesPanel draws one subject.
func (r *Report) curvesPanel(subject string) (*plot.Plot, error) {
	pl := plot.New()
	pl.Title.Text, pl.X.Label.Text, pl.Y.Label.Text = subject, "answers a second", "ms: median, whisker to the p90"
	pl.Title.TextStyle.Font = font.From(sans, 10)
	for _, axis := range []*plot.Axis{&pl.X, &pl.Y} {
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = font.From(sans, 8), font.From(sans, 7)
		axis.Tick.Marker, axis.Min = plainTicks{}, 0
	}
	pl.Legend.TextStyle.Font, pl.Legend.Top, pl.Legend.Left = font.From(sans, 8), true, true
	n := 0
	for _, c := range r.Curves {
		if c.Subject != subject || len(c.Points) == 0 {
			continue
		}
		at := struct {
			plotter.XYs
			plotter.YErrors
		}{make(plotter.XYs, len(c.Points)), make(plotter.YErrors, len(c.Points))}
		for i, p := range c.Points {
			at.XYs[i].X, at.XYs[i].Y = p.Achieved, p.P50
			at.YErrors[i].High = p.P90 - p.P50
		}
		line, dots, err := plotter.NewLinePoints(at.XYs)
		if err != nil {
			return nil, err
		}
		whiskers, err := plotter.NewYErrorBars(at)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, whiskers.Color = lineColors[n%len(lineColors)], lineColors[n%len(lineColors)], color.Gray{60}
		dots.Shape, dots.Radius = draw.CircleGlyph{}, 2
		n++
		pl.Add(line, dots, whiskers)
		pl.Legend.Add(c.Variant, line, dots)
	}
	pl.X.Min, pl.Y.Min = 0, 0
	return pl, nil
}
