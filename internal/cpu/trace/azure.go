package trace

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// readAzure2021 reads the trace of single invocations that Azure Functions published in
// 2021 (Y. Zhang and others, Faster and Cheaper Serverless Computing on Harvested
// Resources, SOSP 2021): app, func, end_timestamp and duration, both in seconds.
func readAzure2021(r io.Reader, o Options) ([]sim.Job, error) {
	var jobs []sim.Job
	err := rows(r, o, []string{"app", "func", "end_timestamp", "duration"}, func(line int, field func(string) string) error {
		end, err := number(line, "end_timestamp", field("end_timestamp"), time.Second)
		if err != nil {
			return err
		}
		d, err := number(line, "duration", field("duration"), time.Second)
		if err != nil {
			return err
		}
		j := sim.Job{Function: short(field("app")) + "/" + short(field("func")), App: short(field("app")), Arrival: max(end-d, 0)}
		j.CPU, j.Sleeps = o.split(d)
		jobs = append(jobs, j)
		return nil
	})
	return jobs, err
}

// split makes CPU time, and a sleep half way, of a duration.
func (o *Options) split(d time.Duration) (time.Duration, []sim.Sleep) {
	d = max(d, time.Microsecond)
	cpu := max(time.Duration(float64(d)*o.Share), time.Microsecond)
	if cpu >= d {
		return d, nil
	}
	return cpu, []sim.Sleep{{At: cpu / 2, For: d - cpu}}
}

// short is what of a hash names it well enough.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}

// Azure2019 are the two files of a day of the trace that Azure Functions published in
// 2019 (M. Shahrad and others, Serverless in the Wild, USENIX ATC 2020).
type Azure2019 struct {
	Invocations io.Reader // invocations_per_function: HashOwner, HashApp, HashFunction, Trigger, 1 ... 1440
	Durations   io.Reader // function_durations_percentiles: HashOwner, HashApp, HashFunction, Average, ..., percentile_Average_0 ... _100, in milliseconds
	From        int       // first minute of the day, from 1. Default 1.
	Minutes     int       // how many. Default 10.
}

// percentiles are the points of a function's durations that the trace has.
var percentiles = []float64{0, 1, 25, 50, 75, 99, 100}

// ReadAzure2019 makes calls of the counts by minute: each at a random moment of its minute,
// with a duration drawn from the percentiles of its function. A function of which no
// durations are known is left out.
func ReadAzure2019(files Azure2019, o Options) ([]sim.Job, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	if files.From == 0 {
		files.From = 1
	}
	if files.Minutes == 0 {
		files.Minutes = 10
	}
	if files.From < 1 || files.Minutes < 1 || files.From+files.Minutes-1 > 1440 {
		return nil, fmt.Errorf("read trace: minutes %d to %d: want some of 1 to 1440", files.From, files.From+files.Minutes-1)
	}
	known, err := durations(files.Durations, o)
	if err != nil {
		return nil, fmt.Errorf("durations: %w", err)
	}
	rng := rand.New(rand.NewPCG(o.Seed, 2019))
	var jobs []sim.Job
	err = rows(files.Invocations, o, []string{"hashapp", "hashfunction", "1", strconv.Itoa(files.From + files.Minutes - 1)}, func(line int, field func(string) string) error {
		name := field("hashapp") + "/" + field("hashfunction")
		points, ok := known[name]
		if !ok {
			return nil
		}
		for minute := range files.Minutes {
			s := field(strconv.Itoa(files.From + minute))
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				return wrong(line, "minute %d has %q: want a number of calls", files.From+minute, clip(s))
			}
			if n > o.Max-len(jobs) {
				return wrong(line, "there are more than %d calls", o.Max)
			}
			for range n {
				j := sim.Job{Function: short(field("hashapp")) + "/" + short(field("hashfunction")), App: short(field("hashapp")),
					Arrival: time.Duration((float64(minute) + rng.Float64()) * float64(time.Minute))}
				j.CPU, j.Sleeps = o.split(between(points, rng.Float64()))
				jobs = append(jobs, j)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("invocations: %w", err)
	}
	return order(jobs, o)
}

// durations reads the percentiles of each function.
func durations(r io.Reader, o Options) (map[string][]time.Duration, error) {
	column := func(p float64) string { return "percentile_average_" + strconv.Itoa(int(p)) }
	need := []string{"hashapp", "hashfunction"}
	for _, p := range percentiles {
		need = append(need, column(p))
	}
	out := map[string][]time.Duration{}
	err := rows(r, o, need, func(line int, field func(string) string) error {
		points := make([]time.Duration, len(percentiles))
		for i, p := range percentiles {
			var err error
			if points[i], err = number(line, column(p), field(column(p)), time.Millisecond); err != nil {
				return err
			}
			if i > 0 {
				points[i] = max(points[i], points[i-1])
			}
		}
		out[field("hashapp")+"/"+field("hashfunction")] = points
		return nil
	})
	return out, err
}

// between is the duration at share q of 1, on straight lines between the percentiles.
func between(points []time.Duration, q float64) time.Duration {
	for i := 1; i < len(percentiles); i++ {
		low, high := percentiles[i-1]/100, percentiles[i]/100
		if q <= high {
			return points[i-1] + time.Duration((q-low)/(high-low)*float64(points[i]-points[i-1]))
		}
	}
	return points[len(points)-1]
}
