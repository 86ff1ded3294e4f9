package trace

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
)

// Cost is the CPU time that a job of ALPS's workload is taken to need for n: fib 2.5 ms
// for 23 and 1.618 times as much for each one more, as it is in CPython; the others 100 ms,
// since the artifact runs them without calling them, which imports a library of that cost.
// False: there is no such job.
func Cost(job string, n int) (time.Duration, bool) {
	switch {
	case strings.HasPrefix(job, "fib"):
		if n < 0 || n > 50 {
			return 0, false
		}
		return time.Duration(2.5e6 * math.Pow(math.Phi, float64(n-23))), true
	case strings.HasPrefix(job, "graph"), strings.HasPrefix(job, "feature"), strings.HasPrefix(job, "float"):
		return 100 * time.Millisecond, true
	}
	switch job {
	case "bfs", "mst", "pagerank", "md", "mk", "sa", "st":
		return 100 * time.Millisecond, true
	}
	return 0, false
}

// readALPS reads lines `id n job iat port`: a number of the request, the argument, the
// job, the time in milliseconds since the request before it, and the port of the worker.
// What a worker runs is one function, so job and n together name it.
func readALPS(r io.Reader, o Options) ([]sim.Job, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxLine)
	var jobs []sim.Job
	var now time.Duration
	line := 0
	for s.Scan() {
		line++
		f := strings.Fields(strings.TrimPrefix(s.Text(), "\ufeff"))
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 5 {
			return nil, wrong(line, "%d fields: want id, n, job, iat and port, separated by spaces", len(f))
		}
		if len(jobs) >= o.Max {
			return nil, wrong(line, "there are more than %d calls", o.Max)
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, wrong(line, "n is %q: want a whole number", clip(f[1]))
		}
		gap, err := number(line, "iat", f[3], time.Millisecond)
		if err != nil {
			return nil, err
		}
		cpu, ok := o.Cost(f[2], n)
		if !ok || cpu < 0 || cpu > longest {
			return nil, wrong(line, "job %q of %d is not known", clip(f[2]), n)
		}
		if now += gap; now > longest {
			return nil, wrong(line, "it comes more than a year after the first")
		}
		jobs = append(jobs, sim.Job{Function: f[2] + "-" + f[1], Arrival: now, CPU: cpu})
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, wrong(line+1, "it has more than %d bytes", MaxLine)
		}
		return nil, err
	}
	return jobs, nil
}
