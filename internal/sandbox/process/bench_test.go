package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that all processes of the machine read alike.
func monotonic() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}

// report gives the median and the 99th percentile of what was measured.
func report(b *testing.B, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// benchmarkStart measures from Start to the first line of the function, which
// writes the time to its output, in nanoseconds.
func benchmarkStart(b *testing.B, f *Function) {
	for _, spare := range []int{-1, 1} {
		name := "fork"
		if spare > 0 {
			name = "spare"
		}
		b.Run(name, func(b *testing.B) {
			p := newPool(b, Options{Spare: spare, Log: func(string, string) {}})
			if err := p.Prepare(context.Background(), f); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for b.Loop() {
				if spare > 0 {
					awaitSpare(p, f)
				}
				began := monotonic()
				r := run(b, p, Call{Function: f})
				if r.Failure != nil {
					b.Fatal(r.Failure)
				}
				at, err := strconv.ParseInt(strings.TrimSpace(string(r.Output)), 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Duration(at)-began)
			}
			report(b, took)
		})
	}
}

// awaitSpare waits until a process is there for the next call, and has had the
// time to get ready.
func awaitSpare(p *Pool, f *Function) {
	p.mu.Lock()
	s := p.servers[f.key()]
	p.mu.Unlock()
	for {
		s.mu.Lock()
		n := len(s.spares)
		s.mu.Unlock()
		if n > 0 {
			time.Sleep(5 * time.Millisecond)
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func BenchmarkStartPython(b *testing.B) {
	benchmarkStart(b, pythonFunction(b, "import time, json, re\ndef handler(event, context):\n    return time.monotonic_ns()\n"))
}

func BenchmarkStartC(b *testing.B) {
	benchmarkStart(b, cFunction(b, `#include <stdio.h>
#include <time.h>
int main(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec); return 0; }
`, "-static"))
}

func BenchmarkStartCDynamic(b *testing.B) {
	benchmarkStart(b, cFunction(b, `#include <stdio.h>
#include <time.h>
int main(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec); return 0; }
`))
}

func BenchmarkStartGo(b *testing.B) {
	benchmarkStart(b, goFunction(b, `package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

func main() {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&t)), 0)
	fmt.Println(t.Nano())
}
`))
}

// goFunction compiles a program.
func goFunction(tb testing.TB, source string) *Function {
	tb.Helper()
	dir := folder(tb)
	write(tb, filepath.Join(dir, "main.go"), source)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "main"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Skipf("go build: %v\n%s", err, out)
	}
	return &Function{Name: "f", Version: unique(), Runtime: Native, Dir: dir, Program: "main"}
}

// BenchmarkWholeCall measures from Start to the end of Wait.
func BenchmarkWholeCall(b *testing.B) {
	for name, f := range map[string]*Function{
		"python": pythonFunction(b, "def handler(event, context):\n    return event\n"),
		"c":      cFunction(b, "int main(void) { return 0; }\n", "-static"),
	} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, Options{Log: func(string, string) {}})
			if err := p.Prepare(context.Background(), f); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for b.Loop() {
				began := monotonic()
				if r := run(b, p, Call{Function: f}); r.Failure != nil {
					b.Fatal(r.Failure)
				}
				took = append(took, monotonic()-began)
			}
			report(b, took)
		})
	}
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}
