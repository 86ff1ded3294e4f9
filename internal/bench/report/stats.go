package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// errNoSamples is what Summarize says of an empty list: a median of nothing is a mistake, never a zero.
var errNoSamples = errors.New("no samples")

// Summary describes a set of measured values of one unit.
type Summary struct {
	N      int
	Median float64 // the mean of the two middle values when N is even
	P99    float64 // nearest rank: the smallest value that at least 99 % of the samples do not exceed; the maximum below 100 samples
	Mean   float64
}

// Summarize computes the summary of samples and leaves them as they were. No samples, and values that are not finite, are errors.
func Summarize(samples []float64) (Summary, error) {
	if len(samples) == 0 {
		return Summary{}, errNoSamples
	}
	sorted := slices.Clone(samples)
	sum := 0.0
	for i, v := range sorted {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Summary{}, fmt.Errorf("sample %d is %v", i, v)
		}
		sum += v
	}
	slices.Sort(sorted)
	n := len(sorted)
	median := sorted[n/2]
	if n%2 == 0 {
		median = sorted[n/2-1]/2 + sorted[n/2]/2
	}
	return Summary{N: n, Median: median, P99: nearestRank(sorted, 99), Mean: sum / float64(n)}, nil
}

// nearestRank returns the percent-th percentile of sorted, which is not empty: the value at rank ceil(percent/100 × n), counted from one.
func nearestRank(sorted []float64, percent int) float64 {
	rank := (percent*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

// twoSided are the quantiles 0.975 of Student's distribution by degrees of freedom, from 1 on; beyond them that of the normal one is near.
var twoSided = []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086}

// Interval is the mean of samples and half the width of its 95 % interval, by Student's distribution. Fewer than two samples have none.
func Interval(samples []float64) (mean, half float64, err error) {
	n := float64(len(samples))
	if n < 2 {
		return 0, 0, errNoSamples
	}
	for _, v := range samples {
		mean += v / n
	}
	var squares float64
	for _, v := range samples {
		squares += (v - mean) * (v - mean)
	}
	t := 1.96
	if free := len(samples) - 1; free <= len(twoSided) {
		t = twoSided[free-1]
	}
	return mean, t * math.Sqrt(squares/(n-1)/n), nil
}
