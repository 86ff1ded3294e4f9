package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/telemetry"
)

// StartRequest asks for a run.
type StartRequest struct {
	App, Workflow string
	Version       string // empty: the active one
	Input         any    // as JSON
	// Key makes the request idempotent: the same key, workflow and input give the
	// same run. Default: a random one, so that the request can be repeated when the
	// connection breaks.
	Key         string
	Traceparent string        // W3C trace context that the run belongs to
	Wait        time.Duration // how long to wait for the run's end; 0: not at all
}

// Start starts a run and waits for its end as long as it is told to. A run that
// has failed is no error of Start's.
func (c *Client) Start(ctx context.Context, q StartRequest) (engine.Run, error) {
	var run engine.Run
	if q.Key == "" {
		q.Key = rand.Text()
	}
	r := send(http.MethodPost, "apps", q.App, "workflows", q.Workflow, "runs").with("version", q.Version)
	r = r.says(wire.HeaderIdempotencyKey, q.Key).says(wire.HeaderTraceparent, q.Traceparent)
	if q.Wait > 0 {
		r = r.with("wait", q.Wait.String())
	} else {
		r = r.with("wait", "0s")
	}
	r, err := r.json(q.Input)
	if err != nil {
		return run, err
	}
	r.safe = true
	return run, c.call(ctx, r, &run)
}

// Runs lists runs, the newest first, and where the next part of the list begins:
// Filter.After for it, empty at the end.
func (c *Client) Runs(ctx context.Context, f engine.Filter) ([]engine.Run, string, error) {
	r := get("runs").with("app", f.App).with("workflow", f.Workflow).with("status", string(f.Status)).with("trigger", f.Trigger).with("after", f.After)
	if !f.Since.IsZero() {
		r = r.with("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if !f.Until.IsZero() {
		r = r.with("until", f.Until.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		r = r.with("limit", strconv.Itoa(f.Limit))
	}
	var p wire.Page[engine.Run]
	err := c.call(ctx, r, &p)
	return p.Items, p.Next, err
}

// Run is a run with where its steps are.
func (c *Client) Run(ctx context.Context, id string) (engine.Detail, error) {
	var d engine.Detail
	return d, c.call(ctx, get("runs", id), &d)
}

// Cancel ends a run.
func (c *Client) Cancel(ctx context.Context, id, reason string) error {
	r, err := send(http.MethodPost, "runs", id, "cancel").json(wire.Cancel{Reason: reason})
	if err != nil {
		return err
	}
	return c.call(ctx, r, nil)
}

// Retry lets a run go on that has failed or was cancelled, from what had
// finished.
func (c *Client) Retry(ctx context.Context, id string) error {
	return c.call(ctx, send(http.MethodPost, "runs", id, "retry"), nil)
}

// Pause lets nothing new start in a run.
func (c *Client) Pause(ctx context.Context, id string) error {
	return c.call(ctx, send(http.MethodPost, "runs", id, "pause"), nil)
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, id string) error {
	return c.call(ctx, send(http.MethodPost, "runs", id, "resume"), nil)
}

// Signal gives a run a signal, for the item at path or, if that is empty, for
// whichever waits the longest.
func (c *Client) Signal(ctx context.Context, id, name, path string, value any) error {
	r, err := send(http.MethodPost, "runs", id, "signals", name).with("step", path).json(value)
	if err != nil {
		return err
	}
	return c.call(ctx, r, nil)
}

// Trace is what the server has recorded of a run.
func (c *Client) Trace(ctx context.Context, id string) (*telemetry.Trace, error) {
	var t telemetry.Trace
	if err := c.call(ctx, get("runs", id, "trace"), &t); err != nil {
		return nil, err
	}
	return &t, nil
}

// Buffer opens a buffer of a run's output, and says how many bytes it has; -1
// if the server does not say.
func (c *Client) Buffer(ctx context.Context, id, slot string) (io.ReadCloser, int64, error) {
	res, err := c.do(ctx, get("runs", id, "buffers", slot))
	if err != nil {
		return nil, 0, err
	}
	return res.Body, res.ContentLength, nil
}

// Upload stores bytes that the input of a run can refer to.
func (c *Client) Upload(ctx context.Context, body io.Reader) (wire.Buffer, error) {
	var b wire.Buffer
	return b, c.call(ctx, send(http.MethodPost, "buffers").stream("application/octet-stream", body), &b)
}

// Follow gives what happens in a run to observe, from its start or after the
// event numbered after, and returns the run when it has ended.
func (c *Client) Follow(ctx context.Context, id string, after uint64, observe func(wire.Event)) (engine.Run, error) {
	var run engine.Run
	end, err := c.follow(ctx, id, after, func(e wire.Event) bool {
		observe(e)
		return true
	})
	if err != nil {
		return run, err
	}
	if err := decode(bytes.NewReader(end), &run); err != nil {
		return run, fmt.Errorf("read the end of run %s: %w", id, err)
	}
	if run.ID == "" { // an end without the rest of the run
		d, err := c.Run(ctx, id)
		return d.Run, err
	}
	return run, nil
}
