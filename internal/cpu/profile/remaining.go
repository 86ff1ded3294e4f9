package profile

import (
	"math"
	"time"
)

// atom is the part of a bucket that lies beyond an age: calls whose CPU times are
// spread evenly up to an upper end.
type atom struct {
	weight float64
	mean   float64 // in seconds
	high   float64 // the upper end
}

// atom is the part of bucket i beyond age seconds. The calls of a bucket are taken to
// be spread evenly around their mean, as widely as the bucket's nearer end allows.
func (p *Profile) atom(i int, age float64) (atom, bool) {
	w := float64(p.weight[i])
	if w == 0 {
		return atom{}, false
	}
	mean := float64(p.sum[i]) / w
	low, high := ends(i)
	half := min(max(min(mean-low, high-mean), 0), mean/4)
	a := atom{weight: w, mean: mean, high: mean + half}
	switch {
	case age < mean-half:
	case age >= a.high:
		return atom{}, false
	default:
		a.weight *= (a.high - age) / (2 * half)
		a.mean = (age + a.high) / 2
	}
	return a, true
}

// Remaining is the mean CPU time that a call still needs when it has used age of it and
// has not ended: E[X-a | X > a]. Of a call that is older than all that were observed
// nothing is known but that; it is taken to be half way, so that its remaining time is
// its age. The answer is at least 1 µs.
func (p *Profile) Remaining(age time.Duration) time.Duration {
	a := max(age, 0).Seconds()
	n, s := 0.0, 0.0
	for i := range p.weight {
		if at, ok := p.atom(i, a); ok {
			n += at.weight
			s += at.weight * (at.mean - a)
		}
	}
	if n < 1e-9 {
		return beyond(age)
	}
	return max(seconds(s/n), time.Microsecond)
}

// beyond is what remains of a call that is older than all that are known.
func beyond(age time.Duration) time.Duration { return max(age, Shortest) }

// Gittins is the Gittins index of a call of that age, per second:
//
//	G(a) = sup over d > 0 of  P(X-a ≤ d | X > a) / E[min(X-a, d) | X > a]
//
// the greatest chance to end per processor time spent, over all amounts d that one may
// be willing to spend. Serving the call with the greatest index first makes the mean
// response time of an M/G/1 queue the least that is possible without knowing the
// demands: J. C. Gittins, Multi-armed Bandit Allocation Indices (1989); S. Aalto,
// U. Ayesta and R. Righter, On the Gittins index in the M/G/1 queue, Queueing Systems 63
// (2009). Where the chance to end falls with age, as it does in a mixture of short and
// long calls, that is more than 1/E[X-a | X > a]: it counts the short end that may be
// near.
func (p *Profile) Gittins(age time.Duration) float64 {
	a := max(age, 0).Seconds()
	total := 0.0
	var atoms [Buckets]atom
	k := 0
	for i := range p.weight {
		if at, ok := p.atom(i, a); ok {
			atoms[k] = at
			k++
			total += at.weight
		}
	}
	if total < 1e-9 {
		return 1 / beyond(age).Seconds()
	}
	best, ended, spent := 0.0, 0.0, 0.0
	for _, at := range atoms[:k] {
		ended += at.weight
		spent += at.weight * (at.mean - a)
		cost := spent + max(total-ended, 0)*(at.high-a)
		best = max(best, ended/max(cost, 1e-6*total))
	}
	return best
}

// Rank is the Gittins index turned round, 1/G: a time, like Remaining and never longer
// than about that, of which the least goes first.
func (p *Profile) Rank(age time.Duration) time.Duration {
	return max(seconds(1/p.Gittins(age)), time.Microsecond)
}

// mixed is p with a second profile beside it that counts other calls together.
func (p *Profile) mixed(with *Profile, other float64) Profile {
	out := *p
	n := with.total()
	if n == 0 || math.IsNaN(other) {
		return out
	}
	by := float32(other / n)
	for i, w := range with.weight {
		out.weight[i] += w * by
		out.sum[i] += with.sum[i] * by
	}
	return out
}
