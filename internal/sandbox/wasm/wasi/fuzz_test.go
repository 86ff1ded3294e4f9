package wasi

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFiles keeps fd_allocate and the like from filling the disk.
var limitFiles = func() func(testing.TB) {
	var once sync.Once
	return func(t testing.TB) {
		once.Do(func() {
			signal.Ignore(unix.SIGXFSZ) // the call then fails with FBIG
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 64 << 20, Max: unix.RLIM_INFINITY}); err != nil {
				t.Fatalf("limit the size of files: %v", err)
			}
		})
	}
}()

// newFuzzGuest makes a guest with something of every kind in its table, and a
// small memory.
func newFuzzGuest(t testing.TB) *guest {
	limitFiles(t)
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "d"), 0o700)
	os.WriteFile(filepath.Join(dir, "f"), []byte("contents"), 0o600)
	os.Symlink("f", filepath.Join(dir, "l"))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(pair[1]) })
	cfg := Config{
		Args: []string{"a", "b"}, Env: []string{"C=d"},
		Stdin: bytes.NewReader([]byte("input")), Stdout: &Buffer{Limit: 1000},
		Mounts: []Mount{{Guest: "/", FD: openPath(t, dir)}, {Guest: "/zip", Kind: Zip, FD: writeArchive(t)}},
		Dial: func(string, uint16) (int, Errno) {
			fd, err := unix.FcntlInt(uintptr(pair[0]), unix.F_DUPFD_CLOEXEC, 0)
			return fd, toErrno(err)
		},
		Descriptors: 32,
	}
	t.Cleanup(func() { closeFD(pair[0]) })
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Cleanup(func() { ln.Close() })
		if f, err := ln.(*net.TCPListener).File(); err == nil {
			t.Cleanup(func() { f.Close() })
			cfg.Listeners = []Listener{{Port: 80, FD: int(f.Fd())}}
		}
	}
	g := newGuest(t, cfg)
	g.mem = make([]byte, 1<<16)
	return g
}

// playable are the functions that a program of random calls is made of.
var playable = append(append([]Function{}, Functions...), NetFunctions...)

// play makes the calls that script encodes: a byte for the function, and for
// each argument a byte that says how to make it. A watchdog ends calls that
// wait.
func play(t testing.TB, script []byte) {
	g := newFuzzGuest(t)
	watchdog := time.AfterFunc(50*time.Millisecond, g.s.Interrupt)
	defer watchdog.Stop()
	r := rand.New(rand.NewPCG(uint64(len(script)), 7))
	seed := make([]byte, 4096)
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	copy(g.mem[1024:], seed)
	for i, path := range []string{"f", "d", "l", "d/x", "..", "/", "f/", "new", ""} {
		copy(g.mem[64*i:], path+"\x00")
	}
	for calls := 0; len(script) > 0 && calls < 64; calls++ {
		f := &playable[int(script[0])%len(playable)]
		script = script[1:]
		args := make([]uint64, len(f.Params))
		for i, k := range f.Params {
			var how byte
			if len(script) > 0 {
				how, script = script[0], script[1:]
			}
			switch how >> 6 {
			case 0:
				args[i] = uint64(how & 63) // a descriptor, a flag, a length
			case 1:
				args[i] = 64 * uint64(how&63) // the address of a path
			case 2:
				args[i] = uint64(len(g.mem)) - uint64(how&63) // the end of memory
			default:
				var b [8]byte
				n := copy(b[:], script)
				script = script[n:]
				args[i] = binary.LittleEndian.Uint64(b[:])
			}
			if k == I32 {
				args[i] = uint64(uint32(args[i]))
			}
		}
		e := f.Call(g.s, g.mem, args)
		if e > Enotcapable && e != ErrnoExit {
			t.Fatalf("%s%v returned %d", f.Name, args, e)
		}
		if len(f.Results) == 0 != (e == ErrnoExit) && f.Name != "proc_raise" {
			t.Fatalf("%s%v returned %v", f.Name, args, e)
		}
	}
}

// FuzzCall makes random calls with random arguments: none may panic, or return
// what is no error number.
func FuzzCall(f *testing.F) {
	f.Add([]byte{})
	for i := range playable {
		f.Add(append([]byte{byte(i)}, bytes.Repeat([]byte{3}, 9)...))
		f.Add(append([]byte{byte(i)}, bytes.Repeat([]byte{0x43}, 9)...))
		f.Add(append([]byte{byte(i)}, bytes.Repeat([]byte{0xff}, 90)...))
	}
	f.Fuzz(func(t *testing.T, script []byte) { play(t, script) })
}

func TestRandomCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		script := make([]byte, 400)
		for i := range script {
			script[i] = byte(r.Uint32())
			if r.IntN(3) > 0 {
				script[i] &= 0x7f // mostly small numbers and paths
			}
		}
		play(t, script)
	}
}
