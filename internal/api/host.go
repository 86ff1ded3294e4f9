package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
)

// Clients of mu2sls send POST /METHOD to the host SERVICE.NAMESPACE.DOMAIN with the body
// {"req_id": ID, "args": [ARGUMENT, …]}, and are answered with the result as JSON, 400 and the
// text ABORT if a transaction was aborted, or 500. Here a namespace is an app, and
// the ID an idempotency key.

// aborted is the error of a method whose transaction was aborted, and what clients are told.
const aborted = "ABORT"

// serviceHost reads the name of a host.
func (h *Handler) serviceHost(host string) (app, service string, ok bool) {
	if h.o.Domain == "" {
		return "", "", false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	names, ok := strings.CutSuffix(host, "."+strings.ToLower(h.o.Domain))
	if !ok {
		return "", "", false
	}
	service, app, ok = strings.Cut(names, ".")
	return app, service, ok && service != "" && app != "" && !strings.Contains(app, ".")
}

// callByHost calls a method of a service in the format of mu2sls.
func (h *Handler) callByHost(c *call) error {
	app, name, _ := h.serviceHost(c.r.Host)
	method, plain := strings.CutPrefix(c.r.URL.Path, "/")
	if c.r.Method != http.MethodPost {
		return &notAllowed{c.r.Method, []string{http.MethodPost}}
	}
	if !plain || method == "" || strings.Contains(method, "/") {
		return fmt.Errorf("there is nothing at %s of service %s; POST /METHOD calls a method: %w", c.r.URL.Path, name, engine.ErrNotFound)
	}
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return bodyError(err)
	}
	var q struct {
		ID          string          `json:"req_id"`
		Args        json.RawMessage `json:"args"`
		Transaction any             `json:"txn_id"`
		Instruction any             `json:"instruction"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return bad(`send {"req_id": ID, "args": [ARGUMENT, …]}`, "the body is not a call: %v", err)
	}
	if q.Transaction != nil || q.Instruction != nil {
		return bad("call services from services for that", "transactions are begun by methods, not by clients: the call has txn_id or instruction")
	}
	args, err := arguments(q.Args)
	if err != nil {
		return err
	}
	if a, _, err := h.o.Server.Apps.Get(app, ""); err == nil && a.Services[name] != nil {
		promise(c, a.Services[name], q.ID)
	}
	limit, err := c.deadline()
	if err != nil {
		return err
	}
	ctx, cancel := h.waiting(c, h.o.Wait)
	defer cancel()
	req := node.ServiceCall{App: app, Service: name, Method: method, Args: args, Key: q.ID, Timeout: limit, By: c.who.Name}
	result, err := h.o.Server.CallService(ctx, req)
	var failed *node.MethodError
	switch {
	case errors.As(err, &failed) && failed.Text == aborted:
		c.w.Header().Set("Content-Type", "text/plain")
		c.w.WriteHeader(http.StatusBadRequest)
		_, err = io.WriteString(c.w, aborted)
		return err
	case errors.As(err, &failed):
		return &hostError{failed}
	case err != nil:
		return waited(req, h.o.Wait, err)
	}
	return c.sendResult(result)
}

// hostError is the error of a method for a client of mu2sls, which takes 500 for that.
type hostError struct{ *node.MethodError }

func (e *hostError) Unwrap() error { return e.MethodError }
