// Package examples holds apps that run as they are; its tests run them and compare their outputs with what plain code in
// one process computes.
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/data"
)

// weft is the binary under test: $WEFT_BIN, or bin/weft of this tree.
func weft(t *testing.T) string {
	t.Helper()
	path := os.Getenv("WEFT_BIN")
	if path == "" {
		path = "../bin/weft"
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skipf("needs the weft binary (make build, or set WEFT_BIN): %v", err)
	}
	return path
}

// need skips the test where a tool that builds the example is missing.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

// result is what weft run -o json prints.
type result struct {
	Status  string          `json:"status"`
	Output  json.RawMessage `json:"output"`
	Failure json.RawMessage `json:"failure"`
	stderr  string
}

// run runs a workflow, without an input if that is nil; extra are further arguments.
func run(t *testing.T, app, workflow string, input any, extra ...string) result {
	t.Helper()
	args := []string{"run", app, "-o", "json", "--quiet"}
	if workflow != "" {
		args = append(args, workflow)
	}
	if input != nil {
		text, err := json.Marshal(input)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "--input", string(text))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, weft(t), append(args, extra...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{stderr: stderr.String()}
	if json.Unmarshal(stdout.Bytes(), &r) != nil {
		t.Fatalf("weft %s: %v\nstdout: %s\nstderr: %s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return r
}

// output runs a workflow that must succeed and decodes its output.
func output(t *testing.T, app, workflow string, input, into any, extra ...string) {
	t.Helper()
	r := run(t, app, workflow, input, extra...)
	if r.Status != "succeeded" {
		t.Fatalf("%s %s: status %s: %s\n%s", app, workflow, r.Status, r.Failure, r.stderr)
	}
	if err := json.Unmarshal(r.Output, into); err != nil {
		t.Fatalf("%s %s: output %s: %v", app, workflow, r.Output, err)
	}
}

// Behind the name of an example this says that its functions, from the same sources, are to be native programs.
const asNative = " native"

// moved writes the app file of an example to a folder, for the sources where they are, and returns the folder. An
// example that needs no change is left where it is if dir is empty.
func moved(t *testing.T, app, dir string, replace ...string) string {
	t.Helper()
	app, native := strings.CutSuffix(app, asNative)
	switch {
	case dir == "" && !native:
		return app
	case dir == "":
		dir = t.TempDir()
	}
	text, err := os.ReadFile(filepath.Join(app, "weft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(app)
	if err != nil {
		t.Fatal(err)
	}
	if source, err = filepath.Rel(dir, source); err != nil {
		t.Fatal(err)
	}
	place := "source: "
	if native {
		place = "runtime: native, source: "
		if app == "resident" {
			place = "runtime: native, resident: true, workers: 2, source: "
		}
	}
	changed := strings.NewReplacer(append(replace, "source: ./", place+source+"/")...).Replace(string(text))
	if err := os.WriteFile(filepath.Join(dir, "weft.yaml"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// withData copies the app file of an example to a folder where ./data is other data, and returns it.
func withData(t *testing.T, app string, spec data.Spec) (string, *data.Answers) {
	t.Helper()
	dir := t.TempDir()
	spec.Dir = filepath.Join(dir, "data")
	answers, err := data.Generate(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return moved(t, app, dir, "../sort/data::", "./data::", "../wordcount/data::", "./data::"), answers
}

// TestExamplesRunAsTheyAre runs each example as its list says that one can.
func TestExamplesRunAsTheyAre(t *testing.T) {
	tools := map[string]string{
		"basics-python": "python3", "chain": "clang", "chain-python": "python3", "files": "clang", "hello": "clang", "load-all": "clang", "mmap": "clang", "nn": "clang",
		"processes": "python3", "resident": "clang", "rust": "/usr/bin/rustc", "sort": "clang", "sort-go": "go", "sort-python": "python3", "transfer": "clang",
		"transfer-python": "python3", "unchanged": "clang", "wordcount": "clang", "wordcount-python": "python3",
	}
	others := map[string]string{
		"alloystack": "has no app file", "endless": "fails on purpose", "panic": "fails on purpose", "http-server": "waits for requests", "http-client": "needs the other one",
		"javascript": "is fetched first", "wordcount-go": "is linked to a folder first", "services": "has an app in each of its folders, for TestServices",
	}
	folders, err := filepath.Glob("*/README.md")
	if err != nil || len(folders) == 0 {
		t.Fatal(folders, err)
	}
	for _, path := range folders {
		name := filepath.Dir(path)
		if others[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if tools[name] == "" {
				t.Fatal("the test does not know what it needs")
			}
			need(t, tools[name])
			workflow := map[string]string{"basics-python": "hello"}[name]
			if r := run(t, name, workflow, nil); r.Status != "succeeded" {
				t.Errorf("status %s: %s\n%s", r.Status, r.Failure, r.stderr)
			}
		})
	}
}

func TestExactOutputs(t *testing.T) {
	for _, c := range []struct {
		app, workflow, input, want string
		tools                      []string
	}{
		{"hello", "", `{"name": "you \"there\""}`, `"Hello, you \"there\"!"`, []string{"clang"}},
		{"hello", "", `null`, `"Hello, world!"`, []string{"clang"}},
		{"hello", "go", `{"name": "you"}`, `"Hello, you!"`, []string{"go"}},
		{"hello native", "", `{"name": "you \"there\""}`, `"Hello, you \"there\"!"`, []string{"cc"}},
		{"hello native", "go", `{"name": "you"}`, `"Hello, you!"`, []string{"go"}},
		{"files", "", `null`, `{"bytes": 21}`, []string{"clang"}},
		{"unchanged", "", `{"text": "two words\nand three more\n"}`, `"2 5 25\n"`, []string{"clang"}},
		{"unchanged", "words", `{"text": "two words\n"}`, `2`, []string{"clang"}},
		{"unchanged native", "", `{"text": "two words\nand three more\n"}`, `"2 5 25\n"`, []string{"cc"}},
		{"chain", "", `{"size": 1048576, "touch": true}`, `{"bytes": 1048576, "first": 14, "last": 131085, "sum": "00000002001b0000"}`, []string{"clang"}},
		{"chain", "n5", `{"size": 1048576, "touch": false}`, `{"bytes": 1048576, "first": 0, "last": 131071, "sum": "0000000000000000"}`, []string{"clang"}},
		{"chain native", "", `{"size": 1048576, "touch": true}`, `{"bytes": 1048576, "first": 14, "last": 131085, "sum": "00000002001b0000"}`, []string{"cc"}},
		{"chain native", "n5", `{"size": 1048576, "touch": false}`, `{"bytes": 1048576, "first": 0, "last": 131071, "sum": "0000000000000000"}`, []string{"cc"}},
		{"chain-python", "", `{"size": 1048576, "touch": true}`, `{"bytes": 1048576, "first": 14, "last": 131085, "sum": "00000002001b0000"}`, []string{"python3"}},
		{"chain-python", "n5", `{"size": 1048576, "touch": false}`, `{"bytes": 1048576, "first": 0, "last": 131071, "sum": "0000000000000000"}`, []string{"python3"}},
		{"nn native", "", `{"images": 1, "seed": 1}`, `[{"class": 3, "scores": [-2264, 4352, 4112, 10795, -9779, 1972, -9460, 3684, -600, 3732]}]`, []string{"cc"}},
		{"nn", "", `{"images": 2, "seed": 1}`, `[
			{"class": 3, "scores": [-2264, 4352, 4112, 10795, -9779, 1972, -9460, 3684, -600, 3732]},
			{"class": 3, "scores": [-4476, -4556, 6440, 16397, -10225, 6091, -4179, 1293, 6057, 3808]}]`, []string{"clang"}},
		{"basics-python", "hello", `{"name": "you \"there\""}`, `"Hello, you \"there\"!"`, []string{"python3"}},
		{"basics-python", "hello", `null`, `"Hello, world!"`, []string{"python3"}},
		{"basics-python", "files", `null`, `{"bytes": 21}`, []string{"python3"}},
		{"basics-python", "caught", `{"how": "trap"}`, `"caught"`, []string{"python3"}},
		{"basics-python", "nn", `{"images": 2, "seed": 1}`, `[
			{"class": 3, "scores": [-2264, 4352, 4112, 10795, -9779, 1972, -9460, 3684, -600, 3732]},
			{"class": 3, "scores": [-4476, -4556, 6440, 16397, -10225, 6091, -4179, 1293, 6057, 3808]}]`, []string{"python3"}},
		{"rust", "", `{"text": "one\nthree\n"}`, `{"lines": 2, "longest": 5}`, []string{"/usr/bin/rustc"}},
		{"panic", "caught", `{"how": "trap"}`, `"caught"`, []string{"clang"}},
		{"../testdata/pressure", "", `{"words": 20000000}`, `199999990000000`, []string{"go"}},
		{"../testdata/churn", "", `{"rounds": 24}`, `[24, 24]`, []string{"go"}},
	} {
		t.Run(filepath.Base(c.app)+" "+c.workflow, func(t *testing.T) {
			need(t, c.tools...)
			var got, want any
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			dir := moved(t, c.app, "")
			if strings.HasPrefix(c.app, "chain") && c.workflow != "" { // also what is passed on by reference
				output(t, dir, c.workflow, json.RawMessage(c.input), &got, "--pass", "file")
				if !reflect.DeepEqual(got, want) {
					t.Errorf("by file: got %v, want %v", got, want)
				}
			}
			output(t, dir, c.workflow, json.RawMessage(c.input), &got)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// tools are what examples in several languages are built with, or run by.
var tools = map[string]string{"sort": "clang", "sort-go": "go", "sort-python": "python3", "wordcount": "clang", "wordcount-python": "python3", "transfer": "clang", "transfer-python": "python3",
	"sort native": "cc", "sort-go native": "go", "wordcount native": "cc", "transfer native": "cc"}

func TestWordCount(t *testing.T) {
	for _, app := range []string{"wordcount", "wordcount native", "wordcount-python"} {
		t.Run(app, func(t *testing.T) {
			need(t, tools[app])
			for _, size := range []int64{1000, 3 << 20} {
				dir, want := withData(t, app, data.Spec{Kind: data.Text, Size: size, Parts: 3})
				for _, pass := range []string{"reference", "file"} {
					var got data.Answers
					output(t, dir, "", map[string]int{"parts": 3, "reducers": 2}, &got, "--pass", pass)
					if got.Digest != want.Digest || got.Words != want.Words || got.Distinct != want.Distinct || !reflect.DeepEqual(got.Top, want.Top) {
						t.Errorf("%d bytes by %s: got %+v, want %+v", size, pass, got, *want)
					}
				}
			}
		})
	}
}

func TestSort(t *testing.T) {
	for _, app := range []string{"sort", "sort native", "sort-go", "sort-go native", "sort-python"} {
		t.Run(app, func(t *testing.T) {
			need(t, tools[app])
			dir, want := withData(t, app, data.Spec{Kind: data.Integers, Size: 3 << 20, Parts: 3})
			for mergers, pass := range map[int]string{1: "reference", 4: "reference", 3: "file"} {
				var got data.Answers
				output(t, dir, "", map[string]int{"sorters": 3, "mergers": mergers}, &got, "--pass", pass)
				if got.Digest != want.Digest || got.Numbers != want.Numbers || got.Least != want.Least || got.Most != want.Most {
					t.Errorf("%d mergers by %s: got %+v, want %+v", mergers, pass, got, *want)
				}
			}
		})
	}
}

// Equal numbers, the largest one, parts of different sizes and an empty part.
func TestSortOfUnevenParts(t *testing.T) {
	for _, app := range []string{"sort", "sort native", "sort-python"} {
		t.Run(app, func(t *testing.T) { unevenParts(t, app) })
	}
}

func unevenParts(t *testing.T, app string) {
	need(t, tools[app])
	dir, _ := withData(t, app, data.Spec{Kind: data.Integers, Size: 100, Parts: 1})
	var all []uint32
	for i, text := range []string{strings.Repeat("7,", 5000) + "4294967295", "0,1,4294967295", " \n", "3"} {
		if err := os.WriteFile(filepath.Join(dir, "data", "part-"+strconv.Itoa(i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
			n, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, uint32(n))
		}
	}
	var got data.Answers
	output(t, dir, "", map[string]int{"sorters": 4, "mergers": 3}, &got)
	if got.Numbers != len(all) || got.Least != 0 || got.Most != 4294967295 {
		t.Errorf("got %+v for %d numbers", got, len(all))
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "part-3"), []byte("1,4294967296"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, dir, "", map[string]int{"sorters": 4, "mergers": 3})
	if r.Status == "succeeded" || !strings.Contains(r.stderr+string(r.Failure), "no number below 4294967296 at byte") {
		t.Errorf("status %s, failure %s, stderr %s", r.Status, r.Failure, r.stderr)
	}
}

func TestWordCountGo(t *testing.T) {
	for _, app := range []string{"wordcount-go", "wordcount-go native"} {
		t.Run(app, func(t *testing.T) { wordCountGo(t, app) })
	}
}

func wordCountGo(t *testing.T, app string) {
	need(t, "go")
	dir, want := withData(t, app, data.Spec{Kind: data.Text, Size: 2 << 20, Parts: 5})
	if err := os.Rename(filepath.Join(dir, "data"), filepath.Join(dir, "src")); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		part := filepath.Join(dir, "src", "part-"+strconv.Itoa(i))
		if err := os.Rename(part, part+".txt"); err != nil {
			t.Fatal(err)
		}
	}
	var got data.Answers
	output(t, dir, "", map[string]any{"suffix": ".txt", "batches": 3, "reducers": 2}, &got)
	if got.Words != want.Words || got.Distinct != want.Distinct || !reflect.DeepEqual(got.Top, want.Top) {
		t.Errorf("got %+v, want %+v", got, *want)
	}
}

// Every call of a resident function is served, by few instances, each with the input and environment of that call.
func TestResident(t *testing.T) {
	for app, workflows := range map[string]map[string]string{"resident": {"main": "clang", "go": "go"}, "resident native": {"main": "cc", "go": "go"},
		"basics-python": {"resident": "python3"}} {
		for workflow, tool := range workflows {
			t.Run(app+" "+workflow, func(t *testing.T) {
				need(t, tool)
				var got []struct{ Call, Item, Sum int }
				output(t, moved(t, app, ""), workflow, map[string]int{"n": 40}, &got)
				most := 0
				for i, g := range got {
					if g.Item != i || g.Call < 1 {
						t.Errorf("item %d: got %+v", i, g)
					}
					most = max(most, g.Call)
				}
				if len(got) != 40 || most < 2 {
					t.Errorf("%d calls, at most %d by one instance", len(got), most)
				}
			})
		}
	}
}

func TestTransfer(t *testing.T) {
	for _, app := range []string{"transfer", "transfer native", "transfer-python"} {
		t.Run(app, func(t *testing.T) {
			need(t, tools[app])
			dir := moved(t, app, "")
			for _, size := range []uint64{8, 4 << 10, 1 << 20} {
				var got map[string]struct {
					Bytes uint64 `json:"bytes"`
					Sum   string `json:"sum"`
				}
				output(t, dir, "", map[string]uint64{"size": size, "rounds": 2}, &got)
				n := size / 8
				if sum := fmt.Sprintf("%016x", n*(n-1)/2); got["receive"].Sum != sum || got["receive"].Bytes != size {
					t.Errorf("%d bytes: got %+v, want sum %s", size, got, sum)
				}
			}
		})
	}
}

func TestLoadAll(t *testing.T) {
	need(t, "clang")
	for _, load := range []string{"lazy", "eager"} {
		var got map[string]float64
		output(t, "load-all", "", map[string]int{"port": 17070}, &got, "--load", load)
		for _, module := range []string{"clock_ns", "fs_ns", "buffer_ns", "net_ns"} {
			if _, ok := got[module]; !ok {
				t.Errorf("%s: no %s in %v", load, module, got)
			}
		}
	}
}

func TestMmap(t *testing.T) {
	need(t, "clang", "python3")
	text, err := os.ReadFile("wordcount/data/part-1")
	if err != nil {
		t.Fatal(err)
	}
	digest := uint64(0xcbf29ce484222325)
	for i := 0; i < len(text); i += 7 {
		digest = (digest ^ uint64(text[i])) * 0x100000001b3
	}
	var got struct {
		Bytes, Pages int
		Digest       string
	}
	for app, workflow := range map[string]string{"mmap": "main", "basics-python": "mmap"} {
		output(t, app, workflow, map[string]any{"path": "/data/part-1", "stride": 7}, &got)
		if got.Bytes != len(text) || got.Pages != 1 || got.Digest != fmt.Sprintf("%016x", digest) {
			t.Errorf("%s: got %+v, want %d bytes, digest %016x", app, got, len(text), digest)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		app, workflow, input string
		want                 []string // in the failure or on stderr
		tool                 string
	}{
		{"panic", "", `{"how": "abort"}`, []string{"abort", "giving up"}, "clang"},
		{"panic", "", `{"how": "trap"}`, []string{"abort", "divide"}, "clang"},
		{"panic", "", `{"how": "exit"}`, []string{"abort", "leaving with status 1"}, "clang"},
		{"panic", "go", `{"index": 7}`, []string{"gopanic", "index out of range"}, "go"},
		{"endless", "", `null`, []string{"loop", "1s"}, "clang"},
		{"http-client", "", `{"host": "127.0.0.1", "port": 1}`, []string{"get", "not granted"}, "clang"},
		{"basics-python", "panic", `{"how": "abort"}`, []string{"abort", "giving up", "SIGABRT"}, "python3"},
		{"basics-python", "panic", `{"how": "trap"}`, []string{"abort", "divide", "ZeroDivisionError"}, "python3"},
		{"basics-python", "panic", `{"how": "exit"}`, []string{"abort", "leaving with status 1"}, "python3"},
		{"basics-python", "endless", `null`, []string{"loop", "1s"}, "python3"},
		{"basics-python", "http-client", `{"host": "elsewhere.example", "port": 80}`, []string{"get", "gaierror"}, "python3"},
	} {
		t.Run(c.app+" "+c.workflow+" "+c.input, func(t *testing.T) {
			need(t, c.tool)
			r := run(t, c.app, c.workflow, json.RawMessage(c.input))
			if r.Status == "succeeded" {
				t.Fatalf("it succeeded: %s", r.Output)
			}
			for _, want := range c.want {
				if !strings.Contains(string(r.Failure)+r.stderr, want) {
					t.Errorf("no %q in failure %s, stderr %s", want, r.Failure, r.stderr)
				}
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	need(t, "clang", "python3")
	weft(t)
	l, err := net.Listen("tcp", "127.0.0.1:17878")
	if err != nil {
		t.Skipf("needs port 17878: %v", err)
	}
	l.Close()
	served := make(chan result, 1)
	go func() { served <- run(t, "http-server", "", map[string]int{"requests": 3}) }()
	var body []byte
	for range 600 { // the function may still be built
		r, err := http.Get("http://127.0.0.1:17878/first")
		if err == nil {
			body, _ = io.ReadAll(r.Body)
			r.Body.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if string(body) != "hello from /first, request 1\n" {
		t.Errorf("got %q", body)
	}
	var got struct {
		Status int
		Body   string
	}
	output(t, "http-client", "", map[string]any{"host": "127.0.0.1", "port": 17878, "path": "/second"}, &got)
	if got.Status != 200 || got.Body != "hello from /second, request 2\n" {
		t.Errorf("got %+v", got)
	}
	output(t, "basics-python", "http-client", map[string]any{"path": "/third"}, &got)
	if got.Status != 200 || got.Body != "hello from /third, request 3\n" {
		t.Errorf("in Python: got %+v", got)
	}
	if r := <-served; r.Status != "succeeded" || !strings.Contains(string(r.Output), "3") {
		t.Errorf("server: %s %s %s", r.Status, r.Output, r.stderr)
	}
}

func TestJavaScript(t *testing.T) {
	if _, err := os.Stat("javascript/js.wasm"); err != nil {
		t.Skip("needs QuickJS: make -C examples/javascript (npm and clang)")
	}
	var got struct{ Count, Last int }
	output(t, "javascript", "", map[string]int{"below": 100000}, &got)
	if got.Count != 9592 || got.Last != 99991 {
		t.Errorf("got %+v", got)
	}
}

// The functions in one plain process give the same answers: what the benchmarks call the limit.
func TestNative(t *testing.T) {
	need(t, "clang")
	for _, c := range []struct {
		app  string
		kind data.Kind
	}{{"wordcount", data.Text}, {"sort", data.Integers}} {
		t.Run(c.app, func(t *testing.T) {
			dir := t.TempDir()
			want, err := data.Generate(t.Context(), data.Spec{Kind: c.kind, Size: 300_000, Parts: 3, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(dir, "native")
			out, err := exec.CommandContext(t.Context(), "clang", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I", "../sdk/c", "-o", program, c.app+"/native.c").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err = exec.CommandContext(t.Context(), program, dir, "3", "2").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var got data.Answers
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if got.Digest != want.Digest {
				t.Errorf("got %s, want %+v", out, *want)
			}
		})
	}
}
