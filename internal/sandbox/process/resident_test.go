package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestResidentHandler(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, `
import ctypes, logging, os, sys, time
import weft

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
calls = 0

def handler(event, context):
    global calls
    calls += 1
    if event == "print":
        print("out"); print("err", file=sys.stderr); logging.info("logged"); print("no newline", end="")
        return None
    if event == "context": return [weft.context() is context, context.step, context.attempt, os.environ["CALL"]]
    if event == "raise": raise ValueError("bad")
    if event == "object": return {"a": object()}
    if event == "bytes": return b"\x00\xff"
    if event == "large": return b"x" * 100_000
    if event == "too large": return b"x" * 3_000_000
    if event == "pieces": return (s for s in ["a", b"b", {"c": 1}])
    if event == "exit": sys.exit(3)
    if event == "crash": ctypes.string_at(0)
    if event == "sleep": time.sleep(100)
    if event == "memory": bytearray(1 << 40)
    if event == "closes": os.closerange(0, 1000)
    if event == "async":
        async def later(): return "later"
        return later()
    return [calls, os.getpid()]
`)
	f.Resident, f.Workers = ResidentHandler, 1
	f.Limits.Time, f.Limits.Output = 2*time.Second, 1<<20
	first := run(t, p, Call{Function: f})
	second := run(t, p, Call{Function: f})
	if first.Failure != nil || !strings.HasPrefix(string(second.Output), "[2,") || string(first.Output[3:]) != string(second.Output[3:]) {
		t.Errorf("%+v, %+v", first, second)
	}
	for _, c := range []struct{ event, want, kind, message, log string }{
		{event: "print", want: "null", log: "out\nerr\nINFO logged\nno newline"},
		{event: "context", want: `[true,"s[2]",3,"c"]`},
		{event: "raise", kind: KindExit, message: "raised ValueError: bad\nTraceback (most recent call last):\n  File \"main.py\", line 15, in handler\n"},
		{event: "object", kind: KindOutput, message: "a value of type object at .a"},
		{event: "bytes", want: "\x00\xff"},
		{event: "pieces", want: "ab{\"c\":1}\n"},
		{event: "too large", kind: KindOutput, message: "wrote 3000000 bytes of output, the limit is 1048576"},
		{event: "exit", kind: KindExit, message: "SystemExit: 3"},
		{event: "memory", kind: KindLimit, message: "MemoryError"},
		{event: "async", want: `"later"`},
		{event: "crash", kind: KindExit, message: "SIGSEGV"},
		{event: "closes", kind: KindExit, message: "has closed descriptors that it did not open"},
		{event: "sleep", kind: KindTimeout, message: "ran longer than 2s"},
	} {
		t.Run(c.event, func(t *testing.T) {
			var log logged
			r := run(t, p, Call{Function: f, Input: []byte(`"` + c.event + `"`), Log: log.add, Step: "s[2]", Attempt: 3, Env: []string{"CALL=c"}})
			if c.kind == "" && (r.Failure != nil || string(r.Output) != c.want) {
				t.Errorf("%q, %v", r.Output, r.Failure)
			}
			if c.kind != "" && (r.Failure == nil || r.Failure.Kind != c.kind || !strings.Contains(r.Failure.Message, c.message)) {
				t.Errorf("%+v, want %s with %q", r.Failure, c.kind, c.message)
			}
			if r.Failure != nil && strings.Contains(r.Failure.Message, "/weft/") {
				t.Errorf("it shows frames that are not the user's: %s", r.Failure.Message)
			}
			if log.text() != c.log {
				t.Errorf("log %q, want %q", log.text(), c.log)
			}
		})
	}
	if r := run(t, p, Call{Function: f, Input: []byte(`{`)}); r.Failure == nil || r.Failure.Kind != KindRefused {
		t.Errorf("%+v", r)
	}
	r := run(t, p, Call{Function: f, Input: []byte(`"large"`)})
	if r.Failure != nil || r.File == nil || r.Size != 100_000 {
		t.Errorf("%+v", r)
	} else {
		r.File.Close()
	}
	if r := run(t, p, Call{Function: f}); r.Failure != nil { // after all that
		t.Error(r.Failure)
	}
}

func TestResidentSlots(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, `
import weft

def handler(event, context):
    if event is None:
        try: weft.take("x")
        except weft.Closed as e: return str(e)
    if event == "make": return weft.put("x", b"a" * 100_000)
    return bytes(weft.take(event)).decode()[:3]
`)
	f.Resident, f.Workers = ResidentHandler, 1
	m := newMemory(t, 0)
	for i := range 3 { // each call has buffers of its own
		step := fmt.Sprintf("make%d", i)
		if r := run(t, p, Call{Function: f, Input: []byte(`"make"`), Slots: m.attempt(step)}); r.Failure != nil {
			t.Fatal(r.Failure)
		}
		if r := run(t, p, Call{Function: f}); string(r.Output) != `"this call has no buffers"` {
			t.Errorf("%q, %v", r.Output, r.Failure)
		}
		if r := run(t, p, Call{Function: f, Input: []byte(`"` + step + `/x"`), Slots: m.attempt("use" + step)}); string(r.Output) != `"aaa"` {
			t.Errorf("%q, %v", r.Output, r.Failure)
		}
	}
}

// answer is what an application has answered.
type answer struct {
	Result
	status int
	header http.Header
	body   string
}

// ask sends a request to an application.
func ask(t testing.TB, p *Pool, f *Function, r *Request, body string) answer {
	t.Helper()
	var a answer
	a.Result = run(t, p, Call{Function: f, HTTP: r, Input: []byte(body), Respond: func(status int, h http.Header) { a.status, a.header = status, h }})
	a.body = string(a.Output)
	if a.File != nil {
		text, err := io.ReadAll(io.NewSectionReader(a.File, 0, a.Size))
		if err != nil {
			t.Error(err)
		}
		a.body = string(text)
		a.File.Close()
	}
	return a
}

const wsgiApp = `
import json

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("no")
    if path == "/late":
        def pieces():
            start_response("202 Accepted", [("Content-Type", "text/plain")])
            yield b"a"
            yield b"b"
        return pieces()
    if path == "/never":
        return [b"x"]
    if path == "/header":
        start_response("200 OK", [("X-A", "b\r\nSet-Cookie: c")])
        return [b""]
    if path == "/write":
        write = start_response("200 OK", [("Connection", "close"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        write(b"old ")
        return [b"style"]
    body = environ["wsgi.input"].read()
    keys = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "SERVER_NAME",
            "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_X_MANY", "HTTP_COOKIE", "HTTP_PROXY", "HTTP_A_B", "wsgi.url_scheme"]
    text = json.dumps([environ.get(k) for k in keys] + [len(body)])
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Latin", "\xe9")])
    return [text.encode()]
`

func TestWSGI(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, wsgiApp)
	f.Resident = ResidentWSGI
	r := &Request{Method: "PUT", Root: "/t/shop", Path: "/caf%C3%A9/a%2Fb", Query: "x=1&y=%20", Scheme: "https", Host: "example.org:8443", Client: "10.0.0.1:555",
		Header: http.Header{"Content-Type": {"text/plain"}, "X-Many": {"1", "2"}, "Cookie": {"a=1", "b=2"}, "Proxy": {"evil"}, "A_b": {"evil"}}}
	for _, size := range []int{5, 100_000} {
		a := ask(t, p, f, r, strings.Repeat("b", size))
		want := fmt.Sprintf(`["PUT", "/t/shop", "/caf\u00c3\u00a9/a/b", "x=1&y=%%20", "text/plain", "%d", "example.org", "8443", "HTTP/1.1", "10.0.0.1", "1,2", "a=1; b=2", null, null, "https", %d]`, size, size)
		if a.Failure != nil || a.status != 200 || a.body != want {
			t.Errorf("%d %s\nwant %s (%v)", a.status, a.body, want, a.Failure)
		}
		if a.header.Get("X-Latin") != "\xe9" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", a.header)
		}
	}
	if a := ask(t, p, f, &Request{Method: "GET", Path: "/write"}, ""); a.status != 200 || a.body != "old style" || len(a.header["Set-Cookie"]) != 2 || a.header["Connection"] != nil {
		t.Errorf("%+v", a)
	}
	if a := ask(t, p, f, &Request{Method: "GET", Path: "/late"}, ""); a.status != 202 || a.body != "ab" {
		t.Errorf("%+v", a)
	}
	for path, want := range map[string]string{
		"/raise":  "raised ValueError: no\nTraceback (most recent call last):\n  File \"main.py\", line 7, in app\n",
		"/never":  "gives a body before it has called start_response",
		"/header": "the header 'X-A' has a value of several lines",
	} {
		if a := ask(t, p, f, &Request{Method: "GET", Path: path}, ""); a.Failure == nil || a.status != 0 || !strings.Contains(a.Failure.Message, want) {
			t.Errorf("%s: %d %v", path, a.status, a.Failure)
		}
	}
	upgrade := &Request{Method: "GET", Path: "/", Header: http.Header{"Upgrade": {"websocket"}}}
	if a := ask(t, p, f, upgrade, ""); a.status != 501 || !strings.Contains(a.body, "websockets are not supported") {
		t.Errorf("%+v", a)
	}
	if r := run(t, p, Call{Function: f, Input: []byte("{}")}); r.Failure != nil || !strings.HasPrefix(string(r.Output), `["POST", "", "/"`) {
		t.Errorf("%q, %v", r.Output, r.Failure)
	}
}

// An application has the socket of its worker in its memory.
const lyingApp = `
import gc, os, time
import __main__ as server

def app(environ, start_response):
    what = environ["QUERY_STRING"]
    if what.startswith("honest"):
        start_response(what[6:] + " Odd", [])
        return [b""]
    import weft_worker
    worker = next(o for o in gc.get_objects() if isinstance(o, weft_worker.Worker))
    def say(kind, a, v=(0, 0, 0, 0), text="[]"):
        server.send(worker.sock, kind, a, worker.log.only, v, text)
    if what == "twice":
        for _ in range(5): say(41, 200)
    elif what == "nothing":
        say(43, 0, text="")
    elif what == "figures":
        say(41, 200)
        say(43, 0, (-1 << 40, -1 << 40, 0, 0), "")
    elif what == "text":
        say(41, 200, text="{")
    elif what:
        say(41, int(what))
    if what in ("nothing", "figures"): os._exit(0)
    if what: time.sleep(1000)
    start_response("200 OK", [])
    return [b"ok"]
`

func TestWorkersThatLie(t *testing.T) {
	p := newPool(t, Options{})
	for query, want := range map[string]string{
		"twice": "two responses", "nothing": "ended without a response", "text": "without a valid head", "0": "the status 0", "101": "the status 101",
		"99999": "the status 99999", "honest101": "raised ValueError: the response has the status 101", "honest0": "has the status 0", "figures": "",
	} {
		t.Run(query, func(t *testing.T) {
			f := pythonFunction(t, lyingApp)
			f.Resident, f.Workers = ResidentWSGI, 1
			f.Limits.Time = 5 * time.Second
			a := ask(t, p, f, &Request{Method: "GET", Path: "/", Query: query}, "")
			if query == "figures" {
				if a.Failure != nil || a.CPU != 0 || a.Memory != 0 {
					t.Errorf("%+v, %v, %d", a.Failure, a.CPU, a.Memory)
				}
				return
			}
			if a.Failure == nil || !strings.Contains(a.Failure.Message, want) {
				t.Errorf("%d, %+v; want %q", a.status, a.Failure, want)
			}
			if query == "nothing" { // its worker has ended, which may not be known yet
				return
			}
			if a := ask(t, p, f, &Request{Method: "GET", Path: "/"}, ""); a.Failure != nil || a.body != "ok" {
				t.Errorf("the next: %q, %+v", a.body, a.Failure)
			}
		})
	}
}

const asgiApp = `
import asyncio, json, os, weft

events = []
waiting = {}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["db"] = "open"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        print("shut down", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    body, more = b"", True
    while more:
        event = await receive()
        body += event["body"]
        more = event["more_body"]
    async def answer(status, text):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), (b"x", b"1"), (b"x", b"2")]})
        await send({"type": "http.response.body", "body": text})
    if path.endswith("/scope"):
        print("for", scope["query_string"].decode())
        seen = {k: (v if isinstance(v, (str, int, dict, list, tuple, type(None))) else v.decode()) for k, v in scope.items() if k != "headers"}
        seen["headers"] = [[n.decode(), v.decode("latin-1")] for n, v in scope["headers"]]
        seen["body"] = len(body)
        return await answer(200, json.dumps(seen, sort_keys=True).encode())
    if path == "/meet": # two requests wait for each other
        print("here", body.decode())
        event = waiting.setdefault("it", asyncio.Event())
        if waiting.setdefault("n", 0) == 1: event.set()
        waiting["n"] += 1
        await event.wait()
        print("met", body.decode())
        return await answer(200, body)
    if path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for i in range(3):
            await send({"type": "http.response.body", "body": b"x" * 200_000, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if path == "/raise": raise KeyError("gone")
    if path == "/half":
        return await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/sleep":
        await asyncio.sleep(1000)
    if path == "/block":
        import time
        time.sleep(1000)
    if path == "/spin":
        import time
        while time.process_time() < 0.5: pass
        return await answer(200, b"")
    if path == "/pid": return await answer(200, str(os.getpid()).encode())
    if path == "/missing": return await answer(404, b"no such thing")
`

func TestASGI(t *testing.T) {
	var said logged
	p := newPool(t, Options{Log: func(_, line string) { said.add(line) }})
	f := pythonFunction(t, asgiApp)
	f.Resident, f.Workers = ResidentASGI, 1
	f.Limits.Time = 10 * time.Second
	if a := ask(t, p, f, &Request{Method: "GET", Path: "/spin"}, ""); a.Failure != nil || a.CPU < 300*time.Millisecond || a.CPU > 5*time.Second {
		t.Errorf("the request used %v: %v", a.CPU, a.Failure)
	}
	if a := ask(t, p, f, &Request{Method: "GET", Path: "/pid"}, ""); a.Failure != nil || a.CPU > 300*time.Millisecond {
		t.Errorf("the request after it used %v: %v", a.CPU, a.Failure)
	}
	var log logged
	var got answer
	r := &Request{Method: "PUT", Root: "/t/shop", Path: "/caf%C3%A9/scope", Query: "q=1", Host: "example.org", Client: "10.0.0.1:555", Header: http.Header{"X-Name": {"\xe9"}}}
	got.Result = run(t, p, Call{Function: f, HTTP: r, Input: bytes.Repeat([]byte("b"), 200_000), Log: log.add, Respond: func(status int, h http.Header) { got.status, got.header = status, h }})
	want := `{"asgi": {"spec_version": "2.3", "version": "3.0"}, "body": 200000, "client": ["10.0.0.1", 0], "headers": [["host", "example.org"], ["x-name", "\u00e9"]], ` +
		`"http_version": "1.1", "method": "PUT", "path": "/t/shop/caf\u00e9/scope", "query_string": "q=1", "raw_path": "/t/shop/caf%C3%A9/scope", "root_path": "/t/shop", ` +
		`"scheme": "http", "server": ["example.org", 80], "state": {"db": "open"}, "type": "http"}`
	if got.Failure != nil || got.status != 200 || string(got.Output) != want || len(got.header["X"]) != 2 {
		t.Errorf("%d %v\n%s\nwant\n%s\n%v", got.status, got.header, got.Output, want, got.Failure)
	}
	if log.text() != "for q=1" {
		t.Errorf("log %q", log.text())
	}

	t.Run("concurrent", func(t *testing.T) {
		var calls [2]*Process
		var logs [2]logged
		for i := range calls {
			var err error
			if calls[i], err = p.Start(context.Background(), Call{Function: f, HTTP: &Request{Method: "POST", Path: "/meet"}, Input: []byte{'0' + byte(i)}, Log: logs[i].add}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range calls {
			r := c.Wait()
			if want := fmt.Sprintf("here %d\nmet %d", i, i); r.Failure != nil || string(r.Output) != string('0'+rune(i)) || logs[i].text() != want {
				t.Errorf("%d: %q, %v, log %q", i, r.Output, r.Failure, logs[i].text())
			}
		}
	})
	t.Run("large", func(t *testing.T) {
		if a := ask(t, p, f, &Request{Method: "GET", Path: "/stream"}, ""); a.Failure != nil || len(a.body) != 600_000 {
			t.Errorf("%d bytes, %v", len(a.body), a.Failure)
		}
	})
	t.Run("stream", func(t *testing.T) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		head := make(chan int, 1)
		c, err := p.Start(context.Background(), Call{Function: f, HTTP: &Request{Method: "GET", Path: "/stream"}, Stream: write, Respond: func(status int, _ http.Header) { head <- status }})
		write.Close()
		if err != nil {
			t.Fatal(err)
		}
		if status := <-head; status != 200 {
			t.Error(status)
		}
		if b, err := io.ReadAll(read); err != nil || len(b) != 600_000 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if r := c.Wait(); r.Failure != nil {
			t.Error(r.Failure)
		}
	})
	t.Run("failures", func(t *testing.T) {
		for path, want := range map[string]string{
			"/raise": "raised KeyError: 'gone'\nTraceback (most recent call last):\n  File \"main.py\"",
			"/half":  "before the end of its response",
			"/none":  "before the end of its response",
		} {
			if a := ask(t, p, f, &Request{Method: "GET", Path: path}, ""); a.Failure == nil || !strings.Contains(a.Failure.Message, want) {
				t.Errorf("%s: %v", path, a.Failure)
			}
		}
		if r := run(t, p, Call{Function: f, HTTP: &Request{Method: "GET", Path: "/missing"}}); r.Failure == nil || !strings.Contains(r.Failure.Message, "answered 404 Not Found: no such thing") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		before := ask(t, p, f, &Request{Method: "GET", Path: "/pid"}, "").body
		c, err := p.Start(context.Background(), Call{Function: f, HTTP: &Request{Method: "GET", Path: "/sleep"}})
		if err != nil {
			t.Fatal(err)
		}
		c.Kill()
		if r := c.Wait(); r.Failure == nil || r.Failure.Kind != KindKilled {
			t.Errorf("%+v", r)
		}
		if after := ask(t, p, f, &Request{Method: "GET", Path: "/pid"}, "").body; after != before {
			t.Errorf("the worker was %s and is %s", before, after)
		}
	})
	t.Run("blocked", func(t *testing.T) {
		c, err := p.Start(context.Background(), Call{Function: f, HTTP: &Request{Method: "GET", Path: "/block"}})
		if err != nil {
			t.Fatal(err)
		}
		other, err := p.Start(context.Background(), Call{Function: f, HTTP: &Request{Method: "GET", Path: "/a/scope"}})
		if err != nil {
			t.Fatal(err)
		}
		c.Kill()
		if r := c.Wait(); r.Failure == nil || r.Failure.Kind != KindKilled {
			t.Errorf("%+v", r)
		}
		if r := other.Wait(); r.Failure != nil && (r.Failure.Kind != KindLost || !r.Failure.Free) {
			t.Errorf("%+v", r.Failure)
		}
	})
	ask(t, p, f, &Request{Method: "GET", Path: "/a/scope"}, "") // there is a worker
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.text(), "shut down") {
		t.Errorf("there was no shutdown: %q", said.text())
	}
}

func TestASGIThatDoesNotStart(t *testing.T) {
	p := newPool(t, Options{})
	for name, c := range map[string]struct{ source, want string }{
		"fails": {"await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", "its startup has failed: no database"},
		"slow":  {"import time; time.sleep(100)", "was not ready within 6s"},
		"dies":  {"import os; os._exit(3)", "exited with status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			f := pythonFunction(t, "async def app(scope, receive, send):\n    await receive()\n    "+c.source+"\n")
			f.Resident = ResidentASGI
			f.Limits.Import = 6 * time.Second
			if name != "slow" {
				f.Limits.Import = time.Minute
			}
			r := run(t, p, Call{Function: f, HTTP: &Request{Method: "GET", Path: "/"}})
			if r.Failure == nil || !strings.Contains(r.Failure.Message, c.want) {
				t.Errorf("%+v", r.Failure)
			}
		})
	}
	f := pythonFunction(t, "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n    await send({'type': 'http.response.start', 'status': 204})\n    await send({'type': 'http.response.body'})\n")
	f.Resident = ResidentASGI
	if a := ask(t, p, f, &Request{Method: "GET", Path: "/"}, ""); a.Failure != nil || a.status != 204 {
		t.Errorf("without a lifespan: %+v", a)
	}
}

func TestWorkers(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, "import os, time\ndef handler(event, context):\n    while event and not os.path.exists('/shared/go'): time.sleep(0.001)\n    return os.getpid()\n")
	dir := folder(t)
	f.Mounts = []Mount{{Host: dir, Path: "/shared", ReadOnly: true}}
	f.Resident, f.Workers = ResidentHandler, 2
	start := func(ctx context.Context) (*Process, error) {
		return p.Start(ctx, Call{Function: f, Input: []byte("true")})
	}
	a, err := start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b, err := start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := start(ctx); err != context.DeadlineExceeded { // both workers are busy
		t.Errorf("%v", err)
	}
	third := make(chan Result)
	go func() {
		c, err := start(context.Background())
		if err != nil {
			t.Error(err)
			close(third)
			return
		}
		third <- c.Wait()
	}()
	write(t, dir+"/go", "")
	pids := map[string]bool{}
	for _, r := range []Result{a.Wait(), b.Wait(), <-third} {
		if r.Failure != nil {
			t.Error(r.Failure)
		}
		pids[string(r.Output)] = true
	}
	p.Drop(f.Version)
	if r := run(t, p, Call{Function: f}); r.Failure != nil {
		t.Error(r.Failure)
	}
}

func BenchmarkWarm(b *testing.B) {
	for _, c := range []struct {
		kind   Resident
		source string
	}{
		{ResidentHandler, "def handler(event, context):\n    return event\n"},
		{ResidentWSGI, "def app(environ, start):\n    start('200 OK', [])\n    return [b'ok']\n"},
		{ResidentASGI, "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n    await send({'type': 'http.response.start', 'status': 200})\n    await send({'type': 'http.response.body', 'body': b'ok'})\n"},
	} {
		b.Run(string(c.kind), func(b *testing.B) {
			p := newPool(b, Options{Log: func(string, string) {}})
			f := pythonFunction(b, c.source)
			f.Resident = c.kind
			run(b, p, Call{Function: f, Input: []byte("{}")})
			var took []time.Duration
			for b.Loop() {
				began := monotonic()
				if r := run(b, p, Call{Function: f, Input: []byte("{}")}); r.Failure != nil {
					b.Fatal(r.Failure)
				}
				took = append(took, monotonic()-began)
			}
			report(b, took)
		})
	}
}
