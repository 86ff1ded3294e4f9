package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/engine"
)

// dial opens a connection on which a test writes what it likes.
func (s *site) dial(t *testing.T, text string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// head is the beginning of a request as HTTP/1.1 has it.
func (s *site) head(role auth.Role, line string, headers ...string) string {
	text := line + " HTTP/1.1\r\nHost: localhost\r\n"
	if role != 0 {
		text += "Authorization: Bearer " + s.texts[role] + "\r\n"
	}
	for i := 0; i < len(headers); i += 2 {
		text += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	return text + "\r\n"
}

// answerOn reads an answer off a connection.
func answerOn(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestBodiesThatDoNotCome gives up on clients that stop sending, whatever the
// body is for, and lets nobody who is unknown wait at all.
func TestBodiesThatDoNotCome(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Patience = 50 * time.Millisecond })
	s.deploy(t, web)
	for _, line := range []string{
		"POST /v1/apps/web/functions/cat", "POST /v1/apps/web/functions/cat?stream=true", "POST /v1/apps/web/workflows/echo/runs", "POST /v1/buffers",
		"PUT /v1/apps/web/secrets/x", "POST /v1/tokens", "POST /v1/runs/x/signals/y", "POST /v1/apps/web/events", "POST /t/web/echo", "POST /t/web/call", "GET /v1/apps", "POST /v1/apps",
	} {
		kind := map[string]string{"POST /v1/apps": wire.TypeBundle, "POST /v1/apps/web/events": "application/cloudevents+json"}[line]
		if kind == "" {
			kind = "application/json"
		}
		for _, framing := range []string{"Content-Length", "Transfer-Encoding"} {
			head := s.head(auth.Admin, line, framing, "1000", "Content-Type", kind)
			if framing == "Transfer-Encoding" {
				head = s.head(auth.Admin, line, framing, "chunked", "Content-Type", kind) + "3e8\r\n"
			}
			c := s.dial(t, head+" ")
			if status, text := answerOn(t, c); status != http.StatusRequestTimeout || !strings.Contains(text, "urn:weft:stalled") {
				t.Errorf("%s with %s: status %d: %s", line, framing, status, text)
			}
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s with %s: the connection stays: %v", line, framing, err)
			}
		}
	}
	c := s.dial(t, s.head(0, "POST /v1/buffers", "Content-Length", "1000")+"x")
	if status, _ := answerOn(t, c); status != http.StatusUnauthorized {
		t.Errorf("of somebody unknown: status %d", status)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection of somebody unknown stays: %v", err)
	}
}

// TestBodiesThatBreakOff has nothing be made of half a body.
func TestBodiesThatBreakOff(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	s.deploy(t, `name: half
functions:
  mark: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows: {main: {steps: {one: {call: mark}}}}
triggers:
  - {http: POST /mark, function: mark}
  - {http: POST /run, workflow: main}
`)
	text := `{"do": "append /state/called x"}`
	for _, path := range []string{"/v1/apps/half/functions/mark", "/v1/apps/half/functions/mark?stream=true", "/t/half/mark", "/t/half/run", "/v1/apps/half/workflows/main/runs", "/v1/buffers"} {
		for _, head := range []string{
			s.head(auth.Admin, "POST "+path, "Content-Length", "20000", "Content-Type", "application/json") + text,
			s.head(auth.Admin, "POST "+path, "Transfer-Encoding", "chunked", "Content-Type", "application/json") + fmt.Sprintf("%x\r\n%s\r\n", len(text), text),
			s.head(auth.Admin, "POST "+path, "Content-Length", "100000", "Content-Type", "application/json") + text + strings.Repeat(" ", 60_000),
		} {
			c := s.dial(t, head)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if all, _ := io.ReadAll(c); strings.HasPrefix(string(all), "HTTP/1.1 2") {
				t.Errorf("%s: %s", path, all)
			}
		}
	}
	eventually(t, "it is quiet", func() bool { return s.underway.Load() == 0 })
	if _, err := os.Stat(state + "/called"); err == nil {
		t.Error("the function was called with half an input")
	}
	var runs wire.Page[engine.Run]
	if s.ask(t, auth.Read, "GET", "/v1/runs", nil).decode(t, &runs); len(runs.Items) != 0 {
		t.Errorf("runs were started: %+v", runs.Items)
	}
}

// TestHalfClosed takes nobody's answer for a success who has closed their side.
func TestHalfClosed(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	c := s.dial(t, s.head(auth.Invoke, "POST /v1/apps/shop/workflows/ask/runs?wait=1m", "Content-Length", "0"))
	eventually(t, "the request is under way", func() bool { return s.underway.Load() == 1 })
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, _ := io.ReadAll(c); len(all) > 0 {
		t.Errorf("the answer is %s", all)
	}
}

// TestClientsThatDoNotRead gives up on them.
func TestClientsThatDoNotRead(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Patience = 200 * time.Millisecond })
	s.deploy(t, "name: big\nfunctions:\n  cat: {source: PROBE, args: [cat], output: bytes}\n  do: {source: PROBE, output: bytes}\n")
	for _, line := range []string{"POST /v1/apps/big/functions/do", "POST /v1/apps/big/functions/do?stream=true"} {
		body := `{"do": "emit 33554432"}`
		c := s.dial(t, "")
		c.SetReadBuffer(4 << 10)
		io.WriteString(c, s.head(auth.Invoke, line, "Content-Length", fmt.Sprint(len(body)))+body)
		eventually(t, "the request is under way", func() bool { return s.underway.Load() == 1 })
		eventually(t, line+" is given up", func() bool { return s.underway.Load() == 0 })
		c.Close()
	}
	// Who reads, even slowly, gets everything.
	a := s.ask(t, auth.Invoke, "POST", "/v1/apps/big/functions/do", do("emit 33554432"))
	if len(a.body) != 32<<20 {
		t.Errorf("%d bytes", len(a.body))
	}
}

// TestLongWaits outlive the patience with what a client sends and takes: it is
// about bytes that are due.
func TestLongWaits(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Patience = 30 * time.Millisecond })
	state := t.TempDir()
	s.deploy(t, `name: long
functions:
  do: {source: PROBE, output: text, files: ["`+state+`::/state:rw"]}
workflows: {main: {steps: {one: {call: do}}}}
`)
	answers := make(chan *answer, 3)
	for _, path := range []string{"/v1/apps/long/workflows/main/runs?wait=1m", "/v1/apps/long/functions/do", "/v1/apps/long/functions/do?stream=true"} {
		go func() { answers <- s.ask(t, auth.Invoke, "POST", path, do("out first; await /state/go; out last")) }()
	}
	eventually(t, "all are under way", func() bool { return s.node.Gate.Stats().Running == 3 })
	time.Sleep(100 * time.Millisecond)
	touch(t, state, "go")
	for range cap(answers) {
		if a := <-answers; a.StatusCode != 200 || !strings.Contains(string(a.body), "firstlast") {
			t.Errorf("status %d: %s", a.StatusCode, a.body)
		}
	}
}

// TestStrangeRequests have answers that are no 500, and do no harm.
func TestStrangeRequests(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	long := strings.Repeat("x", 8<<10)
	for _, path := range []string{
		"/v1/apps/..%2f..%2fetc", "/v1/apps/%2e%2e", "/v1/apps/%00", "/v1/apps/" + long, "/v1/apps/%ff%fe", "/v1/apps/shop%2fversions", "/v1/apps/shop%20",
		"/v1/apps/shop/versions/%2e%2e", "/v1/runs/%2e%2e", "/v1/runs/" + long, "/v1/runs/%00", "/v1/runs/a%2fb/events", "/v1/runs/" + long + "/logs", "/v1/runs/%2e%2e/trace",
		"/v1/runs/" + long + "/buffers/" + long, "/v1/runs?after=" + long, "/v1/runs?app=" + long, "/v1/runs?app=%00", "/v1/runs?trigger=%ff", "/v1/runs?limit=99999999999999999999", "/v1/runs?limit=1000000",
		"/v1/runs?since=0000-01-01T00:00:00Z", "/v1/runs?until=9999-12-31T23:59:59Z", "/v1/secrets?app=%00", "/v1/secrets?app=" + long, "/v1/audit?limit=1000000000",
		"/v1/apps?;=1&%zz", "/t/shop/%2e%2e/%2e%2e", "/t/%2e%2e/x", "/t/shop/" + long,
	} {
		if a := s.ask(t, auth.Admin, "GET", path, nil); a.StatusCode >= 500 {
			t.Errorf("GET %.60s: status %d: %.200s", path, a.StatusCode, a.body)
		}
	}
	for _, line := range []string{
		"DELETE /v1/apps/%2e%2e", "DELETE /v1/apps/..%2f..%2fx", "DELETE /v1/apps/shop/versions/%2e%2e", "DELETE /v1/apps/shop/versions/..%2f..", "POST /v1/apps/%2e%2e/rollback", "POST /v1/apps/%2e%2e/events",
		"POST /v1/apps/%2e%2e/functions/cat", "POST /v1/apps/shop/functions/%2e%2e", "POST /v1/apps/shop/workflows/%2e%2e/runs", "POST /v1/runs/%2e%2e/cancel", "POST /v1/runs/" + long + "/retry",
		"DELETE /v1/tokens/" + long, "DELETE /v1/tokens/%00", "DELETE /v1/apps/%2e%2e/secrets/%2e%2e", "PUT /v1/apps/shop/active",
	} {
		method, path, _ := strings.Cut(line, " ")
		if a := s.ask(t, auth.Admin, method, path, nil); a.StatusCode >= 500 || a.StatusCode < 400 {
			t.Errorf("%.60s: status %d: %.200s", line, a.StatusCode, a.body)
		}
	}
	for _, name := range []string{"Authorization", "Idempotency-Key", "Traceparent", "X-Request-Id", "Last-Event-ID", "Content-Type", "Origin"} {
		for _, value := range []string{long, "\xff", ",,,", "Bearer", "Bearer  ", `"`} {
			if a := s.ask(t, auth.Admin, "POST", "/v1/apps/shop/workflows/main/runs", "{}", name, value); a.StatusCode >= 500 {
				t.Errorf("%s %.20q: status %d: %.200s", name, value, a.StatusCode, a.body)
			}
		}
	}
	c := s.dial(t, s.head(auth.Admin, "GET /v1/apps", "X-Long", strings.Repeat("x", 80<<10)))
	if status, _ := answerOn(t, c); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("with 80 KiB of headers: status %d", status)
	}
	for _, text := range []string{
		s.head(auth.Admin, "POST /v1/buffers", "Content-Length", "5", "Content-Length", "6") + "hello!",
		s.head(auth.Admin, "POST /v1/buffers", "Content-Length", "-1"), s.head(auth.Admin, "POST /v1/buffers", "Transfer-Encoding", "chunked") + "fffffffffffffffff\r\n",
		s.head(auth.Admin, "GET /v1/apps", "Host", "evil.example"), "GET http://evil.example/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + s.texts[auth.Admin] + "\r\n\r\n",
		s.head(auth.Admin, "GET /v1/apps", "Authorization", "Bearer "+s.texts[auth.Admin]), "GET /v1/apps HTTP/1.0\r\n\r\n", "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n",
	} {
		c := s.dial(t, text)
		c.CloseWrite()
		all, _ := io.ReadAll(c)
		line, _, _ := strings.Cut(string(all), "\r\n")
		if strings.HasPrefix(line, "HTTP/1.1 2") || strings.Contains(line, " 500") {
			t.Errorf("%.80q is answered with %s", text, line)
		}
	}
	if a := s.ask(t, auth.Read, "GET", "/v1/apps/shop", nil); a.StatusCode != 200 {
		t.Errorf("the app is gone: %s", a.body)
	}
}

// TestNothingIsLeft counts goroutines and descriptors after clients of all kinds.
func TestNothingIsLeft(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	run := s.start(t, "shop", "ask", nil)
	s.waitingFor(t, run.ID, "go")
	work := func() {
		for range 5 {
			for _, line := range []string{"GET /v1/runs/" + run.ID + "/events", "GET /v1/runs/" + run.ID + "/logs?follow=true", "POST /v1/apps/shop/workflows/ask/runs?wait=1m", "POST /v1/buffers", "POST /v1/apps/shop/functions/cat?stream=true"} {
				ctx, cancel := context.WithCancel(t.Context())
				method, path, _ := strings.Cut(line, " ")
				var body any
				if strings.HasSuffix(path, "buffers") || strings.HasSuffix(path, "stream=true") {
					body = &endless{ctx: ctx}
				}
				go func() {
					eventually(t, "it is under way", func() bool { return s.underway.Load() > 0 || ctx.Err() != nil })
					cancel()
				}()
				s.leave(ctx, t, method, path, body, "Idempotency-Key", "always the same")
				cancel()
				eventually(t, "it has ended", func() bool { return s.underway.Load() == 0 })
			}
		}
		client.CloseIdleConnections()
	}
	count := func() (int, int) {
		runtime.GC()
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return pprof.Lookup("goroutine").Count(), len(list)
	}
	work() // what is kept for later is there then
	var goroutines, files int
	eventually(t, "it is quiet", func() bool {
		g, f := count()
		same := g == goroutines && f == files
		goroutines, files = g, f
		time.Sleep(20 * time.Millisecond)
		return same
	})
	work()
	work()
	eventually(t, fmt.Sprintf("%d goroutines and %d descriptors are left, or less", goroutines, files), func() bool {
		g, f := count()
		return g <= goroutines && f <= files
	})
}
