package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
)

const holds = `name: holds
functions:
  cat: {source: PROBE, args: [cat], output: bytes, max_output: 256MiB}
  do: {source: PROBE, output: text}
workflows:
  copy: {steps: {copy: {call: cat, stdin: "${ .input.file }"}}}
  make: {steps: {make: {call: do}, bytes: {call: cat, needs: [make], stdin: "${ .make }"}}, output: {made: "${ .bytes }"}}
`

// pattern is a body of some length that is never in memory as a whole.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range b[:n] {
		at := p.at + int64(i)
		b[i] = byte(at>>16) ^ byte(at)
	}
	p.at += int64(n)
	return n, nil
}

// TestBuffersUpAndDown sends bytes through a run. Neither way has them in the
// server's memory.
func TestBuffersUpAndDown(t *testing.T) {
	s := newSite(t)
	s.deploy(t, holds)
	const size = 96 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var b wire.Buffer
	s.ask(t, auth.Invoke, "POST", "/v1/buffers", io.Reader(&pattern{size: size}), "Content-Type", "application/octet-stream").status(t, 201).decode(t, &b)
	if b.Size != size || !strings.HasPrefix(b.Name, "/upload-") {
		t.Fatalf("uploaded: %+v", b)
	}
	var run engine.Run
	s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/copy/runs?wait=1m", map[string]any{"file": b}).status(t, 200).decode(t, &run)
	out, ok := run.Output.(map[string]any)
	if run.Status != engine.Succeeded || !ok {
		t.Fatalf("run: %+v", run)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res := s.send(t, s.request(ctx, t, auth.Read, "GET", "/v1/runs/"+run.ID+"/buffers/"+strings.TrimPrefix(fmt.Sprint(out["$buffer"]), "/"), nil))
	defer res.Body.Close()
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, res.Body)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(want, &pattern{size: size})
	if n != size || res.ContentLength != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d bytes came back of %d, others than were sent", n, size)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size/2 {
		t.Errorf("passing %d bytes has allocated %d", size, took)
	}
}

func TestBuffers(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Buffer = 1 << 20 })
	s.deploy(t, holds)
	for _, c := range []struct {
		name   string
		body   any
		status int
	}{
		{"nothing", nil, 201},
		{"one byte", "x", 201},
		{"as many bytes as may be", io.Reader(&pattern{size: 1 << 20}), 201},
		{"one more", io.Reader(&pattern{size: 1<<20 + 1}), 413},
		{"one more, declared", bytes.Repeat([]byte("x"), 1<<20+1), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.ask(t, auth.Invoke, "POST", "/v1/buffers", c.body).status(t, c.status)
			if c.status == 413 {
				a.problem(t, 413, "too-large")
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "buffers", "*", "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("of uploads are left: %v, %v; want 3", left, err)
	}

	var run engine.Run
	s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/make/runs?wait=1m", do("out hello")).status(t, 200).decode(t, &run)
	made := fmt.Sprint(run.Output.(map[string]any)["made"].(map[string]any)["$buffer"])
	at := "/v1/runs/" + run.ID + "/buffers/"
	for _, path := range []string{made, strings.ReplaceAll(made, "/", "%2F"), strings.TrimPrefix(made, "/")} {
		if a := s.ask(t, auth.Read, "GET", at+strings.TrimPrefix(path, "/"), nil); a.StatusCode != 200 || string(a.body) != "hello" || a.Header.Get("Content-Security-Policy") != "sandbox" {
			t.Errorf("%s: status %d: %s", path, a.StatusCode, a.body)
		}
	}
	// What the run consumed, what never was, and what leads elsewhere.
	for _, path := range []string{"nope", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "%2e%2e/%2e%2e/secret.key", ".", "%00", strings.Repeat("x", 5000), "a/b/c", "upload-x", "%2fupload-x"} {
		a := s.ask(t, auth.Read, "GET", at+path, nil)
		if a.StatusCode/100 == 2 || a.StatusCode >= 500 {
			t.Errorf("buffer %.40q: status %d: %.200s", path, a.StatusCode, a.body)
		}
	}
	s.ask(t, auth.Read, "GET", "/v1/runs/nope/buffers/x", nil).problem(t, 404, "not-found")

	// An upload belongs to one run.
	var b wire.Buffer
	s.ask(t, auth.Invoke, "POST", "/v1/buffers", "once").decode(t, &b)
	input := map[string]any{"file": b}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/copy/runs?wait=1m", input, "Idempotency-Key", "k").status(t, 200)
	s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/copy/runs?wait=1m", input, "Idempotency-Key", "k").status(t, 200)
	s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/copy/runs", input).problem(t, 404, "not-found", "upload")
	for _, name := range []string{"/upload-..%2f..%2fsecret.key", "/upload-../../secret.key", "/upload-", "/upload-nope", "/etc/passwd"} {
		a := s.ask(t, auth.Invoke, "POST", "/v1/apps/holds/workflows/copy/runs?wait=1m", map[string]any{"file": map[string]any{"$buffer": name, "size": 1}})
		var run engine.Run
		if a.StatusCode == 200 {
			a.decode(t, &run)
		}
		if a.StatusCode >= 500 || run.Status == engine.Succeeded {
			t.Errorf("upload %q: status %d: %.300s", name, a.StatusCode, a.body)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "secret.key")); err != nil {
		t.Error(err)
	}
}
