package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// write puts files into a new folder and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// need skips a test when a tool or a file of a toolchain is missing.
func need(t *testing.T, language string) {
	t.Helper()
	for _, path := range map[string][]string{
		"go":   {"go"},
		"c":    {"clang", "wasm-ld", "/usr/lib/wasm32-wasi/libc.a"},
		"rust": {"/usr/bin/rustc", "wasm-ld", "/usr/lib/rustlib/wasm32-wasi/lib"},
	}[language] {
		if _, err := exec.LookPath(path); err != nil {
			if _, err := os.Stat(path); err != nil {
				t.Skipf("%s is not installed: %s", path, map[string]string{"c": cHint, "rust": rustHint}[language])
			}
		}
	}
}

// checkClean fails the test when a build has left temporary files.
func checkClean(t *testing.T, cache string) {
	t.Helper()
	for _, pattern := range []string{"weft-*", "*/.new-*", ".new-*"} {
		if left, _ := filepath.Glob(filepath.Join(cache, pattern)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

const (
	helloC    = "#include <stdio.h>\nint main(void) { puts(\"\\\"hello\\\"\"); return 0; }\n"
	residentC = "__attribute__((export_name(\"weft_handle\"))) int weft_handle(void) { return 0; }\n"
	helloGo   = "package main\n\nfunc main() { println(message) }\n"
	goMod     = "module example.com/hello\n\ngo 1.24\n"
)

func TestBuild(t *testing.T) {
	for _, test := range []struct {
		name, language, source string
		files                  map[string]string
		resident               bool
	}{
		{"c file", "c", "hello.c", map[string]string{"hello.c": helloC}, false},
		{"c folder", "c", "./hello", map[string]string{
			"hello/main.c": "#include \"say.h\"\nint main(void) { say(); return 0; }\n",
			"hello/say.h":  "void say(void);\n",
			"hello/say.c":  "#include <stdio.h>\n#include \"say.h\"\nvoid say(void) { puts(\"1\"); }\n",
		}, false},
		{"c resident", "c", "f.c", map[string]string{"f.c": residentC}, true},
		{"c with the SDK", "c", "f.c", map[string]string{"f.c": "#include <weft.h>\n\nWEFT_HANDLER(f) { return 0; }\n"}, true},
		{"c resident in a comment only", "c", "f.c", map[string]string{"f.c": "// weft_handle\n/* WEFT_HANDLER(x) */\n" + helloC}, false},
		{"c with flags", "c", "f.c", map[string]string{"f.c": "// weft:cflags -msimd128 -O3 -DN=1\n#include <wasm_simd128.h>\n" +
			"int main(void) { v128_t v = wasm_i32x4_splat(N); return wasm_i32x4_extract_lane(v, 0) - 1; }\n"}, false},
		{"go", "go", "./hello", map[string]string{"hello/main.go": helloGo, "hello/message.go": "package main\n\nconst message = \"x\"\n", "go.mod": goMod}, false},
		{"go resident", "go", ".", map[string]string{"main.go": "package main\n\nfunc main() {}\n\n//go:wasmexport weft_handle\nfunc handle() int32 { return 0 }\n", "go.mod": goMod}, true},
		{"rust", "rust", "hello.rs", map[string]string{"hello.rs": "mod more;\nfn main() { println!(\"{}\", more::N); }\n", "more.rs": "pub const N: i32 = 1;\n"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			need(t, test.language)
			dir, cache := write(t, test.files), t.TempDir()
			b := New(Config{CacheDir: cache})
			var events []EventKind
			m, err := b.Build(t.Context(), dir, Source{Function: "f", Path: test.source}, func(e Event) { events = append(events, e.Kind) })
			if err != nil {
				t.Fatal(err)
			}
			if m.Cached || m.Info.Resident != test.resident || m.Info.Command == test.resident {
				t.Errorf("built %+v", m)
			}
			if len(events) != 2 || events[0] != Started || events[1] != Finished {
				t.Errorf("events %v", events)
			}
			start := time.Now()
			again, err := New(Config{CacheDir: cache}).Build(t.Context(), dir, Source{Function: "g", Path: test.source}, nil)
			if err != nil || !again.Cached || again.Digest != m.Digest || again.Path != m.Path {
				t.Errorf("second build: %+v, %v", again, err)
			}
			t.Logf("cached build took %v", time.Since(start))
			checkClean(t, cache)
		})
	}
}

// A change of anything that a build reads is seen at once, whatever the times
// of the files say.
func TestBuildSeesChanges(t *testing.T) {
	goFiles := map[string]string{
		"go.mod":             goMod,
		"hello/main.go":      "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/hello/part\"\n)\n\n//go:embed text.txt\nvar text string\n\nfunc main() { println(text, part.N) }\n",
		"hello/text.txt":     "one",
		"part/part.go":       "package part\n\nconst N = 11\n",
		"part/other_test.go": "package part\n",
	}
	cFiles := map[string]string{"main.c": "#include \"lib/n.h\"\nint main(void) { return N; }\n", "lib/n.h": "#define N 1\n"}
	for _, test := range []struct {
		name, language, source string
		files                  map[string]string
		change, content        string
		rebuilt                bool
	}{
		{"go dependency of the same size", "go", "./hello", goFiles, "part/part.go", "package part\n\nconst N = 12\n", true},
		{"go new file", "go", "./hello", goFiles, "part/more.go", "package part\n\nfunc init() { println(1) }\n", true},
		{"go embedded file", "go", "./hello", goFiles, "hello/text.txt", "two", true},
		{"go test file", "go", "./hello", goFiles, "part/other_test.go", "package part\n\n// changed\n", false},
		{"go unrelated file", "go", "./hello", goFiles, "elsewhere/x.go", "package elsewhere\n", false},
		{"go same content", "go", "./hello", goFiles, "part/part.go", "package part\n\nconst N = 11\n", false},
		{"c header", "c", "main.c", cFiles, "lib/n.h", "#define N 2\n", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			need(t, test.language)
			dir, cache := write(t, test.files), t.TempDir()
			b := New(Config{CacheDir: cache})
			f := Source{Function: "f", Path: test.source}
			first, err := b.Build(t.Context(), dir, f, nil)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, test.change)
			before, _ := os.Stat(path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(test.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if before != nil {
				if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
			second, err := b.Build(t.Context(), dir, f, nil)
			if err != nil {
				t.Fatal(err)
			}
			if second.Cached == test.rebuilt || (second.Digest == first.Digest) == test.rebuilt {
				t.Errorf("rebuilt is %v, want %v", !second.Cached, test.rebuilt)
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	for _, test := range []struct {
		name, language, source string
		files                  map[string]string
		want                   []string
	}{
		{"missing", "", "./nowhere", nil, []string{"weft.yaml:4:3: build function f: source ./nowhere does not exist", "hint:"}},
		{"empty folder", "", ".", map[string]string{"README": "x"}, []string{"holds neither Go nor C files"}},
		{"crate", "", ".", map[string]string{"Cargo.toml": "x"}, []string{"cargo build"}},
		{"unknown kind", "", "f.js", map[string]string{"f.js": "x"}, []string{"unknown kind \".js\"", "interpreter"}},
		{"go file", "", "f.go", map[string]string{"f.go": "x"}, []string{"single Go file", "folder"}},
		{"text format", "", "f.wat", map[string]string{"f.wat": "(module)"}, []string{"wat2wasm"}},
		{"elf", "", "f.wasm", map[string]string{"f.wasm": "\x7fELF\x02\x01\x01"}, []string{"f.wasm cannot be used", "native program"}},
		{"empty module", "", "f.wasm", map[string]string{"f.wasm": ""}, []string{"file is empty"}},
		{"exports nothing", "", "f.wasm", map[string]string{"f.wasm": "\x00asm\x01\x00\x00\x00"}, []string{"exports nothing", "_start"}},
		{"c syntax", "c", "f.c", map[string]string{"f.c": "int main(void) { return x; }\n"}, []string{"compiler failed (exit status 1)", "f.c:1:25: error: use of undeclared identifier 'x'", "command: ", "clang"}},
		{"c no main", "c", "f.c", map[string]string{"f.c": "int x;\n"}, []string{"undefined symbol: main", "WEFT_HANDLER"}},
		{"c refused flag", "c", "f.c", map[string]string{"f.c": "// weft:cflags -fplugin=x.so\n" + helloC}, []string{"-fplugin=x.so is not allowed"}},
		{"c undefined function", "c", "f.c", map[string]string{"f.c": "int fork(void); int main(void) { return fork(); }\n"}, []string{"undefined symbol: fork", "no threads"}},
		{"go syntax", "go", ".", map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() { x() }\n"}, []string{"main.go:3:15: undefined: x", "GOOS=wasip1"}},
		{"go library", "go", ".", map[string]string{"go.mod": goMod, "lib.go": "package lib\n"}, []string{"package lib, not a program", "package main"}},
		{"go no module", "go", ".", map[string]string{"main.go": helloGo}, []string{"go mod init"}},
		{"go missing module", "go", ".", map[string]string{"go.mod": goMod, "main.go": "package main\n\nimport _ \"example.com/absent\"\n\nfunc main() {}\n"}, []string{"example.com/absent", "go mod tidy"}},
		{"rust syntax", "rust", "f.rs", map[string]string{"f.rs": "fn main() { x }\n"}, []string{"cannot find value `x`"}},
		{"rust crate", "rust", "f.rs", map[string]string{"f.rs": "extern crate serde;\nfn main() {}\n"}, []string{"serde", "cargo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.language != "" {
				need(t, test.language)
			}
			dir, cache := write(t, test.files), t.TempDir()
			_, err := New(Config{CacheDir: cache}).Build(t.Context(), dir, Source{Function: "f", Path: test.source, Place: "weft.yaml:4:3"}, nil)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
			checkClean(t, cache)
		})
	}
}

func TestMissingToolchain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := write(t, map[string]string{"f.c": helloC, "g/main.go": helloGo})
	b := New(Config{CacheDir: t.TempDir()})
	for source, want := range map[string]string{"f.c": "Debian packages clang, lld, wasi-libc and libclang-rt-14-dev-wasm32", "./g": "install Go"} {
		_, err := b.Build(t.Context(), dir, Source{Function: "f", Path: source}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
}

// A compiler, and what it started, is killed when the context ends.
func TestCancelKillsProcessGroup(t *testing.T) {
	bin := t.TempDir()
	marker := filepath.Join(t.TempDir(), "alive")
	script := "#!/bin/sh\n(sleep 3; touch " + marker + ") &\ntouch " + marker + ".started\nwait\n"
	if err := os.WriteFile(filepath.Join(bin, "clang"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cache := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(marker + ".started"); err == nil || ctx.Err() != nil {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	start := time.Now()
	_, err := New(Config{CacheDir: cache}).Build(ctx, write(t, map[string]string{"f.c": helloC}), Source{Function: "f", Path: "f.c"}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("cancelling took %v", d)
	}
	time.Sleep(time.Until(start.Add(3500 * time.Millisecond)))
	if _, err := os.Stat(marker); err == nil {
		t.Error("a process that the compiler started lives on")
	}
	checkClean(t, cache)
}

// Builds of one source at once start its compiler once.
func TestConcurrentBuilds(t *testing.T) {
	need(t, "c")
	dir := write(t, map[string]string{"f.c": helloC})
	b := New(Config{CacheDir: t.TempDir(), Parallel: 2})
	var wg sync.WaitGroup
	var mu sync.Mutex
	compiled := 0
	for range 8 {
		wg.Go(func() {
			m, err := b.Build(t.Context(), dir, Source{Function: "f", Path: "f.c"}, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if !m.Cached {
				compiled++
			}
		})
	}
	wg.Wait()
	if compiled != 1 {
		t.Errorf("compiled %d times", compiled)
	}
}

// A cache that was damaged is built anew.
func TestDamagedCache(t *testing.T) {
	need(t, "c")
	dir, cache := write(t, map[string]string{"f.c": helloC}), t.TempDir()
	b := New(Config{CacheDir: cache})
	f := Source{Function: "f", Path: "f.c"}
	m, err := b.Build(t.Context(), dir, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.Path); err != nil {
		t.Fatal(err)
	}
	if again, err := b.Build(t.Context(), dir, f, nil); err != nil || again.Cached || again.Digest != m.Digest {
		t.Errorf("after the module was removed: %+v, %v", again, err)
	}
	records, _ := filepath.Glob(filepath.Join(cache, "records", "*"))
	for _, r := range records {
		if err := os.WriteFile(r, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := b.Build(t.Context(), dir, f, nil); err != nil || again.Cached || again.Digest != m.Digest {
		t.Errorf("after the record was damaged: %+v, %v", again, err)
	}
}
