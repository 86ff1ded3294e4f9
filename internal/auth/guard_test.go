package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/store/memory"
)

// arrived is a request that came in at an address; host and origin as in headers.
func arrived(at, host string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/apps", nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at))))
	return r.WithContext(ctx)
}

// at makes a request's connection one of a unix socket.
func at(r *http.Request, p peer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, &p))
}

func status(err error) int {
	if err == nil {
		return 200
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Title == "" || refusal.Detail == "" {
		return -1
	}
	return refusal.Status
}

func TestHosts(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Read, 0)
	g := &Guard{Tokens: tokens, Hosts: []string{"weft.example.org", "tls.example.org:8443", "[2001:db8::1]"}}
	tests := []struct {
		at, host string
		want     int
	}{
		{"127.0.0.1:8080", "localhost:8080", 200},
		{"127.0.0.1:8080", "localhost:1", 200}, // forwarded
		{"127.0.0.1:8080", "LocalHost.", 200},
		{"127.0.0.1:8080", "127.0.0.1:8080", 200},
		{"127.0.0.1:8080", "127.1.2.3", 200},
		{"[::1]:8080", "[::1]:8080", 200},
		{"[::1]:8080", "[::ffff:127.0.0.1]", 200},
		{"10.0.0.7:8080", "10.0.0.7:8080", 200},
		{"[fe80::1%eth0]:8080", "[fe80::1]:8080", 200},
		{"[::ffff:10.0.0.7]:8080", "10.0.0.7", 200},
		{"10.0.0.7:8080", "weft.example.org", 200},
		{"10.0.0.7:8080", "Weft.Example.Org:9", 200},
		{"10.0.0.7:8080", "tls.example.org:8443", 200},
		{"10.0.0.7:8080", "[2001:db8::1]:80", 200},

		{"10.0.0.7:8080", "tls.example.org", 421},
		{"10.0.0.7:8080", "tls.example.org:443", 421},
		{"10.0.0.7:8080", "10.0.0.8:8080", 421},
		{"10.0.0.7:8080", "0.0.0.0:8080", 421},
		{"127.0.0.1:8080", "evil.example", 421},
		{"127.0.0.1:8080", "evil.example:8080", 421},
		{"127.0.0.1:8080", "localhost.evil.example", 421},
		{"127.0.0.1:8080", "127.0.0.1.evil.example", 421},
		{"127.0.0.1:8080", "xweft.example.org", 421},
		{"127.0.0.1:8080", "weft", 421},
		{"127.0.0.1:8080", "", 421},
		{"127.0.0.1:8080", ":8080", 421},
		{"127.0.0.1:8080", ".", 421},
		{"127.0.0.1:8080", "localhost:x", 421},
		{"127.0.0.1:8080", "localhost:80:80", 421},
		{"127.0.0.1:8080", "[::1", 421},
		{"127.0.0.1:8080", "[localhost]x", 421},
		{"127.0.0.1:8080", "evil.example@localhost", 421},
	}
	for _, test := range tests {
		_, err := g.Check(arrived(test.at, test.host, "Authorization", "Bearer "+plain))
		if got := status(err); got != test.want {
			t.Errorf("host %q at %s: %d (%v), want %d", test.host, test.at, got, err, test.want)
		}
	}
}

func TestOrigins(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Read, 0)
	g := &Guard{Tokens: tokens, Hosts: []string{"weft.example.org"}, Origins: []string{"https://console.example.org"}}
	tests := []struct {
		host, origin string
		tls          bool
		want         int
	}{
		{"localhost:8080", "http://localhost:8080", false, 200},
		{"localhost:8080", "https://localhost:8080", false, 200}, // a proxy ends TLS
		{"localhost:8080", "https://localhost:8080", true, 200},
		{"weft.example.org", "https://weft.example.org", false, 200},
		{"weft.example.org:443", "https://weft.example.org", false, 200},
		{"weft.example.org", "http://weft.example.org:80", false, 200},
		{"[::1]:8080", "http://[::1]:8080", false, 200},
		{"weft.example.org", "https://console.example.org", false, 200},
		{"weft.example.org", "HTTPS://Console.example.org", false, 200},

		{"localhost:8080", "http://localhost:8080", true, 403},
		{"localhost:8080", "http://localhost:3000", false, 403},
		{"localhost:8080", "http://localhost", false, 403},
		{"localhost:8080", "http://127.0.0.1:8080", false, 403},
		{"localhost:8080", "http://evil.example", false, 403},
		{"weft.example.org", "http://weft.example.org.evil.example", false, 403},
		{"weft.example.org", "https://weft.example.org:8443", false, 403},
		{"weft.example.org", "http://console.example.org", false, 403},
		{"weft.example.org", "https://console.example.org/", false, 403},
		{"localhost", "null", false, 403},
		{"localhost", "", false, 403},
		{"localhost", "localhost", false, 403},
		{"localhost", "file://localhost", false, 403},
		{"localhost", "http://localhost/x", false, 403},
		{"localhost", "http://x@localhost", false, 403},
	}
	for _, test := range tests {
		r := arrived("127.0.0.1:8080", test.host, "Authorization", "Bearer "+plain, "Origin", test.origin)
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if _, err := g.Check(r); status(err) != test.want {
			t.Errorf("origin %q of host %q: %v, want %d", test.origin, test.host, err, test.want)
		}
		r.Header.Add("Origin", "https://console.example.org")
		if _, err := g.Check(r); status(err) != 403 {
			t.Errorf("two origins: %v, want 403", err)
		}
	}
}

func TestBearer(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	token, plain := create(t, tokens, "ci", Deploy, 0)
	gone, gonePlain := create(t, tokens, "gone", Admin, 0)
	if err := tokens.Revoke(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old, err := OpenTokens(t.Context(), memory.New(memory.Options{}), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	_, oldPlain := create(t, old, "old", Admin, time.Second)
	now = now.Add(time.Minute)

	tests := []struct {
		name          string
		tokens        *Tokens
		authorization []string
		want          int
		kind          error
		challenge     string
	}{
		{"token", tokens, []string{"Bearer " + plain}, 200, nil, ""},
		{"name of the scheme in lower case", tokens, []string{"bearer  " + plain + " "}, 200, nil, ""},
		{"nothing", tokens, nil, 401, nil, `Bearer realm="weft"`},
		{"empty", tokens, []string{""}, 401, nil, `error="invalid_request"`},
		{"no token", tokens, []string{"Bearer "}, 401, nil, `error="invalid_request"`},
		{"only the token", tokens, []string{plain}, 401, nil, `error="invalid_request"`},
		{"password", tokens, []string{"Basic " + plain}, 401, nil, `error="invalid_request"`},
		{"two", tokens, []string{"Bearer " + plain, "Bearer " + plain}, 401, nil, `error="invalid_request"`},
		{"revoked", tokens, []string{"Bearer " + gonePlain}, 401, ErrUnknown, `error="invalid_token"`},
		{"more after it", tokens, []string{"Bearer " + plain + " x"}, 401, ErrUnknown, `error="invalid_token"`},
		{"expired", old, []string{"Bearer " + oldPlain}, 401, ErrExpired, `error="invalid_token"`},
		{"no tokens at all", nil, []string{"Bearer " + plain}, 401, ErrUnknown, `error="invalid_token"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := arrived("127.0.0.1:80", "localhost")
			if test.authorization != nil {
				r.Header["Authorization"] = test.authorization
			}
			who, err := (&Guard{Tokens: test.tokens}).Check(r)
			if status(err) != test.want || test.kind != nil && !errors.Is(err, test.kind) {
				t.Fatalf("%v, want %d", err, test.want)
			}
			if err == nil {
				if want := (Identity{Name: "ci", Role: Deploy, Token: token.ID}); who != want {
					t.Errorf("it is %v, want %v", who, want)
				}
				return
			}
			if refusal := err.(*Refusal); !strings.Contains(refusal.Challenge, test.challenge) || who != (Identity{}) {
				t.Errorf("challenge %q, want %q; identity %v", refusal.Challenge, test.challenge, who)
			}
			if strings.Contains(err.Error(), plain[len(plain)-secretLen:]) {
				t.Errorf("the answer shows the token: %v", err)
			}
		})
	}
}

func TestPeers(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Read, 0)
	g := &Guard{Tokens: tokens}
	own := peer{uid: uint32(self())}
	bearer := []string{"Authorization", "Bearer " + plain}
	tests := []struct {
		name    string
		peer    peer
		host    string
		headers []string
		want    int
		who     string
		role    Role
	}{
		{"own user", own, "localhost", nil, 200, fmt.Sprintf("uid %d", self()), Admin},
		{"root", peer{uid: 0}, "localhost", nil, 200, "uid 0", Admin},
		{"made-up name", own, "weft", nil, 200, fmt.Sprintf("uid %d", self()), Admin},
		{"a token counts", own, "weft", bearer, 200, "ci", Read},
		{"a wrong token counts", own, "weft", []string{"Authorization", "Bearer x"}, 401, "", 0},
		{"other user", peer{uid: 4_000_000}, "weft", nil, 403, "", 0},
		{"other user with a token", peer{uid: 4_000_000}, "weft", bearer, 403, "", 0},
		{"not known", peer{err: errors.New("bad file descriptor")}, "weft", nil, 403, "", 0},
		{"a page's own name, forwarded", own, "evil.example", nil, 421, "", 0},
		{"a page's own name and port, forwarded", own, "evil.example:8080", nil, 421, "", 0},
		{"a page, forwarded", own, "localhost:8080", []string{"Origin", "http://evil.example"}, 403, "", 0},
		{"a page without an origin, forwarded", own, "localhost:8080", []string{"Origin", "null"}, 403, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			who, err := g.Check(at(arrived("127.0.0.1:80", test.host, test.headers...), test.peer))
			if status(err) != test.want || who.Name != test.who || who.Role != test.role {
				t.Errorf("%v, %v; want %d, %q, %s", who, err, test.want, test.who, test.role)
			}
		})
	}
	// Whoever the test runs as.
	if who, err := (&peer{uid: 0}).identity(1000); err != nil || who.Role != Admin {
		t.Errorf("root at a socket of user 1000: %v, %v", who, err)
	}
	if who, err := (&peer{uid: 1001}).identity(1000); status(err) != 403 || who != (Identity{}) {
		t.Errorf("user 1001 at a socket of user 1000: %v, %v", who, err)
	}
}

// serve answers with who it is that asks.
func serve(t *testing.T, l net.Listener, g *Guard) {
	t.Helper()
	s := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := g.Check(r)
		if err != nil {
			w.WriteHeader(err.(*Refusal).Status)
			return
		}
		fmt.Fprintf(w, "%s is %s", who.Name, who.Role)
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
}

func TestServer(t *testing.T) {
	tokens := openTokens(t, memory.New(memory.Options{}))
	_, plain := create(t, tokens, "ci", Invoke, 0)
	g := &Guard{Tokens: tokens}
	path := filepath.Join(t.TempDir(), "s")
	unixListener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, unixListener, g)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, tcp, g)

	local := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	tests := []struct {
		name, url, token string
		client           *http.Client
		want             string
	}{
		{"unix socket", "http://weft/", "", local, fmt.Sprintf("200 uid %d is admin", os.Geteuid())},
		{"unix socket with a token", "http://weft/", plain, local, "200 ci is invoke"},
		{"TCP", "http://" + tcp.Addr().String() + "/", plain, &http.Client{Transport: &http.Transport{}}, "200 ci is invoke"},
		{"TCP without a token", "http://" + tcp.Addr().String() + "/", "", &http.Client{Transport: &http.Transport{}}, "401 "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer test.client.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.token != "" {
				r.Header.Set("Authorization", "Bearer "+test.token)
			}
			answer, err := test.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if got := fmt.Sprintf("%d %s", answer.StatusCode, body); err != nil || got != test.want {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// Without ConnContext nobody is known by the socket.
func TestAUnixSocketWithoutPeers(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "localhost"
	if _, err := new(Guard).Check(r); status(err) != 401 {
		t.Errorf("%v, want 401", err)
	}
}

func TestValidate(t *testing.T) {
	good := &Guard{Hosts: []string{"weft", "weft.example.org:8443", "10.0.0.7", "[::1]:80"}, Origins: []string{"https://console.example.org", "http://localhost:3000"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"", "*", "*.example.org", "http://weft", "weft:http", "::1", "a b", "weft/x"} {
		if err := (&Guard{Hosts: []string{host}}).Validate(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", host)) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for _, origin := range []string{"", "*", "null", "console.example.org", "https://console.example.org/", "https://x@console.example.org", "https://"} {
		if err := (&Guard{Origins: []string{origin}}).Validate(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", origin)) {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
}

// A Host header that is let through is nobody's who could point it here.
func FuzzHost(f *testing.F) {
	for _, h := range []string{"localhost", "[::1]:80", "evil.example:80", "127.0.0.1", ":", "[", "]", "[]:1"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r := arrived("10.0.0.7:80", host)
		if err := new(Guard).checkHost(r, false); err != nil {
			return
		}
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), ""
		}
		name = strings.TrimSuffix(name, ".")
		ip := net.ParseIP(strings.Split(name, "%")[0])
		if !strings.EqualFold(name, "localhost") && (ip == nil || !ip.IsLoopback() && !ip.Equal(net.IPv4(10, 0, 0, 7))) || strings.Trim(port, "0123456789") != "" {
			t.Errorf("%q is let through", host)
		}
	})
}
