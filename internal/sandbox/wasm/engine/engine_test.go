package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module is written byte by byte, so that the tests need no toolchain:
//
//	(import "env" "f" (func (param i32 i64) (result i32)))
//	(memory (export "memory") 1)
//	(func (export "run") (result i32) (i32.add (call 0 (i32.const 7) (i64.const 9)) (i32.const 1)))
//	(func (export "boom") unreachable)
//	(func (export "grow") (result i32) (memory.grow (i32.const 16)))
const module = "\x00asm\x01\x00\x00\x00" +
	"\x01\x0e\x03\x60\x02\x7f\x7e\x01\x7f\x60\x00\x01\x7f\x60\x00\x00" +
	"\x02\x09\x01\x03\x65\x6e\x76\x01\x66\x00\x00" +
	"\x03\x04\x03\x01\x02\x01" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x1e\x04\x06\x6d\x65\x6d\x6f\x72\x79\x02\x00\x03\x72\x75\x6e\x00\x01\x04\x62\x6f\x6f\x6d\x00\x02\x04\x67\x72\x6f\x77\x00\x03" +
	"\x0a\x18\x03\x0b\x00\x41\x07\x42\x09\x10\x00\x41\x01\x6a\x0b\x03\x00\x00\x0b\x06\x00\x41\x10\x40\x00\x0b"

var shared struct {
	sync.Once
	engine  *Engine
	compile *Engine
	err     error
}

// host is swapped by each test; tests of this package do not run in parallel.
var host HostFunc

func enginesOf(t *testing.T) (run, compile *Engine) {
	t.Helper()
	shared.Do(func() {
		imports := []Import{{"env", "f", []Kind{I32, I64}, []Kind{I32}}}
		shared.engine, shared.err = New(Options{Imports: imports, Instances: 4, Host: func(i *Instance, n int, mem []byte, args []uint64) bool {
			return host(i, n, mem, args)
		}})
		if shared.err == nil {
			shared.compile, shared.err = New(Options{Compile: true})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.engine, shared.compile
}

func load(t *testing.T, wasm string) *Module {
	t.Helper()
	run, compile := enginesOf(t)
	image, err := compile.Compile([]byte(wasm))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := run.LoadFD(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	other, err := run.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	return m
}

func TestCallsCrossBothWays(t *testing.T) {
	m := load(t, module)
	var got []uint64
	host = func(i *Instance, n int, mem []byte, args []uint64) bool {
		if i.Owner != "me" || n != 0 || len(mem) != 65536 {
			t.Errorf("host call got owner %v, index %d, %d bytes of memory", i.Owner, n, len(mem))
		}
		got = append([]uint64(nil), args...)
		args[0] = 41
		return true
	}
	i, err := m.Instantiate(1<<20, "me")
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	r, err := i.Call("run")
	if err != nil || r != 42 {
		t.Fatalf("run = %d, %v; want 42", r, err)
	}
	if len(got) != 2 || uint32(got[0]) != 7 || got[1] != 9 {
		t.Fatalf("host got %v, want 7 and 9", got)
	}
}

func TestHostEndsTheInstance(t *testing.T) {
	m := load(t, module)
	host = func(*Instance, int, []byte, []uint64) bool { return false }
	i, err := m.Instantiate(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, err := i.Call("run"); !errors.Is(err, ErrExit) {
		t.Fatalf("run = %v, want ErrExit", err)
	}
}

func TestTrapNamesItsReason(t *testing.T) {
	m := load(t, module)
	i, err := m.Instantiate(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	_, err = i.Call("boom")
	var trap *Trap
	if !errors.As(err, &trap) || !strings.Contains(trap.Reason, "unreachable") || len(trap.Frames) != 1 || trap.Frames[0].Offset == 0 {
		t.Fatalf("boom = %#v, want a trap with one frame", err)
	}
	if _, err := i.Call("absent"); !errors.Is(err, ErrNoExport) {
		t.Fatalf("absent = %v, want ErrNoExport", err)
	}
}

// TestCallsAreOfOneType has functions whose values would not fit into what a call
// has room for: an unchecked call of them overwrites the stack of the host.
func TestCallsAreOfOneType(t *testing.T) {
	const i64, f64 = 0x7e, 0x7c
	for name, typ := range map[string]string{
		"many parameters": "\x60\x64" + strings.Repeat(string(rune(i64)), 100) + "\x00",
		"one parameter":   "\x60\x01" + string(rune(i64)) + "\x00",
		"many results":    "\x60\x00\x64" + strings.Repeat(string(rune(i64)), 100),
		"one i64":         "\x60\x00\x01" + string(rune(i64)),
		"one f64":         "\x60\x00\x01" + string(rune(f64)),
	} {
		t.Run(name, func(t *testing.T) {
			// (func (export "run") (type 0) unreachable)
			m := load(t, "\x00asm\x01\x00\x00\x00"+"\x01"+string(rune(len(typ)+1))+"\x01"+typ+"\x03\x02\x01\x00"+"\x07\x07\x01\x03run\x00\x00"+"\x0a\x05\x01\x03\x00\x00\x0b")
			i, err := m.Instantiate(1<<20, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			if _, err := i.Call("run"); !errors.Is(err, ErrType) {
				t.Fatalf("call = %v, want ErrType", err)
			}
		})
	}
}

func TestMemoryLimitHolds(t *testing.T) {
	m := load(t, module)
	i, err := m.Instantiate(2<<16, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if r, err := i.Call("grow"); err != nil || r != -1 {
		t.Fatalf("grow beyond the limit = %d, %v; want -1", r, err)
	}
	i.Limit(64 << 16)
	if r, err := i.Call("grow"); err != nil || r != 1 {
		t.Fatalf("grow within the raised limit = %d, %v; want 1", r, err)
	}
	if n := len(i.Memory()); n != 17<<16 {
		t.Fatalf("memory has %d bytes, want %d", n, 17<<16)
	}
	if _, err := m.Instantiate(1, nil); err == nil {
		t.Fatal("a module whose first memory is over the limit was instantiated")
	}
}

func TestSlotsAreBounded(t *testing.T) {
	m := load(t, module)
	var all []*Instance
	for {
		i, err := m.Instantiate(1<<20, nil)
		if err != nil {
			if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			break
		}
		all = append(all, i)
	}
	if len(all) != 4 {
		t.Fatalf("%d instances, want 4", len(all))
	}
	for _, i := range all {
		i.Close()
	}
	i, err := m.Instantiate(1<<20, nil)
	if err != nil {
		t.Fatal("no instance after all were closed:", err)
	}
	i.Close()
}

func TestBadModulesAreRefused(t *testing.T) {
	run, compile := enginesOf(t)
	for name, wasm := range map[string]string{
		"empty": "", "truncated": module[:30], "text": "#!/bin/sh\n", "component": "\x00asm\x0d\x00\x01\x00",
	} {
		if _, err := compile.Compile([]byte(wasm)); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
	if _, err := run.LoadBytes([]byte("not an image")); err == nil {
		t.Error("loaded an image that is none")
	}
}

// TestDeclarationsMatchTheLibrary compiles wasmtime_abi.h together with the
// library's own headers: a declaration that differs is a compile error.
func TestDeclarationsMatchTheLibrary(t *testing.T) {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/bytecodealliance/wasmtime-go/v44").Output()
	if err != nil {
		t.Skip("go list does not answer:", err)
	}
	include := filepath.Join(strings.TrimSpace(string(dir)), "build", "include")
	own, err := os.ReadFile("wasmtime_abi.h")
	if err != nil {
		t.Fatal(err)
	}
	var src strings.Builder
	src.WriteString("#include <wasmtime.h>\n")
	structs := map[string]string{"wasmtime_instance": "", "wasmtime_func": "", "wasmtime_memory": "", "wasmtime_extern": "", "wasmtime_val_raw": "", "wasm_byte_vec_t": "", "wasm_valtype_vec_t": ""}
	for line := range strings.Lines(string(own)) {
		if strings.HasPrefix(line, "extern ") {
			src.WriteString(line)
		}
	}
	for s := range structs {
		name := strings.TrimSuffix(s, "_t")
		src.WriteString("_Static_assert(sizeof(" + name + "_t) == SIZE_" + name + ", \"size of " + name + "\");\n")
	}
	tmp := t.TempDir()
	sizes := "#include \"wasmtime_abi.h\"\n#include <stdio.h>\nint main(void){\n"
	for s := range structs {
		name := strings.TrimSuffix(s, "_t")
		sizes += "printf(\"-DSIZE_" + name + "=%zu\\n\", sizeof(" + name + "_t));\n"
	}
	sizes += "return 0;}\n"
	if err := os.WriteFile(filepath.Join(tmp, "sizes.c"), []byte(sizes), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-I.", "-o", filepath.Join(tmp, "sizes"), filepath.Join(tmp, "sizes.c")).CombinedOutput(); err != nil {
		t.Fatalf("compile sizes: %v\n%s", err, out)
	}
	defs, err := exec.Command(filepath.Join(tmp, "sizes")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "abi.c"), []byte(src.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-fsyntax-only", "-I" + include}, strings.Fields(string(defs))...)
	if out, err := exec.Command(cc, append(args, filepath.Join(tmp, "abi.c"))...).CombinedOutput(); err != nil {
		t.Fatalf("wasmtime_abi.h differs from the library: %v\n%s", err, out)
	}
}

// BenchmarkInstance is a whole life: instantiate, one call that calls back, drop.
func BenchmarkInstance(b *testing.B) {
	run, compile := shared.engine, shared.compile
	if run == nil {
		b.Skip("runs after the tests: go test -bench .")
	}
	image, err := compile.Compile([]byte(module))
	if err != nil {
		b.Fatal(err)
	}
	m, err := run.LoadBytes(image)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	host = func(*Instance, int, []byte, []uint64) bool { return true }
	for b.Loop() {
		i, err := m.Instantiate(1<<20, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := i.Call("run"); err != nil {
			b.Fatal(err)
		}
		i.Close()
	}
}
