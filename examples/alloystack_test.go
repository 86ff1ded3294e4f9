package examples

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/data"
)

// stage is one line of groups in a workflow file of AlloyStack's: n instances of a function and their arguments.
type stage struct {
	function string
	n        int
	args     map[string]string
}

// writeWorkflow writes a workflow file of AlloyStack's whose services are memory, files and sockets.
func writeWorkflow(t *testing.T, path, image string, stages ...stage) {
	t.Helper()
	type entry = map[string]any
	var groups []entry
	var apps [][2]string
	seen := map[string]bool{}
	for _, s := range stages {
		if !seen[s.function] {
			seen[s.function] = true
			apps = append(apps, [2]string{s.function, "lib" + s.function + ".so"})
		}
		list := make([]string, s.n)
		for i := range list {
			list[i] = s.function
		}
		if s.args == nil {
			s.args = map[string]string{}
		}
		groups = append(groups, entry{"list": list, "args": s.args})
	}
	file := entry{"services": [][2]string{{"fdtab", "libfdtab.so"}, {"mm", "libmm.so"}, {"socket", "libsocket.so"}}, "apps": apps, "groups": groups}
	if image != "" {
		file["fs_image"] = image
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func chain(key, function string, n int) []stage {
	var stages []stage
	for i := range n {
		stages = append(stages, stage{function, 1, map[string]string{key: fmt.Sprint(i)}})
	}
	return stages
}

// AlloyStack's workflows, written out as its files do, over an image with its input files.
func TestAlloyStackWorkflows(t *testing.T) {
	need(t, "clang", "mkfs.vfat", "mcopy")
	bin := weft(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "fatfs.img")
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	command("mkfs.vfat", "-C", image, "16384")
	words, err := data.Generate(t.Context(), data.Spec{Kind: data.Text, Size: 300_000, Parts: 3, Dir: filepath.Join(dir, "words")})
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := data.Generate(t.Context(), data.Spec{Kind: data.Integers, Size: 300_000, Parts: 3, Dir: filepath.Join(dir, "numbers")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		command("mcopy", "-i", image, filepath.Join(dir, "words", fmt.Sprintf("part-%d", i)), fmt.Sprintf("::fake_data_%d.txt", i))
		command("mcopy", "-i", image, filepath.Join(dir, "numbers", fmt.Sprintf("part-%d", i)), fmt.Sprintf("::sort_data_%d.txt", i))
	}
	sum := func(text, key string) (total int) {
		for rest := text; ; {
			_, after, found := strings.Cut(rest, `"`+key+`": `)
			if !found {
				return total
			}
			n := 0
			fmt.Sscan(after, &n)
			total, rest = total+n, after
		}
	}
	three := map[string]string{"sorter_num": "3", "merger_num": "3"}
	for _, c := range []struct {
		name   string
		stages []stage
		check  func(output string) bool
	}{
		{"base", []stage{{"hello_world", 1, nil}}, func(s string) bool { return strings.Contains(s, "Hello, world! id: 0") }},
		{"load all", []stage{{"load_all", 1, nil}}, func(s string) bool { return strings.Contains(s, "id: 0") }},
		{"map reduce", []stage{{"file_reader", 3, nil}, {"mapper", 3, map[string]string{"reducer_num": "4"}}, {"reducer", 4, map[string]string{"mapper_num": "3"}}},
			func(s string) bool {
				return sum(s, "words") == int(words.Words) && sum(s, "distinct") == words.Distinct
			}},
		{"wordcount in C", []stage{{"wasmtime_mapper", 3, map[string]string{"reducer_num": "3"}}, {"wasmtime_reducer", 3, map[string]string{"mapper_num": "3"}}},
			func(s string) bool {
				return sum(s, "words") == int(words.Words) && sum(s, "distinct") == words.Distinct
			}},
		{"sort", []stage{{"file_reader", 3, nil}, {"sorter", 3, three}, {"splitter", 3, nil}, {"merger", 3, map[string]string{"sorter_num": "3"}}, {"checker", 1, nil}},
			func(s string) bool { return strings.Contains(s, numbers.Digest) }},
		{"sort in C", []stage{{"wasmtime_sorter", 3, three}, {"wasmtime_spliter", 3, three}, {"wasmtime_merger", 3, three}, {"wasmtime_checker", 1, three}},
			func(s string) bool { return strings.Contains(s, numbers.Digest) }},
		{"chain", chain("n", "array_sum", 15), func(s string) bool { return strings.Contains(s, `"count": 15`) }},
		{"chain in C", chain("func_num", "wasmtime_longchain", 10), func(s string) bool { return strings.Contains(s, `"count": 10`) }},
		{"transfer", []stage{{"func_a", 1, nil}, {"func_b", 1, nil}}, func(s string) bool { return sum(s, "bytes") == 1<<20 }},
		{"transfer in C", []stage{{"wasmtime_trans_data", 1, nil}}, func(s string) bool { return sum(s, "bytes") == 1<<20 }},
		{"mmap", []stage{{"mmap_file", 1, nil}}, func(s string) bool { return sum(s, "bytes") == 200_000 }},
		{"neural network", []stage{{"nn_conv", 1, nil}}, func(s string) bool { return strings.Contains(s, "10795") }},
		{"hello in C", []stage{{"wasmtime_hello", 2, nil}, {"wasmtime_write", 1, nil}}, func(s string) bool { return strings.Contains(s, "Hello, world!") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".json")
			writeWorkflow(t, file, "fatfs.img", c.stages...)
			cmd := exec.CommandContext(t.Context(), bin, "run", file, "--functions", "alloystack", "-o", "json", "--quiet")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			text, err := cmd.Output()
			var r result
			if err != nil || json.Unmarshal(text, &r) != nil {
				t.Fatalf("%v\n%s\n%s", err, text, stderr.String())
			}
			if s := strings.ReplaceAll(string(r.Output), `\"`, `"`); r.Status != "succeeded" || !c.check(s) {
				t.Errorf("status %s, output %s", r.Status, s)
			}
		})
	}
}

// runWorkflow runs a workflow file with one instance of one function, and returns its text on stdout, everything that it
// wrote, and its exit status.
func runWorkflow(t *testing.T, function string, args map[string]string, flags ...string) (stdout, all string, status int) {
	t.Helper()
	need(t, "clang")
	file := filepath.Join(t.TempDir(), function+".json")
	writeWorkflow(t, file, "", stage{function, 1, args})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, weft(t), append([]string{"run", file, "--functions", "alloystack", "--quiet"}, flags...)...)
	var out, both strings.Builder
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &both), &both
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	return out.String(), both.String(), cmd.ProcessState.ExitCode()
}

func TestAlloyStackPanic(t *testing.T) {
	_, all, status := runWorkflow(t, "should_panic", nil)
	if status != 1 || !strings.Contains(all, "should_panic: as it should") || !strings.Contains(all, "failed in step should_panic_0: ") {
		t.Errorf("status %d: %s", status, all)
	}
}

func TestAlloyStackNeverStop(t *testing.T) {
	begun := time.Now()
	_, all, status := runWorkflow(t, "never_stop", nil, "--timeout", "2s")
	if status != 1 || !strings.Contains(all, "the run was cancelled after 2s (--timeout)") {
		t.Errorf("status %d: %s", status, all)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAlloyStackFile(t *testing.T) {
	dir := t.TempDir()
	stdout, all, status := runWorkflow(t, "simple_file", nil, "--dir", dir+"::/data")
	if status != 0 || !strings.Contains(stdout, `"bytes": 16`) {
		t.Errorf("status %d: %s", status, all)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "lines.txt")); err != nil || string(text) != "Rust LibOS Cool." {
		t.Errorf("lines.txt is %q, %v", text, err)
	}
	_, all, status = runWorkflow(t, "simple_file", nil, "--dir", dir+"::/data:ro")
	if status != 1 || !strings.Contains(all, "simple_file: create") {
		t.Errorf("in a folder that is read-only: status %d: %s", status, all)
	}
}

func TestAlloyStackHTTPServer(t *testing.T) {
	need(t, "clang")
	weft(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	var stdout, all string
	var status int
	over := make(chan struct{})
	go func() {
		defer close(over)
		stdout, all, status = runWorkflow(t, "httpd", map[string]string{"port": port}, "--listen", port)
	}()
	answer := ""
	for answer == "" { // until it listens
		select {
		case <-over:
			t.Fatalf("status %d: %s", status, all)
		case <-time.After(20 * time.Millisecond):
		}
		r, err := http.Get("http://127.0.0.1:" + port + "/page")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if answer = string(body); err != nil {
			t.Error(err)
		}
	}
	<-over
	if answer != "hello from /page, request 1\n" || status != 0 || !strings.Contains(stdout, `"served": 1`) {
		t.Errorf("answer %q, status %d: %s", answer, status, all)
	}
}

func TestAlloyStackHTTPClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "you want "+r.URL.Path) }))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	host, port, _ := strings.Cut(address, ":")
	args := map[string]string{"host": host, "port": port, "path": "/page"}
	stdout, all, status := runWorkflow(t, "simple_http", args, "--dial", address)
	if status != 0 || !strings.Contains(stdout, `{"status": 200, "body": "you want /page"}`) {
		t.Errorf("status %d: %s", status, all)
	}
	_, all, status = runWorkflow(t, "simple_http", args)
	if status != 1 || !strings.Contains(all, "simple_http: dial "+address) && !strings.Contains(all, "not granted") {
		t.Errorf("without a grant: status %d: %s", status, all)
	}
}
