package wasitest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/sandbox/wasm/engine"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"golang.org/x/sys/unix"
)

// memoryLimit is how much linear memory a program may have.
const memoryLimit = 1 << 30

// engines are made once: creating one is for the life of the process.
var engines = sync.OnceValues(func() (pair [2]*engine.Engine, err error) {
	kinds := map[wasi.Kind]engine.Kind{wasi.I32: engine.I32, wasi.I64: engine.I64}
	var imports []engine.Import
	for i, f := range calls {
		module := "wasi_snapshot_preview1"
		if i >= len(wasi.Functions) {
			module = "weft"
		}
		im := engine.Import{Module: module, Name: f.Name}
		for _, k := range f.Params {
			im.Params = append(im.Params, kinds[k])
		}
		for _, k := range f.Results {
			im.Results = append(im.Results, kinds[k])
		}
		imports = append(imports, im)
	}
	if pair[0], err = engine.New(engine.Options{Imports: imports, Host: dispatch, Instances: 8}); err != nil {
		return pair, err
	}
	pair[1], err = engine.New(engine.Options{Compile: true})
	return pair, err
})

var calls = append(append([]wasi.Function{}, wasi.Functions...), wasi.NetFunctions...)

func dispatch(i *engine.Instance, index int, mem []byte, args []uint64) bool {
	e := calls[index].Call(i.Owner.(*wasi.System), mem, args)
	if e == wasi.ErrnoExit {
		return false
	}
	if cap(args) > 0 {
		args[:1][0] = uint64(e)
	}
	return true
}

// load compiles a program for the engine.
func load(t testing.TB, path string) *engine.Module {
	t.Helper()
	pair, err := engines()
	if err != nil {
		t.Fatalf("make engine: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	image, err := pair[1].Compile(b)
	if err != nil {
		t.Fatalf("compile %s: %v", path, err)
	}
	m, err := pair[0].LoadBytes(image)
	if err != nil {
		t.Fatalf("load %s: %v", path, err)
	}
	t.Cleanup(m.Close)
	return m
}

// run runs a program and returns its exit status.
func run(t testing.TB, m *engine.Module, cfg wasi.Config) uint32 {
	t.Helper()
	runtime.LockOSThread() // whose processor time is the guest's
	defer runtime.UnlockOSThread()
	s := wasi.New(cfg)
	defer s.Close()
	i, err := m.Instantiate(memoryLimit, s)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	_, err = i.Call("_start")
	if err != nil && !errors.Is(err, engine.ErrExit) {
		t.Fatalf("program trapped: %v", err)
	}
	code, _ := s.ExitCode()
	return code
}

// openPath opens a host path for a mount.
func openPath(t testing.TB, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// clang compiles a C program of testdata.
func clang(t testing.TB, name string) string {
	t.Helper()
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("clang is not installed (packages clang, lld, wasi-libc, libclang-rt-14-dev-wasm32)")
	}
	if _, err := os.Stat("/usr/include/wasm32-wasi/wasi/api.h"); err != nil {
		t.Skip("the C library for WASI is not installed (package wasi-libc)")
	}
	out := filepath.Join(t.TempDir(), name+".wasm")
	cmd := exec.Command("clang", "--target=wasm32-wasi", "-O1", "-Wall", "-Werror", "-o", out, filepath.Join("testdata", name+".c"))
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("clang %s.c: %v\n%s", name, err, b)
	}
	return out
}

// tail is the last lines that a program wrote, for messages.
func tail(b []byte) string {
	const most = 6000
	if len(b) > most {
		return fmt.Sprintf("… %d bytes …\n%s", len(b)-most, b[len(b)-most:])
	}
	return string(b)
}

// output collects what a program writes; it is also safe to read meanwhile.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.b.Bytes())
}
