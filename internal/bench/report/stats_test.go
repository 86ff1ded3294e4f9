package report

import (
	"errors"
	"math"
	"testing"
)

func TestSummarize(t *testing.T) {
	upTo := func(n int) []float64 {
		s := make([]float64, n)
		for i := range s {
			s[i] = float64(n - i) // descending: the function must sort
		}
		return s
	}
	for _, c := range []struct {
		name    string
		samples []float64
		want    Summary
	}{
		{"one sample is everything", []float64{7}, Summary{1, 7, 7, 7}},
		{"median of odd n is the middle", []float64{3, 1, 2}, Summary{3, 2, 3, 2}},
		{"median of even n is the mean of the middle two", []float64{4, 1, 3, 2}, Summary{4, 2.5, 4, 2.5}},
		{"p99 below 100 samples is the maximum", upTo(99), Summary{99, 50, 99, 50}},
		{"p99 of 100 is the 99th", upTo(100), Summary{100, 50.5, 99, 50.5}},
		{"p99 of 101 is the 100th", upTo(101), Summary{101, 51, 100, 51}},
		{"p99 of 1000 is the 990th", upTo(1000), Summary{1000, 500.5, 990, 500.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := c.samples[0]
			got, err := Summarize(c.samples)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
			if c.samples[0] != first {
				t.Error("the samples were reordered")
			}
		})
	}
}

func TestSummarizeRefuses(t *testing.T) {
	if _, err := Summarize(nil); !errors.Is(err, errNoSamples) {
		t.Errorf("no samples: %v", err)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if _, err := Summarize([]float64{1, v}); err == nil {
			t.Errorf("%v was accepted", v)
		}
	}
}

func TestInterval(t *testing.T) {
	if _, _, err := Interval([]float64{1}); err == nil {
		t.Error("one sample has an interval")
	}
	mean, half, err := Interval([]float64{1, 2, 3, 4, 5}) // deviation 1.5811, by the root of 5, times 2.776
	if err != nil || mean != 3 || math.Abs(half-1.963) > 0.001 {
		t.Errorf("%v ± %v, %v", mean, half, err)
	}
	if mean, half, err = Interval(make([]float64, 100)); err != nil || mean != 0 || half != 0 {
		t.Errorf("%v ± %v, %v", mean, half, err)
	}
}
