// Package api answers requests over HTTP: apps, functions, runs, triggers, and
// what an operator needs.
//
//	h := api.New(api.Options{Server: s, Guard: guard, …})
//	go http.Serve(listener, h)
//
// Every request is a line of one table (route.go): pattern, role, what goes in and
// comes out. The table registers handlers, checks who is asking, names requests
// in metrics, log and audit log, and is written out as the OpenAPI document, so
// these cannot differ.
//
//	route.go     the table
//	openapi.go   the table as a document
//	schema.go    Go types as JSON Schema
//	problem.go   errors as answers (RFC 9457)
//	reply.go     what handlers share: reading and writing bodies
//	apps.go      apps and their versions
//	invoke.go    functions
//	service.go   services, their requests, locks and state
//	journal.go   what requests to services have asked, restarts and replays
//	runs.go      runs
//	host.go      services by the name of a host
//	stream.go    events and logs as they happen
//	trigger.go   requests and events that start runs
//	admin.go     secrets, tokens, audit log, configuration, backup
//	state.go     health, version, figures
//	cpu.go       who has the processor
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry/metrics"
)

// Options configure a Handler. Server, Guard, Tokens, Audit and Metrics are
// always there.
type Options struct {
	Server  *node.Server
	Guard   *auth.Guard
	Tokens  *auth.Tokens
	Audit   *audit.Log
	Metrics *metrics.Metrics
	Config  func() []byte // the configuration as it is in force, as YAML
	Logger  *slog.Logger  // default: slog.Default()

	Version string // of weft

	Bundle int64         // bytes of an uploaded bundle; default 1 GiB
	Buffer int64         // bytes of an uploaded buffer; default 4 GiB
	Body   int64         // bytes of other bodies: events, invocations; default 64 MiB
	Value  int64         // bytes of the arguments of a call of a service, together; default 1 MiB
	Input  int64         // bytes of the body that is the input of a run, or a signal; default 1 MiB
	Wait   time.Duration // the longest time that a start may wait for the run's end; default 1 hour
	// Patience is how long a client may take to send a body, with a second more for
	// every 4 KiB of it, and to take each 64 KiB of an answer. Default 1 minute.
	Patience time.Duration
	// Domain is that of calls of services by host (host.go); "": there are none.
	// OpenServices lets everybody make them.
	Domain       string
	OpenServices bool
	// OpenMetrics lets everybody read /metrics.
	OpenMetrics bool
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Bundle <= 0 {
		o.Bundle = 1 << 30
	}
	if o.Buffer <= 0 {
		o.Buffer = 4 << 30
	}
	if o.Body <= 0 {
		o.Body = 64 << 20
	}
	if o.Value <= 0 {
		o.Value = 1 << 20
	}
	if o.Input <= 0 {
		o.Input = 1 << 20
	}
	if o.Wait <= 0 {
		o.Wait = time.Hour
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
}

// Handler answers the requests of a server.
type Handler struct {
	o       Options
	mux     *http.ServeMux
	lost    http.Handler // of requests that no route is for
	byHost  http.Handler // of calls of services by the name of a host
	started time.Time
	zip     func(http.Handler) http.HandlerFunc

	drain    context.Context // ends when the server is about to end
	endDrain context.CancelFunc
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	o.EnsureDefaults()
	h := &Handler{o: o, mux: http.NewServeMux(), started: time.Now()}
	h.drain, h.endDrain = context.WithCancel(context.Background())
	var err error
	if h.zip, err = gzhttp.NewWrapper(gzhttp.MinSize(4096), gzhttp.ExceptContentTypes([]string{"application/gzip", "application/x-tar", "application/zip", "image/png", "image/jpeg", wire.TypeEvents})); err != nil {
		return nil, err
	}
	for _, r := range h.routes() {
		h.mux.Handle(r.pattern(), h.serve(r))
	}
	h.lost = h.serve(&route{name: "unknown", role: public, handle: h.unknown})
	h.mux.Handle("/", h.lost)
	role := auth.Invoke
	if o.OpenServices {
		role = public
	}
	h.byHost = h.serve(&route{method: http.MethodPost, path: "/{method}", name: "service.host", role: role, in: media("application/json"), limit: argumentsLimit, handle: h.callByHost})
	return h, nil
}

// Drain ends what would go on for as long as its client likes: streams of events
// and logs, and waiting for the end of runs.
func (h *Handler) Drain() { h.endDrain() }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := h.serviceHost(r.Host); ok {
		h.byHost.ServeHTTP(w, r)
		return
	}
	if !plain(r.URL.EscapedPath()) { // ServeMux would send its client elsewhere
		h.lost.ServeHTTP(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// plain reports whether a path means what it says: it has no empty segments but
// the last one, and none that is . or ..
func plain(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	for ok {
		var segment string
		segment, rest, ok = strings.Cut(rest, "/")
		if segment == "" && ok || segment == "." || segment == ".." {
			return false
		}
	}
	return strings.HasPrefix(path, "/")
}

// call is a request on its way through its handler.
type call struct {
	rt      *route
	w       *response
	r       *http.Request
	id      string // of the request
	who     auth.Identity
	subject string // for the audit log; the path's names unless a handler says more
	held    *held  // an answer that waits until the audit log has its line
}

// serve is what all requests have in common.
func (h *Handler) serve(rt *route) http.Handler {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.answer(rt, w, r) })
	if rt.zip {
		return h.zip(handler)
	}
	return handler
}

// answer carries out one request.
func (h *Handler) answer(rt *route, w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	control := http.NewResponseController(w)
	c := &call{rt: rt, w: &response{ResponseWriter: w, control: control, patience: h.o.Patience}, r: r, id: requestID(r)}
	var b *body
	if r.ContentLength != 0 {
		b = &body{ReadCloser: r.Body, control: control, patience: h.o.Patience}
		r.Body = b
		defer b.leave()
	}
	c.w.Header().Set(wire.HeaderRequestID, c.id)
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	err := h.attempt(rt, c)
	if rt.audit && c.who.Name != "" { // who is not known is counted by metrics, and must not fill the disk
		err = errors.Join(err, h.record(rt, c, err))
	}
	if err == nil && c.held != nil {
		err = c.held.send(c.w)
	}
	broken := false
	switch {
	case b != nil && b.stalled && c.w.status == 0:
		h.fail(c, errStalled)
	case r.Context().Err() != nil: // nobody reads it; who reads after all must not take it for a success
		c.w.status, broken = statusGone, true
	case err != nil && c.w.status != 0: // too late to say so, but for a broken connection
		h.o.Logger.Warn("answer broke off", "request", c.id, "route", rt.name, "error", err)
		broken = true
	case err != nil:
		h.fail(c, err)
	case c.w.status == 0:
		c.w.WriteHeader(http.StatusNoContent)
	}
	took := time.Since(begun)
	h.o.Metrics.Request(rt.pattern(), c.w.status, took)
	if h.o.Logger.Enabled(r.Context(), slog.LevelDebug) {
		h.o.Logger.Debug("request", "request", c.id, "route", rt.name, "path", r.URL.Path, "who", c.who.Name, "status", c.w.status, "bytes", c.w.bytes, "took", took)
	}
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// attempt checks who is asking and lets the handler answer.
func (h *Handler) attempt(rt *route, c *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			h.o.Logger.Error("request failed badly", "request", c.id, "route", rt.name, "panic", p, "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
	}()
	c.subject = rt.subject(c.r)
	if rt.role != public && !(rt.name == "metrics" && h.o.OpenMetrics) {
		if c.who, err = h.o.Guard.Check(c.r); err != nil {
			return err
		}
		if err := c.who.Require(rt.role); err != nil {
			return err
		}
	}
	if err := rt.understands(c.r.URL.Query()); err != nil {
		return err
	}
	if rt.endless && c.r.Method == http.MethodHead {
		return &notAllowed{c.r.Method, []string{http.MethodGet}}
	}
	limit := h.o.Body
	if rt.limit != nil {
		limit = rt.limit(h.o)
	}
	if rt.in == nil {
		limit = unwanted
	}
	c.r.Body = http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit)
	if rt.in == nil && rt.role != public && c.r.ContentLength != 0 { // its end has to come before it can be seen that the client has gone
		if _, err := io.Copy(io.Discard, c.r.Body); err != nil {
			return err
		}
	}
	return rt.handle(c)
}

// record writes a line of the audit log. A change that is not on record is not
// acknowledged.
func (h *Handler) record(rt *route, c *call, outcome error) error {
	e := audit.Entry{Who: c.who.Name, From: from(c.r), Action: rt.name, Subject: c.subject, Outcome: "ok", Request: c.id}
	if c.who.Role != 0 {
		e.Role = c.who.Role.String()
	}
	if outcome != nil {
		e.Outcome = word(h.problem(c, outcome))
		if c.r.Context().Err() != nil {
			e.Outcome = "client-gone"
		}
	}
	if e.Who == "" {
		e.Who = "unknown"
	}
	return h.o.Audit.Record(e)
}

// from is where a request comes from.
func from(r *http.Request) string {
	if r.RemoteAddr == "" || strings.HasPrefix(r.RemoteAddr, "@") {
		return "unix"
	}
	return r.RemoteAddr
}

// requestIDMax bounds the names that clients give their requests.
const requestIDMax = 128

// requestID is the name of a request: its client's, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get(wire.HeaderRequestID)
	if id == "" || len(id) > requestIDMax || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return strings.ToLower(rand.Text()[:16])
	}
	return id
}

// until is a context that also ends when the server drains.
func (h *Handler) until(c *call) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.r.Context())
	stop := context.AfterFunc(h.drain, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
