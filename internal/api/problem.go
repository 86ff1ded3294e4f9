package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/secret"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/telemetry/metrics"
	"github.com/weft-run/weft/internal/trigger"
)

// badRequest is a request that makes no sense.
type badRequest struct{ text, hint string }

func (e *badRequest) Error() string { return e.text }

func bad(hint, format string, args ...any) error {
	return &badRequest{fmt.Sprintf(format, args...), hint}
}

// wrongType is a body of a media type that is not taken.
type wrongType struct{ got, want string }

func (e *wrongType) Error() string {
	if e.got == "" {
		return "the body has no content type; want " + e.want
	}
	return fmt.Sprintf("the body is %.100s; want %s", e.got, e.want)
}

// failure is the failure of a function that was called for a request.
type failure struct {
	*flow.Failure
	run string // that it belongs to; empty: none
}

func (e *failure) Error() string { return e.Message }

// kind is a kind of problem: errors that wrap err are answered so.
type kind struct {
	err    error
	status int
	word   string // of its type
	title  string
	hint   string
	reason string // for metrics, if it is a refusal
}

// kinds are looked through in their order.
var kinds = []kind{
	{node.ErrNoMethod, http.StatusNotFound, "not-found", "Not found", "weft services lists services and their methods", ""},
	{engine.ErrNotFound, http.StatusNotFound, "not-found", "Not found", "weft functions APP and weft workflows APP list what an app has, weft runs list the runs", ""},
	{node.ErrOtherCall, http.StatusConflict, "conflict", "Conflict", "use another idempotency key for another call", ""},
	{node.ErrCaller, http.StatusForbidden, "refused", "Not allowed", "callers of the service in the app file says who may call it", metrics.RefusedRole},
	{node.ErrLate, http.StatusGatewayTimeout, "deadline", "The deadline has passed", "the detail says whether anything has happened; ask again with another idempotency key and more time", ""},
	{node.ErrArguments, http.StatusRequestEntityTooLarge, "too-large", "Too large", "keep large values elsewhere, and pass their names", metrics.RefusedTooLarge},
	{service.ErrKey, http.StatusBadRequest, "bad-request", "Bad request", "", ""},
	{service.ErrClosed, http.StatusServiceUnavailable, "draining", "The server is shutting down", "", metrics.RefusedDraining},
	{registry.ErrNotFound, http.StatusNotFound, "not-found", "Not found", "weft apps list shows what is deployed, weft deploy deploys", ""},
	{data.ErrNotFound, http.StatusNotFound, "not-found", "Not found", "", ""},
	{secret.ErrNotFound, http.StatusNotFound, "not-found", "Not found", "weft secrets set sets a secret", ""},
	{auth.ErrUnknown, http.StatusNotFound, "not-found", "Not found", "weft tokens list shows the tokens", ""},
	{auth.ErrInvalid, http.StatusBadRequest, "bad-request", "Bad request", "", ""},
	{secret.ErrInvalid, http.StatusBadRequest, "bad-request", "Bad request", "", ""},
	{trigger.ErrMalformed, http.StatusBadRequest, "bad-request", "Bad request", "", ""},
	{scheduler.ErrSetting, http.StatusBadRequest, "bad-request", "Bad request", "GET /v1/cpu has the settings; docs/cpu.md explains them", ""},
	{policy.ErrParameter, http.StatusBadRequest, "bad-request", "Bad request", "GET /v1/cpu has the parameters; docs/cpu.md explains them", ""},
	{backend.ErrUnavailable, http.StatusUnprocessableEntity, "unavailable", "This machine does not give that", "weft doctor says which backends work and what the others need", ""},
	{trigger.ErrUnsupported, http.StatusUnsupportedMediaType, "unsupported", "Unsupported media type", "send CloudEvents 1.0 in binary, structured or batch mode", ""},
	{trigger.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", "", metrics.RefusedTooLarge},
	{engine.ErrConflict, http.StatusConflict, "conflict", "Conflict", "use another idempotency key for another request", ""},
	{flow.ErrNoSignal, http.StatusUnprocessableEntity, "input", "The run does not take this signal", "see signal of the workflow's steps in the app file", ""},
	{flow.ErrSignals, http.StatusTooManyRequests, "full", "Too many signals", "wait until the run has come to the steps that wait for them", metrics.RefusedQueue},
	{engine.ErrEnded, http.StatusConflict, "ended", "The run has ended", "", ""},
	{engine.ErrNotEnded, http.StatusConflict, "not-ended", "The run has not ended", "", ""},
	{registry.ErrInUse, http.StatusConflict, "in-use", "In use", "cancel its runs or wait for them; activate another version first", ""},
	{registry.ErrNoOther, http.StatusConflict, "no-other", "No earlier version", "weft apps versions lists the versions, weft apps activate makes one active", ""},
	{engine.ErrDraining, http.StatusServiceUnavailable, "draining", "The server is shutting down", "", metrics.RefusedDraining},
	{engine.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", "", metrics.RefusedTooLarge},
	{buffer.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", "", metrics.RefusedTooLarge},
	{data.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", "", metrics.RefusedTooLarge},
	{admission.ErrTooLarge, http.StatusUnprocessableEntity, "too-large", "The function declares more memory than there is", "lower memory in the app file, or raise the server's limit", metrics.RefusedMemory},
	{store.ErrFailed, http.StatusServiceUnavailable, "failed", "The server cannot write to its disk", "see the server's log", ""},
	{audit.ErrFailed, http.StatusServiceUnavailable, "failed", "The server cannot write to its disk", "see the server's log", ""},
	{audit.ErrClosed, http.StatusServiceUnavailable, "draining", "The server is shutting down", "", metrics.RefusedDraining},
	{store.ErrClosed, http.StatusServiceUnavailable, "draining", "The server is shutting down", "", metrics.RefusedDraining},
	{context.Canceled, http.StatusServiceUnavailable, "draining", "The server is shutting down", "", metrics.RefusedDraining}, // the client is there, so it was the server that gave up
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout", "It took too long", "", ""},
}

// problem says an error in the words of HTTP.
func (h *Handler) problem(c *call, err error) wire.Problem {
	p := wire.Problem{Type: "about:blank", Status: http.StatusInternalServerError, Title: "Internal error", Detail: err.Error(), Instance: c.r.URL.Path, Request: c.id}
	var refusal *auth.Refusal
	var request *badRequest
	var full *engine.FullError
	var busy *admission.ErrFull
	var rejected *registry.RejectedError
	var failed *failure
	var wrongMethod *notAllowed
	var input *engine.InputError
	var large *http.MaxBytesError
	var wrong *wrongType
	var useless *node.TriggerError
	var method *node.MethodError
	var came *node.RefusedError
	switch {
	case errors.As(err, &refusal):
		p.Type, p.Status, p.Title, p.Detail = "urn:weft:refused", refusal.Status, refusal.Title, refusal.Detail
	case errors.As(err, &request):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:bad-request", http.StatusBadRequest, "Bad request", request.hint
	case errors.As(err, &wrong):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:unsupported", http.StatusUnsupportedMediaType, "Unsupported media type", "send Content-Type: "+wrong.want
	case errors.As(err, &large):
		p.Type, p.Status, p.Title = "urn:weft:too-large", http.StatusRequestEntityTooLarge, "Too large"
		p.Detail = fmt.Sprintf("the body is larger than %d bytes", large.Limit)
	case errors.Is(err, errStalled):
		p.Type, p.Status, p.Title = "urn:weft:stalled", http.StatusRequestTimeout, "The body does not come"
	case errors.Is(err, errBrokenOff):
		p.Type, p.Status, p.Title = "urn:weft:bad-request", http.StatusBadRequest, "Bad request"
	case errors.As(err, &useless):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:trigger", http.StatusUnprocessableEntity, "The trigger cannot use this", "see filter and with of the trigger, and input of its workflow, in the app file"
	case errors.As(err, &input):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:input", http.StatusUnprocessableEntity, "The workflow does not take this input", "see input of the workflow in the app file"
	case errors.As(err, &wrongMethod):
		p.Type, p.Status, p.Title = "urn:weft:method", http.StatusMethodNotAllowed, "Method not allowed"
	case errors.As(err, &failed):
		p.Type, p.Status, p.Title, p.Kind = "urn:weft:function-failed", http.StatusBadGateway, "The function failed", failed.Kind
		if failed.Kind == flow.KindTimeout {
			p.Status = http.StatusGatewayTimeout
		}
		if failed.run != "" {
			p.Instance = "/v1/runs/" + failed.run
		}
	case errors.As(err, new(*hostError)):
		p.Type, p.Title = wire.ProblemMethod, "The method has returned an error"
	case errors.As(err, &method):
		p.Type, p.Status, p.Title = wire.ProblemMethod, http.StatusUnprocessableEntity, "The method has returned an error"
	case errors.As(err, &came):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:service-failed", http.StatusBadGateway, "The service failed", "nothing of the call has happened, unless it is parked; weft requests lists parked ones"
	case errors.As(err, &full), errors.As(err, &busy):
		p.Type, p.Status, p.Title, p.Hint = "urn:weft:full", http.StatusTooManyRequests, "Too much at a time", "try again later, or raise the limit"
	case errors.As(err, &rejected):
		p.Type, p.Status, p.Title = "urn:weft:rejected", http.StatusUnprocessableEntity, "The app cannot be deployed"
		errors.As(err, &p.Errors)
	default:
		for _, k := range kinds {
			if errors.Is(err, k.err) {
				p.Type, p.Status, p.Title, p.Hint = "urn:weft:"+k.word, k.status, k.title, k.hint
				break
			}
		}
	}
	return p
}

// word is the word of a problem's type.
func word(p wire.Problem) string {
	if w, ok := strings.CutPrefix(p.Type, "urn:weft:"); ok {
		return w
	}
	return "internal-error"
}

// fail answers with a problem.
func (h *Handler) fail(c *call, err error) {
	p := h.problem(c, err)
	if p.Type == "about:blank" {
		h.o.Logger.Error("request failed", "request", c.id, "path", c.r.URL.Path, "error", err)
	}
	h.refused(err, p)
	header := c.w.Header()
	var refusal *auth.Refusal
	if errors.As(err, &refusal) && refusal.Challenge != "" {
		header.Set("WWW-Authenticate", refusal.Challenge)
	}
	var method *notAllowed
	if errors.As(err, &method) {
		header.Set("Allow", strings.Join(method.allowed, ", "))
	}
	if after := retryAfter(err, p.Status); after > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	header.Set("Content-Type", wire.TypeProblem)
	c.w.WriteHeader(p.Status)
	enc := json.NewEncoder(c.w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		h.o.Logger.Debug("nobody reads the answer", "request", c.id, "error", err)
	}
}

// statusGone is noted for requests whose client has gone; nobody sees it.
const statusGone = 499

// retryAfter is when it may be worth trying again; 0: that is not known.
func retryAfter(err error, status int) time.Duration {
	var full *engine.FullError
	var busy *admission.ErrFull
	switch {
	case errors.As(err, &full):
		return full.RetryAfter
	case errors.As(err, &busy):
		return busy.RetryAfter
	case status == http.StatusServiceUnavailable, errors.Is(err, flow.ErrSignals):
		return time.Second
	}
	return 0
}

// refused counts what was turned away.
func (h *Handler) refused(err error, p wire.Problem) {
	var full *engine.FullError
	var busy *admission.ErrFull
	switch {
	case errors.As(err, &full):
		h.o.Metrics.Refused(metrics.RefusedRuns)
	case errors.As(err, &busy):
		h.o.Metrics.Refused(metrics.RefusedQueue)
	case p.Status == http.StatusUnauthorized:
		h.o.Metrics.Refused(metrics.RefusedAuth)
	case errors.Is(err, auth.ErrForbidden), errors.Is(err, node.ErrCaller):
		h.o.Metrics.Refused(metrics.RefusedRole)
	case p.Type == "urn:weft:refused":
		h.o.Metrics.Refused(metrics.RefusedOrigin)
	case p.Status == http.StatusRequestEntityTooLarge:
		h.o.Metrics.Refused(metrics.RefusedTooLarge)
	default:
		for _, k := range kinds {
			if k.reason != "" && errors.Is(err, k.err) {
				h.o.Metrics.Refused(k.reason)
				return
			}
		}
	}
}

// methods are those that routes may have.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}

// notAllowed is a request whose path has routes for other methods.
type notAllowed struct {
	method  string
	allowed []string
}

func (e *notAllowed) Error() string {
	return fmt.Sprintf("%s is not possible here, %s is", e.method, strings.Join(e.allowed, ", "))
}

// unknown answers what no route is for.
func (h *Handler) unknown(c *call) error {
	var allowed []string
	for _, m := range methods {
		if !plain(c.r.URL.EscapedPath()) {
			break
		}
		if _, pattern := h.mux.Handler(&http.Request{Method: m, URL: c.r.URL, Host: c.r.Host}); pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		return &notAllowed{c.r.Method, allowed}
	}
	return fmt.Errorf("there is nothing at %s; GET /v1/openapi.json lists what there is: %w", c.r.URL.Path, engine.ErrNotFound)
}
