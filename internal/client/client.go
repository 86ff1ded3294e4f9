// Package client talks to a weft server over HTTP: at a unix socket of this
// machine, or at an https address with a token.
//
//	c, err := client.New(client.Options{Address: "unix:///run/user/1000/weft.sock"})
//	run, err := c.Start(ctx, client.StartRequest{App: "shop", Workflow: "main", Input: order})
//	for event, err := range c.Events(ctx, run.ID, 0) { … }
//
// There is a method for each operation of the server, and what they give and
// take are the types of package wire and of those that it names.
//
// An answer that is an error is an *Error, with what the server says about it. A
// server that cannot be reached is a *NoServerError.
//
// Requests that can be repeated without harm are: those that read, those that
// set something to a value, deployments (whose content is their name), and
// starts of runs, which get an idempotency key if they have none. They are
// repeated when the connection breaks and when the server says that it is busy,
// after the time that it asks for, at most Options.Tries times and not beyond
// Options.Patience. Nothing else is ever sent twice.
//
// Bundles, buffers, bodies and backups are streams: none of them is held in
// memory.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say which server to talk to, and how.
type Options struct {
	// Address is "unix:///path/of/socket", the absolute path of one,
	// "https://host:port", or "http://host:port" for tests and for proxies on
	// this machine.
	Address string
	// Token is sent with every request. Default: none, which is enough at a unix
	// socket.
	Token string
	// CA is a file of PEM certificates that the server's may be signed by.
	// Default: what this machine trusts.
	CA string
	// UserAgent names the program. Default "weft".
	UserAgent string
	// Tries bounds how often a request is sent that can be repeated. Default 4.
	Tries int
	// Patience bounds how long repeating may take, waiting included; a server
	// that asks for more is not asked again. It also bounds how long Events and
	// Logs try to find a server again that has gone. Default 30 s.
	Patience time.Duration
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.UserAgent == "" {
		o.UserAgent = "weft"
	}
	if o.Tries <= 0 {
		o.Tries = 4
	}
	if o.Patience <= 0 {
		o.Patience = 30 * time.Second
	}
}

// What New fails with, beside what is wrong with a file of certificates.
var (
	ErrAddress = errors.New("an address is unix:///path/of/socket or https://host:port")
	// ErrPlain says that a token would travel where others can read it.
	ErrPlain = errors.New("a token is sent to https addresses only, and to this machine")
)

const (
	dialTime = 10 * time.Second
	backoff  = 100 * time.Millisecond // before the second try; doubled before each further one
)

// Client talks to one server. It is safe for concurrent use. It needs no Close;
// CloseIdle ends the connections that it keeps.
type Client struct {
	o    Options
	base string // of the URLs of requests
	http *http.Client
}

// New returns a client. It connects to nothing.
func New(o Options) (*Client, error) {
	o.EnsureDefaults()
	c := &Client{o: o}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSHandshakeTimeout: dialTime,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // bytes come as they are
		ForceAttemptHTTP2:   true,
	}
	socket, err := socketOf(o.Address)
	if err != nil {
		return nil, err
	}
	if socket != "" {
		c.base = "http://weft"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialTime}
			return d.DialContext(ctx, "unix", socket)
		}
	} else {
		if o.Token != "" && readable(o.Address) {
			return nil, fmt.Errorf("address %q: %w", o.Address, ErrPlain)
		}
		c.base = strings.TrimSuffix(o.Address, "/")
		transport.Proxy = http.ProxyFromEnvironment
	}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificates: %s has no certificate in PEM", o.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.http = &http.Client{
		Transport: transport,
		// The server redirects nobody; following would show the token to others.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Address is where the server is, as Options have it.
func (c *Client) Address() string { return c.o.Address }

// CloseIdle ends the connections that nothing is sent on.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// socketOf returns the path of the socket that an address names; "" for a URL.
func socketOf(address string) (string, error) {
	if filepath.IsAbs(address) {
		return address, nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("address %q: the path of a socket is absolute: %w", address, ErrAddress)
		}
		return path, nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return "", fmt.Errorf("address %q: %w", address, ErrAddress)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("address %q has more than a host and a path: %w", address, ErrAddress)
	}
	return "", nil
}

// readable reports whether others can read what is sent to a URL.
func readable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "https" {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
