package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/process"
)

// InvokeRequest is a call of one function, apart from any run.
type InvokeRequest struct {
	App, Version string // version "": the active one
	Function     string
	Body         io.Reader
	Size         int64 // of the body; -1: not known
	Key          string
	Trace        string            // W3C traceparent for the function's environment
	Stdout       *os.File          // if it is not nil: where the output goes as it is written; Invoke closes it
	Log          func(text []byte) // told what it writes to standard error; it must not block

	// Request, for a function that serves requests: what it answers, with Body as
	// its body. Respond hears the head of the response before any of it is in
	// Stdout, from another goroutine, at most once.
	Request *process.Request
	Respond func(status int, header http.Header)
}

// Invocation is what a function has answered. Close it.
type Invocation struct {
	*domain.Reply
	ContentType string
}

// Invoke carries out a function. A function that fails is an Invocation with a
// Failure; an error is *admission.ErrFull, engine.ErrNotFound, or says why the
// call could not begin.
func (s *Server) Invoke(ctx context.Context, req InvokeRequest) (*Invocation, error) {
	stdout := req.Stdout
	defer func() {
		if stdout != nil {
			stdout.Close()
		}
	}()
	d, err := s.borrow(ctx, req.App, req.Version)
	if err != nil {
		return nil, err
	}
	defer s.giveBack(d)
	f, fn := d.program.App.Functions[req.Function], d.program.Functions[req.Function]
	if f == nil {
		return nil, fmt.Errorf("app %s has no function %q: %w", req.App, req.Function, engine.ErrNotFound)
	}
	var body *domain.Body
	early := req.Size >= 0 && req.Size <= earlyBody
	if early {
		if body, err = s.pool.Body(req.Body, req.Size, s.cfg.Body); err != nil {
			return nil, err
		}
		defer body.Close()
	}
	leave, err := s.Gate.Enter(ctx, admission.Demand{App: req.App, Function: f.Name, Memory: f.Memory, Max: f.Instances.Max, Queue: f.Instances.Queue})
	if err != nil {
		return nil, err
	}
	defer leave()
	if !early {
		if body, err = s.pool.Body(req.Body, req.Size, s.cfg.Body); err != nil {
			return nil, err
		}
		defer body.Close()
	}
	out := stdout
	stdout = nil // the lane closes it
	deadline, _ := ctx.Deadline()
	if at := time.Now().Add(f.Timeout); f.Timeout > 0 && (deadline.IsZero() || at.Before(deadline)) {
		deadline = at
	}
	words := &lastWords{log: req.Log}
	if said := s.spoken(ctx, req.App, f.Name, d.program.Redact); said != nil && req.Log == nil {
		words.log = said.add
		defer said.end()
	}
	reply, err := d.lane.Invoke(ctx, domain.Invocation{Function: fn, Name: "invocation", Key: req.Key, Trace: req.Trace, Body: body, Timeout: f.Timeout, Deadline: deadline, Stdout: out, Log: words.add, Request: req.Request, Respond: req.Respond})
	if err != nil {
		return nil, err
	}
	if fail := reply.Failure; fail != nil && (fail.Kind == domain.KindExit || fail.Kind == domain.KindTrap) {
		fail.Message += words.said(d.program.Redact)
	}
	return &Invocation{Reply: reply, ContentType: ContentType(f)}, nil
}

// earlyBody is the size up to which a body is read before its call is admitted, in
// bytes, so that a client that is slow to send it takes nobody's place. Larger
// ones would be memory that nobody has admitted.
const earlyBody = 64 << 10

// ContentType is that of what a function writes.
func ContentType(f *app.Function) string {
	switch {
	case f.ContentType != "":
		return f.ContentType
	case f.Output == app.OutputText:
		return "text/plain; charset=utf-8"
	case f.Output == app.OutputBytes:
		return "application/octet-stream"
	}
	return "application/json"
}

// ContentType is that of what a deployed function writes; of one that is not
// deployed, that of bytes.
func (s *Server) ContentType(app, version, function string) string {
	if a, _, err := s.Apps.Get(app, version); err == nil && a.Functions[function] != nil {
		return ContentType(a.Functions[function])
	}
	return "application/octet-stream"
}
