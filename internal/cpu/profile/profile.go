// Package profile learns how much processor time the calls of a function need.
//
// A Profile is a histogram of CPU times whose buckets grow by a third each, from
// 50 µs to an hour, so it takes about 700 bytes whatever the function does. What is
// old counts less and less. From it come what a scheduler asks about a call that
// has run for some time already:
//
//	var p profile.Profile
//	p.Observe(3 * time.Millisecond)             // a call has ended
//	p.Quantile(0.95)                            // nineteen calls in twenty need at most that
//	p.Remaining(2 * time.Millisecond)           // E[X-a | X > a]: what is left, on average, at that age
//	p.Rank(2 * time.Millisecond)                // the same in the sense of Gittins: lowest goes first
//
// A Book holds the profiles of many functions and answers for those that it does
// not know with what calls of this node need in general. Only time on a processor
// is to be observed; a call that sleeps is not a long one.
//
// The package is pure: it has no clock, and what it answers follows from what was
// observed alone.
//
//	profile.go   the histogram: observing, forgetting, quantiles
//	remaining.go what is left at an age, and the Gittins index
//	book.go      many functions, and those that are not known
//	codec.go     the form on disk
package profile

import (
	"math"
	"time"
)

const (
	// Buckets is how many buckets a profile has. The first holds what is shorter than
	// Shortest, the last what is not shorter than Longest.
	Buckets = 64
	// Shortest is the upper end of the first bucket.
	Shortest = 50 * time.Microsecond
	// Longest is the lower end of the last bucket.
	Longest = time.Hour
	// Usable is the number of calls after which a profile answers for itself.
	Usable = 10

	// fading is what a call counts after the next one has come: fifty calls make up
	// two thirds of a profile.
	fading = 0.98
	// streak is how many calls in a row have to lie outside what is usual, all on one
	// side, before the past is taken to be over. With a usual range of nine calls in
	// ten that happens by chance once in three million calls.
	streak = 5
	// margin widens the usual range, so that the limits of a narrow one do not matter.
	margin = 1.5
	// remnant is what all of a past that is over counts together, in calls.
	remnant = 0.25
)

// step is the logarithm of the ratio of a bucket's ends.
var step = math.Log(float64(Longest)/float64(Shortest)) / (Buckets - 2)

// Profile is what is known of the CPU time of a function's calls. The zero Profile
// knows nothing. It is not safe for concurrent use.
type Profile struct {
	calls  uint64           // that were ever observed
	weight [Buckets]float32 // of the calls in each bucket, faded
	sum    [Buckets]float32 // of their CPU times in seconds, faded alike
	run    [streak]float32  // the last calls outside the usual range, in seconds
	length int8             // of run: above the range, or below it when negative
	limits [2]float32       // the usual range, in seconds, when the run began
}

// bucketOf is the bucket that holds s seconds.
func bucketOf(s float64) int {
	if s < Shortest.Seconds() {
		return 0
	}
	return min(1+int(math.Log(s/Shortest.Seconds())/step), Buckets-1)
}

// ends are the least and the greatest CPU time of bucket i, in seconds.
func ends(i int) (low, high float64) {
	switch i {
	case 0:
		return 0, Shortest.Seconds()
	case Buckets - 1:
		return Longest.Seconds(), math.Inf(1)
	}
	low = Shortest.Seconds() * math.Exp(step*float64(i-1))
	return low, low * math.Exp(step)
}

// Observe adds a call that has ended after cpu of processor time. A negative time
// counts as none, and one of more than 24 hours as 24 hours.
//
// The calls before it count 2 % less. When five calls in a row lie outside what was
// usual before the first of them, all above or all below it, the function is taken
// to do something else than it did, and the past is forgotten but for a remnant.
func (p *Profile) Observe(cpu time.Duration) {
	s := min(max(cpu, 0), 24*time.Hour).Seconds()
	p.calls++
	p.notice(s)
	if p.length == streak || p.length == -streak {
		p.scale(remnant / p.total())
		for _, past := range p.run {
			p.add(float64(past))
		}
		p.length = 0
		return
	}
	p.scale(fading)
	p.add(s)
}

// notice counts how many calls in a row lie outside the usual range on one side.
func (p *Profile) notice(s float64) {
	low, high := float64(p.limits[0]), float64(p.limits[1])
	if p.length == 0 {
		if p.calls <= streak {
			return
		}
		low, high = p.Quantile(0.05).Seconds()/margin, p.Quantile(0.95).Seconds()*margin
	}
	switch {
	case s > high && p.length >= 0:
		p.length++
	case s < low && p.length <= 0:
		p.length--
	default:
		p.length = 0
		return
	}
	if p.length == 1 || p.length == -1 {
		p.limits = [2]float32{float32(low), float32(high)}
	}
	at := int(p.length)
	if at < 0 {
		at = -at
	}
	p.run[at-1] = float32(s)
}

// scale makes all that is known count by as much.
func (p *Profile) scale(by float64) {
	for i := range p.weight {
		p.weight[i] *= float32(by)
		p.sum[i] *= float32(by)
		if p.weight[i] < 1e-6 { // nothing that an answer would show
			p.weight[i], p.sum[i] = 0, 0
		}
	}
}

// add puts one call of s seconds into its bucket.
func (p *Profile) add(s float64) {
	i := bucketOf(s)
	p.weight[i]++
	p.sum[i] += float32(s)
}

// total is what all calls count together, at most 50.
func (p *Profile) total() float64 {
	var n float64
	for _, w := range p.weight {
		n += float64(w)
	}
	return n
}

// Calls is the number of calls that were observed.
func (p *Profile) Calls() uint64 { return p.calls }

// Known reports whether enough calls were observed to go by: ten.
func (p *Profile) Known() bool { return p.calls >= Usable }

// Mean is the mean CPU time of a call, 0 when none was observed.
func (p *Profile) Mean() time.Duration {
	n, s := 0.0, 0.0
	for i, w := range p.weight {
		n += float64(w)
		s += float64(p.sum[i])
	}
	if n == 0 {
		return 0
	}
	return seconds(s / n)
}

// Quantile is the CPU time that a share q of the calls does not exceed, with 0 ≤ q ≤ 1;
// 0 when none was observed. It is exact to about a seventh: the resolution is that of
// the buckets, with the mean of a bucket in place of its middle.
func (p *Profile) Quantile(q float64) time.Duration {
	total := p.total()
	if total == 0 {
		return 0
	}
	want := min(max(q, 0), 1) * total
	last := 0
	for i, w := range p.weight {
		if w == 0 {
			continue
		}
		last = i
		if want -= float64(w); want <= 0 {
			break
		}
	}
	return seconds(float64(p.sum[last] / p.weight[last]))
}

// Beyond is the share of calls that need more than d, 0 when none was observed.
func (p *Profile) Beyond(d time.Duration) float64 {
	total := p.total()
	if total == 0 {
		return 0
	}
	n := 0.0
	for i := range p.weight {
		a, ok := p.atom(i, d.Seconds())
		if ok {
			n += a.weight
		}
	}
	return n / total
}

// seconds is s seconds as a duration.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(s * 1e9)
}
