package node_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/service/wire"
)

// onRuntimes runs a test once for each runtime that programs in Go have.
func onRuntimes(t *testing.T, test func(t *testing.T, runtime string)) {
	for _, runtime := range []string{app.RuntimeWasm, app.RuntimeNative} {
		t.Run(runtime, func(t *testing.T) { test(t, runtime) })
	}
}

var (
	building sync.Mutex
	built    = map[string]string{} // paths of programs, by runtime and package; guarded by building
)

// program builds a package of the module for a runtime, once for all tests, and returns the path of
// what it has become.
func program(t testing.TB, runtime, source string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("not installed: ", err)
	}
	building.Lock()
	defer building.Unlock()
	key := runtime + " " + source
	if built[key] != "" {
		return built[key]
	}
	path := filepath.Join(cache, fmt.Sprintf("program%d", len(built)))
	env := append(os.Environ(), "CGO_ENABLED=0")
	if runtime == app.RuntimeWasm {
		path += ".wasm"
		env = append(env, "GOOS=wasip1", "GOARCH=wasm")
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", source, err, out)
	}
	built[key] = path
	return path
}

// bankApp is the app of testdata/bank, whose teller has further settings.
func bankApp(t *testing.T, runtime, teller string) string {
	t.Helper()
	return fmt.Sprintf(`services:
  bank: {runtime: %s, source: %s, keyed: true, methods: [add, get]}
  teller: {runtime: %[1]s, source: %[2]s%[3]s}
`, runtime, program(t, runtime, "./testdata/bank"), teller)
}

// What is wrong with an instance is in the reason for which a request has failed, and the next
// one finds another instance.
func TestInstancesFail(t *testing.T) { onRuntimes(t, testInstancesFail) }

func testInstancesFail(t *testing.T, runtime string) {
	s := serve(t, t.TempDir())
	deploy(t, s, bankApp(t, runtime, ", timeout: 1m, attempts: 1")+fmt.Sprintf(`  vault: {runtime: %s, source: %s, attempts: 1, memory: 64MiB, timeout: 1m}
  sloth: {runtime: %[1]s, source: %[2]s, attempts: 1, timeout: 500ms}
`, runtime, program(t, runtime, "./testdata/bank")))
	mustCall(t, s, "", "bank/ann.add", "5")
	for method, words := range map[string]string{
		"teller.exit":   "function teller exited with status 3: gone fishing",
		"teller.return": "instead of serving",
		"teller.panic":  "it is broken",
		"teller.crash":  "panic: beyond help",
		"sloth.spin":    "it took too long",
		"vault.hog":     map[string]string{app.RuntimeWasm: "out of memory", app.RuntimeNative: "64 MiB"}[runtime],
		"teller.babble": "it sends what is no frame",
		"teller.deaf":   "it does not read what it is answered",
	} {
		before := mustCall(t, s, "", "teller.self")
		_, err := call(s, "", method)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", method, err, words)
		}
		if after := mustCall(t, s, "", "teller.self"); after == before && strings.HasPrefix(method, "teller.") && method != "teller.panic" {
			t.Errorf("%s: the instance goes on", method)
		}
	}
	if got := mustCall(t, s, "", "bank/ann.get"); got != "5" {
		t.Errorf("the balance is %s, want 5", got)
	}
	if left := s.Services.Locks(); len(left) > 0 {
		t.Errorf("locks are left: %v", left)
	}
}

// Sources that are no services say so when they are called.
func TestProgramsThatAreNoServices(t *testing.T) {
	s := serve(t, t.TempDir())
	deploy(t, s, fmt.Sprintf(`services:
  actor: {runtime: wasm, source: ACTOR, attempts: 1}
  go: {runtime: wasm, source: %s, attempts: 1}
`, program(t, app.RuntimeWasm, "./testdata/mute")))
	for name, words := range map[string]string{"actor": "weft generate", "go": "weft generate"} {
		if _, err := call(s, "", name+".do"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", name, err, words)
		}
	}
}

// Instances without work end, and count against the memory of the app while they are there.
func TestIdleInstancesEnd(t *testing.T) { onRuntimes(t, testIdleInstancesEnd) }

func testIdleInstancesEnd(t *testing.T, runtime string) {
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Idle = 50 * time.Millisecond })
	deploy(t, s, bankApp(t, runtime, ", memory: 100MiB"))
	called := make(chan error, 1)
	go func() {
		_, err := call(s, "", "teller.ask")
		called <- err
	}()
	if !eventually(func() bool { return s.Gate.Stats().Memory == 100<<20 }) {
		t.Errorf("%d bytes count for an instance of 100 MiB that waits", s.Gate.Stats().Memory)
	}
	if err := s.Services.Resolve(t.Context(), s.Services.Requests()[0].ID, "answer", wire.Value{Data: []byte("1")}); err != nil {
		t.Error(err)
	}
	if err := <-called; err != nil {
		t.Error(err)
	}
	self := mustCall(t, s, "", "teller.self")
	if !eventually(func() bool { return s.Gate.Stats().Memory == 0 }) {
		t.Errorf("%d bytes are still held", s.Gate.Stats().Memory)
	}
	if again := mustCall(t, s, "", "teller.self"); again == self {
		t.Error("the instance did not end")
	}
}

// An instance in a module sees no files and no network.
func TestInstancesDoNotEscape(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := serve(t, t.TempDir())
	deploy(t, s, bankApp(t, app.RuntimeWasm, ""))
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	if got := mustCall(t, s, "", "teller.escape", port); got != "null" {
		t.Errorf("what has worked: %s", got)
	}
}

// BenchmarkCounter asks the counter of the examples, on each runtime: one client alone, and 64
// with a thousand keys.
func BenchmarkCounter(b *testing.B) {
	for _, runtime := range []string{app.RuntimeWasm, app.RuntimeNative} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", runtime, clients), func(b *testing.B) {
				s := serveBeside(b, b.TempDir())
				deploy(b, s, fmt.Sprintf("services:\n  counter: {runtime: %s, source: %s, keyed: true}\n", runtime, program(b, runtime, "../../examples/services/counter/go/counter/instance")))
				var next atomic.Int64
				ask := func() {
					c := node.ServiceCall{App: "test", Service: "counter", Object: strconv.FormatInt(next.Add(1)%1000, 10), Method: "add", Args: [][]byte{[]byte("1")}}
					if _, err := s.CallService(b.Context(), c); err != nil {
						b.Error(err)
					}
				}
				many := func(n int) {
					var left atomic.Int64
					left.Store(int64(n))
					var all sync.WaitGroup
					for range clients {
						all.Go(func() {
							for left.Add(-1) >= 0 {
								ask()
							}
						})
					}
					all.Wait()
				}
				many(20 * clients) // instances are there
				b.ResetTimer()
				many(b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}
