package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/weft-run/weft/internal/sandbox/wasm/confine"
	"golang.org/x/sys/unix"
)

// The test binary is its own host executable: started as "weft-host", package
// confine has confined it by the time Go runs, and it serves requests of the
// test on descriptor 3 instead of running tests.
func init() {
	if applied := confine.Applied(); applied.Host {
		serveTest(applied)
	}
	if dir := os.Getenv("WEFT_TEST_NODE"); dir != "" {
		beNode()
	}
}

// request asks a test host to try something; at most one descriptor goes along.
type request struct {
	Op   string
	Path string
	Num  int
	FD   int // of an earlier answer or grant
}

// answer is what came of it.
type answer struct {
	Errno int
	Num   int
	Text  string
}

// serveTest ends with unix.Exit: os.Exit has the race detector wait a second.
func serveTest(applied confine.Report) {
	for range 3 { // threads that exist before the filter
		go func() { runtime.LockOSThread(); select {} }()
	}
	if err := confine.Seccomp(applied.Role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		unix.Exit(1)
	}
	text, _ := json.Marshal(applied)
	reply, _ := json.Marshal(answer{Text: string(text)})
	for {
		if _, err := unix.Write(3, reply); err != nil {
			unix.Exit(0)
		}
		body, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
		n, cn, _, _, err := unix.Recvmsg(3, body, control, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			unix.Exit(0)
		}
		var q request
		if err := json.Unmarshal(body[:n], &q); err != nil {
			unix.Exit(3)
		}
		if cn > 0 {
			messages, _ := unix.ParseSocketControlMessage(control[:cn])
			fds, _ := unix.ParseUnixRights(&messages[0])
			q.FD = fds[0]
		}
		a, err := try(q)
		var errno unix.Errno
		if errors.As(err, &errno) {
			a.Errno = int(errno)
		}
		reply, _ = json.Marshal(a)
	}
}

var hoard [][]byte

// try makes the system call that a request names.
func try(q request) (a answer, err error) {
	call := func(nr uintptr, args ...uintptr) error {
		var x [6]uintptr
		copy(x[:], args)
		r, _, errno := unix.RawSyscall6(nr, x[0], x[1], x[2], x[3], x[4], x[5])
		a.Num = int(r)
		if errno != 0 {
			return errno
		}
		return nil
	}
	path := append([]byte(q.Path), 0)
	name := uintptr(unsafe.Pointer(&path[0]))
	defer runtime.KeepAlive(path)
	at := func() int {
		if q.FD != 0 {
			return q.FD
		}
		return unix.AT_FDCWD
	}
	switch q.Op {
	case "grant":
		a.Num = q.FD
	case "open":
		a.Num, err = unix.Openat(at(), q.Path, q.Num|unix.O_CLOEXEC, 0o644)
	case "create-setuid":
		a.Num, err = unix.Openat(at(), q.Path, unix.O_CREAT|unix.O_WRONLY, 0o4755)
	case "openat2":
		how := unix.OpenHow{Flags: unix.O_RDONLY}
		a.Num, err = unix.Openat2(at(), q.Path, &how)
	case "read":
		b := make([]byte, 1000)
		a.Num, err = unix.Read(q.FD, b)
		a.Text = string(b[:max(a.Num, 0)])
	case "write":
		a.Num, err = unix.Write(q.FD, []byte(q.Path))
	case "rename":
		from, to, _ := strings.Cut(q.Path, ":")
		err = unix.Renameat(at(), from, at(), to)
	case "mkdir":
		err = unix.Mkdirat(at(), q.Path, 0o755)
	case "chmod":
		err = unix.Fchmodat(at(), q.Path, 0o4755, 0)
	case "inode":
		var st unix.Stat_t
		err = unix.Fstatat(at(), q.Path, &st, 0)
		a.Num, a.Text = int(st.Ino), fmt.Sprint(st.Uid)
	case "list":
		fd, e := unix.Openat(at(), q.Path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != nil {
			return a, e
		}
		defer unix.Close(fd)
		b := make([]byte, 4096)
		n, e := unix.Getdents(fd, b)
		_, _, names := unix.ParseDirent(b[:max(n, 0)], -1, nil)
		a.Text = strings.Join(names, " ")
		return a, e
	case "socket":
		a.Num, err = unix.Socket(q.Num, unix.SOCK_STREAM, 0)
	case "socketpair":
		_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	case "connect":
		err = unix.Connect(3, &unix.SockaddrUnix{Name: "/x"})
	case "bind":
		err = unix.Bind(3, &unix.SockaddrUnix{Name: "\x00x"})
	case "listen":
		err = unix.Listen(3, 1)
	case "fastopen":
		err = unix.Sendto(3, []byte("x"), unix.MSG_FASTOPEN, nil)
	case "ptrace":
		err = call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(q.Num))
	case "mount":
		err = unix.Mount("x", "/", "tmpfs", 0, "")
	case "unshare":
		err = unix.Unshare(q.Num)
	case "setns":
		err = unix.Setns(3, 0)
	case "execve":
		err = call(unix.SYS_EXECVE, name, 0, 0)
	case "kill":
		err = unix.Kill(q.Num, unix.SIGKILL)
	case "tgkill":
		err = unix.Tgkill(q.Num, q.Num, unix.SIGKILL)
	case "fork":
		err = call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))
	case "clone3":
		err = call(unix.SYS_CLONE3, 0, 0)
	case "memfd":
		a.Num, err = unix.MemfdCreate("x", 0)
	case "setuid":
		err = call(unix.SYS_SETUID, 0)
	case "chroot":
		err = unix.Chroot("/")
	case "dumpable":
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	case "raise-limit":
		err = unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil)
	case "map":
		b, e := unix.Mmap(-1, 0, 4096, q.Num, unix.MAP_PRIVATE|unix.MAP_ANON)
		if e == nil {
			_ = unix.Munmap(b)
		}
		err = e
	case "protect":
		b, e := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if e == nil {
			e = unix.Mprotect(b, q.Num)
		}
		err = e
	case "keyctl":
		err = call(unix.SYS_KEYCTL, 0)
	case "x32":
		err = call(0x40000000|unix.SYS_GETPID, 0)
	case "memory":
		for range q.Num {
			b, e := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
			if e != nil {
				return a, e
			}
			hoard = append(hoard, b)
		}
	case "threads":
		var there sync.WaitGroup
		there.Add(q.Num)
		for range q.Num {
			go func() { runtime.LockOSThread(); there.Done(); select {} }()
		}
		there.Wait() // each has a thread of its own
	case "spin":
		//lint:ignore SA5002 an endless loop is what is asked for
		for {
		}
	case "fds":
		for fd := range 100 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				a.Text += fmt.Sprint(fd, " ")
			}
		}
	case "ids":
		a.Text = fmt.Sprint(os.Getpid(), " ", os.Getuid(), " ", os.Getgid())
	default:
		err = unix.ENOTSUP
	}
	return a, err
}

// host is a test host and the test's end of its control socket.
type host struct {
	*Process
	t       *testing.T
	control int
	applied confine.Report
}

// newSpawner returns a spawner whose host executable is the test binary.
func newSpawner(t *testing.T) *Spawner {
	t.Helper()
	image, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := Executable(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSpawner(t.Context(), SpawnerOptions{Exec: exe})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("WEFT_TEST_WALLS") == "none" {
		s.iso = Isolation{UID: s.iso.UID, GID: s.iso.GID}
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		exe.Close()
	})
	return s
}

func spawn(t *testing.T, s *Spawner, opts SpawnOptions) *host {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	opts.Control = os.NewFile(uintptr(pair[1]), "control")
	defer opts.Control.Close()
	if opts.Role == "" {
		opts.Role = RoleRun
	}
	if opts.Stderr == nil {
		opts.Stderr = os.Stderr
	}
	p, err := s.Spawn(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Process: p, t: t, control: pair[0]}
	t.Cleanup(func() {
		unix.Close(h.control)
		if e := p.Wait(); e.Err != nil {
			t.Error(e.Err)
		}
	})
	if a := h.answer(); a.Text != "" {
		if err := json.Unmarshal([]byte(a.Text), &h.applied); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// answer reads the next answer; a host that has ended gives Errno -1.
func (h *host) answer() answer {
	b := make([]byte, 8192)
	for {
		n, err := unix.Read(h.control, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return answer{Errno: -1}
		}
		var a answer
		if err := json.Unmarshal(b[:n], &a); err != nil {
			h.t.Fatal(err)
		}
		return a
	}
}

func (h *host) try(q request) answer {
	h.t.Helper()
	b, _ := json.Marshal(q)
	if _, err := unix.Write(h.control, b); err != nil {
		return answer{Errno: -1}
	}
	return h.answer()
}

// grant passes a descriptor and returns its number in the host.
func (h *host) grant(f *os.File) int {
	h.t.Helper()
	b, _ := json.Marshal(request{Op: "grant"})
	if err := unix.Sendmsg(h.control, b, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		h.t.Fatal(err)
	}
	f.Close()
	return h.answer().Num
}

// want fails the test when the request does not end with errno.
func (h *host) want(errno unix.Errno, q request) answer {
	h.t.Helper()
	a := h.try(q)
	if a.Errno != int(errno) {
		got := "the end of the host"
		if a.Errno >= 0 {
			got = unix.ErrnoName(unix.Errno(a.Errno))
		}
		h.t.Errorf("%s %q %d: got %q, want %q", q.Op, q.Path, q.Num, got, unix.ErrnoName(errno))
	}
	return a
}
