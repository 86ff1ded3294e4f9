package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/trigger"
)

// headerRun names the run that a trigger has started.
const headerRun = "Weft-Run"

// events starts runs for CloudEvents.
func (h *Handler) events(c *call) error {
	list, err := trigger.Decode(c.r.Header, c.r.Body, h.o.Body)
	if err != nil {
		return err
	}
	answer := wire.Accepted{Runs: []string{}}
	var useless error
	for _, e := range list {
		runs, err := h.o.Server.Event(c.r.Context(), c.r.PathValue("app"), e, traceparent(c.r))
		answer.Runs = append(answer.Runs, runs...)
		if one := (*node.TriggerError)(nil); errors.As(err, &one) {
			useless = errors.Join(useless, fmt.Errorf("event %.100q: %w", e.ID, err)) // the others are taken nevertheless
		} else if err != nil {
			return err
		}
	}
	if useless != nil {
		return useless
	}
	return c.reply(http.StatusAccepted, answer)
}

// trigger does what the HTTP trigger says that a request is for.
func (h *Handler) trigger(c *call) error {
	name := c.r.PathValue("app")
	_, path, _ := strings.Cut(strings.TrimPrefix(c.r.URL.EscapedPath(), "/t/"), "/") // the app's name may be escaped too
	path = "/" + path
	t, err := h.o.Server.Route(c.r.Context(), name, c.r.Method, path)
	if err != nil {
		return err
	}
	if len(t.Allowed) > 0 {
		return &notAllowed{c.r.Method, t.Allowed}
	}
	if t.Serves {
		return h.application(c, name, t.Function, path)
	}
	if t.Function != "" {
		return h.call(c, node.InvokeRequest{App: name, Function: t.Function, Body: c.r.Body, Size: c.r.ContentLength, Key: c.r.Header.Get(wire.HeaderIdempotencyKey), Trace: traceparent(c.r)}, false)
	}
	input, err := h.requestInput(c, t)
	if err != nil {
		return err
	}
	key := c.r.Header.Get(wire.HeaderIdempotencyKey)
	if len(key) > keyMax {
		return bad("", "the idempotency key is longer than %d bytes", keyMax)
	}
	run, _, err := h.o.Server.Runs.Start(c.r.Context(), engine.StartRequest{App: name, Workflow: t.Workflow, Input: input, Key: key, Trigger: "http " + t.Method + " " + t.Path, Traceparent: traceparent(c.r)})
	if err != nil {
		return err
	}
	if t.Wait > 0 {
		ctx, cancel := h.waiting(c, t.Wait)
		defer cancel()
		if run, err = h.ended(ctx, run); err != nil {
			return err
		}
	}
	return h.outcome(c, run)
}

// requestInput is the input of the run that a request starts.
func (h *Handler) requestInput(c *call, t node.Routed) (any, error) {
	raw, err := io.ReadAll(c.r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	body, err := bodyValue(c.r.Header.Get("Content-Type"), raw)
	if err != nil || t.With.IsZero() {
		return body, err
	}
	headers, query, params := map[string]any{}, map[string]any{}, map[string]any{}
	for k, v := range c.r.Header {
		if k != "Authorization" && k != "Cookie" {
			headers[strings.ToLower(k)] = strings.Join(v, ", ")
		}
	}
	for k, v := range c.r.URL.Query() {
		query[k] = v[0]
	}
	for k, v := range t.Params {
		params[k] = v
	}
	input, err := h.o.Server.Render(c.r.Context(), t.With, map[string]any{"body": body, "headers": headers, "query": query, "path": params, "method": c.r.Method})
	if err != nil {
		return nil, &node.TriggerError{Trigger: t.Name, Err: fmt.Errorf("with: %w", err)}
	}
	return input, nil
}

// bodyValue is a body as a value: JSON where it says so, or could be; text
// otherwise.
func bodyValue(contentType string, raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	kind, _, _ := mime.ParseMediaType(contentType) // what is malformed counts as not given
	declared := kind == "application/json" || strings.HasSuffix(kind, "+json")
	var v any
	err := json.Unmarshal(raw, &v)
	switch {
	case err == nil && (declared || kind == "" || kind == "application/x-www-form-urlencoded"):
		return v, nil
	case declared:
		return nil, bad("", "the body is not JSON: %v", err)
	case !utf8.Valid(raw):
		return nil, bad("upload bytes to /v1/buffers and send what that answers", "the body is neither JSON nor text")
	}
	return string(raw), nil
}

// outcome answers with what a run has come to.
func (h *Handler) outcome(c *call, run engine.Run) error {
	c.w.Header().Set(headerRun, run.ID)
	switch {
	case !run.Status.Ended():
		c.w.Header().Set("Location", "/v1/runs/"+run.ID)
		return c.reply(http.StatusAccepted, run)
	case run.Failure != nil:
		return &failure{Failure: run.Failure, run: run.ID}
	case run.Status != engine.Succeeded:
		return fmt.Errorf("run %s was cancelled: %w", run.ID, engine.ErrEnded)
	}
	switch out := run.Output.(type) {
	case nil:
		return nil
	case string:
		return c.send("text/plain; charset=utf-8", int64(len(out)), strings.NewReader(out))
	case map[string]any:
		slot, ok := out["$buffer"].(string)
		if !ok || len(out) > 2 {
			break
		}
		r, size, err := h.o.Server.Runs.Open(c.r.Context(), run.ID, slot)
		if err != nil {
			return err
		}
		defer r.Close()
		return c.send("application/octet-stream", size, r)
	}
	return c.reply(http.StatusOK, run.Output)
}
