package node_test

import (
	"archive/zip"
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// appOf is an app of one step that does something with the settings of its
// function.
func appOf(t *testing.T, settings, do string, files ...string) *app.App {
	t.Helper()
	return load(t, fmt.Sprintf("functions:\n  f: {source: ACTOR%s}\nworkflows:\n  main:\n    steps:\n      s: {call: f, with: {do: %q}}\n", settings, do), files...)
}

func TestEnvironment(t *testing.T) {
	n := newNode(t)
	t.Setenv("SECRET", "of the node")
	a := load(t, `
functions:
  f: {source: ACTOR, env: {COLOR: blue, EMPTY: ""}, args: [do, environ]}
workflows:
  main:
    steps:
      s: {call: f, foreach: [1]}
`)
	r := run(t, n, a)
	if r.Failure != nil {
		t.Fatal(r.Failure.Error())
	}
	var got []string
	for _, v := range r.Output.([]any)[0].([]any) {
		got = append(got, v.(string))
	}
	slices.Sort(got)
	want := []string{"COLOR=blue", "EMPTY=", "GOMEMLIMIT=117440512", "WEFT_ATTEMPT=1", "WEFT_INDEX=0", "WEFT_KEY=" + r.ID + "/s[0]", "WEFT_RUN=" + r.ID, "WEFT_STEP=s"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func TestFiles(t *testing.T) {
	n := newNode(t)
	for _, test := range []struct{ name, grants, do, want string }{
		{"none", "", "cat /data/a; ls /; cat a", "[cat /data/a: Capabilities insufficient ls /: Capabilities insufficient cat a: Capabilities insufficient]"},
		{"a folder to read", "'./data::/data'", "cat /data/a; cat /data/sub/b; ls /data; write /data/new x", "[cat /data/a: in a cat /data/sub/b: in b ls /data: 3 write /data/new: Read-only file system]"},
		{"a folder to write", "'./data::/data:rw'", "write /data/new text; cat /data/new; ls /data", "[write /data/new: done cat /data/new: text ls /data: 4]"},
		{"a file", "'./data/a::/data/x'", "cat /data/x; cat /data/a", "[cat /data/x: in a cat /data/a: No such file or directory]"},
		{"a way out", "'./data::/data'", "cat /data/../weft.yaml; cat /data/sub/../../weft.yaml; cat /data/link; cat /data/../data/a", ""},
		{"an archive", "'./z.zip::/z'", "cat /z/inside; ls /z; write /z/new x", "[cat /z/inside: in the archive ls /z: 1 write /z/new: Read-only file system]"},
	} {
		for _, load := range []string{"lazy", "eager"} {
			t.Run(test.name+" "+load, func(t *testing.T) {
				settings := ""
				if test.grants != "" {
					settings = ", files: [" + test.grants + "]"
				}
				a := appOf(t, settings, test.do, "data/a", "in a", "data/sub/b", "in b", "secret", "secret")
				if err := os.Symlink("../secret", filepath.Join(a.Dir, "data", "link")); err != nil {
					t.Fatal(err)
				}
				f, err := os.Create(filepath.Join(a.Dir, "z.zip"))
				if err != nil {
					t.Fatal(err)
				}
				z := zip.NewWriter(f)
				w, err := z.Create("inside")
				if err == nil {
					_, err = w.Write([]byte("in the archive"))
				}
				if err := cmpErr(err, z.Close(), f.Close()); err != nil {
					t.Fatal(err)
				}
				r := run(t, n, a, func(r *node.RunRequest) { r.Load = load })
				if test.want != "" {
					wantOutput(t, r, test.want)
					return
				}
				if r.Failure != nil {
					t.Fatal(r.Failure.Error())
				}
				out := r.Output.([]any)
				for i, want := range []string{"cat /data/../weft.yaml: ", "cat /data/sub/../../weft.yaml: ", "cat /data/link: "} {
					if got := out[i].(string); !strings.HasPrefix(got, want) || strings.Contains(got, "secret") || strings.Contains(got, "name:") {
						t.Errorf("a way out of a granted folder: %q", got)
					}
				}
			})
		}
	}
}

// cmpErr returns the first error.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && line == "ping\n" {
				c.Write([]byte("pong"))
			}
			c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().(*net.TCPAddr).Port
	free.Close()
	n := newNode(t)
	granted := fmt.Sprintf(", dial: ['127.0.0.1:%d', '127.0.0.1:%d']", port, closed)
	for _, apart := range []bool{false, true} {
		with := func(r *node.RunRequest) { r.Apart = apart }
		wantOutput(t, run(t, n, appOf(t, granted, fmt.Sprintf("dial 127.0.0.1 %d; dial 127.0.0.1 %d; dial 127.0.0.2 %d", port, closed, port)), with),
			"[dial 127.0.0.1: pong dial 127.0.0.1: errno 14 dial 127.0.0.2: errno 76]")
		wantOutput(t, run(t, n, appOf(t, "", fmt.Sprintf("dial 127.0.0.1 %d", port)), with), "[dial 127.0.0.1: errno 76]")
	}
}

func TestListen(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	n := newNode(t)
	a := appOf(t, fmt.Sprintf(", listen: [%d]", port), fmt.Sprintf("log there; serve %d; serve 1", port))
	w := &watcher{}
	done := make(chan *engine.Result, 1)
	go func() { done <- run(t, n, a, watched(w)) }()
	w.await(t, telemetry.EventLog, "s", "there")
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if line != "hello\n" {
		t.Errorf("the function answered %q: %v", line, err)
	}
	wantOutput(t, <-done, "[served hello\n listen: errno 76]")

	// A port that is in use is named.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port = taken.Addr().(*net.TCPAddr).Port
	wantFailure(t, run(t, n, appOf(t, fmt.Sprintf(", listen: [%d]", port), "serve 1")), "refused", "step s: listen for function f: ", fmt.Sprint(port), "address already in use")
}

// The modules that a function uses are in the trace, when it uses them or, if
// eager, all of them.
func TestModulesOnDemand(t *testing.T) {
	n := newNode(t)
	modules := func(a *app.App, load string) string {
		var names []string
		r := run(t, n, a, func(r *node.RunRequest) { r.Load = load })
		if r.Failure != nil {
			t.Fatal(r.Failure.Error())
		}
		for _, s := range r.Trace.Spans {
			if s.Kind == telemetry.KindModule {
				if s.Start < 0 || s.End < s.Start {
					t.Errorf("module %s was loaded from %v to %v", s.Name, s.Start, s.End)
				}
				names = append(names, s.Name)
			}
		}
		slices.Sort(names)
		return strings.Join(slices.Compact(names), " ")
	}
	none := load(t, "functions:\n  f: {source: "+moduleFile(t, moduleOf("1", 0, printIt...))+"}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n")
	some := appOf(t, "", "put x 1; take x")
	if got := modules(none, "lazy"); strings.Contains(got, "buffer") || strings.Contains(got, "net") || strings.Contains(got, "fs") {
		t.Errorf("a function that uses nothing loaded %q", got)
	}
	if got := modules(some, "lazy"); !strings.Contains(got, "buffer") || strings.Contains(got, "net") {
		t.Errorf("a function that uses buffers loaded %q", got)
	}
	all := appOf(t, ", files: ['./data::/data'], dial: ['127.0.0.1:1']", "cat /data/a; dial 127.0.0.1 1; len x", "data/a", "a")
	for _, load := range []string{"lazy", "eager"} {
		got := modules(all, load)
		for _, want := range []string{"buffer", "fs", "net"} {
			if !strings.Contains(got, want) {
				t.Errorf("a sandbox that is %s and uses all loaded %q, not %s", load, got, want)
			}
		}
	}
	unused := load(t, "functions:\n  f: {source: ./f.wasm, files: ['./data::/data'], dial: ['127.0.0.1:1']}\nworkflows:\n  main:\n    steps:\n      s: {call: f}\n",
		"data/a", "a", "f.wasm", string(moduleOf("", 0)))
	if got := modules(unused, "lazy"); got != "" {
		t.Errorf("a function that uses nothing of what it was granted loaded %q", got)
	}
	if got := modules(unused, "eager"); got != modules(all, "eager") {
		t.Errorf("an eager sandbox loaded %q", got)
	}
}
