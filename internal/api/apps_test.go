package api_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/config"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/registry"
)

// shop is the app that most tests use.
const shop = `name: shop
functions:
  cat: {source: PROBE, args: [cat], output: bytes, content_type: image/png}
  do: {source: PROBE, args: [do], output: text}
workflows:
  main:
    description: does what it is told
    input: {type: object, properties: {do: {type: string}}}
    steps:
      first: {call: do}
  ask:
    steps:
      wait: {signal: go}
      then: {call: do, needs: [wait], with: {do: "${ .wait }"}}
triggers:
  - {http: POST /do, workflow: main}
`

func TestDeploy(t *testing.T) {
	s := newSite(t)
	bundle := pack(t, shop)
	var d, again wire.Deployed
	first := s.ask(t, auth.Deploy, "POST", "/v1/apps", bundle, "Content-Type", wire.TypeBundle).status(t, 201)
	first.decode(t, &d)
	if d.App != "shop" || len(d.ID) != 16 || d.Existed || !d.Active || d.By != "the-deploy" || first.Header.Get("Location") != "/v1/apps/shop" {
		t.Errorf("deployed: %+v", d)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps", bundle, "Content-Type", wire.TypeBundle).status(t, 200).decode(t, &again)
	if !again.Existed || again.ID != d.ID || !again.Created.Equal(d.Created) {
		t.Errorf("the same content: %+v, want %+v", again, d)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps", wire.Digest{Digest: d.ID}).status(t, 200).decode(t, &again)
	if !again.Existed || again.ID != d.ID {
		t.Errorf("by digest: %+v, want %+v", again, d)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps", wire.Digest{Digest: "0123456789abcdef"}).problem(t, 404, "not-found")
	s.ask(t, auth.Deploy, "POST", "/v1/apps", wire.Digest{}).problem(t, 404, "not-found")

	var form bytes.Buffer
	mw := multipart.NewWriter(&form)
	mw.WriteField("note", "by hand")
	part, _ := mw.CreateFormFile("bundle", "shop.tar.gz")
	part.Write(bundle)
	mw.Close()
	s.ask(t, auth.Deploy, "POST", "/v1/apps", form.Bytes(), "Content-Type", mw.FormDataContentType()).status(t, 200).decode(t, &again)
	if again.ID != d.ID {
		t.Errorf("by form: %+v, want %+v", again, d)
	}

	rest := s.ask(t, auth.Deploy, "POST", "/v1/apps?activate=false", pack(t, strings.Replace(shop, "first", "second", 1)), "Content-Type", wire.TypeBundle).status(t, 201)
	var other wire.Deployed
	if rest.decode(t, &other); other.Active || other.ID == d.ID {
		t.Errorf("without activate: %+v", other)
	}
}

func TestDeployRefused(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Bundle = 1 << 20 })
	good := pack(t, shop)
	var empty bytes.Buffer
	mw := multipart.NewWriter(&empty)
	mw.WriteField("note", "no bundle here")
	mw.Close()
	for _, c := range []struct {
		name, path, kind string
		body             any
		status           int
		word             string
		says             []string
	}{
		{"no content type", "", "", good, 415, "unsupported", []string{wire.TypeBundle}},
		{"another content type", "", "text/plain", good, 415, "unsupported", []string{"text/plain"}},
		{"a malformed content type", "", "/;;", good, 415, "unsupported", nil},
		{"nothing", "", wire.TypeBundle, nil, 422, "rejected", nil},
		{"no archive", "", wire.TypeBundle, "hello", 422, "rejected", nil},
		{"half an archive", "", wire.TypeBundle, good[:len(good)/2], 422, "rejected", nil},
		{"an archive of more than the limit", "", wire.TypeBundle, tooMuch(), 413, "too-large", nil},
		{"a form without a bundle", "", mw.FormDataContentType(), empty.Bytes(), 400, "bad-request", []string{"bundle"}},
		{"a form that is none", "", "multipart/form-data; boundary=x", "hello", 400, "bad-request", nil},
		{"a form without a boundary", "", "multipart/form-data", "hello", 400, "bad-request", nil},
		{"an unknown field", "", "application/json", `{"digest": "0123456789abcdef", "force": true}`, 400, "bad-request", []string{"force"}},
		{"two values", "", "application/json", `{"digest": "0123456789abcdef"} {}`, 400, "bad-request", nil},
		{"a digest of the wrong type", "", "application/json", `{"digest": 1}`, 400, "bad-request", nil},
		{"a flag that is none", "?activate=perhaps", wire.TypeBundle, good, 400, "bad-request", []string{"activate", "perhaps"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.ask(t, auth.Deploy, "POST", "/v1/apps"+c.path, c.body, "Content-Type", c.kind).problem(t, c.status, c.word, c.says...)
		})
	}
	var apps wire.Page[registry.App]
	if s.ask(t, auth.Read, "GET", "/v1/apps", nil).decode(t, &apps); len(apps.Items) != 0 {
		t.Errorf("apps are there: %+v", apps.Items)
	}
}

// TestNotAllowedByTheOperator has every violation in the answer.
func TestNotAllowedByTheOperator(t *testing.T) {
	s := newSite(t, func(o *settings) { o.node.Check = config.Default().CheckApp })
	p := s.ask(t, auth.Deploy, "POST", "/v1/apps", pack(t, "name: greedy\nfunctions:\n  a: {source: PROBE, files: [\"/etc::/etc\"]}\n  b: {source: PROBE, files: [\"/var::/var\"]}\n"),
		"Content-Type", wire.TypeBundle).problem(t, 422, "rejected", "/etc", "/var")
	if len(p.Errors) != 2 || p.Errors[0].Line != 3 {
		t.Errorf("errors are %+v", p.Errors)
	}
}

func TestVersions(t *testing.T) {
	s := newSite(t)
	one := s.deploy(t, shop).ID
	two := s.deploy(t, strings.Replace(shop, "first", "second", 1)).ID
	active := func() string {
		var a registry.App
		s.ask(t, auth.Read, "GET", "/v1/apps/shop", nil).decode(t, &a)
		return a.Active
	}
	var versions wire.Page[registry.Version]
	s.ask(t, auth.Read, "GET", "/v1/apps/shop/versions", nil).decode(t, &versions)
	if len(versions.Items) != 2 || versions.Items[0].ID != two || !slices.Equal(versions.Items[0].Functions, []string{"cat", "do"}) {
		t.Errorf("versions: %+v", versions.Items)
	}
	if active() != two {
		t.Errorf("active: %s, want %s", active(), two)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps/shop/rollback", nil).success(t)
	if active() != one {
		t.Errorf("after the rollback: %s, want %s", active(), one)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps/shop/rollback", nil).problem(t, 409, "no-other")
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/active", wire.Activate{Version: two}).success(t)
	if active() != two {
		t.Errorf("after activation: %s, want %s", active(), two)
	}
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/active", wire.Activate{Version: "0123456789abcdef"}).problem(t, 404, "not-found")
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/active", nil).problem(t, 400, "bad-request")
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/active", map[string]any{"version": two, "when": "now"}).problem(t, 400, "bad-request", "when")

	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop/versions/"+two, nil).problem(t, 409, "in-use")
	var run engine.Run
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/workflows/ask/runs?version="+one, nil).status(t, 202).decode(t, &run)
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop/versions/"+one, nil).problem(t, 409, "in-use")
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop", nil).problem(t, 409, "in-use")
	s.ask(t, auth.Invoke, "POST", "/v1/runs/"+run.ID+"/cancel", nil).status(t, 204)
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop/versions/"+one, nil).status(t, 204)
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop/versions/"+one, nil).problem(t, 404, "not-found")
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/secrets/key", "v").status(t, 204)
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop", nil).status(t, 204)
	for _, path := range []string{"", "/versions", "/functions", "/workflows"} {
		s.ask(t, auth.Read, "GET", "/v1/apps/shop"+path, nil).problem(t, 404, "not-found", "weft")
	}
	s.ask(t, auth.Deploy, "DELETE", "/v1/apps/shop", nil).problem(t, 404, "not-found")
	var secrets wire.Page[wire.Secret]
	if s.ask(t, auth.Deploy, "GET", "/v1/secrets?app=shop", nil).decode(t, &secrets); len(secrets.Items) != 0 {
		t.Errorf("secrets of the app are left: %+v", secrets.Items)
	}
	// The run of the version that is gone is still there to be read.
	s.ask(t, auth.Read, "GET", "/v1/runs/"+run.ID, nil).status(t, 200)
	s.ask(t, auth.Read, "GET", "/v1/runs/"+run.ID+"/trace", nil).problem(t, 404, "not-found")
}

func TestFunctionsAndWorkflows(t *testing.T) {
	s := newSite(t)
	s.ask(t, auth.Deploy, "PUT", "/v1/apps/shop/secrets/key", "v").status(t, 204)
	s.deploy(t, strings.Replace(shop, "output: text}", "output: text, memory: 64MiB, timeout: 5s, secrets: [{name: key, env: KEY}], instances: {max: 3}}", 1))
	var functions wire.Page[wire.Function]
	s.ask(t, auth.Read, "GET", "/v1/apps/shop/functions", nil).decode(t, &functions)
	if len(functions.Items) != 2 || functions.Items[0].ContentType != "image/png" {
		t.Fatalf("functions: %+v", functions.Items)
	}
	if do := functions.Items[1]; do.Name != "do" || do.Memory != 64<<20 || do.Timeout != 5 || do.ContentType != "text/plain; charset=utf-8" || do.Max != 3 || !slices.Equal(do.Secrets, []string{"key"}) {
		t.Errorf("function do: %+v", do)
	}
	var workflows wire.Page[wire.Workflow]
	s.ask(t, auth.Read, "GET", "/v1/apps/shop/workflows", nil).decode(t, &workflows)
	if len(workflows.Items) != 2 {
		t.Fatalf("workflows: %+v", workflows.Items)
	}
	if w := workflows.Items[1]; w.Name != "main" || w.Description != "does what it is told" || w.Input == nil || w.Durability != "journal" || len(w.Triggers) != 1 || !slices.Equal(w.Steps, []string{"first"}) {
		t.Errorf("workflow main: %+v", w)
	}
}

// TestConcurrentDeploys has the same content become one version, and different
// contents all be there.
func TestConcurrentDeploys(t *testing.T) {
	s := newSite(t)
	const contents, times = 4, 4
	var bundles [][]byte
	for i := range contents {
		bundles = append(bundles, pack(t, strings.Replace(shop, "first", fmt.Sprintf("step%d", i), 1)))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, made := map[string]bool{}, 0
	for i := range contents * times {
		wg.Go(func() {
			a := s.ask(t, auth.Deploy, "POST", "/v1/apps", bundles[i%contents], "Content-Type", wire.TypeBundle)
			var d wire.Deployed
			if a.StatusCode/100 != 2 {
				t.Errorf("status %d: %s", a.StatusCode, a.body)
				return
			}
			a.decode(t, &d)
			mu.Lock()
			defer mu.Unlock()
			ids[d.ID] = true
			if a.StatusCode == 201 {
				made++
			}
		})
	}
	wg.Wait()
	var versions wire.Page[registry.Version]
	s.ask(t, auth.Read, "GET", "/v1/apps/shop/versions", nil).decode(t, &versions)
	if len(ids) != contents || made != contents || len(versions.Items) != contents {
		t.Errorf("%d versions in answers, %d made, %d listed; want %d each", len(ids), made, len(versions.Items), contents)
	}
	var a registry.App
	if s.ask(t, auth.Read, "GET", "/v1/apps/shop", nil).decode(t, &a); !ids[a.Active] {
		t.Errorf("active is %q", a.Active)
	}
}
