package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/engine"
)

// Measures of recovery.
const (
	recoveryReady  = "start to ready"
	recoveryMemory = "memory when idle"
	recoveryCPU    = "processor when idle, of a core"
)

// recovery asks how long a server that was killed takes until it is ready again with the runs that it had accepted, and what a server costs that
// has nothing to do.
func recovery() lab.Experiment {
	return lab.Experiment{
		Name:        "recovery",
		Description: "start after kill -9 until GET /readyz is answered with 200; memory (PSS) and processor time of an idle server and all that stem from it",
		Serves:      true,
		Required: []lab.Requirement{
			{Measure: recoveryReady, Variant: "10000 runs", Text: "≤ 1000"}, {Measure: recoveryMemory, Variant: "new", Text: "≤ 40"}, {Measure: recoveryCPU, Variant: "new", Text: "≤ 0.5"},
		},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			if l.Quick {
				return setUpRecovery(ctx, l, recoverySizes{runs: 200, settle: time.Second, watch: time.Second, rounds: 1})
			}
			return setUpRecovery(ctx, l, recoverySizes{runs: 10_000, settle: 12 * time.Second, watch: 20 * time.Second, rounds: 2})
		},
	}
}

// recoverySizes are how many unfinished runs there are, how long an idle server is let alone before it is watched and for how long, and how often.
type recoverySizes struct {
	runs          int
	settle, watch time.Duration
	rounds        int
}

// setUpRecovery has a server with unfinished runs, and one without.
func setUpRecovery(ctx context.Context, l *lab.Lab, sizes recoverySizes) error {
	dir := filepath.Join(l.Dir, "waiting")
	if err := writeWaitingApp(dir); err != nil {
		return err
	}
	one, err := l.Serve(ctx, "new")
	if err != nil {
		return err
	}
	two, err := l.Serve(ctx, "full")
	if err != nil {
		return err
	}
	fresh, full := recovering{one}, recovering{two}
	for _, s := range []recovering{fresh, full} {
		if err := s.Deploy(ctx, dir); err != nil {
			return err
		}
	}
	if err := full.leaveUnfinished(ctx, sizes.runs); err != nil {
		return err
	}
	loaded := strconv.Itoa(sizes.runs) + " runs"
	ready := l.Group("ready", lab.Rounds{WarmUp: 1, Min: 3, Max: 15})
	for _, v := range []struct {
		name   string
		server recovering
		runs   int
	}{{"new", fresh, 0}, {loaded, full, sizes.runs}} {
		ready.Add(lab.Case{Variant: v.name, Expect: expectRecovered(v.runs), Sample: func(ctx context.Context) (lab.Sample, error) {
			if err := v.server.Kill(); err != nil {
				return lab.Sample{}, err
			}
			took, err := v.server.Start(ctx)
			if err != nil {
				return lab.Sample{}, err
			}
			digest, err := v.server.recovered(ctx)
			return lab.Sample{Digest: digest, Values: []lab.Value{lab.Millis(recoveryReady, took)}}, err
		}})
	}
	idle := l.Group("idle", lab.Rounds{WarmUp: -1, Min: sizes.rounds, Max: 5, Weight: 10})
	for _, v := range []struct {
		name   string
		server recovering
		work   func(context.Context, recovering) error // that was done before
	}{
		{"new", fresh, nil},
		{"after 1000 runs", fresh, func(ctx context.Context, s recovering) error { return s.finish(ctx, 1000) }},
		{loaded, full, nil},
	} {
		idle.Add(lab.Case{Variant: v.name, Expect: "idle", Sample: func(ctx context.Context) (lab.Sample, error) {
			if err := v.server.Kill(); err != nil {
				return lab.Sample{}, err
			}
			if _, err := v.server.Start(ctx); err != nil {
				return lab.Sample{}, err
			}
			if v.work != nil {
				if err := v.work(ctx, v.server); err != nil {
					return lab.Sample{}, err
				}
			}
			return v.server.idle(ctx, sizes.settle, sizes.watch)
		}})
	}
	return nil
}

// writeWaitingApp writes an app whose workflow wait has done one step and waits for a signal, and whose workflow main is done at once.
func writeWaitingApp(dir string) error {
	const file = `name: waiting
functions:
  one: {runtime: wasm, source: ./one.wasm}
workflows:
  wait:
    steps:
      first: {call: one}
      approved: {signal: go, needs: [first]}
      last: {call: one, needs: [approved]}
  main:
    steps:
      first: {call: one}
`
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "one.wasm"), printOne, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte(file), 0o644)
}

// recovering is a server that is killed and started again.
type recovering struct{ *lab.Server }

// leaveUnfinished starts runs and waits until all of them wait for their signals.
func (s recovering) leaveUnfinished(ctx context.Context, runs int) error {
	if err := s.post(ctx, "/v1/apps/waiting/workflows/wait/runs", runs, http.StatusAccepted); err != nil {
		return err
	}
	for ctx.Err() == nil {
		stats, err := s.stats(ctx)
		if err != nil {
			return err
		}
		if stats.Calls.Running+stats.Calls.Waiting == 0 && stats.Calls.Ended >= uint64(runs) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// finish has so many runs carried out.
func (s recovering) finish(ctx context.Context, runs int) error {
	return s.post(ctx, "/v1/apps/waiting/workflows/main/runs?wait=30s", runs, http.StatusOK)
}

// post sends requests from many connections.
func (s recovering) post(ctx context.Context, path string, count, want int) error {
	c, err := s.Dial("unix", invokeClients)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Run(ctx, load.Order{Request: lab.HTTPRequest("POST", path, "", "{}"), Count: count, Check: func(status int, body []byte) error {
		if status != want {
			return fmt.Errorf("start runs: status %d, body %.300s", status, body)
		}
		return nil
	}})
	return err
}

// figures is what is read of GET /v1/stats.
type figures struct {
	Runs  struct{ Active int }
	Calls struct {
		Running, Waiting int
		Ended            uint64
	}
}

// stats asks for figures of the moment.
func (s recovering) stats(ctx context.Context) (figures, error) {
	var f figures
	c, err := s.Dial("unix", 1)
	if err != nil {
		return f, err
	}
	defer c.Close()
	_, err = c.Run(ctx, load.Order{Request: lab.HTTPRequest("GET", "/v1/stats", "", ""), Count: 1, Check: func(status int, body []byte) error {
		if status != http.StatusOK {
			return fmt.Errorf("ask for figures: status %d, body %.300s", status, body)
		}
		return json.Unmarshal(body, &f)
	}})
	return f, err
}

// expectRecovered is what recovered says of a server that has as many runs as it should.
func expectRecovered(runs int) string {
	if runs == 0 {
		return "0 runs"
	}
	return strconv.Itoa(runs) + " runs, one went on: 1"
}

// recovered says what a server has that is ready again. One of its runs is given its signal, and another one is started in its place.
func (s recovering) recovered(ctx context.Context) (string, error) {
	f, err := s.stats(ctx)
	if err != nil {
		return "", err
	}
	said := strconv.Itoa(f.Runs.Active) + " runs"
	if f.Runs.Active == 0 {
		return said, nil
	}
	list, _, err := s.Client.Runs(ctx, engine.Filter{App: "waiting", Workflow: "wait", Status: engine.Running, Limit: 1})
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return said + ", none is listed", nil
	}
	if err := s.Client.Signal(ctx, list[0].ID, "go", "", nil); err != nil {
		return "", err
	}
	for ctx.Err() == nil {
		d, err := s.Client.Run(ctx, list[0].ID)
		if err != nil {
			return "", err
		}
		if d.Status.Ended() {
			said += ", one went on: " + scalar(d.Output)
			break
		}
		time.Sleep(time.Millisecond)
	}
	return said, errors.Join(ctx.Err(), s.leaveUnfinished(ctx, 1))
}

// idle watches a server that has nothing to do.
func (s recovering) idle(ctx context.Context, settle, watch time.Duration) (lab.Sample, error) {
	pid := s.PID()
	if err := sleep(ctx, settle); err != nil {
		return lab.Sample{}, err
	}
	before, err := lab.ProcessorTime(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	begun := time.Now()
	if err := sleep(ctx, watch); err != nil {
		return lab.Sample{}, err
	}
	after, err := lab.ProcessorTime(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	took := time.Since(begun)
	memory, err := lab.Footprint(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	own, err := lab.PSS(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	return lab.Sample{Digest: "idle", Values: []lab.Value{
		{Measure: recoveryMemory, Unit: "MiB", Number: float64(memory) / (1 << 20)},
		{Measure: "of it the server itself", Unit: "MiB", Number: float64(own) / (1 << 20)},
		{Measure: recoveryCPU, Unit: "%", Number: 100 * (after - before).Seconds() / took.Seconds()},
	}}, nil
}

// sleep waits, or fails when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
