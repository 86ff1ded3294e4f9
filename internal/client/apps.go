package client

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/registry"
)

// Bundle is what Deploy sends: a *bundle.Bundle. Write is called once for each
// time that it is sent.
type Bundle interface {
	Digest() string
	Write(w io.Writer) error
}

// Deploy makes a version of an app of a bundle, unless the server has it
// already: it is asked by digest first. With activate, new runs get that
// version.
func (c *Client) Deploy(ctx context.Context, b Bundle, activate bool) (wire.Deployed, error) {
	var d wire.Deployed
	r := send(http.MethodPost, "apps").with("activate", strconv.FormatBool(activate))
	r.safe = true // what has been deployed can be deployed again
	asked, err := r.json(wire.Digest{Digest: b.Digest()})
	if err != nil {
		return d, err
	}
	if err := c.call(ctx, asked, &d); Status(err) != http.StatusNotFound {
		return d, err
	}
	r.body = func() (io.ReadCloser, error) {
		out, in := io.Pipe()
		go func() {
			err := b.Write(in)
			if err != nil && err != io.ErrClosedPipe {
				err = &bodyError{err}
			}
			in.CloseWithError(err)
		}()
		return out, nil
	}
	return d, c.call(ctx, r.says("Content-Type", wire.TypeBundle), &d)
}

// Apps lists the deployed apps.
func (c *Client) Apps(ctx context.Context) ([]registry.App, error) {
	return pages[registry.App](ctx, c, get("apps"))
}

// App is a deployed app.
func (c *Client) App(ctx context.Context, app string) (registry.App, error) {
	var a registry.App
	return a, c.call(ctx, get("apps", app), &a)
}

// DeleteApp removes an app with all its versions. It fails while runs of it are
// under way.
func (c *Client) DeleteApp(ctx context.Context, app string) error {
	return c.call(ctx, send(http.MethodDelete, "apps", app), nil)
}

// Versions lists the deployed versions of an app.
func (c *Client) Versions(ctx context.Context, app string) ([]registry.Version, error) {
	return pages[registry.Version](ctx, c, get("apps", app, "versions"))
}

// DeleteVersion removes a version that is not active and that no run uses.
func (c *Client) DeleteVersion(ctx context.Context, app, version string) error {
	return c.call(ctx, send(http.MethodDelete, "apps", app, "versions", version), nil)
}

// Activate says which version new runs of an app get.
func (c *Client) Activate(ctx context.Context, app, version string) (registry.Version, error) {
	var v registry.Version
	r, err := send(http.MethodPut, "apps", app, "active").json(wire.Activate{Version: version})
	if err != nil {
		return v, err
	}
	return v, c.call(ctx, r, &v)
}

// Rollback activates the version that was active before.
func (c *Client) Rollback(ctx context.Context, app string) (registry.Version, error) {
	var v registry.Version
	return v, c.call(ctx, send(http.MethodPost, "apps", app, "rollback"), &v)
}

// Functions lists the functions of the active version of an app.
func (c *Client) Functions(ctx context.Context, app string) ([]wire.Function, error) {
	return pages[wire.Function](ctx, c, get("apps", app, "functions"))
}

// Workflows lists the workflows of the active version of an app.
func (c *Client) Workflows(ctx context.Context, app string) ([]wire.Workflow, error) {
	return pages[wire.Workflow](ctx, c, get("apps", app, "workflows"))
}

// InvokeRequest is a call of a function.
type InvokeRequest struct {
	App, Function string
	Version       string    // empty: the active one
	Body          io.Reader // the function's standard input; nil: empty
	ContentType   string    // of the body; default application/octet-stream
	Stream        bool      // output comes while the function makes it
}

// Output is what a function has made. Close it.
type Output struct {
	ContentType string
	res         *http.Response
}

// Read reads the output. Where it is streamed, a function that fails later makes
// the last call fail with an *Error.
func (o *Output) Read(p []byte) (int, error) {
	n, err := o.res.Body.Read(p)
	if err == io.EOF {
		if text := o.res.Trailer.Get(wire.HeaderFailure); text != "" {
			return n, failureOf(text)
		}
	}
	return n, err
}

// Close ends the call.
func (o *Output) Close() error { return o.res.Body.Close() }

// Invoke calls a function. Its failure is an *Error with a Kind.
func (c *Client) Invoke(ctx context.Context, q InvokeRequest) (*Output, error) {
	r := send(http.MethodPost, "apps", q.App, "functions", q.Function).with("version", q.Version)
	if q.Stream {
		r = r.with("stream", "true")
	}
	if q.Body != nil {
		kind := q.ContentType
		if kind == "" {
			kind = "application/octet-stream"
		}
		r = r.stream(kind, q.Body)
	}
	res, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return &Output{ContentType: res.Header.Get("Content-Type"), res: res}, nil
}
