package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/api"
	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/telemetry/metrics"
)

// site is a server with its API at a TCP address of its own.
type site struct {
	url     string
	dir     string // its data folder
	node    *node.Server
	handler *api.Handler
	http    *httptest.Server
	tokens  *auth.Tokens
	audit   *audit.Log
	texts   map[auth.Role]string // of a token with that role
	log     *syncBuffer
	stop    func()

	underway atomic.Int64 // requests
}

// settings are what a test may change of a site.
type settings struct {
	dir  string
	node node.ServerConfig
	api  api.Options
	auth auth.Guard
}

func newSite(t *testing.T, change ...func(*settings)) *site {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	s := &site{log: &syncBuffer{}, texts: map[auth.Role]string{}}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	m := metrics.New(metrics.Sources{
		Version: "1.2.3", Gate: func() admission.Stats { return s.node.Gate.Stats() }, Pool: func() domain.Stats { return s.node.Sandboxes() },
		Store: func() pebble.Stats { return s.node.Store.Stats() }, Runs: func() int { return s.node.Runs.Active() }, CPU: func() scheduler.Status { return s.node.CPU().Status() },
	})
	set := settings{dir: t.TempDir()}
	processor := scheduler.Defaults(2)
	processor.Backend = backend.NameNone
	cpu, err := scheduler.New(scheduler.Options{Settings: processor, Make: func(name string, o backend.Options) (backend.Backend, []string, error) {
		o.Cores, o.NodeStays = 1, true // where there is no fifo
		return backend.New(name, o)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cpu.Close() })
	set.node = node.ServerConfig{Config: node.Config{CacheDir: cache, Hosts: 1, CPU: cpu}, Meter: m, Logger: logger}
	set.api = api.Options{Metrics: m, Logger: logger, Version: "1.2.3", Config: func() []byte { return []byte("drain: 30s\n") }}
	for _, f := range change {
		f(&set)
	}
	s.dir = set.dir
	set.node.Dir = set.dir

	if s.node, err = node.Serve(t.Context(), set.node); err != nil {
		t.Fatal(err)
	}
	if s.tokens, err = auth.OpenTokens(t.Context(), s.node.Store, time.Now); err != nil {
		t.Fatal(err)
	}
	for r := auth.Read; r <= auth.Admin; r++ {
		if _, s.texts[r], err = s.tokens.Create(t.Context(), "the-"+r.String(), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	if s.audit, err = audit.Open(filepath.Join(set.dir, "audit.log"), audit.Options{}); err != nil {
		t.Fatal(err)
	}
	set.auth.Tokens = s.tokens
	set.api.Server, set.api.Guard, set.api.Tokens, set.api.Audit = s.node, &set.auth, s.tokens, s.audit
	if s.handler, err = api.New(set.api); err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.underway.Add(1)
		defer s.underway.Add(-1)
		s.handler.ServeHTTP(w, r)
	}))
	s.http.Config.ConnContext = auth.ConnContext
	s.http.Config.MaxHeaderBytes = 64 << 10
	s.http.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	s.http.Start()
	s.url = s.http.URL
	s.stop = sync.OnceFunc(func() {
		s.handler.Drain()
		s.http.Close()
		if err := errors.Join(s.node.Close(), s.audit.Close()); err != nil {
			t.Errorf("close the server: %v", err)
		}
		if text := s.log.String(); strings.Contains(text, "failed badly") || strings.Contains(text, "panic") {
			t.Errorf("the log tells of a panic:\n%s", text)
		}
	})
	t.Cleanup(s.stop)
	s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil).status(t, 200)
	return s
}

// deploy deploys an app.
func (s *site) deploy(t *testing.T, yaml string) wire.Deployed {
	t.Helper()
	var d wire.Deployed
	s.ask(t, auth.Deploy, "POST", "/v1/apps", pack(t, yaml), "Content-Type", wire.TypeBundle).success(t).decode(t, &d)
	return d
}

// answer is what a request has come to.
type answer struct {
	*http.Response
	body []byte
}

// request makes a request. A body is bytes, a text, a reader, or what is to be
// sent as JSON. Role 0 shows no token.
func (s *site) request(ctx context.Context, t *testing.T, role auth.Role, method, path string, body any, headers ...string) *http.Request {
	t.Helper()
	var rd io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		rd = bytes.NewReader(b)
	case string:
		rd = strings.NewReader(b)
	case io.Reader:
		rd = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		rd, kind = bytes.NewReader(text), "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, rd)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if role != 0 {
		r.Header.Set("Authorization", "Bearer "+s.texts[role])
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// send sends a request; the body of the answer is there to be read.
func (s *site) send(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	res, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	spoken.note(t, res, nil)
	return res
}

// client follows no redirects and compresses nothing by itself.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, DialContext: (&net.Dialer{}).DialContext},
}

// ask sends a request and reads the whole answer, which must be as the OpenAPI
// document has it.
func (s *site) ask(t *testing.T, role auth.Role, method, path string, body any, headers ...string) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := s.request(ctx, t, role, method, path, body, headers...)
	res, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	spoken.note(t, res, text)
	return &answer{res, text}
}

// status demands a status.
func (a *answer) status(t *testing.T, want int) *answer {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, want, a.body)
	}
	return a
}

// success demands a status of 200 and some.
func (a *answer) success(t *testing.T) *answer {
	t.Helper()
	if a.StatusCode/100 != 2 {
		t.Fatalf("%s %s: status %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body)
	}
	return a
}

// decode reads a body of JSON.
func (a *answer) decode(t *testing.T, v any) {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		t.Fatalf("%s %s: Content-Type %q", a.Request.Method, a.Request.URL.Path, got)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s %s: %v: %s", a.Request.Method, a.Request.URL.Path, err, a.body)
	}
}

// problem demands a problem of a kind, whose text says each of the words.
func (a *answer) problem(t *testing.T, status int, word string, says ...string) wire.Problem {
	t.Helper()
	a.status(t, status)
	var p wire.Problem
	if got := a.Header.Get("Content-Type"); got != wire.TypeProblem {
		t.Fatalf("%s %s: Content-Type %q of a problem", a.Request.Method, a.Request.URL.Path, got)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != "urn:weft:"+word || p.Status != status || p.Title == "" || p.Detail == "" || p.Request != a.Header.Get(wire.HeaderRequestID) || p.Request == "" {
		t.Errorf("%s %s: problem %+v, want type urn:weft:%s and status %d, with title, detail and the request's id", a.Request.Method, a.Request.URL.Path, p, word, status)
	}
	for _, w := range says {
		if !strings.Contains(string(a.body), w) {
			t.Errorf("%s %s: %s does not say %q", a.Request.Method, a.Request.URL.Path, a.body, w)
		}
	}
	return p
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
