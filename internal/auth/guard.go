package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Refusal is why a request is not answered.
type Refusal struct {
	Status int    // of HTTP: 400, 401, 403 or 421
	Title  string // the same for every refusal of a kind
	Detail string // what was wrong and what to do
	// Challenge is the value of the header WWW-Authenticate that a 401 needs; ""
	// for none.
	Challenge string
	Err       error // ErrUnknown, ErrExpired, ErrForbidden or nil
}

// Error implements error.
func (r *Refusal) Error() string { return r.Title + ": " + r.Detail }

// Unwrap returns the kind of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

func refuseForbidden(detail string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Title: "Not allowed", Detail: detail, Err: ErrForbidden}
}

// Guard lets requests through whose sender is known and that no foreign web page
// has made. Its fields are not changed while it is used; it is safe for
// concurrent use.
type Guard struct {
	// Tokens are those that are accepted. Nil: none.
	Tokens *Tokens
	// Hosts are names that requests may be for, apart from localhost, loopback
	// addresses and the address that the connection came in at: "weft.example.org"
	// at any port, or "weft.example.org:8443". Default: none.
	Hosts []string
	// Domain is one whose subdomains requests may be for too. Default: none.
	Domain string
	// Origins are those whose pages may send requests, apart from the node's own:
	// "https://console.example.org". Default: none.
	Origins []string
}

// Validate finds hosts and origins that could never match.
func (g *Guard) Validate() error {
	var errs []error
	for _, h := range g.Hosts {
		if name, _ := splitHost(h); name == "" || strings.ContainsAny(h, "/*@ ") {
			errs = append(errs, fmt.Errorf("host %q: use a name like weft.example.org, with or without a port", h))
		}
	}
	for _, o := range g.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o {
			errs = append(errs, fmt.Errorf("origin %q: use a form like https://console.example.org, without a path", o))
		}
	}
	return errors.Join(errs...)
}

// Check says who sends a request, or fails with a *Refusal. At a unix socket
// (ConnContext) that is the peer, unless the request shows a token: then the token
// counts, so that one's own user can act with a smaller role.
func (g *Guard) Check(r *http.Request) (Identity, error) {
	p := peerOf(r.Context())
	if err := g.checkHost(r, p != nil); err != nil {
		return Identity{}, err
	}
	if err := g.checkOrigin(r); err != nil {
		return Identity{}, err
	}
	var local Identity
	if p != nil {
		var err error
		if local, err = p.identity(self()); err != nil {
			return Identity{}, err
		}
	}
	plain, shown, err := bearer(r)
	switch {
	case err != nil:
		return Identity{}, err
	case !shown && p != nil:
		return local, nil
	case !shown:
		return Identity{}, unauthorized("send the header Authorization: Bearer weft_…; an admin makes a token with `weft tokens create`", "", nil)
	case g.Tokens == nil:
		return Identity{}, refuseToken(ErrUnknown)
	}
	who, err := g.Tokens.Check(plain)
	if err != nil {
		return Identity{}, refuseToken(err)
	}
	return who, nil
}

// challenge begins a 401's header WWW-Authenticate (RFC 6750, section 3).
const challenge = `Bearer realm="weft"`

func unauthorized(detail, code string, err error) *Refusal {
	c := challenge
	if code != "" {
		c += `, error="` + code + `"`
	}
	return &Refusal{Status: http.StatusUnauthorized, Title: "Who are you?", Detail: detail, Challenge: c, Err: err}
}

func refuseToken(err error) *Refusal {
	if errors.Is(err, ErrExpired) {
		return unauthorized("the token has expired; an admin makes a new one with `weft tokens create`", "invalid_token", ErrExpired)
	}
	return unauthorized("the token is not known here: it was mistyped, revoked, or is another node's", "invalid_token", ErrUnknown)
}

// bearer finds the token that a request shows.
func bearer(r *http.Request) (plain string, shown bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		return "", true, unauthorized("there are several Authorization headers; send one", "invalid_request", nil)
	}
	name, plain, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	plain = strings.TrimLeft(plain, " ")
	if !strings.EqualFold(name, "Bearer") || plain == "" {
		return "", true, unauthorized("the Authorization header is not of the form Bearer weft_…", "invalid_request", nil)
	}
	return plain, true, nil
}

// checkHost refuses requests for a host that is not this node: a page of
// evil.example whose name was made to point to 127.0.0.1 is of the same origin as
// the node for a browser, but the Host header still says evil.example.
func (g *Guard) checkHost(r *http.Request, unixSocket bool) error {
	name, port := splitHost(r.Host)
	if name != "" && (g.ours(name, port) || isLoopback(name) || arrivedAt(r, name)) {
		return nil
	}
	// What is forwarded to a unix socket has whatever name the client has made up:
	// "weft" or "unix". A page needs one that it can own, and such a name has a dot.
	if unixSocket && !strings.ContainsAny(r.Host, ".:") {
		return nil
	}
	return &Refusal{
		Status: http.StatusMisdirectedRequest,
		Title:  "Wrong host",
		Detail: fmt.Sprintf("the request is for host %.100q, which is not this node's name; if it should be, add it to `hosts` in weft's configuration", r.Host),
	}
}

// ours reports whether a host is one of the configured ones.
func (g *Guard) ours(name, port string) bool {
	if g.Domain != "" && strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(g.Domain)) {
		return true
	}
	for _, h := range g.Hosts {
		n, p := splitHost(h)
		if strings.EqualFold(n, name) && (p == "" || p == port) {
			return true
		}
	}
	return false
}

// splitHost takes a Host header apart: name (without brackets and a final dot) and
// port, "" if there is none. What is not a host has no name.
func splitHost(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
		for _, c := range port {
			if c < '0' || c > '9' {
				return "", ""
			}
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", ""
		}
		return inner, port
	}
	if strings.ContainsAny(host, ":[]") {
		return "", ""
	}
	return strings.TrimSuffix(host, "."), port
}

// isLoopback reports whether a name can only mean the machine itself.
func isLoopback(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

// arrivedAt reports whether a name is the address at which the connection came in.
// An address as a name cannot be made to point elsewhere.
func arrivedAt(r *http.Request, name string) bool {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().WithZone("") == tcp.AddrPort().Addr().Unmap().WithZone("")
}

// checkOrigin refuses what a page of another origin has made a browser send.
func (g *Guard) checkOrigin(r *http.Request) error {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return nil
	}
	if len(origins) == 1 {
		for _, o := range g.Origins {
			if strings.EqualFold(o, origins[0]) {
				return nil
			}
		}
		if sameHost(origins[0], r) {
			return nil
		}
	}
	return refuseForbidden(fmt.Sprintf("a page of origin %.100q made this request; if it may, add it to `origins` in weft's configuration", strings.Join(origins, ", ")))
}

// sameHost reports whether an origin is the node itself, as the request names it.
// Behind a proxy that ends TLS the origin is https and the request is not; the
// other way round it is somebody between the browser and the node.
func sameHost(origin string, r *http.Request) bool {
	schemeName, host, ok := strings.Cut(origin, "://")
	if !ok || strings.ContainsAny(host, "/?#@") {
		return false
	}
	var standard string
	switch {
	case strings.EqualFold(schemeName, "https"):
		standard = "443"
	case strings.EqualFold(schemeName, "http") && r.TLS == nil:
		standard = "80"
	default:
		return false
	}
	oName, oPort := splitHost(host)
	rName, rPort := splitHost(r.Host)
	if oPort == "" {
		oPort = standard
	}
	if rPort == "" {
		rPort = standard
	}
	return oName != "" && strings.EqualFold(oName, rName) && oPort == rPort
}
