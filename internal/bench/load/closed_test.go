package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers at a unix socket.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return path
}

func dial(t *testing.T, path string, n int) *Closed {
	t.Helper()
	c, err := Dial("unix", path, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var echo = []byte("POST /x HTTP/1.1\r\nHost: weft\r\nContent-Length: 4\r\n\r\nping")

func is(status int, text string) func(int, []byte) error {
	return func(s int, body []byte) error {
		if s != status || string(body) != text {
			return fmt.Errorf("status %d, body %q", s, body)
		}
		return nil
	}
}

func TestClosedSendsAsManyAsOrdered(t *testing.T) {
	var served atomic.Int64
	c := dial(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}), 3)
	noted := 0
	for range 2 { // the connections stay of use
		d, err := c.Run(t.Context(), Order{Request: echo, Count: 50, Check: is(200, "ping"), Note: func(time.Duration, []byte) { noted++ }})
		if err != nil || len(d.Latencies) != 50 || d.Rate() <= 0 {
			t.Fatalf("%d answers, rate %v, %v", len(d.Latencies), d.Rate(), err)
		}
	}
	if served.Load() != 100 || noted != 100 {
		t.Errorf("%d requests came, %d answers were noted, want 100 of both", served.Load(), noted)
	}
}

func TestClosedEndsWhenItsTimeIsOver(t *testing.T) {
	c := dial(t, serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "x") }), 2)
	d, err := c.Run(t.Context(), Order{Request: echo, For: 20 * time.Millisecond, Check: is(200, "x")})
	if err != nil || len(d.Latencies) < 2 || d.Took < 10*time.Millisecond {
		t.Errorf("%d answers in %v, %v", len(d.Latencies), d.Took, err)
	}
}

func TestClosedReadsAnswersInPieces(t *testing.T) {
	long := strings.Repeat("y", 100_000)
	c := dial(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(long)))
		for i := 0; i < len(long); i += 10_000 {
			io.WriteString(w, long[i:i+10_000])
			w.(http.Flusher).Flush()
		}
	}), 2)
	if d, err := c.Run(t.Context(), Order{Request: echo, Count: 4, Check: is(200, long)}); err != nil || len(d.Latencies) != 4 {
		t.Errorf("%d answers, %v", len(d.Latencies), err)
	}
}

func TestClosedRefusesWrongAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"body":    {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "z") }, `body "z"`},
		"status":  {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 500) }, "status 500"},
		"chunked": {func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() }, "without a content length"},
		"hang up": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, test.handle), 1)
			_, err := c.Run(t.Context(), Order{Request: echo, Count: 1, Check: is(200, "x")})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestClosedEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := dial(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}), 1)
	if _, err := c.Run(ctx, Order{Request: echo, Count: 1, Check: is(200, "")}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		status, body, err := parse(in)
		if err == nil && body != nil && (status < 0 || len(body) > len(in)) {
			t.Errorf("status %d with %d of %d bytes", status, len(body), len(in))
		}
	})
}
