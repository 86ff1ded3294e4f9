package policy

import (
	"math"
	"slices"
)

// predict makes the next of a series by a learner; 0 of none.
func (o *ALPSOptions) predict(series []float64) float64 {
	if len(series) == 0 {
		return 0
	}
	switch o.Learner {
	case Linear:
		return regress(series)
	case Forest:
		return forest(series, o.Seed)
	case Exponential:
		return ewma(series, 0.2)
	case QuantileOnly:
		sorted := slices.Sorted(slices.Values(series))
		return sorted[min(int(o.Quantile*float64(len(sorted))), len(sorted)-1)]
	default:
		mean, _ := moments(series)
		return mean
	}
}

// moments are mean and population standard deviation of xs, 0 of none.
func moments(xs []float64) (mean, deviation float64) {
	if len(xs) == 0 {
		return 0, 0
	}
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	var v float64
	for _, x := range xs {
		v += (x - mean) * (x - mean) / float64(len(xs))
	}
	return mean, math.Sqrt(v)
}

// regress fits a straight line through (1, x1) ... (n, xn) by least squares and gives its
// value at n+1.
func regress(xs []float64) float64 {
	n := float64(len(xs))
	mean, _ := moments(xs)
	middle := (n + 1) / 2
	var above, below float64
	for i, x := range xs {
		d := float64(i+1) - middle
		above += d * (x - mean)
		below += d * d
	}
	if below == 0 {
		return mean
	}
	return mean + above/below*(n+1-middle)
}

// ewma is the exponentially weighted mean in which each value counts 1-alpha of the next.
func ewma(xs []float64, alpha float64) float64 {
	var sum, weight float64
	for _, x := range xs {
		sum = sum*(1-alpha) + x
		weight = weight*(1-alpha) + 1
	}
	return sum / weight
}

// forest is what a random forest of ten trees, fully grown over the number of a run,
// predicts for the next number. Past the end of its data such a tree answers with the
// last value that its bootstrap sample has, so a tree is no more than that.
func forest(xs []float64, seed uint64) float64 {
	const trees = 10
	sum := 0.0
	chance := chance(seed)
	for range trees {
		last := 0
		for range xs {
			last = max(last, int(chance.next()%uint64(len(xs))))
		}
		sum += xs[last]
	}
	return sum / trees
}

// chance is a seeded source of numbers: splitmix64 (G. Steele, D. Lea and C. Flood, Fast
// splittable pseudorandom number generators, OOPSLA 2014).
type chance uint64

func (c *chance) next() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
