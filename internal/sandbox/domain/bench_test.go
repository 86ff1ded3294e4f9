package domain

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
)

// nothing is the smallest program that has an output: it prints 1.
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1)
//	  (func (export "_start") (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))))
//	  (data (i32.const 0) "\08\00\00\00\01\00\00\001"))
var nothing = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0c\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00" +
	"\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x00" +
	"\x03\x02\x01\x01" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x01" +
	"\x0a\x0f\x01\x0d\x00\x41\x01\x41\x00\x41\x01\x41\x0c\x10\x00\x1a\x0b" +
	"\x0b\x0f\x01\x00\x41\x00\x0b\x09\x08\x00\x00\x00\x01\x00\x00\x00\x31")

func nothingFunction(t testing.TB, p *Pool) *Function {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nothing.wasm")
	if err := os.WriteFile(path, nothing, 0o644); err != nil {
		t.Fatal(err)
	}
	image, err := p.Image(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { image.Close() })
	return &Function{Name: "nothing", Image: image, Memory: 1 << 20, MaxOutput: 1 << 20}
}

// processorTime is what this process, and what its children that live, have used.
func processorTime(t testing.TB) (own, hosts time.Duration) {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for pid := range strings.FieldsSeq(string(b)) {
			threads, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
			for _, file := range threads {
				b, _ := os.ReadFile(file)
				if f := strings.Fields(string(b)); len(f) > 0 {
					n, _ := strconv.ParseInt(f[0], 10, 64)
					hosts += time.Duration(n)
				}
			}
		}
	}
	return own, hosts
}

// measure reports the processor time of an operation on both sides.
func measure(b *testing.B, f func()) {
	own, hosts := processorTime(b)
	f()
	b.StopTimer()
	own2, hosts2 := processorTime(b)
	b.ReportMetric(float64((own2-own).Nanoseconds())/float64(b.N)/1e3, "node-µs/op")
	b.ReportMetric(float64((hosts2-hosts).Nanoseconds())/float64(b.N)/1e3, "host-µs/op")
}

// runOf opens a domain, has it carry out n calls one after the other, and closes it.
func runOf(t testing.TB, p *Pool, f *Function, run string, n int) {
	results := make(chan Result, 1)
	d, err := p.Domain(Options{Run: run, Version: "v", Done: func(r Result) { results <- r }})
	if err != nil {
		t.Error(err)
		return
	}
	for id := uint64(1); id <= uint64(n); id++ {
		d.Start(Call{ID: id, Function: f, Path: "step" + strconv.FormatUint(id, 10), Step: "step", Index: -1, Attempt: 1, Input: []byte("{}")})
		if r := <-results; r.Failure != nil || string(r.Output) != "1" {
			t.Errorf("%s, %+v", r.Output, r.Failure)
			return
		}
		if _, err := d.Commit(id); err != nil {
			t.Error(err)
			return
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkRun is a run, from opening its domain to closing it: of one call, of
// ten, and of ten as one of so many runs at a time.
func BenchmarkRun(b *testing.B) {
	p := newPool(b)
	f := nothingFunction(b, p)
	b.Run("short", func(b *testing.B) {
		runOf(b, p, f, "warm", 1)
		measure(b, func() {
			for b.Loop() {
				runOf(b, p, f, "r", 1)
			}
		})
	})
	for _, at := range []int{1, 8} {
		b.Run(fmt.Sprintf("%d", at), func(b *testing.B) {
			for range 4 {
				runOf(b, p, f, "warm", 10)
			}
			var n atomic.Int64
			b.SetParallelism((at + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			measure(b, func() {
				if at == 1 {
					for b.Loop() {
						runOf(b, p, f, "r", 10)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						runOf(b, p, f, fmt.Sprint("r", n.Add(1)), 10)
					}
				})
			})
		})
	}
}

// BenchmarkInvoke is a single invocation: alone, and as one of so many at a time.
func BenchmarkInvoke(b *testing.B) {
	p := newPool(b)
	f := nothingFunction(b, p)
	l := p.Lane(LaneOptions{Version: "v"})
	defer l.Close()
	invoke := func() {
		r, err := l.Invoke(b.Context(), Invocation{Function: f, Name: "i", Input: []byte("{}"), Timeout: time.Minute})
		if err != nil || r.Failure != nil || string(r.Output) != "1" {
			b.Errorf("%+v, %v", r, err)
		}
	}
	for range 100 {
		invoke()
	}
	for _, at := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("%d", at), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism((at + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			measure(b, func() {
				if at == 1 {
					for b.Loop() {
						invoke()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						invoke()
					}
				})
			})
		})
	}
}

// BenchmarkInvokeScheduled is BenchmarkInvoke, one at a time, under a policy and without one.
func BenchmarkInvokeScheduled(b *testing.B) {
	for _, name := range []string{policy.None, policy.Weft} {
		b.Run(name, func(b *testing.B) {
			settings := scheduler.Defaults(runtime.NumCPU())
			settings.Policy = name
			s, err := scheduler.New(scheduler.Options{Settings: settings})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			p := newPool(b, func(o *PoolOptions) { o.CPU = s })
			f := nothingFunction(b, p)
			l := p.Lane(LaneOptions{Version: "v"})
			defer l.Close()
			var times []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				begun := time.Now()
				r, err := l.Invoke(b.Context(), Invocation{Function: f, Name: "i", Input: []byte("{}"), Timeout: time.Minute})
				if err != nil || r.Failure != nil {
					b.Fatalf("%+v, %v", r, err)
				}
				times = append(times, time.Since(begun))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2])/1e3, "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100])/1e3, "p99-µs")
		})
	}
}

// BenchmarkInvokeHTTP is an invocation behind an HTTP server, with its clients in
// this process too: what a node could reach at most.
func BenchmarkInvokeHTTP(b *testing.B) {
	p := newPool(b)
	f := nothingFunction(b, p)
	l := p.Lane(LaneOptions{Version: "v"})
	defer l.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := p.Body(q.Body, q.ContentLength, 1<<20)
		if err != nil {
			b.Error(err)
			return
		}
		defer body.Close()
		r, err := l.Invoke(q.Context(), Invocation{Function: f, Name: "i", Body: body, Timeout: time.Minute})
		if err != nil || r.Failure != nil {
			b.Errorf("%+v, %v", r, err)
			return
		}
		defer r.Close()
		out, n := r.Body()
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.Copy(w, out)
	}))
	defer server.Close()
	for _, at := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d", at), func(b *testing.B) {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: at}}
			defer client.CloseIdleConnections()
			post := func() {
				r, err := client.Post(server.URL, "application/json", strings.NewReader("{}"))
				if err != nil {
					b.Error(err)
					return
				}
				if out, err := io.ReadAll(r.Body); err != nil || string(out) != "1" {
					b.Errorf("%q, %v", out, err)
				}
				r.Body.Close()
			}
			for range 20 {
				post()
			}
			b.SetParallelism((at + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			measure(b, func() {
				if at == 1 {
					for b.Loop() {
						post()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						post()
					}
				})
			})
		})
	}
}
