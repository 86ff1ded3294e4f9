package bench

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
)

// Measures of invoke. Throughput is in both cores together with the load generator, whose share is reported.
const (
	invokeAlone  = "latency, one client"
	invokeRate   = "throughput, 16 clients"
	invokeMany   = "latency, 16 clients"
	invokeShare  = "load generator, of all cores"
	invokeServer = "processor time of the server, a request"
)

// invokeClients is how many connections ask at the same time.
const invokeClients = 16

// invoke asks what a call of a warm function that does nothing costs over HTTP, from the client's first byte to the answer's last. The baseline
// is a server of net/http whose handler does nothing, in a process of its own.
func invoke() lab.Experiment {
	const fast, many = "median ≤ 0.5, p99 ≤ 2", "≥ 12000"
	return lab.Experiment{
		Name:        "invoke",
		Description: "synchronous calls over HTTP of a warm function that does nothing",
		Baselines:   []string{"net/http"},
		Serves:      true,
		Required: []lab.Requirement{
			{Measure: invokeAlone, Variant: "tcp", Text: fast}, {Measure: invokeAlone, Variant: "unix", Text: fast}, {Measure: invokeRate, Variant: "tcp", Text: many}, {Measure: invokeRate, Variant: "unix", Text: many},
		},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			if l.Quick {
				return setUpInvoke(ctx, l, 50, 100*time.Millisecond)
			}
			return setUpInvoke(ctx, l, 500, time.Second)
		},
	}
}

// setUpInvoke makes samples of so many requests from one client, and of so long a time with many.
func setUpInvoke(ctx context.Context, l *lab.Lab, requests int, window time.Duration) error {
	dir := filepath.Join(l.Dir, "nothing")
	if err := writeStepsApp(dir, 1); err != nil {
		return err
	}
	s, err := l.Serve(ctx, "invoke")
	if err != nil {
		return err
	}
	if err := s.Deploy(ctx, dir); err != nil {
		return err
	}
	bare, err := baseline.NewBare()
	if err != nil {
		return err
	}
	l.Cleanup(bare.Close)

	const path = "/v1/apps/steps/functions/one"
	variants := []struct {
		name, network, address string
		pid                    int
		request                []byte
	}{
		{"tcp", "tcp", s.TCP, s.PID(), lab.HTTPRequest("POST", path, s.Token, "{}")},
		{"unix", "unix", s.Socket, s.PID(), lab.HTTPRequest("POST", path, "", "{}")},
		{"net/http", "tcp", bare.Address, bare.PID(), lab.HTTPRequest("POST", path, "", "{}")},
	}
	alone := l.Group("one client", lab.Rounds{WarmUp: 2, Min: 3, Max: 100})
	many := l.Group("16 clients", lab.Rounds{WarmUp: 1, Min: 3, Max: 40})
	for _, v := range variants {
		alone.Add(lab.Case{Variant: v.name, Expect: baseline.BareAnswer, Sample: func(ctx context.Context) (lab.Sample, error) {
			c, err := load.Dial(v.network, v.address, 1)
			if err != nil {
				return lab.Sample{}, err
			}
			defer c.Close()
			done, err := c.Run(ctx, load.Order{Request: v.request, Count: requests, Check: answered})
			sample := lab.Sample{Digest: baseline.BareAnswer}
			for _, took := range done.Latencies {
				sample.Values = append(sample.Values, lab.Millis(invokeAlone, took))
			}
			return sample, err
		}})
		many.Add(lab.Case{Variant: v.name, Expect: baseline.BareAnswer, Sample: func(ctx context.Context) (lab.Sample, error) {
			c, err := load.Dial(v.network, v.address, invokeClients)
			if err != nil {
				return lab.Sample{}, err
			}
			defer c.Close()
			return underManyClients(ctx, c, v.pid, load.Order{Request: v.request, For: window, Check: answered})
		}})
	}
	return nil
}

// answered wants the output of the function that prints 1.
func answered(status int, body []byte) error {
	if status != http.StatusOK || string(body) != baseline.BareAnswer {
		return fmt.Errorf("%w: status %d, body %.200q", lab.ErrDigest, status, body)
	}
	return nil
}

// underManyClients carries out an order and says what it took of the processors, here and in the server.
func underManyClients(ctx context.Context, c *load.Closed, pid int, o load.Order) (lab.Sample, error) {
	own, theirs, err := lab.ProcessorTimes(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	done, err := c.Run(ctx, o)
	if err != nil {
		return lab.Sample{}, err
	}
	own2, theirs2, err := lab.ProcessorTimes(pid)
	if err != nil {
		return lab.Sample{}, err
	}
	sample := lab.Sample{Digest: baseline.BareAnswer, Values: []lab.Value{{Measure: invokeRate, Unit: "1/s", Number: done.Rate()}}}
	for _, took := range done.Latencies {
		sample.Values = append(sample.Values, lab.Millis(invokeMany, took))
	}
	sample.Values = append(sample.Values,
		lab.Micros(invokeServer, (theirs2-theirs)/time.Duration(max(len(done.Latencies), 1))),
		lab.Value{Measure: invokeShare, Unit: "%", Number: 100 * (own2 - own).Seconds() / done.Took.Seconds() / float64(runtime.NumCPU())},
	)
	return sample, nil
}
