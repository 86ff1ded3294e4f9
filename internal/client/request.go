package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
)

// request is what is sent to the server.
type request struct {
	method string
	path   string // escaped, from join
	query  url.Values
	header http.Header
	// body opens the body, once for each time that the request is sent; nil: there
	// is none.
	body func() (io.ReadCloser, error)
	size int64 // of the body in bytes; 0: not known
	safe bool  // it may be sent again
}

// join makes a path of parts that may hold any character.
func join(parts ...string) string {
	path := "/v1"
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// get is a request that reads.
func get(parts ...string) request {
	return request{method: http.MethodGet, path: join(parts...), safe: true}
}

// send is any other request. PUT and DELETE may be repeated.
func send(method string, parts ...string) request {
	return request{method: method, path: join(parts...), safe: method == http.MethodPut || method == http.MethodDelete}
}

// with adds a parameter, unless it is empty.
func (r request) with(key, value string) request {
	if value != "" {
		q := url.Values{}
		for k, v := range r.query {
			q[k] = v
		}
		q.Set(key, value)
		r.query = q
	}
	return r
}

// says adds a header, unless it is empty.
func (r request) says(key, value string) request {
	if value != "" {
		h := r.header.Clone()
		if h == nil {
			h = http.Header{}
		}
		h.Set(key, value)
		r.header = h
	}
	return r
}

// bytes adds a body.
func (r request) bytes(kind string, body []byte) request {
	r.body = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.size = int64(len(body))
	return r.says("Content-Type", kind)
}

// json adds a body.
func (r request) json(v any) (request, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return r, fmt.Errorf("encode request: %w", err)
	}
	return r.bytes("application/json", body), nil
}

// stream adds a body that can be read once: the request is not repeated.
func (r request) stream(kind string, body io.Reader) request {
	r.safe = false
	r.body = func() (io.ReadCloser, error) { return io.NopCloser(body), nil }
	return r.says("Content-Type", kind)
}

// call sends a request and reads its JSON answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	res, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		io.Copy(io.Discard, io.LimitReader(res.Body, problemMax)) // so that the connection can be used again
		return nil
	}
	if err := decode(res.Body, out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("read the answer of %s: %w", c.o.Address, err)
	}
	return nil
}

// decode reads JSON. Numbers in values of any form keep all their digits.
func decode(r io.Reader, out any) error {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return dec.Decode(out)
}

// do sends a request, again if that helps and does no harm, and returns the
// answer if it is none of an error. The caller closes its body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	begun := time.Now()
	lost := false // an earlier try may have been carried out
	for try := 1; ; try++ {
		res, err := c.once(ctx, r)
		var p *Error
		switch {
		case err == nil && res.StatusCode < 300:
			return res, nil
		case err == nil:
			p = problemOf(res)
			if lost && r.method == http.MethodDelete && p.Problem.Status == http.StatusNotFound {
				return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
			}
			err = p
		}
		wait, again := c.after(r, try, err)
		if !again || time.Since(begun)+wait > c.o.Patience || ctx.Err() != nil {
			return nil, err
		}
		lost = lost || p == nil
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// after says whether to send a request again that has failed, and when.
func (c *Client) after(r request, try int, err error) (time.Duration, bool) {
	var p *Error
	var none *NoServerError
	switch {
	case !r.safe || try >= c.o.Tries || errors.As(err, &none):
		return 0, false
	case errors.As(err, &p):
		busy := p.Problem.Status == http.StatusTooManyRequests || p.Problem.Status == http.StatusServiceUnavailable
		if busy && p.RetryAfter > 0 {
			return p.RetryAfter, true
		}
		return delay(try), busy
	}
	var broken *BrokenError
	return delay(try), errors.As(err, &broken)
}

// delay is how long to wait after a try: twice as long each time, and not as
// long as everybody else.
func delay(try int) time.Duration {
	d := min(backoff<<min(try-1, 10), 5*time.Second)
	return d/2 + rand.N(d)
}

// pause waits, or fails when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once sends a request.
func (c *Client) once(ctx context.Context, r request) (*http.Response, error) {
	var body io.ReadCloser
	if r.body != nil {
		var err error
		if body, err = r.body(); err != nil {
			return nil, err
		}
	}
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if r.size > 0 {
		req.ContentLength = r.size
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return res, nil
}

// explain says what it means that a request could not be sent.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var sent *bodyError
	if errors.As(err, &sent) {
		return sent.err
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return &NoServerError{Address: c.o.Address, Err: plain(op.Err)}
	}
	return &BrokenError{Address: c.o.Address, Err: err}
}

// plain leaves out what a message about an address has said already.
func plain(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// bodyError is an error of the body that was to be sent, not of sending it.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// pages reads a list, part after part.
func pages[T any](ctx context.Context, c *Client, r request) ([]T, error) {
	all := []T{}
	for {
		var p wire.Page[T]
		if err := c.call(ctx, r, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Next == "" || len(p.Items) == 0 {
			return all, nil
		}
		r = r.with("after", p.Next)
	}
}
