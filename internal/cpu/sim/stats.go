package sim

import (
	"maps"
	"slices"
	"time"
)

// Stats sums up the results of one class, or of all.
type Stats struct {
	Class    string        `json:"class"`
	Calls    int           `json:"calls"`
	Mean     time.Duration `json:"mean_ns"` // of the turnaround, like the four that follow
	P50      time.Duration `json:"p50_ns"`
	P95      time.Duration `json:"p95_ns"`
	P99      time.Duration `json:"p99_ns"`
	Worst    time.Duration `json:"worst_ns"`
	Wait     time.Duration `json:"wait_ns"`  // mean time without a core
	Slowdown float64       `json:"slowdown"` // mean
	RTE      float64       `json:"rte"`      // mean
	Late     int           `json:"late"`     // calls that ended after their deadline
}

// All is the class of all calls together.
const All = "all"

// Stats sums up the results by class, in order of their names, and last those of all.
func (o *Outcome) Stats() []Stats {
	classes := map[string][]*Result{}
	for i := range o.Results {
		r := &o.Results[i]
		if r.Job.Class != All {
			classes[r.Job.Class] = append(classes[r.Job.Class], r)
		}
		classes[All] = append(classes[All], r)
	}
	var out []Stats
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		if name != All {
			out = append(out, sum(name, classes[name]))
		}
	}
	return append(out, sum(All, classes[All]))
}

// sum sums up rs.
func sum(class string, rs []*Result) Stats {
	s := Stats{Class: class, Calls: len(rs)}
	if len(rs) == 0 {
		return s
	}
	turnarounds := make([]time.Duration, len(rs))
	n := float64(len(rs))
	var mean, wait float64
	for i, r := range rs {
		turnarounds[i] = r.Turnaround()
		mean += float64(r.Turnaround()) / n
		wait += float64(r.Wait()) / n
		s.Slowdown += r.Slowdown() / n
		s.RTE += r.RTE() / n
		if r.Job.Deadline > 0 && r.Turnaround() > r.Job.Deadline {
			s.Late++
		}
	}
	slices.Sort(turnarounds)
	s.Mean, s.Wait = time.Duration(mean), time.Duration(wait)
	s.P50, s.P95, s.P99 = Percentile(turnarounds, 0.5), Percentile(turnarounds, 0.95), Percentile(turnarounds, 0.99)
	s.Worst = turnarounds[len(turnarounds)-1]
	return s
}

// Percentile is the least of sorted that a share q of them does not exceed (the nearest
// rank), 0 of none.
func Percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
