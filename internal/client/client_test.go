package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
)

// serve answers at a unix socket and returns a client of it.
func serve(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	c, err := client.New(client.Options{Address: "unix://" + socket, Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// refuse writes a problem.
func refuse(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", wire.TypeProblem)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"unix:///run/weft.sock": true, "/run/weft.sock": true, "unix:/run/weft.sock": true, "https://host:7300": true, "http://localhost:1/base/": true,
		"": false, "unix://run/weft.sock": false, "host:7300": false, "ftp://host": false, "https://": false, "https://me:pw@host": false, "https://host?x=1": false,
	} {
		_, err := client.New(client.Options{Address: address})
		if (err == nil) != ok {
			t.Errorf("address %q: %v", address, err)
		}
		if err != nil && !errors.Is(err, client.ErrAddress) {
			t.Errorf("address %q: %v is not ErrAddress", address, err)
		}
	}
}

func TestTokensAreNotSentInTheClear(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://host:1": true, "unix:///s": true, "http://localhost:1": true, "http://127.0.0.1:1": true, "http://[::1]:1": true,
		"http://host:1": false, "http://10.0.0.1:1": false,
	} {
		if _, err := client.New(client.Options{Address: address, Token: "weft_a_b"}); (err == nil) != ok || err != nil && !errors.Is(err, client.ErrPlain) {
			t.Errorf("a token for %s: %v", address, err)
		}
		if _, err := client.New(client.Options{Address: address}); err != nil {
			t.Errorf("no token for %s: %v", address, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	c, err := client.New(client.Options{Address: "unix:///nowhere/weft.sock"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apps(t.Context())
	var none *client.NoServerError
	if !errors.As(err, &none) || !strings.Contains(none.Hint(), "weft serve") {
		t.Fatalf("without a server: %v", err)
	}
	if want := "no server answers at unix:///nowhere/weft.sock: no such file or directory"; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v does not wrap its cause", err)
	}
}

func TestTLSAndToken(t *testing.T) {
	var token string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		answer(w, 200, wire.Version{Version: "1"})
	}))
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Address: s.URL, Token: "weft_a_b", CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	if v, err := c.Version(t.Context()); err != nil || v.Version != "1" || token != "Bearer weft_a_b" {
		t.Errorf("version %v with token %q: %v", v, token, err)
	}
	stranger, err := client.New(client.Options{Address: s.URL, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if err := os.WriteFile(ca, []byte("no pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.New(client.Options{Address: s.URL, CA: ca}); err == nil {
		t.Error("a file without certificates is taken")
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, kind, body string
		status           int
		want, hint       string
	}{
		{"problem", wire.TypeProblem, `{"title":"Not found","status":404,"detail":"there is no app x","hint":"weft deploy"}`, 404, "there is no app x", "weft deploy"},
		{"title only", wire.TypeProblem + "; charset=utf-8", `{"title":"Not Found"}`, 404, "not found", ""},
		{"text", "text/plain", "bad gateway\nmore", 502, "the server answers 502 Bad Gateway: bad gateway", ""},
		{"page of a proxy", "text/html", "<html>", 502, "the server answers 502 Bad Gateway", ""},
		{"redirect", "text/plain", "", 302, "the server answers 302 Found", ""},
		{"broken problem", wire.TypeProblem, "{", 500, "the server answers 500 Internal Server Error: {", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set(wire.HeaderRequestID, "r1")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			_, err := c.App(t.Context(), "x")
			var p *client.Error
			if !errors.As(err, &p) {
				t.Fatalf("%v is no *Error", err)
			}
			if p.Error() != tt.want || p.Hint != tt.hint || p.Status != tt.status || client.Status(err) != tt.status || p.Request != "r1" {
				t.Errorf("got %q, hint %q, status %d, request %q", p.Error(), p.Hint, p.Status, p.Request)
			}
		})
	}
}

func TestErrorsOfAnAppFileComeBack(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, wire.Problem{Status: 422, Detail: "rejected", Errors: app.Errors{{File: "weft.yaml", Line: 3, Column: 2, Message: "no"}}})
	}))
	_, err := c.App(t.Context(), "x")
	var list app.Errors
	if !errors.As(err, &list) || list[0].Line != 3 {
		t.Errorf("%v has no list of errors", err)
	}
}

func TestRepeating(t *testing.T) {
	busy := func(after string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			refuse(w, wire.Problem{Status: 503, Detail: "busy"})
		}
	}
	lost := func(w http.ResponseWriter, _ *http.Request) { hangUp(w) }
	done := func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]any{"id": "r-1"}) }
	gone := func(w http.ResponseWriter, _ *http.Request) { refuse(w, wire.Problem{Status: 404}) }
	app := func(ctx context.Context, c *client.Client) error { _, err := c.App(ctx, "a"); return err }
	start := func(ctx context.Context, c *client.Client) error {
		_, err := c.Start(ctx, client.StartRequest{App: "a", Workflow: "w", Input: 1})
		return err
	}
	tests := []struct {
		name  string
		ask   func(context.Context, *client.Client) error
		first http.HandlerFunc
		then  http.HandlerFunc
		sent  int32
		ok    bool
	}{
		{"a busy server is asked again", app, busy(""), done, 2, true},
		{"after the time that it says", app, busy("1"), done, 2, true},
		{"but not after too long", app, busy("3600"), done, 1, false},
		{"a lost answer is asked for again", app, lost, done, 2, true},
		{"and again, up to a limit", app, lost, lost, 4, false},
		{"what is not there is not asked for again", app, gone, done, 1, false},
		{"a start has a key", start, lost, done, 2, true},
		{"what was deleted by a lost request is deleted", func(ctx context.Context, c *client.Client) error { return c.DeleteApp(ctx, "a") }, lost, gone, 2, true},
		{"what was never there is an error", func(ctx context.Context, c *client.Client) error { return c.DeleteApp(ctx, "a") }, gone, gone, 1, false},
		{"rolling back twice is not the same", func(ctx context.Context, c *client.Client) error { _, err := c.Rollback(ctx, "a"); return err }, lost, done, 1, false},
		{"nor are signals", func(ctx context.Context, c *client.Client) error { return c.Signal(ctx, "r", "s", "", nil) }, busy(""), done, 1, false},
		{"nor calls of functions", func(ctx context.Context, c *client.Client) error {
			_, err := c.Invoke(ctx, client.InvokeRequest{App: "a", Function: "f", Body: strings.NewReader("x")})
			return err
		}, lost, done, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int32
			keys := map[string]bool{}
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				keys[r.Header.Get(wire.HeaderIdempotencyKey)] = true
				if sent.Add(1) == 1 {
					tt.first(w, r)
					return
				}
				tt.then(w, r)
			}))
			if err := tt.ask(t.Context(), c); (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if n := sent.Load(); n != tt.sent {
				t.Errorf("sent %d times, want %d", n, tt.sent)
			}
			if len(keys) != 1 {
				t.Errorf("tries with several keys: %v", keys)
			}
		})
	}
}

func TestNamesMayHoldAnything(t *testing.T) {
	var path string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs/{run}/buffers/{slot...}", func(w http.ResponseWriter, r *http.Request) {
		path = r.PathValue("run") + " " + r.PathValue("slot")
		io.WriteString(w, "bytes")
	})
	c := serve(t, mux)
	for _, slot := range []string{"map[2]/out", "/x", "a b/?#%", "a/../b"} {
		r, n, err := c.Buffer(t.Context(), "r/1", slot)
		if err != nil {
			t.Errorf("slot %q: %v", slot, err)
			continue
		}
		text, err := io.ReadAll(r)
		r.Close()
		if string(text) != "bytes" || n != 5 || err != nil || path != "r/1 "+slot {
			t.Errorf("slot %q: the server saw %q; %q, %d, %v", slot, path, text, n, err)
		}
	}
}

// pack is a bundle.
type pack struct {
	text  string
	err   error
	wrote int
}

func (p *pack) Digest() string { return "d1" }
func (p *pack) Write(w io.Writer) error {
	p.wrote++
	if _, err := io.WriteString(w, p.text); err != nil {
		return err
	}
	return p.err
}

func TestDeploy(t *testing.T) {
	has := false
	lost := true
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch kind := r.Header.Get("Content-Type"); {
		case r.Method != "POST" || r.URL.Path != "/v1/apps" || r.URL.Query().Get("activate") != "false":
			refuse(w, wire.Problem{Status: 400, Detail: r.Method + " " + r.URL.String()})
		case kind == "application/json" && string(body) == `{"digest":"d1"}` && has:
			answer(w, 200, map[string]any{"app": "a", "version": "d1", "existed": true})
		case kind == "application/json":
			refuse(w, wire.Problem{Status: 404})
		case kind == wire.TypeBundle && lost:
			lost = false
			hangUp(w)
		case kind == wire.TypeBundle && string(body) == "content":
			has = true
			answer(w, 201, map[string]any{"app": "a", "version": "d1"})
		default:
			refuse(w, wire.Problem{Status: 400, Detail: kind + " " + string(body)})
		}
	}))
	b := &pack{text: "content"}
	for _, existed := range []bool{false, true} {
		d, err := c.Deploy(t.Context(), b, false)
		if err != nil || d.ID != "d1" || d.Existed != existed {
			t.Fatalf("deployed %+v: %v", d, err)
		}
	}
	if b.wrote != 2 {
		t.Errorf("the bundle was sent %d times, want once, and again after the lost answer", b.wrote)
	}
	has = false
	changed := errors.New("the file has changed meanwhile")
	if _, err := c.Deploy(t.Context(), &pack{text: "cont", err: changed}, false); !errors.Is(err, changed) || err.Error() != changed.Error() {
		t.Errorf("a bundle that cannot be written: %v", err)
	}
}

func TestInvoke(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/v1/apps/a/functions/echo":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.Write(body)
		case "/v1/apps/a/functions/late":
			w.Header().Set("Trailer", wire.HeaderFailure)
			w.Write([]byte("some"))
			w.(http.Flusher).Flush()
			w.Header().Set(wire.HeaderFailure, `{"kind":"timeout","message":"took longer than 1s"}`)
		default:
			refuse(w, wire.Problem{Type: client.TypeFunctionFailed, Status: 502, Kind: "exit", Detail: "exit status 3"})
		}
	}))
	call := func(function string) (string, *client.Output, error) {
		o, err := c.Invoke(t.Context(), client.InvokeRequest{App: "a", Function: function, Body: strings.NewReader("in"), ContentType: "text/x", Stream: function == "late"})
		if err != nil {
			return "", o, err
		}
		defer o.Close()
		text, err := io.ReadAll(o)
		return string(text), o, err
	}
	if text, o, err := call("echo"); text != "in" || err != nil || o.ContentType != "text/x" {
		t.Errorf("echo gives %q: %v", text, err)
	}
	var p *client.Error
	if text, _, err := call("late"); text != "some" || !errors.As(err, &p) || p.Kind != "timeout" || p.Status != 504 {
		t.Errorf("a function that fails after some output gives %q: %v", text, err)
	}
	if _, _, err := call("bad"); !errors.As(err, &p) || p.Kind != "exit" || p.Error() != "exit status 3" {
		t.Errorf("a function that fails: %v", err)
	}
}

func TestStartAndLists(t *testing.T) {
	var query, key, body string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		query, key, body = r.URL.RawQuery, r.Header.Get(wire.HeaderIdempotencyKey), string(b)
		switch {
		case r.Method == "POST":
			answer(w, 202, engine.Run{ID: "r1", Status: engine.Running})
		case r.URL.Path == "/v1/runs":
			answer(w, 200, wire.Page[engine.Run]{Items: []engine.Run{{ID: "r1"}}, Next: "r1"})
		case r.URL.Query().Get("after") == "":
			answer(w, 200, map[string]any{"items": []any{map[string]any{"name": "a"}}, "next": "a"})
		default:
			answer(w, 200, map[string]any{"items": []any{map[string]any{"name": "b"}}})
		}
	}))
	run, err := c.Start(t.Context(), client.StartRequest{App: "a", Workflow: "w", Key: "k", Wait: 90 * time.Second, Version: "v", Input: map[string]int{"x": 1}})
	if err != nil || run.ID != "r1" || query != "version=v&wait=1m30s" || key != "k" || body != `{"x":1}` {
		t.Errorf("started %v with %q, key %q, body %q: %v", run.ID, query, key, body, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	runs, next, err := c.Runs(t.Context(), engine.Filter{App: "a", Workflow: "w", Status: engine.Failed, Since: at, Limit: 7, After: "r2"})
	if err != nil || len(runs) != 1 || next != "r1" || query != "after=r2&app=a&limit=7&since=2026-01-02T03%3A04%3A05Z&status=failed&workflow=w" {
		t.Errorf("listed %v, next %q, with %q: %v", runs, next, query, err)
	}
	apps, err := c.Apps(t.Context())
	if err != nil || len(apps) != 2 || apps[1].Name != "b" {
		t.Errorf("apps %v: %v", apps, err)
	}
}

func TestEveryOperation(t *testing.T) {
	var got string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, body))
		if r.Method == http.MethodGet {
			answer(w, 200, map[string]any{"items": []any{}})
			return
		}
		answer(w, 200, map[string]any{})
	}))
	ctx := t.Context()
	one := func(_ any, err error) error { return err }
	tests := map[string]func() error{
		"GET /v1/apps/a/versions":                         func() error { return one(c.Versions(ctx, "a")) },
		"DELETE /v1/apps/a/versions/v":                    func() error { return c.DeleteVersion(ctx, "a", "v") },
		`PUT /v1/apps/a/active {"version":"v"}`:           func() error { return one(c.Activate(ctx, "a", "v")) },
		"POST /v1/apps/a/rollback":                        func() error { return one(c.Rollback(ctx, "a")) },
		"GET /v1/apps/a/functions":                        func() error { return one(c.Functions(ctx, "a")) },
		"GET /v1/apps/a/workflows":                        func() error { return one(c.Workflows(ctx, "a")) },
		"GET /v1/runs/r":                                  func() error { return one(c.Run(ctx, "r")) },
		`POST /v1/runs/r/cancel {"reason":"why"}`:         func() error { return c.Cancel(ctx, "r", "why") },
		"POST /v1/runs/r/retry":                           func() error { return c.Retry(ctx, "r") },
		"POST /v1/runs/r/pause":                           func() error { return c.Pause(ctx, "r") },
		"POST /v1/runs/r/resume":                          func() error { return c.Resume(ctx, "r") },
		`POST /v1/runs/r/signals/s?step=p%5B1%5D {"x":1}`: func() error { return c.Signal(ctx, "r", "s", "p[1]", map[string]int{"x": 1}) },
		"POST /v1/runs/r/signals/s null":                  func() error { return c.Signal(ctx, "r", "s", "", nil) },
		"GET /v1/runs/r/trace":                            func() error { return one(c.Trace(ctx, "r")) },
		"POST /v1/buffers bytes":                          func() error { return one(c.Upload(ctx, strings.NewReader("bytes"))) },
		"GET /v1/secrets?app=a":                           func() error { return one(c.Secrets(ctx, "a")) },
		"PUT /v1/apps/a/secrets/s value":                  func() error { return c.SetSecret(ctx, "a", "s", []byte("value")) },
		"DELETE /v1/apps/a/secrets/s":                     func() error { return c.DeleteSecret(ctx, "a", "s") },
		"GET /v1/tokens":                                  func() error { return one(c.Tokens(ctx)) },
		`POST /v1/tokens {"name":"n","role":"read"}`: func() error {
			return one(c.CreateToken(ctx, wire.NewToken{Name: "n", Role: 1}))
		},
		"DELETE /v1/tokens/t":   func() error { return c.RevokeToken(ctx, "t") },
		"GET /v1/audit?limit=5": func() error { return one(c.Audit(ctx, 5)) },
		"GET /v1/config":        func() error { return one(c.Config(ctx)) },
		"GET /v1/stats":         func() error { return one(c.Stats(ctx)) },
		"GET /readyz":           func() error { return one(c.Ready(ctx)) },
		"GET /v1/backup":        func() error { return one(c.Backup(ctx)) },
	}
	for want, ask := range tests {
		if err := ask(); err != nil || got != want {
			t.Errorf("got  %s\nwant %s: %v", got, want, err)
		}
	}
}
