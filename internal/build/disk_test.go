package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// program encodes a module of at least the given size that a sandbox runs.
func program(size int) string {
	return importing("weft", "put", "\x00\x00") + section(0, name("padding")+strings.Repeat("x", size))
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	dir := write(t, map[string]string{"f.wasm": program(0), "file": ""})
	_, err := New(Config{CacheDir: filepath.Join(dir, "file")}).Build(t.Context(), dir, Source{Function: "f", Path: "f.wasm"}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot write to the cache") || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("got %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	cache := t.TempDir()
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(cache, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := write(t, map[string]string{"big.wasm": program(1 << 20), "small.wasm": program(1 << 10)})
	b := New(Config{CacheDir: cache})
	_, err := b.Build(t.Context(), dir, Source{Function: "f", Path: "big.wasm"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), "free space") {
		t.Errorf("got %v", err)
	}
	checkClean(t, cache)
	m, err := b.Build(t.Context(), dir, Source{Function: "f", Path: "small.wasm"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(m.Path); err != nil || string(data) != program(1<<10) {
		t.Errorf("module is %d bytes, %v", len(data), err)
	}
}

// A compiler that meets a full disk fails, or succeeds with half a module; either way the hint says what to look at.
func TestCompilerOnFullDisk(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs go: %v", err)
	}
	cache := t.TempDir()
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(cache, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := write(t, map[string]string{"go.mod": "module m\n", "f/main.go": "package main\nfunc main() {}\n"})
	_, err := New(Config{CacheDir: cache}).Build(t.Context(), dir, Source{Function: "f", Path: "f"}, nil)
	if err == nil || !strings.Contains(err.Error(), "is almost full: free space") {
		t.Errorf("got %v", err)
	}
	checkClean(t, cache)
}

// A module that changes on disk is another module, and the earlier one stays
// what it was.
func TestPrebuiltModuleIsCopied(t *testing.T) {
	dir, cache := write(t, map[string]string{"f.wasm": program(10)}), t.TempDir()
	b := New(Config{CacheDir: cache})
	f := Source{Function: "f", Path: "f.wasm"}
	first, err := b.Build(t.Context(), dir, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f.wasm"), []byte(program(11)), 0o644); err != nil {
		t.Fatal(err)
	}
	second, err := b.Build(t.Context(), dir, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(first.Path); err != nil || string(data) != program(10) || first.Digest == second.Digest {
		t.Errorf("first module is %d bytes, %v; digests %s, %s", len(data), err, first.Digest, second.Digest)
	}
}
