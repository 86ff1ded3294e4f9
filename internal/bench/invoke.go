package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
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
func invoke() Experiment {
	const fast, many = "median ≤ 0.5, p99 ≤ 2", "≥ 12000"
	return Experiment{
		Name:        "invoke",
		Description: "synchronous calls over HTTP of a warm function that does nothing",
		Baselines:   []string{"net/http"},
		Serves:      true,
		Required: []Requirement{
			{invokeAlone, "tcp", fast}, {invokeAlone, "unix", fast}, {invokeRate, "tcp", many}, {invokeRate, "unix", many},
		},
		Setup: func(ctx context.Context, lab *Lab) error {
			if lab.Quick {
				return setUpInvoke(ctx, lab, 50, 100*time.Millisecond)
			}
			return setUpInvoke(ctx, lab, 500, time.Second)
		},
	}
}

// setUpInvoke makes samples of so many requests from one client, and of so long a time with many.
func setUpInvoke(ctx context.Context, lab *Lab, requests int, window time.Duration) error {
	dir := filepath.Join(lab.Dir, "nothing")
	if err := writeStepsApp(dir, 1); err != nil {
		return err
	}
	s, err := lab.serve(ctx, "invoke")
	if err != nil {
		return err
	}
	if err := s.deploy(ctx, dir); err != nil {
		return err
	}
	bare, err := baseline.NewBare()
	if err != nil {
		return err
	}
	lab.Cleanup(bare.Close)

	const path = "/v1/apps/steps/functions/one"
	variants := []struct {
		name, network, address string
		pid                    int
		request                []byte
	}{
		{"tcp", "tcp", s.tcp, s.command.Process.Pid, request("POST", path, s.token, "{}")},
		{"unix", "unix", s.socket, s.command.Process.Pid, request("POST", path, "", "{}")},
		{"net/http", "tcp", bare.Address, bare.PID(), request("POST", path, "", "{}")},
	}
	alone := lab.Group("one client", Rounds{WarmUp: 2, Min: 3, Max: 100})
	many := lab.Group("16 clients", Rounds{WarmUp: 1, Min: 3, Max: 40})
	for _, v := range variants {
		alone.Add(Case{Variant: v.name, Expect: baseline.BareAnswer, Sample: func(ctx context.Context) (Sample, error) {
			c, err := load.Dial(v.network, v.address, 1)
			if err != nil {
				return Sample{}, err
			}
			defer c.Close()
			done, err := c.Run(ctx, load.Order{Request: v.request, Count: requests, Check: answered})
			sample := Sample{Digest: baseline.BareAnswer}
			for _, took := range done.Latencies {
				sample.Values = append(sample.Values, Millis(invokeAlone, took))
			}
			return sample, err
		}})
		many.Add(Case{Variant: v.name, Expect: baseline.BareAnswer, Sample: func(ctx context.Context) (Sample, error) {
			c, err := load.Dial(v.network, v.address, invokeClients)
			if err != nil {
				return Sample{}, err
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
		return fmt.Errorf("%w: status %d, body %.200q", errDigest, status, body)
	}
	return nil
}

// underManyClients carries out an order and says what it took of the processors, here and in the server.
func underManyClients(ctx context.Context, c *load.Closed, pid int, o load.Order) (Sample, error) {
	own, theirs, err := bothTimes(pid)
	if err != nil {
		return Sample{}, err
	}
	done, err := c.Run(ctx, o)
	if err != nil {
		return Sample{}, err
	}
	own2, theirs2, err := bothTimes(pid)
	if err != nil {
		return Sample{}, err
	}
	sample := Sample{Digest: baseline.BareAnswer, Values: []Value{{Measure: invokeRate, Unit: "1/s", Number: done.Rate()}}}
	for _, took := range done.Latencies {
		sample.Values = append(sample.Values, Millis(invokeMany, took))
	}
	sample.Values = append(sample.Values,
		Micros(invokeServer, (theirs2-theirs)/time.Duration(max(len(done.Latencies), 1))),
		Value{Measure: invokeShare, Unit: "%", Number: 100 * (own2 - own).Seconds() / done.Took.Seconds() / float64(runtime.NumCPU())},
	)
	return sample, nil
}

// bothTimes is the processor time that this process has used, and that another and all that stem from it have.
func bothTimes(pid int) (own, theirs time.Duration, err error) {
	self, err := readProcess(os.Getpid())
	if err != nil {
		return 0, 0, err
	}
	theirs, err = processorTimeOf(pid)
	return self.cpu, theirs, err
}
