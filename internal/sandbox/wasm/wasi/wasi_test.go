package wasi

import (
	"bytes"
	"testing"
	"time"
)

// index of Functions by name, for tests.
var byName = func() map[string]*Function {
	m := map[string]*Function{}
	for i := range Functions {
		m[Functions[i].Name] = &Functions[i]
	}
	for i := range NetFunctions {
		m["weft."+NetFunctions[i].Name] = &NetFunctions[i]
	}
	return m
}()

// guest is a fake instance: a linear memory with a bump allocator, and the
// calls that a program would make.
type guest struct {
	t   testing.TB
	s   *System
	mem []byte
	top uint32
}

const guestMemory = 1 << 20

func newGuest(t testing.TB, cfg Config) *guest {
	t.Helper()
	g := &guest{t: t, s: New(cfg), mem: make([]byte, guestMemory), top: 64}
	t.Cleanup(func() {
		if err := g.s.Close(); err != nil {
			t.Errorf("close system: %v", err)
		}
	})
	return g
}

// alloc reserves n bytes, aligned to 8.
func (g *guest) alloc(n int) uint32 {
	p := (g.top + 7) &^ 7
	g.top = p + uint32(n)
	if int(g.top) > len(g.mem) {
		g.t.Fatalf("guest memory exhausted")
	}
	return p
}

// data stores b and returns its address and length.
func (g *guest) data(b string) (uint64, uint64) {
	p := g.alloc(len(b))
	copy(g.mem[p:], b)
	return uint64(p), uint64(len(b))
}

// iovec stores a list of buffers and returns its address and length.
func (g *guest) iovec(pairs ...uint32) (uint64, uint64) {
	p := g.alloc(len(pairs) * 4)
	for i, v := range pairs {
		le.PutUint32(g.mem[int(p)+4*i:], v)
	}
	return uint64(p), uint64(len(pairs) / 2)
}

// call calls a function by name.
func (g *guest) call(name string, args ...uint64) Errno {
	g.t.Helper()
	f := byName[name]
	if f == nil || len(f.Params) != len(args) {
		g.t.Fatalf("%s called with %d arguments", name, len(args))
	}
	return f.Call(g.s, g.mem, args)
}

// must calls a function that has to succeed.
func (g *guest) must(name string, args ...uint64) {
	g.t.Helper()
	if e := g.call(name, args...); e != Success {
		g.t.Fatalf("%s%v = %v", name, args, e)
	}
}

func (g *guest) u32(p uint32) uint32 { return le.Uint32(g.mem[p:]) }
func (g *guest) u64(p uint32) uint64 { return le.Uint64(g.mem[p:]) }

// write writes to a descriptor.
func (g *guest) write(fd uint32, text string) (int, Errno) {
	p, n := g.data(text)
	v, c := g.iovec(uint32(p), uint32(n))
	out := g.alloc(4)
	e := g.call("fd_write", uint64(fd), v, c, uint64(out))
	return int(g.u32(out)), e
}

// read reads up to n bytes from a descriptor.
func (g *guest) read(fd uint32, n int) (string, Errno) {
	p := g.alloc(n)
	v, c := g.iovec(p, uint32(n))
	out := g.alloc(4)
	e := g.call("fd_read", uint64(fd), v, c, uint64(out))
	return string(g.mem[p : p+g.u32(out)]), e
}

func TestFunctionTable(t *testing.T) {
	if len(Functions) != 46 {
		t.Errorf("%d functions, want 46", len(Functions))
	}
	if len(byName) != len(Functions)+len(NetFunctions) {
		t.Errorf("a name occurs twice")
	}
}

func TestArgumentsAndEnvironment(t *testing.T) {
	g := newGuest(t, Config{Args: []string{"prog", "", "-x"}, Env: []string{"A=1"}})
	count, size := g.alloc(4), g.alloc(4)
	g.must("args_sizes_get", uint64(count), uint64(size))
	if g.u32(count) != 3 || g.u32(size) != 9 {
		t.Fatalf("args: %d strings of %d bytes", g.u32(count), g.u32(size))
	}
	table, buf := g.alloc(12), g.alloc(9)
	g.must("args_get", uint64(table), uint64(buf))
	if got := string(g.mem[buf : buf+9]); got != "prog\x00\x00-x\x00" {
		t.Errorf("args %q", got)
	}
	if g.u32(table+8) != buf+6 {
		t.Errorf("third pointer %d, want %d", g.u32(table+8), buf+6)
	}
	g.must("environ_sizes_get", uint64(count), uint64(size))
	if g.u32(count) != 1 || g.u32(size) != 4 {
		t.Errorf("environ: %d strings of %d bytes", g.u32(count), g.u32(size))
	}
	if e := g.call("args_get", guestMemory-4, 0); e != Efault {
		t.Errorf("table outside memory: %v", e)
	}
	if e := g.call("args_get", 0, guestMemory-5); e != Efault {
		t.Errorf("strings outside memory: %v", e)
	}
}

func TestStandardStreams(t *testing.T) {
	out := &Buffer{Limit: 8}
	g := newGuest(t, Config{Stdin: bytes.NewReader([]byte("hello")), Stdout: out})
	if s, e := g.read(0, 3); s != "hel" || e != Success {
		t.Errorf("read %q, %v", s, e)
	}
	if s, e := g.read(0, 9); s != "lo" || e != Success {
		t.Errorf("read %q, %v", s, e)
	}
	if s, e := g.read(0, 9); s != "" || e != Success {
		t.Errorf("read at the end %q, %v", s, e)
	}
	if n, e := g.write(1, "12345"); n != 5 || e != Success {
		t.Errorf("write %d, %v", n, e)
	}
	if n, e := g.write(1, "67890"); n != 3 || e != Success || !out.Exceeded {
		t.Errorf("write over the limit %d, %v", n, e)
	}
	if _, e := g.write(1, "x"); e != Efbig {
		t.Errorf("write beyond the limit: %v", e)
	}
	if string(out.Bytes()) != "12345678" {
		t.Errorf("output %q", out.Bytes())
	}
	if _, e := g.read(1, 1); e != Enotcapable {
		t.Errorf("read stdout: %v", e)
	}
	if _, e := g.write(0, "x"); e != Enotcapable {
		t.Errorf("write stdin: %v", e)
	}
	if n, e := g.write(2, "discarded"); n != 9 || e != Success {
		t.Errorf("write stderr: %d, %v", n, e)
	}
	p := uint64(g.alloc(8))
	if e := g.call("fd_seek", 1, 0, 0, p); e != Espipe {
		t.Errorf("seek stdout: %v", e)
	}
	g.must("fd_close", 1)
	if _, e := g.write(1, "x"); e != Ebadf {
		t.Errorf("write closed: %v", e)
	}
	g.s.SetStreams(nil, out, nil)
	out.Reset()
	if n, e := g.write(1, "again"); n != 5 || e != Success {
		t.Errorf("write to fresh stdout: %d, %v", n, e)
	}
}

func TestClocksAndRandom(t *testing.T) {
	g := newGuest(t, Config{Clocks: Clocks{Realtime: func() int64 { return 7 }}})
	p := g.alloc(8)
	g.must("clock_time_get", 0, 1, uint64(p))
	if g.u64(p) != 7 {
		t.Errorf("injected clock: %d", g.u64(p))
	}
	g.must("clock_time_get", 1, 1, uint64(p))
	first := g.u64(p)
	time.Sleep(time.Millisecond)
	g.must("clock_time_get", 1, 1, uint64(p))
	if d := g.u64(p) - first; d < 1e6 || d > 1e10 {
		t.Errorf("monotonic clock moved by %d", d)
	}
	g.must("clock_time_get", 3, 1, uint64(p))
	g.must("clock_res_get", 0, uint64(p))
	if g.u64(p) != 1 {
		t.Errorf("resolution %d", g.u64(p))
	}
	if e := g.call("clock_time_get", 4, 1, uint64(p)); e != Einval {
		t.Errorf("unknown clock: %v", e)
	}
	if e := g.call("clock_time_get", 0, 1, guestMemory-7); e != Efault {
		t.Errorf("clock outside memory: %v", e)
	}
	a, b := g.alloc(32), g.alloc(32)
	g.must("random_get", uint64(a), 32)
	g.must("random_get", uint64(b), 32)
	if bytes.Equal(g.mem[a:a+32], g.mem[b:b+32]) {
		t.Errorf("random bytes repeat")
	}
	if e := g.call("random_get", guestMemory-1, 2); e != Efault {
		t.Errorf("random outside memory: %v", e)
	}
	g.must("sched_yield")
}

func TestExit(t *testing.T) {
	g := newGuest(t, Config{})
	if _, exited := g.s.ExitCode(); exited {
		t.Errorf("exited before it did")
	}
	if e := g.call("proc_exit", 3); e != ErrnoExit {
		t.Errorf("proc_exit: %v", e)
	}
	if code, exited := g.s.ExitCode(); code != 3 || !exited {
		t.Errorf("exit code %d, %v", code, exited)
	}
	for signal, want := range map[uint64]Errno{0: Success, 6: ErrnoExit, 16: Success, 18: Enosys, 31: Einval} {
		if e := g.call("proc_raise", signal); e != want {
			t.Errorf("proc_raise(%d) = %v, want %v", signal, e, want)
		}
	}
}

func TestHotCallsDoNotAllocate(t *testing.T) {
	out := &Buffer{Limit: 1 << 20}
	out.Write(make([]byte, 1<<19))
	out.Reset()
	g := newGuest(t, Config{Args: []string{"a"}, Stdin: bytes.NewReader(make([]byte, 1<<20)), Stdout: out,
		Mounts: []Mount{{Guest: "/", FD: openPath(t, t.TempDir())}}})
	file := uint64(g.mustOpen("f", opening{oflags: openCreate}))
	p, n := g.data("hello, world\n")
	v, c := g.iovec(uint32(p), uint32(n))
	result := uint64(g.alloc(64))
	calls := []struct {
		name string
		args []uint64
	}{
		{"fd_write", []uint64{1, v, c, result}},
		{"fd_read", []uint64{0, v, c, result}},
		{"fd_write", []uint64{file, v, c, result}},
		{"fd_read", []uint64{file, v, c, result}},
		{"fd_pread", []uint64{file, v, c, 0, result}},
		{"fd_pwrite", []uint64{file, v, c, 0, result}},
		{"fd_seek", []uint64{file, 0, 0, result}},
		{"fd_filestat_get", []uint64{file, result}},
		{"clock_time_get", []uint64{1, 1, result}},
		{"clock_time_get", []uint64{0, 1, result}},
		{"random_get", []uint64{result, 32}},
		{"args_sizes_get", []uint64{result, result}},
		{"args_get", []uint64{result, p}},
	}
	for _, call := range calls {
		f := byName[call.name]
		if n := testing.AllocsPerRun(100, func() { f.Call(g.s, g.mem, call.args) }); n != 0 {
			t.Errorf("%s allocates %v times", call.name, n)
		}
	}
}

func BenchmarkFdWrite(b *testing.B) {
	out := &Buffer{Limit: 1 << 30}
	g := newGuest(b, Config{Stdout: out})
	p, n := g.data("hello, world\n")
	v, c := g.iovec(uint32(p), uint32(n))
	args := []uint64{1, v, c, uint64(g.alloc(4))}
	f := byName["fd_write"]
	for b.Loop() {
		if len(out.Bytes()) > 1<<16 {
			out.Reset()
		}
		f.Call(g.s, g.mem, args)
	}
}

func BenchmarkClockTimeGet(b *testing.B) {
	g := newGuest(b, Config{})
	args := []uint64{1, 1, uint64(g.alloc(8))}
	f := byName["clock_time_get"]
	for b.Loop() {
		f.Call(g.s, g.mem, args)
	}
}
