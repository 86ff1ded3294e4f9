package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
)

// ServiceCall is a call of a method of a service.
type ServiceCall struct {
	wire.Target
	Args    []json.RawMessage
	Key     string        // an idempotency key; default: a random one, so that the call can be repeated when the connection breaks
	Timeout time.Duration // after which it is ended, and its compensations follow, if it has not ended by itself; default: never
	Delay   time.Duration // of SendService: it happens that much later
}

// request is the call as it is sent.
func (q ServiceCall) request() (request, error) {
	if q.Key == "" {
		q.Key = rand.Text()
	}
	parts := []string{"apps", q.App, "services", q.Service}
	if q.Object != "" {
		parts = append(parts, q.Object)
	}
	if q.Args == nil {
		q.Args = []json.RawMessage{}
	}
	r, err := send(http.MethodPost, append(parts, q.Method)...).says(wire.HeaderIdempotencyKey, q.Key).json(q.Args)
	if q.Timeout > 0 {
		r = r.says(wire.HeaderTimeout, q.Timeout.String())
	}
	r.safe = true
	return r, err
}

// CallService calls a method, and returns its result as its code has made it: JSON.
func (c *Client) CallService(ctx context.Context, q ServiceCall) ([]byte, error) {
	r, err := q.request()
	if err != nil {
		return nil, err
	}
	res, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// SendService has a method called, and returns the ID of the request when that is certain.
func (c *Client) SendService(ctx context.Context, q ServiceCall) (id string, err error) {
	r, err := q.request()
	if err != nil {
		return "", err
	}
	r = r.with("send", "true")
	if q.Delay > 0 {
		r = r.with("delay", q.Delay.String())
	}
	var sent wire.Sent
	err = c.call(ctx, r, &sent)
	return sent.Request, err
}

// Services lists the services of an app, or of all apps for "".
func (c *Client) Services(ctx context.Context, app string) ([]wire.Service, error) {
	return pages[wire.Service](ctx, c, get("services").with("app", app))
}

// RequestFilter chooses requests to services; what is empty chooses all.
type RequestFilter struct{ App, Service, State string }

// Requests lists the requests to services that have not ended, the oldest first.
func (c *Client) Requests(ctx context.Context, f RequestFilter) ([]wire.Request, error) {
	return pages[wire.Request](ctx, c, get("requests").with("app", f.App).with("service", f.Service).with("state", f.State))
}

// CancelRequest ends a request to a service.
func (c *Client) CancelRequest(ctx context.Context, id string, how wire.CancelRequest) error {
	r, err := send(http.MethodPost, "requests", id, "cancel").json(how)
	if err != nil {
		return err
	}
	return c.call(ctx, r, nil)
}

// RetryRequest has a parked request to a service tried again.
func (c *Client) RetryRequest(ctx context.Context, id string) error {
	return c.call(ctx, send(http.MethodPost, "requests", id, "retry"), nil)
}

// Request is a request to a service that has not ended, with its journal.
func (c *Client) Request(ctx context.Context, id string) (wire.Story, error) {
	var st wire.Story
	return st, c.call(ctx, get("requests", id), &st)
}

// RestartRequest begins a request to a service anew, and returns the first question that it asks
// again.
func (c *Client) RestartRequest(ctx context.Context, id string, want wire.Restart) (at uint64, err error) {
	r, err := send(http.MethodPost, "requests", id, "restart").json(want)
	if err != nil {
		return 0, err
	}
	var done wire.Restarted
	err = c.call(ctx, r, &done)
	return done.From, err
}

// Replay runs the journals of requests to an app that wait with the code of a version, "" for the
// active one; of one request, or of all for "".
func (c *Client) Replay(ctx context.Context, app, version, request string) ([]wire.Replay, error) {
	var p wire.Page[wire.Replay]
	err := c.call(ctx, send(http.MethodPost, "apps", app, "replay").with("version", version).with("request", request), &p)
	return p.Items, err
}

// ResolvePromise gives a promise of a request its value, which is JSON.
func (c *Client) ResolvePromise(ctx context.Context, id, promise string, value json.RawMessage) error {
	return c.call(ctx, send(http.MethodPost, "requests", id, "promises", promise).bytes("application/json", value), nil)
}

// Locks lists the locks of the services of an app, or of all apps for "".
func (c *Client) Locks(ctx context.Context, app string) ([]wire.Lock, error) {
	return pages[wire.Lock](ctx, c, get("locks").with("app", app))
}

// StateQuery chooses places in the state of a service.
type StateQuery struct {
	App, Service string
	Object       string // "": all objects
	Field        string // "": all fields
	Entry        *string
	After        string // next of the page before
	Limit        int
}

// State reads a page of the state of a service.
func (c *Client) State(ctx context.Context, q StateQuery) (wire.Page[wire.Place], error) {
	r := get("apps", q.App, "services", q.Service, "state").with("object", q.Object).with("field", q.Field).with("after", q.After)
	if q.Entry != nil {
		r.query.Set("entry", *q.Entry)
	}
	if q.Limit > 0 {
		r = r.with("limit", strconv.Itoa(q.Limit))
	}
	var p wire.Page[wire.Place]
	return p, c.call(ctx, r, &p)
}
