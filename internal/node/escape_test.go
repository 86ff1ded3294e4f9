package node_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/build/buildtest"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// escapes is how many attempts escape.c makes in a call that goes on.
const escapes = 92

// A function tries to get out in every way that it knows. None of them works, and
// what others have is as it was.
func TestEscapes(t *testing.T) {
	n := newNode(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	visited := make(chan string, 100)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			visited <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	a := load(t, fmt.Sprintf(`
functions:
  f: {source: %s, args: [%q], output: text, timeout: 1m, memory: 64MiB, files: ["./data::/data", "./state::/state:rw"]}
  g: {source: %[1]s, output: text, timeout: 1s, memory: 64MiB}
workflows:
  main: {steps: {s: {call: f}}}
  ends: {steps: {s: {call: f, with: {end: "${ .input }"}}}}
  hangs: {steps: {s: {call: g, with: {end: "${ .input }"}}}}
`, buildtest.C(t, cache, "testdata/escape.c"), port), "data/a", "in a", "data/sub/b", "in b", "state/own", "own", "host", "of the host")
	for name, target := range map[string]string{"out": "/etc/shadow", "up": "../../../../../../../../etc/shadow", "dir": "/etc", "victim": "../host"} {
		if err := os.Symlink(target, filepath.Join(a.Dir, "data", name)); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, n, a)
	if r.Status != flow.Succeeded {
		t.Fatalf("%+v", r.Failure)
	}
	lines := strings.Split(strings.TrimSpace(r.Output.(string)), "\n")
	for _, line := range lines {
		if !strings.Contains(line, ": no: ") {
			t.Error(line)
		}
	}
	if len(lines) != escapes {
		t.Errorf("%d attempts, not %d", len(lines), escapes)
	}
	for name, want := range map[string]string{"data/a": "in a", "data/sub/b": "in b", "host": "of the host"} {
		if got, err := os.ReadFile(filepath.Join(a.Dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q: %v", name, got, err)
		}
	}
	for dir, want := range map[string]int{".": 4, "data": 6, "data/sub": 1, "state": 1} {
		if entries, err := os.ReadDir(filepath.Join(a.Dir, dir)); err != nil || len(entries) != want {
			t.Errorf("%s has %v: %v", dir, entries, err)
		}
	}
	if len(visited) > 0 {
		t.Errorf("a connection came from %s", <-visited)
	}

	for _, c := range []struct{ workflow, how, kind string }{
		{"ends", "recurse", domain.KindTrap},
		{"ends", "read", domain.KindTrap},
		{"ends", "write", domain.KindTrap},
		{"ends", "copy", domain.KindTrap},
		{"ends", "jump", domain.KindTrap},
		{"ends", "type", domain.KindTrap},
		{"ends", "flood", domain.KindOutput},
		{"hangs", "spin", flow.KindTimeout},
		{"hangs", "sleep", flow.KindTimeout},
	} {
		r := run(t, n, a, func(r *node.RunRequest) { r.Workflow, r.Input = c.workflow, c.how })
		if r.Status != flow.Failed || r.Failure.Kind != c.kind {
			t.Errorf("%s: %s, %+v, want a failure of kind %s", c.how, r.Status, r.Failure, c.kind)
		}
	}
}
