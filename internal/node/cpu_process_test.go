package node_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
)

const residentApp = `
functions:
  handler: {runtime: python, source: ./f.py, resident: true, workers: 1}
  wsgi: {runtime: python, source: ./f.py, handler: "f:wsgi", serves: wsgi, workers: 1}
  asgi: {runtime: python, source: ./f.py, handler: "f:asgi", serves: asgi, workers: 1}
`

const residentSource = `
import asyncio, json, time

def work(do):
    while do == "spin":
        pass
    return do

def handler(event, context):
    return work(event["do"])

def wsgi(environ, start_response):
    do = json.load(environ["wsgi.input"])["do"]
    start_response("200 OK", [])
    return [work(do).encode()]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    do = json.loads((await receive())["body"])["do"]
    if do == "wait":
        await asyncio.sleep(600)
    do = await asyncio.get_running_loop().run_in_executor(None, work, do)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": do.encode()})
`

// A long call of a process that stays is measured and demoted, and the next one is a short
// one again.
func TestResidentCallsAreScheduled(t *testing.T) {
	needProcesses(t)
	for _, name := range []string{backend.Auto, backend.NameSched} {
		for _, function := range []string{"handler", "wsgi", "asgi"} {
			t.Run(name+"/"+function, func(t *testing.T) {
				settings := scheduler.Defaults(2)
				settings.Backend = name
				s := serve(t, t.TempDir(), scheduled(t, settings))
				if _, err := deployProcesses(t, s, load(t, residentApp, "f.py", residentSource)); err != nil {
					t.Fatal(err)
				}
				mustInvoke(t, s, function, "x")
				for range 2 {
					stop := background(t, s, function, "spin")
					c := current(t, s, "in batch", func(c backend.Current) bool { return c.Watched && c.Tier == policy.Batch && c.Used > 0 })
					if c.Call.Flags != 0 {
						t.Errorf("it may not be stopped: %+v", c)
					}
					stop()
					if out := mustInvoke(t, s, function, "y"); !strings.Contains(out, "y") {
						t.Errorf("the call after it: %s", out)
					}
				}
			})
		}
	}
}

// While others are in the process of a long call, that is not stopped, whatever waits for
// its slot; alone it is, and a request that comes finds it running.
func TestRequestsShareAProcess(t *testing.T) {
	needProcesses(t)
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = 1
	s := serve(t, t.TempDir(), scheduled(t, settings))
	if _, err := deployProcesses(t, s, load(t, residentApp, "f.py", residentSource)); err != nil {
		t.Fatal(err)
	}
	of := func(c backend.Current, function string) bool {
		return strings.HasSuffix(c.Call.Function, "/"+function) && c.Watched
	}
	background(t, s, "handler", "spin")
	current(t, s, "with the slot", func(c backend.Current) bool { return of(c, "handler") && c.Tier == policy.Batch })
	background(t, s, "asgi", "spin")
	stopped := func(c backend.Current) bool { return of(c, "asgi") && c.Stopped }
	current(t, s, "that is stopped", stopped)

	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() { _, _ = invoke(ctx, s, "asgi", "wait") })
	current(t, s, "that goes on beside another one", func(c backend.Current) bool {
		return of(c, "asgi") && c.Used > 0 && !c.Stopped && c.Call.Flags&policy.Unstoppable != 0
	})
	if out := mustInvoke(t, s, "asgi", "x"); out != "x" { // its process runs
		t.Errorf("output %q", out)
	}
	cancel()
	waiting.Wait()
	current(t, s, "that is stopped again", stopped)
}
