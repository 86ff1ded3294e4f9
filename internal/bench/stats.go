package bench

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
