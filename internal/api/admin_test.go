package api_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
)

const keeper = `name: keeper
functions:
  do: {source: PROBE, output: text, secrets: [{name: key, env: KEY}, {name: cert, file: /run/cert}]}
workflows:
  main: {steps: {one: {call: do}}}
`

func TestSecrets(t *testing.T) {
	s := newSite(t)
	set := func(name, value string) {
		t.Helper()
		s.ask(t, auth.Deploy, "PUT", "/v1/apps/keeper/secrets/"+name, value).status(t, 204)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps", pack(t, keeper), "Content-Type", wire.TypeBundle).problem(t, 422, "rejected", "weft secrets set")
	set("key", "opensesame-1")
	set("cert", "-----BEGIN-----")
	s.deploy(t, keeper)
	say := func(what string) string {
		t.Helper()
		return string(s.ask(t, auth.Invoke, "POST", "/v1/apps/keeper/functions/do", do(what)).status(t, 200).body)
	}
	if got := say("env KEY; out +; cat /run/cert"); got != "opensesame-1+-----BEGIN-----" {
		t.Errorf("the function sees %q", got)
	}
	// Calls that come after a change see it, those of runs too.
	set("key", "opensesame-2")
	if got := say("env KEY"); got != "opensesame-2" {
		t.Errorf("after the change the function sees %q", got)
	}
	run := s.start(t, "keeper", "main", do("log opensesame-2; env KEY"))
	if d := s.ended(t, run.ID); d.Output != "opensesame-2" {
		t.Errorf("the run sees %v", d.Output)
	}
	if a := s.ask(t, auth.Read, "GET", "/v1/runs/"+run.ID+"/logs", nil); len(a.body) == 0 || bytes.Contains(a.body, []byte("opensesame")) {
		t.Errorf("the log has the secret, or nothing: %s", a.body)
	}
	if a := s.ask(t, auth.Invoke, "POST", "/v1/apps/keeper/functions/do", do("fail opensesame-2")); bytes.Contains(a.body, []byte("opensesame")) {
		t.Errorf("the failure has the secret: %s", a.body)
	}

	var list wire.Page[wire.Secret]
	a := s.ask(t, auth.Deploy, "GET", "/v1/secrets", nil)
	a.decode(t, &list)
	if len(list.Items) != 2 || list.Items[0].App != "keeper" || list.Items[0].Name != "cert" || bytes.Contains(a.body, []byte("opensesame")) {
		t.Errorf("secrets: %s", a.body)
	}
	s.ask(t, auth.Deploy, "GET", "/v1/secrets?app=nobody", nil).decode(t, &list)
	if len(list.Items) != 0 {
		t.Errorf("secrets of nobody: %+v", list.Items)
	}
	for _, c := range []struct {
		path, value string
		status      int
		word        string
	}{
		{"/v1/apps/keeper/secrets/a%2Fb", "x", 400, "bad-request"},
		{"/v1/apps/keeper/secrets/" + strings.Repeat("x", 65), "x", 400, "bad-request"},
		{"/v1/apps/..%2Fkeeper/secrets/x", "x", 400, "bad-request"},
		{"/v1/apps/UPPER/secrets/x", "x", 400, "bad-request"},
		{"/v1/apps/keeper/secrets/x", strings.Repeat("x", 64<<10+1), 413, "too-large"},
	} {
		s.ask(t, auth.Deploy, "PUT", c.path, c.value).problem(t, c.status, c.word)
	}
	s.ask(t, auth.Invoke, "PUT", "/v1/apps/keeper/secrets/x", "x").problem(t, 403, "refused")
	s.ask(t, auth.Read, "GET", "/v1/secrets", nil).problem(t, 403, "refused")
	set("x", "")
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/keeper/secrets/x", nil).status(t, 204)
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/keeper/secrets/x", nil).problem(t, 404, "not-found")
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/nobody/secrets/x", nil).problem(t, 404, "not-found")
}

func TestTokens(t *testing.T) {
	s := newSite(t)
	var made wire.MadeToken
	s.ask(t, auth.Admin, "POST", "/v1/tokens", map[string]any{"name": "ci", "role": "deploy", "expires": "1h"}).status(t, 201).decode(t, &made)
	if made.Name != "ci" || made.Role != auth.Deploy || !strings.HasPrefix(made.Text, "weft_") || made.Expires.IsZero() {
		t.Errorf("made: %+v", made)
	}
	as := func(method, path string) int {
		return s.ask(t, 0, method, path, nil, "Authorization", "Bearer "+made.Text).StatusCode
	}
	if got := as("GET", "/v1/secrets"); got != 200 {
		t.Errorf("the token that was made: status %d", got)
	}
	if got := as("GET", "/v1/tokens"); got != 403 {
		t.Errorf("as an admin: status %d", got)
	}
	a := s.ask(t, auth.Admin, "GET", "/v1/tokens", nil)
	var list wire.Page[auth.Token]
	if a.decode(t, &list); len(list.Items) != 5 || bytes.Contains(a.body, []byte(made.Text)) {
		t.Errorf("tokens: %s", a.body)
	}
	s.ask(t, auth.Admin, "DELETE", "/v1/tokens/"+made.ID, nil).status(t, 204)
	if got := as("GET", "/v1/secrets"); got != 401 {
		t.Errorf("the revoked token: status %d", got)
	}
	s.ask(t, auth.Admin, "DELETE", "/v1/tokens/"+made.ID, nil).problem(t, 404, "not-found")
	s.ask(t, auth.Admin, "DELETE", "/v1/tokens/..%2F..", nil).problem(t, 404, "not-found")
	for _, body := range []string{``, `{}`, `null`, `{"name": "x"}`, `{"name": "x", "role": "king"}`, `{"name": "x", "role": 3}`, `{"name": "x", "role": "read", "expires": "soon"}`,
		`{"name": "x", "role": "read", "expires": "-1h"}`, `{"name": "", "role": "read"}`, `{"name": "a\nb", "role": "read"}`, `{"name": "x", "role": "read", "power": 9}`, `[]`} {
		s.ask(t, auth.Admin, "POST", "/v1/tokens", body, "Content-Type", "application/json").problem(t, 400, "bad-request")
	}
	s.ask(t, auth.Admin, "POST", "/v1/tokens", `{"name": "`+strings.Repeat("x", 64<<10)+`"}`).problem(t, 413, "too-large")
}

// TestAudit has a line for every change and every attempt of somebody known, and
// none for others.
func TestAudit(t *testing.T) {
	s := newSite(t)
	d := s.deploy(t, shop)
	run := s.start(t, "shop", "ask", nil)
	s.ask(t, auth.Invoke, "POST", "/v1/runs/"+run.ID+"/cancel", nil, "X-Request-Id", "the-cancel").status(t, 204)
	s.ask(t, auth.Read, "DELETE", "/v1/apps/shop", nil).problem(t, 403, "refused")
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/nobody", nil).problem(t, 404, "not-found")
	s.ask(t, 0, "DELETE", "/v1/apps/shop", nil).problem(t, 401, "refused")
	s.ask(t, 0, "DELETE", "/v1/apps/shop", nil, "Authorization", "Bearer weft_x_y").problem(t, 401, "refused")
	var list wire.Page[audit.Entry]
	s.ask(t, auth.Admin, "GET", "/v1/audit", nil).decode(t, &list)
	var got []string
	for _, e := range list.Items {
		if e.At.IsZero() || e.Request == "" || e.From == "" {
			t.Errorf("entry %+v", e)
		}
		got = append(got, strings.Join([]string{e.Who, e.Role, e.Action, strings.NewReplacer(d.ID, "ID", run.ID, "RUN").Replace(e.Subject), e.Outcome}, " "))
	}
	want := []string{
		"the-deploy deploy app.delete nobody not-found",
		"the-read read app.delete shop refused",
		"the-invoke invoke run.cancel RUN ok",
		"the-deploy deploy app.deploy shop/ID ok",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if list.Items[2].Request != "the-cancel" {
		t.Errorf("the request is called %q", list.Items[2].Request)
	}
	if s.ask(t, auth.Admin, "GET", "/v1/audit?limit=1", nil).decode(t, &list); len(list.Items) != 1 {
		t.Errorf("%d entries, want 1", len(list.Items))
	}
	s.ask(t, auth.Admin, "GET", "/v1/audit?limit=0", nil).problem(t, 400, "bad-request")

	// What cannot be recorded is not acknowledged.
	if err := s.audit.Close(); err != nil {
		t.Fatal(err)
	}
	a := s.ask(t, auth.Admin, "POST", "/v1/tokens", map[string]any{"name": "x", "role": "admin"})
	if a.problem(t, 503, "draining"); bytes.Contains(a.body, []byte("weft_")) {
		t.Errorf("the token is told: %s", a.body)
	}
	s.ask(t, auth.Read, "GET", "/v1/apps", nil).status(t, 200)
}

func TestStateOfTheServer(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	s.ended(t, s.start(t, "shop", "main", do("out hi")).ID)
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/functions/cat", "x").status(t, 200)
	for _, path := range []string{"/healthz", "/readyz"} {
		var h wire.Health
		if s.ask(t, 0, "GET", path, nil).decode(t, &h); h.Status != "ok" {
			t.Errorf("%s: %+v", path, h)
		}
	}
	var v wire.Version
	if s.ask(t, auth.Read, "GET", "/v1/version", nil).decode(t, &v); v.Version != "1.2.3" || v.Node == "" {
		t.Errorf("version: %+v", v)
	}
	var stats wire.Stats
	s.ask(t, auth.Read, "GET", "/v1/stats", nil).decode(t, &stats)
	if stats.Runs.Started != 1 || stats.Runs.Succeeded != 1 || stats.Process.Goroutines == 0 || stats.Process.Descriptors == 0 || stats.Store.Appends == 0 || stats.Process.Memory == 0 {
		t.Errorf("stats: %+v", stats)
	}
	if a := s.ask(t, auth.Admin, "GET", "/v1/config", nil).status(t, 200); string(a.body) != "drain: 30s\n" {
		t.Errorf("configuration: %s", a.body)
	}
	s.ask(t, 0, "GET", "/metrics", nil).problem(t, 401, "refused")
	text := string(s.ask(t, auth.Read, "GET", "/metrics", nil).status(t, 200).body)
	for _, want := range []string{`weft_build_info{version="1.2.3"} 1`, `function="cat"`, `route="POST /v1/apps"`, "weft_runs_open 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	if strings.Contains(text, "nobody") {
		t.Error("the metrics have names that clients make up")
	}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/nobody/functions/cat", "x").status(t, 404)
	if text := string(s.ask(t, auth.Read, "GET", "/metrics", nil).body); strings.Contains(text, "nobody") {
		t.Error("the metrics have names that clients make up")
	}
}

func TestOpenMetrics(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.OpenMetrics = true })
	s.ask(t, 0, "GET", "/metrics", nil).status(t, 200)
	s.ask(t, 0, "GET", "/v1/stats", nil).problem(t, 401, "refused")
}

// TestBackup restores an archive and serves what it holds.
func TestBackup(t *testing.T) {
	s := newSite(t)
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/keeper/secrets/key", "opensesame").status(t, 204)
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/keeper/secrets/cert", "c").status(t, 204)
	s.deploy(t, keeper)
	s.deploy(t, shop)
	s.deploy(t, holds)
	done := s.start(t, "shop", "main", do("log hello; out hi"))
	s.ended(t, done.ID)
	waits := s.start(t, "shop", "ask", nil)
	s.waitingFor(t, waits.ID, "go")
	made := s.start(t, "holds", "make", do("out bytes"))
	slot := s.ended(t, made.ID).Output.(map[string]any)["made"].(map[string]any)["$buffer"].(string)

	a := s.ask(t, auth.Admin, "GET", "/v1/backup", nil).status(t, 200)
	if a.Header.Get("Content-Type") != "application/x-tar" || !strings.Contains(a.Header.Get("Content-Disposition"), "weft-") {
		t.Errorf("header: %v", a.Header)
	}
	after := s.start(t, "shop", "main", do("out later"))
	s.ended(t, after.ID)
	text := s.texts
	s.stop()

	dir := filepath.Join(t.TempDir(), "restored")
	if err := node.Restore(t.Context(), bytes.NewReader(a.body), dir); err != nil {
		t.Fatal(err)
	}
	r := newSite(t, func(o *settings) { o.dir = dir })
	r.texts = text // tokens are part of what is kept
	if d := r.run(t, done.ID); d.Status != engine.Succeeded || d.Output != "hi" {
		t.Errorf("the run that had ended: %+v", d)
	}
	if a := r.ask(t, auth.Read, "GET", "/v1/runs/"+done.ID+"/logs", nil); !strings.Contains(string(a.body), "hello") {
		t.Errorf("its log: %s", a.body)
	}
	if a := r.ask(t, auth.Read, "GET", "/v1/runs/"+made.ID+"/buffers"+slashed(slot), nil); string(a.body) != "bytes" {
		t.Errorf("the buffer: status %d, %s", a.StatusCode, a.body)
	}
	r.ask(t, auth.Read, "GET", "/v1/runs/"+after.ID, nil).problem(t, 404, "not-found")
	r.waitingFor(t, waits.ID, "go")
	r.ask(t, auth.Invoke, "POST", "/v1/runs/"+waits.ID+"/signals/go", "\"out on\"").status(t, 204)
	if d := r.ended(t, waits.ID); d.Output != "on" {
		t.Errorf("the run that waited: %+v", d)
	}
	if a := r.ask(t, auth.Invoke, "POST", "/v1/apps/keeper/functions/do", do("env KEY")); string(a.body) != "opensesame" {
		t.Errorf("the secret: %s", a.body)
	}
	var apps wire.Page[registry.App]
	if r.ask(t, auth.Read, "GET", "/v1/apps", nil).decode(t, &apps); len(apps.Items) != 3 {
		t.Errorf("apps: %+v", apps.Items)
	}
	if err := node.Restore(t.Context(), bytes.NewReader(a.body), dir); err == nil {
		t.Error("a folder that is not empty is restored to")
	}
	if st, err := os.Stat(filepath.Join(dir, "secret.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st.Mode(), err)
	}
}

func slashed(slot string) string { return "/" + strings.TrimPrefix(slot, "/") }

// TestDrain ends what would go on for ever, and lets the rest be answered.
func TestDrain(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, `name: drains
functions:
  do: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows:
  main: {steps: {one: {call: do}}}
  ask: {steps: {one: {signal: go}}}
`)
	run := s.start(t, "drains", "ask", nil)
	s.waitingFor(t, run.ID, "go")
	events := s.stream(t.Context(), t, "/v1/runs/"+run.ID+"/events")
	events.next()
	type result struct {
		what string
		a    *answer
	}
	answers := make(chan result, 4)
	ask := func(what, method, path string, body any) {
		go func() { answers <- result{what, s.ask(t, auth.Invoke, method, path, body)} }()
	}
	ask("wait", "POST", "/v1/apps/drains/workflows/ask/runs?wait=1m", nil)
	ask("logs", "GET", "/v1/runs/"+run.ID+"/logs?follow=true", nil)
	ask("invoke", "POST", "/v1/apps/drains/functions/do", do("await /state/go; out done"))
	eventually(t, "all are under way", func() bool { return s.underway.Load() == 4 && s.node.Gate.Stats().Running == 1 })
	s.handler.Drain()
	s.handler.Drain() // twice is once
	drained := make(chan error, 1)
	go func() { drained <- s.node.Drain(t.Context()) }()
	if rest := events.all(); len(rest) != 0 {
		t.Errorf("the stream has ended with %v", rest)
	}
	for range 2 {
		switch r := <-answers; r.what {
		case "wait":
			r.a.status(t, http.StatusAccepted)
		case "logs":
			r.a.status(t, http.StatusOK)
		default:
			t.Errorf("%s has ended", r.what)
		}
	}
	s.ask(t, 0, "GET", "/readyz", nil).problem(t, 503, "draining")
	s.ask(t, 0, "GET", "/healthz", nil).status(t, 200)
	eventually(t, "new runs are refused", func() bool {
		return s.ask(t, auth.Invoke, "POST", "/v1/apps/drains/workflows/ask/runs", nil).StatusCode == 503
	})
	a := s.ask(t, auth.Invoke, "POST", "/v1/apps/drains/workflows/ask/runs", nil)
	if a.problem(t, 503, "draining"); a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	s.ask(t, auth.Read, "GET", "/v1/runs/"+run.ID, nil).status(t, 200)
	touch(t, state, "go")
	if r := <-answers; r.what != "invoke" || r.a.StatusCode != 200 || string(r.a.body) != "done" {
		t.Errorf("%s: status %d: %s", r.what, r.a.StatusCode, r.a.body)
	}
	io.Copy(io.Discard, events.body)
	var list wire.Page[engine.Run]
	s.ask(t, auth.Read, "GET", "/v1/runs?status=running", nil).decode(t, &list)
	for _, r := range list.Items {
		s.ask(t, auth.Invoke, "POST", "/v1/runs/"+r.ID+"/cancel", nil).status(t, 204)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}
