package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

const tools = `name: tools
functions:
  cat: {source: PROBE, args: [cat], output: bytes, content_type: image/png}
  text: {source: PROBE, output: text}
  json: {source: PROBE}
  slow: {source: PROBE, output: text, timeout: 200ms}
  small: {source: PROBE, output: bytes, max_output: 64KiB}
`

func TestInvoke(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Body, o.node.Body = 1<<20, 1<<20 })
	s.deploy(t, tools)
	at := "/v1/apps/tools/functions/"
	noise := bytes.Repeat([]byte("0123456789abcde\n"), 40<<10/16)
	for _, c := range []struct {
		name, function string
		body           any
		kind           string
		want           string
	}{
		{"bytes", "cat", noise, "image/png", string(noise)},
		{"nothing", "cat", nil, "image/png", ""},
		{"as many bytes as may be", "cat", bytes.Repeat([]byte("y"), 1<<20), "image/png", strings.Repeat("y", 1<<20)},
		{"a body of unknown length", "cat", io.MultiReader(bytes.NewReader(noise)), "image/png", string(noise)},
		{"text", "text", do("out hi"), "text/plain; charset=utf-8", "hi"},
		{"JSON", "json", do(`out {"a":1}`), "application/json", `{"a":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.ask(t, auth.Invoke, "POST", at+c.function, c.body).status(t, 200)
			if string(a.body) != c.want || a.Header.Get("Content-Type") != c.kind || a.ContentLength != int64(len(c.want)) {
				t.Errorf("got %d bytes of %s, want %d of %s", len(a.body), a.Header.Get("Content-Type"), len(c.want), c.kind)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Content-Security-Policy") != "sandbox" {
				t.Errorf("a browser may take it for a page of the server's: %v", a.Header)
			}
		})
	}
	for _, c := range []struct {
		name, function string
		body           any
		status         int
		word, kind     string
	}{
		{"failure", "text", do("fail sorry"), 502, "function-failed", domain.KindExit},
		{"trap", "text", do("trap"), 502, "function-failed", domain.KindTrap},
		{"too slow", "slow", do("sleep 60000"), 504, "function-failed", flow.KindTimeout},
		{"too much output", "small", do("emit 100000"), 502, "function-failed", domain.KindOutput},
		{"a body that is too large", "cat", bytes.Repeat([]byte("y"), 1<<20+1), 413, "too-large", ""},
		{"one of unknown length that is too large", "cat", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("y"), 1<<20+1))), 413, "too-large", ""},
		{"a function that is not there", "dog", nil, 404, "not-found", ""},
	} {
		for _, how := range []string{"", "?stream=true"} {
			if how != "" && c.kind == domain.KindOutput {
				continue // what is streamed is not limited
			}
			t.Run(c.name+how, func(t *testing.T) {
				if _, once := c.body.(io.Reader); once && how != "" {
					c.body = io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("y"), 1<<20+1)))
				}
				p := s.ask(t, auth.Invoke, "POST", at+c.function+how, c.body).problem(t, c.status, c.word)
				if p.Kind != c.kind {
					t.Errorf("kind %q, want %q", p.Kind, c.kind)
				}
			})
		}
	}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/nobody/functions/cat", nil).problem(t, 404, "not-found")
	s.ask(t, auth.Invoke, "POST", at+"cat?version=0123456789abcdef", nil).problem(t, 404, "not-found")
	s.ask(t, auth.Invoke, "POST", at+"cat?stream=perhaps", nil).problem(t, 400, "bad-request", "perhaps")
	s.ask(t, auth.Read, "POST", at+"cat", nil).problem(t, 403, "refused", "invoke")
}

// do is the input of a probe.
func do(what string) any { return map[string]any{"do": what} }

// TestStreamedOutput reads the first bytes while the function still runs.
func TestStreamedOutput(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, tools+"  wait: {source: PROBE, output: text, files: [\""+state+"::/state:rw\"]}\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res := s.send(t, s.request(ctx, t, auth.Invoke, "POST", "/v1/apps/tools/functions/wait?stream=true", do("out first; await /state/go; out second; fail sorry")))
	defer res.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
		t.Fatalf("first bytes: %q, %v", first, err)
	}
	if res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || res.Header.Get("Content-Security-Policy") != "sandbox" {
		t.Errorf("header: %v", res.Header)
	}
	touch(t, state, "go")
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "second" {
		t.Fatalf("the rest: %q, %v", rest, err)
	}
	var f flow.Failure
	if err := json.Unmarshal([]byte(res.Trailer.Get(wire.HeaderFailure)), &f); err != nil || f.Kind != domain.KindExit || !strings.Contains(f.Message, "sorry") {
		t.Errorf("trailer %v: %+v, %v", res.Trailer, f, err)
	}

	// Streamed output may be larger than what is kept of it.
	a := s.ask(t, auth.Invoke, "POST", "/v1/apps/tools/functions/small?stream=true", do("emit 8388608")).status(t, 200)
	if len(a.body) != 8<<20 || a.Trailer.Get(wire.HeaderFailure) != "" {
		t.Errorf("%d bytes, trailer %v", len(a.body), a.Trailer)
	}
	want := sha256.Sum256(emitted(8 << 20))
	if sha256.Sum256(a.body) != want {
		t.Error("the bytes are others")
	}
	if a := s.ask(t, auth.Invoke, "POST", "/v1/apps/tools/functions/text?stream=true", nil).status(t, 200); len(a.body) != 0 {
		t.Errorf("output %q, want none", a.body)
	}
}

// emitted is what the command emit of a probe writes.
func emitted(n int) []byte {
	block := make([]byte, 4096)
	for i := range block {
		block[i] = 'a' + byte(i%26)
	}
	return bytes.Repeat(block, (n+4095)/4096)[:n]
}

// TestTooManyCalls refuses what would have to wait too long, and says when to
// come again.
func TestTooManyCalls(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, "name: busy\nfunctions:\n  one: {source: PROBE, output: text, instances: {max: 1, queue: 1}, files: [\""+state+"::/state:rw\"]}\n")
	at := "/v1/apps/busy/functions/one"
	answers := make(chan *answer, 2)
	for range 2 {
		go func() { answers <- s.ask(t, auth.Invoke, "POST", at, do("await /state/go; out done")) }()
	}
	eventually(t, "one call runs and one waits", func() bool {
		g := s.node.Gate.Stats()
		return g.Running == 1 && g.Waiting == 1
	})
	a := s.ask(t, auth.Invoke, "POST", at, do("out never"))
	a.problem(t, 429, "full", "try again")
	if a.Header.Get("Retry-After") == "" || a.Header.Get("Retry-After") == "0" {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	s.ask(t, auth.Invoke, "POST", at+"?stream=true", do("out never")).problem(t, 429, "full")
	touch(t, state, "go")
	for range 2 {
		if a := <-answers; a.StatusCode != 200 || string(a.body) != "done" {
			t.Errorf("status %d: %s", a.StatusCode, a.body)
		}
	}
}
