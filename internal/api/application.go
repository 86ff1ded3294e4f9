package api

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/node"
	sandbox "github.com/weft-run/weft/internal/sandbox/process"
)

// appPolicy lets the pages of an app run, and keeps them from being taken for
// pages of the server's own: they have an origin of their own.
const appPolicy = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"

// application has a function that serves requests answer one. path is the escaped one that the
// app's triggers see.
func (h *Handler) application(c *call, app, function, path string) error {
	begun := time.Now()
	err := h.exchange(c, app, function, path)
	status := c.w.status
	if err != nil {
		status = h.problem(c, err).Status
	}
	h.o.Metrics.Invocation(app, function, strconv.Itoa(status), time.Since(begun))
	return err
}

// head is what the beginning of a response says.
type head struct {
	status int
	header http.Header
}

func (h *Handler) exchange(c *call, app, function, path string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	heads := make(chan head, 1)
	req := node.InvokeRequest{
		App: app, Function: function, Body: c.r.Body, Size: c.r.ContentLength, Key: c.r.Header.Get(wire.HeaderIdempotencyKey), Trace: traceparent(c.r),
		Stdout: w, Request: requestOf(c.r, path), Respond: func(status int, header http.Header) { heads <- head{status, header} },
	}
	type answer struct {
		out *node.Invocation
		err error
	}
	done := make(chan answer, 1)
	go func() {
		out, err := h.o.Server.Invoke(c.r.Context(), req)
		done <- answer{out, err}
	}()
	var a answer
	var first head
	select {
	case first = <-heads:
	case a = <-done:
		select {
		case first = <-heads: // it came before the end
		default:
		}
		done <- a
	}
	if first.status == 0 {
		a = <-done
		if a.err != nil {
			return a.err
		}
		defer a.out.Close()
		return &failure{Failure: a.out.Failure}
	}
	header := c.w.Header()
	for name, values := range first.header {
		header[name] = append(header[name], values...)
	}
	header.Add("Content-Security-Policy", appPolicy)
	header.Add("Trailer", wire.HeaderFailure)
	c.w.WriteHeader(first.status)
	piece := make([]byte, 32<<10)
	for {
		n, readErr := r.Read(piece)
		if n > 0 {
			if _, err := c.w.Write(piece[:n]); err != nil {
				break
			}
			if err := c.w.flush(); err != nil {
				break
			}
		}
		if readErr != nil {
			if readErr != io.EOF {
				err = readErr
			}
			break
		}
	}
	r.Close() // whoever still writes is told that nobody reads
	a = <-done
	if a.err != nil {
		return a.err
	}
	defer a.out.Close()
	if a.out.Failure != nil {
		text, err := json.Marshal(a.out.Failure)
		if err != nil {
			return err
		}
		header.Set(wire.HeaderFailure, string(text))
	}
	return err
}

// requestOf is a request as applications see it. The token that it was let in by
// is not for them.
func requestOf(r *http.Request, path string) *sandbox.Request {
	header := r.Header.Clone()
	header.Del("Authorization")
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return &sandbox.Request{
		Method: r.Method, Root: strings.TrimSuffix(r.URL.EscapedPath(), path), Path: path, Query: r.URL.RawQuery, Proto: r.Proto,
		Scheme: scheme, Host: r.Host, Client: r.RemoteAddr, Header: header,
	}
}
