package report

import (
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/load"
)

func TestCurve(t *testing.T) {
	c := &Curve{Subject: "s", Variant: "v"}
	for _, rate := range []float64{20, 10, 20} {
		d := load.Done{Took: time.Second, Opened: int(rate), Refused: 1}
		for i := range 10 {
			d.Latencies = append(d.Latencies, time.Duration(i+1)*time.Millisecond)
		}
		c.Add(rate, d)
	}
	c.SumUp()
	if len(c.Points) != 2 || c.Points[0].Offered != 10 {
		t.Fatalf("got %+v", c.Points)
	}
	p := c.Points[1]
	if p.Offered != 20 || p.N != 20 || p.Refused != 2 || p.Achieved != 10 || p.P50 != 5 || p.P90 != 9 || p.P99 != 10 || p.Opened != 20 {
		t.Errorf("got %+v", p)
	}
}
