package process

import (
	"context"
	"encoding/json"
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
	for s != nil {
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

// BenchmarkHandOver measures how long 64 MiB take from a native function to one
// in Python, which time themselves: what publishing costs the one and taking the
// other, of which it looks at both ends.
func BenchmarkHandOver(b *testing.B) {
	source, err := os.ReadFile("../../../examples/processes/fill.c")
	if err != nil {
		b.Fatal(err)
	}
	look, err := os.ReadFile("../../../examples/processes/look.py")
	if err != nil {
		b.Fatal(err)
	}
	p := newPool(b, Options{Log: func(string, string) {}})
	fill := cFunction(b, string(source), "-O2", "-DWEFT_MAIN", "-pthread", "-I", sdkInclude(b))
	user := pythonFunction(b, string(look))
	fill.Limits.Memory, user.Limits.Memory = 1<<30, 1<<30
	took := map[string][]time.Duration{}
	for i := 0; b.Loop(); i++ {
		m := newMemory(b, 0)
		for _, c := range []struct {
			f   *Function
			key string
		}{{fill, "put"}, {user, "take"}} {
			awaitSpare(p, c.f)
			r := run(b, p, Call{Function: c.f, Slots: m.attempt(c.key), Input: []byte(`{"size": 67108864}`)})
			var said map[string]int64
			if err := json.Unmarshal(r.Output, &said); r.Failure != nil || err != nil {
				b.Fatalf("%v, %v: %s", r.Failure, err, r.Output)
			}
			took[c.key] = append(took[c.key], time.Duration(said[c.key+"_ns"]))
		}
		m.table.Drop()
		for _, s := range m.made {
			s.Release()
		}
		m.made = nil
	}
	for key, took := range took {
		b.ReportMetric(float64(median(took).Nanoseconds())/1e3, key+"-p50-µs")
	}
	b.ReportMetric(0, "ns/op")
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkFamily measures what five functions of one app cost whose modules
// import numpy, or next to nothing: from nothing to the end of the first call of the first of them, the
// same of each other one, and the memory of all then, each page shared out among
// those that have it (PSS).
func BenchmarkFamily(b *testing.B) {
	python, layer := numpy(b)
	for _, c := range []struct{ name, family, module, use string }{
		{"numpy/alone", "", "numpy", "float(numpy.ones(3).sum())"},
		{"numpy/parent", "app", "numpy", "float(numpy.ones(3).sum())"},
		{"colorsys/alone", "", "colorsys", "3.0"},
		{"colorsys/parent", "app", "colorsys", "3.0"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var first, others []time.Duration
			var memory []int64
			for b.Loop() {
				p := newPool(b, Options{Python: python, Spare: -1, Log: func(string, string) {}})
				for i := range 5 {
					f := pythonFunction(b, "import "+c.module+"\ndef handler(event, context):\n    return "+c.use+"\n")
					f.Layers, f.Family, f.Common = []string{layer}, c.family, []string{c.module}
					began := monotonic()
					if r := run(b, p, Call{Function: f}); r.Failure != nil || string(r.Output) != "3.0" {
						b.Fatalf("%s, %v", r.Output, r.Failure)
					}
					if took := monotonic() - began; i == 0 {
						first = append(first, took)
					} else {
						others = append(others, took)
					}
					if (adoptedBy(p, f) != nil) != (c.family != "" && os.Getuid() == 0) {
						b.Fatal("it is not where it should be")
					}
				}
				memory = append(memory, proportional(b, "python3"))
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(memory)
			b.ReportMetric(float64(median(first).Microseconds())/1e3, "first-ms")
			b.ReportMetric(float64(median(others).Microseconds())/1e3, "others-ms")
			b.ReportMetric(float64(memory[len(memory)/2])/(1<<20), "pss-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// proportional sums up the memory of those descendants of this process that have
// that name.
func proportional(b *testing.B, name string) int64 {
	b.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.Fatal(err)
	}
	above := map[int]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if parent, ok := parentOf(pid); ok {
				above[pid] = parent
			}
		}
	}
	var sum int64
	for pid := range above {
		at := pid
		for at > 1 && at != os.Getpid() {
			at = above[at]
		}
		comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		if at != os.Getpid() || !strings.HasPrefix(string(comm), name) {
			continue
		}
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		for line := range strings.SplitSeq(string(text), "\n") {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
				kib, _ := strconv.ParseInt(fields[1], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}
