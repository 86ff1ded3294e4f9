package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
)

// Secrets lists the secrets of an app, or of all apps; never their values.
func (c *Client) Secrets(ctx context.Context, app string) ([]wire.Secret, error) {
	return pages[wire.Secret](ctx, c, get("secrets").with("app", app))
}

// SetSecret gives a secret a value.
func (c *Client) SetSecret(ctx context.Context, app, name string, value []byte) error {
	return c.call(ctx, send(http.MethodPut, "apps", app, "secrets", name).bytes("application/octet-stream", value), nil)
}

// DeleteSecret removes a secret.
func (c *Client) DeleteSecret(ctx context.Context, app, name string) error {
	return c.call(ctx, send(http.MethodDelete, "apps", app, "secrets", name), nil)
}

// Tokens lists the tokens, without their texts.
func (c *Client) Tokens(ctx context.Context) ([]auth.Token, error) {
	return pages[auth.Token](ctx, c, get("tokens"))
}

// CreateToken makes a token. Its text is in this answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, t wire.NewToken) (wire.MadeToken, error) {
	var made wire.MadeToken
	r, err := send(http.MethodPost, "tokens").json(t)
	if err != nil {
		return made, err
	}
	return made, c.call(ctx, r, &made)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, send(http.MethodDelete, "tokens", id), nil)
}

// Audit lists the last changes, at most so many.
func (c *Client) Audit(ctx context.Context, limit int) ([]audit.Entry, error) {
	var p wire.Page[audit.Entry]
	err := c.call(ctx, get("audit").with("limit", strconv.Itoa(limit)), &p)
	return p.Items, err
}

// Config is the server's configuration, as YAML.
func (c *Client) Config(ctx context.Context) ([]byte, error) {
	res, err := c.do(ctx, get("config"))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, problemMax))
	if err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", c.o.Address, err)
	}
	return text, nil
}

// Stats is the state of the server.
func (c *Client) Stats(ctx context.Context) (wire.Stats, error) {
	var s wire.Stats
	return s, c.call(ctx, get("stats"), &s)
}

// CPU tells which calls have the processor, and why.
func (c *Client) CPU(ctx context.Context) (wire.CPU, error) {
	var s wire.CPU
	return s, c.call(ctx, get("cpu"), &s)
}

// ChangeCPU changes the policy of the processor or its parameters; with anew, what is left
// out gets its default.
func (c *Client) ChangeCPU(ctx context.Context, change wire.CPUChange, anew bool) (wire.CPU, error) {
	method := http.MethodPatch
	if anew {
		method = http.MethodPut
	}
	var s wire.CPU
	r, err := send(method, "cpu").json(change)
	if err != nil {
		return s, err
	}
	return s, c.call(ctx, r, &s)
}

// Version describes the server.
func (c *Client) Version(ctx context.Context) (wire.Version, error) {
	var v wire.Version
	return v, c.call(ctx, get("version"), &v)
}

// Ready tells whether the server takes runs; one that does not is an error with
// status 503.
func (c *Client) Ready(ctx context.Context) (wire.Health, error) {
	var h wire.Health
	r := request{method: http.MethodGet, path: "/readyz"}
	return h, c.call(ctx, r, &h)
}

// Backup opens a backup of the server: a tar archive. Close it.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	res, err := c.do(ctx, get("backup"))
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}
