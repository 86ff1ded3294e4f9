package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
)

// roleOf finds the role in the description of an operation.
var roleOf = regexp.MustCompile(`^Needs the role (\w+)\.$`)

// TestRoles asks for every operation of the document as everybody: who may not
// is refused before anything else is looked at.
func TestRoles(t *testing.T) {
	s := newSite(t)
	var doc struct {
		Paths map[string]map[string]struct {
			ID          string                `json:"operationId"`
			Description string                `json:"description"`
			Security    []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil).decode(t, &doc)
	names := regexp.MustCompile(`\{\w+\}`)
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			need := auth.Role(0)
			if m := roleOf.FindStringSubmatch(op.Description); m != nil {
				var err error
				if need, err = auth.ParseRole(m[1]); err != nil {
					t.Fatal(err)
				}
			} else if op.Security == nil {
				t.Errorf("%s: neither a role nor open to everybody", op.ID)
			}
			method, path := strings.ToUpper(method), names.ReplaceAllString(path, "nope")
			for role := auth.Role(0); role <= auth.Admin; role++ {
				if op.ID == "backup" && role >= need {
					continue // TestBackup does
				}
				a := s.ask(t, role, method, path, nil)
				switch refused := a.StatusCode == 401 || a.StatusCode == 403; {
				case role == 0 && need != 0:
					if a.problem(t, 401, "refused"); !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
						t.Errorf("%s: WWW-Authenticate is %q", op.ID, a.Header.Get("WWW-Authenticate"))
					}
				case !role.Allows(need) && need != 0:
					a.problem(t, 403, "refused", need.String())
				case refused:
					t.Errorf("%s refuses %v: %s", op.ID, role, a.body)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("the document has %d operations", n)
	}
}

// TestUnknown has an answer for what is not there.
func TestUnknown(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/v2/apps", 404, ""},
		{"GET", "/v1/apps/", 404, ""},
		{"GET", "/v1//apps", 404, ""},
		{"GET", "/v1/apps/../apps", 404, ""},
		{"GET", "/v1/./apps", 404, ""},
		{"GET", "/v1/runs/x/buffers/../../y", 404, ""},
		{"DELETE", "/v1/apps", 405, "GET, POST"},
		{"PATCH", "/v1/apps/x", 405, "GET, DELETE"},
		{"POST", "/healthz", 405, "GET"},
		{"OPTIONS", "/v1/apps", 405, "GET, POST"},
		{"TRACE", "/v1/apps", 405, "GET, POST"},
		{"BREW", "/v1/apps", 405, "GET, POST"},
		{"GET", "/v1/apps/x/functions/y", 405, "POST"},
	} {
		word := map[int]string{404: "not-found", 405: "method"}[c.status]
		a := s.ask(t, 0, c.method, c.path, nil)
		if a.problem(t, c.status, word); a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow is %q, want %q", c.method, c.path, a.Header.Get("Allow"), c.allow)
		}
	}
	if a := s.ask(t, auth.Read, "HEAD", "/v1/apps", nil).status(t, 200); len(a.body) != 0 {
		t.Errorf("HEAD has a body: %s", a.body)
	}
	s.ask(t, auth.Admin, "HEAD", "/v1/backup", nil).status(t, 405)
	s.ask(t, auth.Admin, "HEAD", "/v1/runs/x/events", nil).status(t, 405)
}

// TestRequestIDs keeps the names that clients give, if they are names.
func TestRequestIDs(t *testing.T) {
	s := newSite(t)
	for given, kept := range map[string]bool{"abc-123": true, strings.Repeat("x", 128): true, "": false, strings.Repeat("x", 129): false, "a b": false, "a\tb": false, "ü": false} {
		got := s.ask(t, 0, "GET", "/healthz", nil, wire.HeaderRequestID, given).Header.Get(wire.HeaderRequestID)
		if got == "" || (got == given) != kept {
			t.Errorf("%q becomes %q", given, got)
		}
	}
}

// TestCompression compresses what is long, for who wants it.
func TestCompression(t *testing.T) {
	s := newSite(t)
	long := s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil, "Accept-Encoding", "gzip")
	if long.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(long.Header.Get("Vary"), "Accept-Encoding") || long.Header.Get("Content-Type") != "application/json" {
		t.Errorf("header: %v", long.Header)
	}
	if plain := s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil); plain.Header.Get("Content-Encoding") != "" || len(plain.body) < 2*len(long.body) {
		t.Errorf("%d bytes, compressed %d", len(plain.body), len(long.body))
	}
	if short := s.ask(t, auth.Read, "GET", "/v1/apps", nil, "Accept-Encoding", "gzip"); short.Header.Get("Content-Encoding") != "" {
		t.Error("a short answer is compressed")
	}
	s.ask(t, 0, "GET", "/v1/openapi.json", nil, "Accept-Encoding", "gzip").problem(t, 401, "refused")
}

// TestForeignPages refuses what a page of another origin makes a browser send,
// and what names another host.
func TestForeignPages(t *testing.T) {
	s := newSite(t, func(o *settings) {
		o.auth.Hosts, o.auth.Origins = []string{"weft.example.org"}, []string{"https://console.example.org"}
	})
	host := strings.TrimPrefix(s.url, "http://")
	for _, c := range []struct {
		host, origin string
		status       int
	}{
		{host, "", 200},
		{"localhost:1", "", 200},
		{"weft.example.org", "", 200},
		{"evil.example", "", 421},
		{"127.0.0.1.evil.example", "", 421},
		{"weft.example.org.evil.example", "", 421},
		{"x@" + host, "", 421},
		{host, "http://" + host, 200},
		{host, "https://console.example.org", 200},
		{host, "http://evil.example", 403},
		{host, "null", 403},
		{host, "http://localhost", 403},
		{host, "https://console.example.org.evil.example", 403},
		{"weft.example.org", "http://evil.example", 403},
	} {
		headers := []string{"Host", c.host}
		if c.origin != "" {
			headers = append(headers, "Origin", c.origin)
		}
		a := s.ask(t, auth.Admin, "GET", "/v1/apps", nil, headers...)
		if a.StatusCode == 400 && strings.Contains(c.host, "@") {
			continue // net/http refuses it
		}
		if a.StatusCode != c.status {
			t.Errorf("host %q, origin %q: status %d, want %d: %s", c.host, c.origin, a.StatusCode, c.status, a.body)
		}
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("pages of %q may read the answer", got)
		}
	}
}

// TestDocumentOfTheAPI checks that the docs have every route.
func TestDocumentOfTheAPI(t *testing.T) {
	s := newSite(t)
	var doc map[string]any
	s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil).decode(t, &doc)
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			if line := strings.ToUpper(method) + " " + path; !strings.Contains(string(text), "`"+line) {
				t.Errorf("docs/api.md does not mention %s", line)
			}
		}
	}
	if err := json.Unmarshal(s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil).body, new(map[string]any)); err != nil {
		t.Error(err)
	}
	var refs []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs = append(refs, ref)
			}
			for _, k := range v {
				walk(k)
			}
		case []any:
			for _, k := range v {
				walk(k)
			}
		}
	}
	walk(doc)
	slices.Sort(refs)
	for _, ref := range slices.Compact(refs) {
		at := any(doc)
		for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("the document refers to %s, which it does not have", ref)
		}
	}
	again := map[string]any{}
	s.ask(t, auth.Read, "GET", "/v1/openapi.json", nil).decode(t, &again)
	if !reflect.DeepEqual(doc, again) {
		t.Error("the document differs from request to request")
	}
}

// TestUnknownFields refuses them in every body that is JSON with known fields.
func TestUnknownFields(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	run := s.start(t, "shop", "ask", nil)
	paths := map[string]string{"app.deploy": "/v1/apps", "app.activate": "/v1/apps/shop/active", "run.cancel": "/v1/runs/" + run.ID + "/cancel", "token.create": "/v1/tokens", "cpu.set": "/v1/cpu", "cpu.change": "/v1/cpu",
		"request.restart": "/v1/requests/any/restart", "request.cancel": "/v1/requests/any/cancel"}
	for path, methods := range spoken.doc.Paths {
		for method, op := range methods {
			content, ok := op.RequestBody.Content["application/json"]
			if !ok || content.Schema.Ref == "" {
				continue
			}
			at := paths[op.ID]
			if at == "" {
				t.Errorf("%s %s takes fields, and is not tested here", method, path)
				continue
			}
			s.ask(t, auth.Admin, strings.ToUpper(method), at, `{"surprise": 1}`, "Content-Type", "application/json").problem(t, http.StatusBadRequest, "bad-request", "surprise")
		}
	}
	if fmt.Sprint(s.run(t, run.ID).Status) != "running" {
		t.Error("the run was cancelled nevertheless")
	}
}
