package baseline

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// Every way of handing over must bring every word across, for small and large blocks, again and again.
func TestTransfers(t *testing.T) {
	for name, start := range map[string]func() (Transfer, error){
		"unix socket": NewUnixSocket,
		"http":        NewHTTP,
		"memfd":       NewMemfd,
		"file":        func() (Transfer, error) { return NewFile(t.TempDir()) },
		"resident":    func() (Transfer, error) { return NewResident(), nil },
	} {
		t.Run(name, func(t *testing.T) {
			transfer, err := start()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, size := range []int{8, 4 << 10, 1 << 20, 4 << 10, 5 << 20} {
				h, err := transfer.Hand(ctx, NewBlock(size))
				if err != nil {
					t.Fatal(err)
				}
				if h.Sum != SumOfBlock(size) {
					t.Errorf("%d bytes: sum %d, want %d", size, h.Sum, SumOfBlock(size))
				}
				if h.Read <= 0 || h.Read > 10*time.Second || h.Publish < 0 {
					t.Errorf("%d bytes: %+v", size, h)
				}
			}
			if err := transfer.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// A changed byte must not go unnoticed: the sum is what the experiments check.
func TestSumSeesEveryWord(t *testing.T) {
	block := NewBlock(4096)
	for i := 0; i < len(block); i += 8 {
		block[i]++
		if Sum(block) == SumOfBlock(len(block)) {
			t.Fatalf("a change of word %d was not seen", i/8)
		}
		block[i]--
	}
}

func TestSpawns(t *testing.T) {
	dir := t.TempDir()
	for name, start := range map[string]func() (*Spawn, error){
		"process":            func() (*Spawn, error) { return NewProcess(dir) },
		"namespaced process": func() (*Spawn, error) { return NewNamespacedProcess(dir) },
		"python3":            NewPython,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := start()
			if errors.Is(err, exec.ErrNotFound) || errors.Is(err, errArchitecture) || errors.Is(err, os.ErrPermission) {
				t.Skip(err) // no python3, no tiny executable for this processor, no namespaces for ordinary users
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(t.Context())
			if err != nil || string(out) != Hello {
				t.Errorf("printed %q, %v", out, err)
			}
		})
	}
}

func TestTinyExecutableIsTiny(t *testing.T) {
	image, err := tinyExecutable(Hello)
	if errors.Is(err, errArchitecture) {
		t.Skip(err)
	}
	if len(image) != 159 {
		t.Errorf("%d bytes", len(image))
	}
}

func TestNative(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "echo.c")
	write := func(text string) {
		if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("#include <stdio.h>\nint main(int c, char **v) { if (c < 2) { fputs(\"no word\", stderr); return 3; } puts(v[1]); return 0; }\n")
	n, err := CompileNative(t.Context(), source, dir, dir)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, took, err := n.Run(t.Context(), "word")
	if err != nil || string(out) != "word\n" || took <= 0 {
		t.Errorf("%q, %s, %v", out, took, err)
	}
	if _, _, err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no word") {
		t.Errorf("a failing program: %v", err)
	}
	write("int main(")
	if _, err := CompileNative(t.Context(), source, dir, dir); err == nil || !strings.Contains(err.Error(), "error") {
		t.Errorf("a broken program: %v", err)
	}
}

func TestChildMainRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"nobody"}, {roleFile}} {
		if err := childMain(args); err == nil {
			t.Errorf("%q: accepted", args)
		}
	}
}

func BenchmarkTransfers(b *testing.B) {
	for name, start := range map[string]func() (Transfer, error){
		"unix socket": NewUnixSocket, "http": NewHTTP, "memfd": NewMemfd,
		"file":     func() (Transfer, error) { return NewFile(b.TempDir()) },
		"resident": func() (Transfer, error) { return NewResident(), nil },
	} {
		transfer, err := start()
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{4 << 10, 16 << 20} {
			block := NewBlock(size)
			b.Run(name, func(b *testing.B) {
				var read time.Duration
				for b.Loop() {
					h, err := transfer.Hand(b.Context(), block)
					if err != nil {
						b.Fatal(err)
					}
					read += h.Read
				}
				b.ReportMetric(float64(read.Microseconds())/float64(b.N), "µs/read")
			})
		}
		transfer.Close()
	}
}
