package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/telemetry"
)

// keyMax bounds idempotency keys, in bytes.
const keyMax = 256

func (h *Handler) start(c *call) error {
	wait, err := c.span("wait", h.o.Wait)
	if err != nil {
		return err
	}
	input, err := c.jsonOrNothing()
	if err != nil {
		return err
	}
	key := c.r.Header.Get(wire.HeaderIdempotencyKey)
	if len(key) > keyMax {
		return bad("", "the idempotency key is longer than %d bytes", keyMax)
	}
	req := engine.StartRequest{
		App: c.r.PathValue("app"), Version: c.r.URL.Query().Get("version"), Workflow: c.r.PathValue("workflow"), Input: input,
		Key: key, Trigger: "api", Traceparent: traceparent(c.r),
	}
	run, _, err := h.o.Server.Runs.Start(c.r.Context(), req)
	if err != nil {
		return err
	}
	if wait > 0 {
		ctx, cancel := h.waiting(c, wait)
		defer cancel()
		if run, err = h.ended(ctx, run); err != nil {
			return err
		}
	}
	status := http.StatusAccepted
	if run.Status.Ended() {
		status = http.StatusOK
	}
	c.w.Header().Set("Location", "/v1/runs/"+run.ID)
	return c.reply(status, run)
}

// waiting is a context for waiting for the end of a run.
func (h *Handler) waiting(c *call, wait time.Duration) (context.Context, context.CancelFunc) {
	until, cancel := h.until(c)
	ctx, cancelWait := context.WithTimeout(until, wait)
	return ctx, func() {
		cancelWait()
		cancel()
	}
}

// ended waits for the end of a run, as long as ctx lets it.
func (h *Handler) ended(ctx context.Context, run engine.Run) (engine.Run, error) {
	after, err := h.o.Server.Runs.Wait(ctx, run.ID)
	if err != nil && ctx.Err() != nil {
		return run, nil
	}
	return after, err
}

// traceparent is the W3C trace context of a request, if it is one.
func traceparent(r *http.Request) string {
	s := r.Header.Get(wire.HeaderTraceparent)
	if _, err := telemetry.ParseTraceparent(s); err != nil {
		return ""
	}
	return s
}

func (h *Handler) listRuns(c *call) error {
	q := c.r.URL.Query()
	f := engine.Filter{App: q.Get("app"), Workflow: q.Get("workflow"), Status: engine.Status(q.Get("status")), Trigger: q.Get("trigger"), After: q.Get("after")}
	switch f.Status {
	case "", engine.Running, engine.Paused, engine.Succeeded, engine.Failed, engine.Cancelled:
	default:
		return bad("", "parameter status is %q; want running, paused, succeeded, failed or cancelled", f.Status)
	}
	var err error
	if f.Limit, err = c.number("limit"); err != nil {
		return err
	}
	if f.Since, err = c.moment("since"); err != nil {
		return err
	}
	if f.Until, err = c.moment("until"); err != nil {
		return err
	}
	runs, next, err := h.o.Server.Runs.List(c.r.Context(), f)
	if err != nil {
		return err
	}
	if runs == nil {
		runs = []engine.Run{}
	}
	return c.reply(http.StatusOK, wire.Page[engine.Run]{Items: runs, Next: next})
}

func (h *Handler) getRun(c *call) error {
	d, err := h.o.Server.Runs.Get(c.r.Context(), c.r.PathValue("run"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, d)
}

func (h *Handler) trace(c *call) error {
	t, err := h.o.Server.Runs.Trace(c.r.Context(), c.r.PathValue("run"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, t)
}

func (h *Handler) cancel(c *call) error {
	var why wire.Cancel
	if err := c.read(&why); err != nil {
		return err
	}
	if why.Reason == "" {
		why.Reason = "cancelled by " + c.who.Name
	}
	return h.o.Server.Runs.Cancel(c.r.Context(), c.r.PathValue("run"), why.Reason)
}

func (h *Handler) retry(c *call) error {
	return h.o.Server.Runs.Retry(c.r.Context(), c.r.PathValue("run"))
}

func (h *Handler) pause(c *call) error {
	return h.o.Server.Runs.Pause(c.r.Context(), c.r.PathValue("run"))
}

func (h *Handler) resume(c *call) error {
	return h.o.Server.Runs.Resume(c.r.Context(), c.r.PathValue("run"))
}

func (h *Handler) signal(c *call) error {
	value, err := c.jsonOrNothing()
	if err != nil {
		return err
	}
	return h.o.Server.Runs.Signal(c.r.Context(), c.r.PathValue("run"), c.r.PathValue("signal"), c.r.URL.Query().Get("step"), value)
}

func (h *Handler) download(c *call) error {
	r, size, err := h.o.Server.Runs.Open(c.r.Context(), c.r.PathValue("run"), c.r.PathValue("buffer"))
	if err != nil {
		return err
	}
	return errors.Join(c.send("application/octet-stream", size, r), r.Close())
}

func (h *Handler) upload(c *call) error {
	id, size, err := h.o.Server.Blobs.Upload(c.r.Body, h.o.Buffer)
	if err != nil {
		return fmt.Errorf("take buffer: %w", err)
	}
	return c.reply(http.StatusCreated, wire.Buffer{Name: "/upload-" + id, Size: size})
}
