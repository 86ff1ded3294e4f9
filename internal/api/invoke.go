package api

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/node"
)

// invoke calls a function: the body is its standard input, its standard output
// the answer.
func (h *Handler) invoke(c *call) error {
	stream, version := false, ""
	if c.r.URL.RawQuery != "" {
		var err error
		if stream, err = c.flag("stream", false); err != nil {
			return err
		}
		version = c.r.URL.Query().Get("version")
	}
	return h.call(c, node.InvokeRequest{
		App: c.r.PathValue("app"), Version: version, Function: c.r.PathValue("function"), Body: c.r.Body, Size: c.r.ContentLength,
		Key: c.r.Header.Get(wire.HeaderIdempotencyKey), Trace: traceparent(c.r),
	}, stream)
}

// call carries out an invocation and answers with its output.
func (h *Handler) call(c *call, req node.InvokeRequest, stream bool) error {
	begun := time.Now()
	var err error
	if stream {
		err = h.stream(c, req)
	} else {
		err = h.whole(c, req)
	}
	status := c.w.status
	if err != nil {
		status = h.problem(c, err).Status
	}
	if status != http.StatusNotFound { // names that are not deployed are not counted
		h.o.Metrics.Invocation(req.App, req.Function, strconv.Itoa(status), time.Since(begun))
	}
	return err
}

// whole answers when the function has ended.
func (h *Handler) whole(c *call, req node.InvokeRequest) error {
	out, err := h.o.Server.Invoke(c.r.Context(), req)
	if err != nil {
		return err
	}
	defer out.Close()
	if out.Failure != nil {
		return &failure{Failure: out.Failure}
	}
	body, size := out.Body()
	return c.send(out.ContentType, size, body)
}

// stream answers while the function writes. How it ends is in a trailer, since
// the answer has begun by then.
func (h *Handler) stream(c *call, req node.InvokeRequest) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	req.Stdout = w
	type answer struct {
		out *node.Invocation
		err error
	}
	done := make(chan answer, 1)
	go func() {
		out, err := h.o.Server.Invoke(c.r.Context(), req)
		done <- answer{out, err}
	}()
	first := make([]byte, 32<<10)
	n, readErr := r.Read(first)
	if readErr != nil { // it has written nothing
		a := <-done
		if a.err != nil {
			return a.err
		}
		defer a.out.Close()
		if a.out.Failure != nil {
			return &failure{Failure: a.out.Failure}
		}
		return c.send(a.out.ContentType, 0, http.NoBody)
	}
	c.contentOf(h.o.Server.ContentType(req.App, req.Version, req.Function))
	c.w.Header().Set("Trailer", wire.HeaderFailure)
	c.w.WriteHeader(http.StatusOK)
	for readErr == nil {
		if _, err := c.w.Write(first[:n]); err != nil {
			break
		}
		if err := c.w.flush(); err != nil {
			break
		}
		n, readErr = r.Read(first)
	}
	r.Close() // whoever still writes is told that nobody reads
	a := <-done
	if a.err != nil {
		return a.err
	}
	defer a.out.Close()
	if a.out.Failure != nil {
		text, err := json.Marshal(a.out.Failure)
		if err != nil {
			return err
		}
		c.w.Header().Set(wire.HeaderFailure, string(text))
	}
	if readErr != nil && readErr != io.EOF {
		return readErr
	}
	return nil
}
