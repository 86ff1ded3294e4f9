package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/engine"
)

// Measures of cold-process. A cold start is a process of its own for the call, as every call of such a function is unless its app keeps workers.
const (
	coldReady = "cold start, request to first line"
	coldBusy  = "cold start behind another, request to first line"
	coldHTTP  = "call over HTTP, request to answer"
	coldBlock = "64 MiB native to Python, publish and take"
)

// coldPause is what calls are apart for the node to have the next process ready, which it forks some milliseconds after a call has begun.
const coldPause = 30 * time.Millisecond

// coldProcess asks how long functions that are processes take to start, and what handing memory from one to another costs. The functions say
// themselves when they began, by the clock that this process has too.
func coldProcess() lab.Experiment {
	const short, long = "median ≤ 2.5", "median ≤ 5"
	return lab.Experiment{
		Name:        "cold-process",
		Description: "functions in Python and native ones, each call a new process: its start, a call over HTTP, memory from one to another",
		Baselines:   []string{"python3", withoutParent},
		Serves:      true,
		Required: []lab.Requirement{
			{Measure: coldReady, Variant: "python", Text: short}, {Measure: coldReady, Variant: "c", Text: short}, {Measure: coldReady, Variant: "go", Text: long},
			{Measure: coldBusy, Variant: "python", Text: short}, {Measure: coldBusy, Variant: "c", Text: short}, {Measure: coldBusy, Variant: "go", Text: long},
			{Measure: coldHTTP, Variant: "resident", Text: "median ≤ 0.7"}, {Measure: coldBlock, Variant: "reference", Text: "median ≤ 100"},
		},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			if l.Quick {
				return setUpColdProcess(ctx, l, 10)
			}
			return setUpColdProcess(ctx, l, 50)
		},
	}
}

// setUpColdProcess makes samples of so many calls in a row where no process is ready.
func setUpColdProcess(ctx context.Context, l *lab.Lab, row int) error {
	s, err := l.Serve(ctx, "cold-process")
	if err != nil {
		return err
	}
	if err := s.DeployBuilt(ctx, filepath.Join(l.Examples, "processes"), filepath.Join(l.Dir, "modules")); err != nil {
		return err
	}
	ready := l.Group("a process is ready", lab.Rounds{WarmUp: 3, Min: 5, Max: 300})
	busy := l.Group("no process is ready", lab.Rounds{WarmUp: 1, Min: 2, Max: 30})
	for _, function := range []string{"python", "c", "go"} {
		r := lab.HTTPRequest("POST", "/v1/apps/processes/functions/"+function, "", "null")
		ready.Add(lab.Case{Variant: function, Expect: began, Sample: func(ctx context.Context) (lab.Sample, error) {
			time.Sleep(coldPause)
			return begin(ctx, s, r, 1, coldReady)
		}})
		busy.Add(lab.Case{Variant: function, Expect: began, Sample: func(ctx context.Context) (lab.Sample, error) { return begin(ctx, s, r, row, coldBusy) }})
	}
	warm := lab.HTTPRequest("POST", "/v1/apps/processes/functions/resident", "", "null")
	ready.Add(lab.Case{Variant: "resident", Expect: began, Sample: func(ctx context.Context) (lab.Sample, error) { return begin(ctx, s, warm, row, coldHTTP) }})
	python, err := baseline.NewPython()
	if err != nil {
		l.Skip("python3", err.Error())
	} else {
		ready.Add(lab.Case{Variant: "python3", Expect: baseline.Hello, Sample: func(ctx context.Context) (lab.Sample, error) {
			start := time.Now()
			out, err := python.Run(ctx)
			return lab.Sample{Digest: string(out), Values: []lab.Value{lab.Millis(coldReady, time.Since(start))}}, err
		}})
	}
	const size = 64 << 20
	block := lab.HTTPRequest("POST", "/v1/apps/processes/workflows/main/runs?wait=30s", "", fmt.Sprintf(`{"size": %d}`, size))
	l.Group("memory", lab.Rounds{WarmUp: 2, Min: 3, Max: 100}).Add(lab.Case{Variant: "reference", Expect: "67108864 bytes, 4", Sample: func(ctx context.Context) (lab.Sample, error) {
		return handBlock(ctx, s, block)
	}})
	return setUpFamilies(ctx, l)
}

// began is the digest of calls whose answers say a time within them.
const began = "began within the call"

// begin calls a function so many times, one call behind the other, and measures when each began.
func begin(ctx context.Context, s *lab.Server, r []byte, calls int, measure string) (lab.Sample, error) {
	c, err := s.Dial("unix", 1)
	if err != nil {
		return lab.Sample{}, err
	}
	defer c.Close()
	sample := lab.Sample{Digest: began}
	earliest, err := monotonic()
	if err != nil {
		return lab.Sample{}, err
	}
	_, err = c.Run(ctx, load.Order{Request: r, Count: calls, Check: func(status int, body []byte) error {
		if status != http.StatusOK {
			return fmt.Errorf("%w: status %d, body %.300q", lab.ErrDigest, status, body)
		}
		return nil
	}, Note: func(latency time.Duration, body []byte) {
		answered, err := monotonic()
		at, perr := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
		first := time.Duration(at) - (answered - latency)
		if err != nil || perr != nil || time.Duration(at) <= earliest || time.Duration(at) >= answered {
			sample.Digest = fmt.Sprintf("said %.100q between %d and %d", body, earliest, answered)
		}
		earliest = answered
		if measure != coldHTTP && first > 0 { // of a process that was not there before; else the clock was read late
			sample.Values = append(sample.Values, lab.Millis(measure, first))
		}
		if measure != coldBusy {
			sample.Values = append(sample.Values, lab.Millis(coldHTTP, latency))
		}
	}})
	return sample, err
}

// monotonic is the clock that functions which are processes see too.
func monotonic() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano()), err
}

// handBlock hands memory from a native function to one in Python.
func handBlock(ctx context.Context, s *lab.Server, r []byte) (lab.Sample, error) {
	c, err := s.Dial("unix", 1)
	if err != nil {
		return lab.Sample{}, err
	}
	defer c.Close()
	var sample lab.Sample
	_, err = c.Run(ctx, load.Order{Request: r, Count: 1, Check: func(status int, body []byte) error {
		var run engine.Run
		if err := json.Unmarshal(body, &run); err != nil || run.Status != engine.Succeeded {
			return fmt.Errorf("%w: status %d, body %.500s", lab.ErrDigest, status, body)
		}
		took := map[string]time.Duration{}
		out, _ := run.Output.(map[string]any)
		for _, key := range []string{"put", "take"} {
			n, err := nanoseconds(out, key)
			if err != nil {
				return err
			}
			took[key] = n
		}
		sample.Digest = fmt.Sprintf("%.0f bytes, %.0f", out["bytes"], out["sum"])
		sample.Values = []lab.Value{lab.Micros(coldBlock, took["put"]+took["take"]), lab.Micros("64 MiB native to Python, publish", took["put"]), lab.Micros("64 MiB native to Python, take", took["take"])}
		return nil
	}})
	return sample, err
}
