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

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
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
func coldProcess() Experiment {
	const short, long = "median ≤ 2.5", "median ≤ 5"
	return Experiment{
		Name:        "cold-process",
		Description: "functions in Python and native ones, each call a new process: its start, a call over HTTP, memory from one to another",
		Baselines:   []string{"python3", withoutParent},
		Serves:      true,
		Required: []Requirement{
			{coldReady, "python", short}, {coldReady, "c", short}, {coldReady, "go", long},
			{coldBusy, "python", short}, {coldBusy, "c", short}, {coldBusy, "go", long},
			{coldHTTP, "resident", "median ≤ 0.7"}, {coldBlock, "reference", "median ≤ 100"},
		},
		Setup: func(ctx context.Context, lab *Lab) error {
			if lab.Quick {
				return setUpColdProcess(ctx, lab, 10)
			}
			return setUpColdProcess(ctx, lab, 50)
		},
	}
}

// setUpColdProcess makes samples of so many calls in a row where no process is ready.
func setUpColdProcess(ctx context.Context, lab *Lab, row int) error {
	s, err := lab.serve(ctx, "cold-process")
	if err != nil {
		return err
	}
	if err := s.deployBuilt(ctx, filepath.Join(lab.Examples, "processes"), filepath.Join(lab.Dir, "modules")); err != nil {
		return err
	}
	ready := lab.Group("a process is ready", Rounds{WarmUp: 3, Min: 5, Max: 300})
	busy := lab.Group("no process is ready", Rounds{WarmUp: 1, Min: 2, Max: 30})
	for _, function := range []string{"python", "c", "go"} {
		r := request("POST", "/v1/apps/processes/functions/"+function, "", "null")
		ready.Add(Case{Variant: function, Expect: began, Sample: func(ctx context.Context) (Sample, error) {
			time.Sleep(coldPause)
			return s.begin(ctx, r, 1, coldReady)
		}})
		busy.Add(Case{Variant: function, Expect: began, Sample: func(ctx context.Context) (Sample, error) { return s.begin(ctx, r, row, coldBusy) }})
	}
	warm := request("POST", "/v1/apps/processes/functions/resident", "", "null")
	ready.Add(Case{Variant: "resident", Expect: began, Sample: func(ctx context.Context) (Sample, error) { return s.begin(ctx, warm, row, coldHTTP) }})
	python, err := baseline.NewPython()
	if err != nil {
		lab.Skip("python3", err.Error())
	} else {
		ready.Add(Case{Variant: "python3", Expect: baseline.Hello, Sample: func(ctx context.Context) (Sample, error) {
			start := time.Now()
			out, err := python.Run(ctx)
			return Sample{Digest: string(out), Values: []Value{Millis(coldReady, time.Since(start))}}, err
		}})
	}
	const size = 64 << 20
	block := request("POST", "/v1/apps/processes/workflows/main/runs?wait=30s", "", fmt.Sprintf(`{"size": %d}`, size))
	lab.Group("memory", Rounds{WarmUp: 2, Min: 3, Max: 100}).Add(Case{Variant: "reference", Expect: "67108864 bytes, 4", Sample: func(ctx context.Context) (Sample, error) {
		return s.block(ctx, block)
	}})
	return setUpFamilies(ctx, lab)
}

// deployBuilt builds an app's functions and services into a folder and deploys them.
func (s *served) deployBuilt(ctx context.Context, dir, cache string) error {
	a, err := app.Load(dir)
	if err != nil {
		return err
	}
	b := build.New(build.Config{CacheDir: cache})
	modules := map[string]string{}
	for name, f := range a.Units() {
		m, err := b.Build(ctx, a.Dir, build.Source{Function: name, Runtime: f.Runtime, Path: f.Source}, nil)
		if err != nil {
			return err
		}
		modules[name] = m.Path
	}
	packed, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		return err
	}
	_, err = s.client.Deploy(ctx, packed, true)
	return err
}

// began is the digest of calls whose answers say a time within them.
const began = "began within the call"

// begin calls a function so many times, one call behind the other, and measures when each began.
func (s *served) begin(ctx context.Context, r []byte, calls int, measure string) (Sample, error) {
	c, err := s.dial("unix", 1)
	if err != nil {
		return Sample{}, err
	}
	defer c.Close()
	sample := Sample{Digest: began}
	earliest, err := monotonic()
	if err != nil {
		return Sample{}, err
	}
	_, err = c.Run(ctx, load.Order{Request: r, Count: calls, Check: func(status int, body []byte) error {
		if status != http.StatusOK {
			return fmt.Errorf("%w: status %d, body %.300q", errDigest, status, body)
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
			sample.Values = append(sample.Values, Millis(measure, first))
		}
		if measure != coldBusy {
			sample.Values = append(sample.Values, Millis(coldHTTP, latency))
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

// block hands memory from a native function to one in Python.
func (s *served) block(ctx context.Context, r []byte) (Sample, error) {
	c, err := s.dial("unix", 1)
	if err != nil {
		return Sample{}, err
	}
	defer c.Close()
	var sample Sample
	_, err = c.Run(ctx, load.Order{Request: r, Count: 1, Check: func(status int, body []byte) error {
		var run engine.Run
		if err := json.Unmarshal(body, &run); err != nil || run.Status != engine.Succeeded {
			return fmt.Errorf("%w: status %d, body %.500s", errDigest, status, body)
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
		sample.Values = []Value{Micros(coldBlock, took["put"]+took["take"]), Micros("64 MiB native to Python, publish", took["put"]), Micros("64 MiB native to Python, take", took["take"])}
		return nil
	}})
	return sample, err
}
