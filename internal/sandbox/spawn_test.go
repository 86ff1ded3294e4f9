package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHostIsBehindEveryWall(t *testing.T) {
	s := newSpawner(t)
	iso := s.Isolation()
	t.Logf("isolation %+v, degraded %q", iso, s.Degraded())
	h := spawn(t, s, SpawnOptions{})

	for _, step := range h.applied.Steps {
		if step.State == "failed" {
			t.Errorf("step %+v", step)
		}
	}
	if os.Getuid() == 0 && iso.UID == 0 {
		t.Error("the workload runs as root")
	}
	namespaces := map[string]bool{"user": iso.User, "mnt": iso.Mount, "pid": iso.PID, "net": iso.Net,
		"ipc": iso.IPC, "uts": iso.UTS, "cgroup": iso.Cgroup}
	if !iso.User && os.Getuid() != 0 {
		namespaces = nil // the files in /proc of a host that is not dumpable are closed to its own user
	}
	for name, apart := range namespaces {
		mine, err1 := os.Readlink("/proc/self/ns/" + name)
		theirs, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", h.PID(), name))
		if err := errors.Join(err1, err2); err != nil {
			t.Error(err)
		} else if apart == (mine == theirs) {
			t.Errorf("namespace %s: %s and %s, isolation says %v", name, mine, theirs, apart)
		}
	}
	ids := fmt.Sprintf("%d %d", iso.UID, iso.GID)
	if iso.PID {
		ids = "1 " + ids
	}
	if a := h.try(request{Op: "ids"}); !strings.HasSuffix(a.Text, ids) {
		t.Errorf("ids %q, want %q", a.Text, ids)
	}
	if a := h.try(request{Op: "list", Path: "/"}); iso.Mount && (a.Errno != 0 || a.Text != "") {
		t.Errorf("root has %q, errno %d", a.Text, a.Errno)
	}
	if a := h.try(request{Op: "fds"}); a.Text != "0 1 2 3 4 " && h.applied.Pagemap == 4 {
		t.Errorf("descriptors %q", a.Text)
	}
}

func TestEveryThreadIsConfined(t *testing.T) {
	s := newSpawner(t)
	h := spawn(t, s, SpawnOptions{})
	h.want(0, request{Op: "threads", Num: 4}) // these are born after the filter
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", h.PID()))
	if err != nil || len(tasks) < 8 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		got := status(t, task)
		for field, want := range map[string]string{
			"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1",
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapAmb": "0000000000000000",
		} {
			if got[field] != want {
				t.Errorf("%s: %s is %q, want %q", task, field, got[field], want)
			}
		}
		if s.Isolation().User && got["CapBnd"] != "0000000000000000" {
			t.Errorf("%s: bounding set %s", task, got["CapBnd"])
		}
	}
	// The files in /proc of a process that is not dumpable belong to root.
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/status", h.PID()), &st); err != nil || st.Uid != 0 {
		t.Errorf("owner in /proc is %d, %v: the host is dumpable", st.Uid, err)
	}
}

// status reads a status file of /proc.
func status(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fields := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}

func TestHostMayNot(t *testing.T) {
	s := newSpawner(t)
	h := spawn(t, s, SpawnOptions{})
	outside := unix.ENOENT
	if !s.Isolation().Mount {
		outside = unix.EACCES
	}
	const rw, rx, rwx = unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ | unix.PROT_EXEC, 7
	for _, c := range []struct {
		errno unix.Errno
		request
	}{
		{outside, request{Op: "open", Path: "/etc/passwd"}},
		{outside, request{Op: "open", Path: "/proc/self/mem"}},
		{unix.EROFS, request{Op: "mkdir", Path: "/x"}},
		{unix.ENOSYS, request{Op: "openat2", Path: "/"}},
		{unix.EPERM, request{Op: "create-setuid", Path: "x"}},
		{unix.EPERM, request{Op: "chmod", Path: "/"}},
		{unix.EPERM, request{Op: "socket", Num: unix.AF_INET}},
		{unix.EPERM, request{Op: "socket", Num: unix.AF_UNIX}},
		{unix.EPERM, request{Op: "socket", Num: unix.AF_NETLINK}},
		{unix.EPERM, request{Op: "socketpair"}},
		{unix.EPERM, request{Op: "connect"}},
		{unix.EPERM, request{Op: "bind"}},
		{unix.EPERM, request{Op: "listen"}},
		{unix.EPERM, request{Op: "fastopen"}},
		{unix.EPERM, request{Op: "ptrace", Num: os.Getpid()}},
		{unix.EPERM, request{Op: "ptrace", Num: 1}},
		{unix.EPERM, request{Op: "mount"}},
		{unix.EPERM, request{Op: "unshare", Num: unix.CLONE_NEWUSER}},
		{unix.EPERM, request{Op: "setns"}},
		{unix.EPERM, request{Op: "execve", Path: "/bin/true"}},
		{unix.EPERM, request{Op: "kill", Num: os.Getpid()}},
		{unix.EPERM, request{Op: "tgkill", Num: os.Getpid()}},
		{unix.EPERM, request{Op: "fork"}},
		{unix.ENOSYS, request{Op: "clone3"}},
		{unix.EPERM, request{Op: "memfd"}},
		{unix.EPERM, request{Op: "setuid"}},
		{unix.EPERM, request{Op: "chroot"}},
		{unix.EPERM, request{Op: "dumpable"}},
		{unix.EPERM, request{Op: "raise-limit"}},
		{unix.EPERM, request{Op: "map", Num: rwx}},
		{unix.EPERM, request{Op: "protect", Num: rwx}},
		{0, request{Op: "map", Num: rw}},
		{0, request{Op: "protect", Num: rx}},
	} {
		if c.Op == "mkdir" && !s.Isolation().Mount {
			c.errno = unix.EACCES
		}
		h.want(c.errno, c.request)
	}
	for _, c := range []struct {
		role Role
		code unix.Errno // what mapping machine code ends with
	}{{RoleCompile, 0}, {RoleExpr, unix.EPERM}} {
		h := spawn(t, s, SpawnOptions{Role: c.role})
		h.want(c.code, request{Op: "map", Num: rx})
		h.want(c.code, request{Op: "protect", Num: rx})
		h.want(0, request{Op: "map", Num: rw})
		h.want(unix.EPERM, request{Op: "map", Num: rwx})
		h.want(unix.EACCES, request{Op: "open", Path: "/"})
	}
}

func TestHostileCallsEndTheHost(t *testing.T) {
	s := newSpawner(t)
	for _, op := range []string{"keyctl", "x32"} {
		h := spawn(t, s, SpawnOptions{})
		if a := h.try(request{Op: op}); a.Errno != -1 {
			t.Errorf("%s: answer %+v", op, a)
		}
		if e := h.Wait(); e.Reason != ReasonSeccomp || e.Signal != unix.SIGSYS {
			t.Errorf("%s: %+v", op, e)
		}
	}
}

func TestLimitsEndTheHost(t *testing.T) {
	s := newSpawner(t)
	for _, c := range []struct {
		name       string
		controller string
		limits     Limits
		do         request
		want       Reason
	}{
		{"memory", "memory", Limits{Memory: 48 << 20}, request{Op: "memory", Num: 200}, ReasonMemory},
		{"cpu", "", Limits{CPU: time.Second}, request{Op: "spin"}, ReasonCPU},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, ok := s.cgroups.node[c.controller]; c.controller != "" && !ok {
				t.Skipf("the %s controller is not usable here: %q", c.controller, s.cgroups.missing)
			}
			h := spawn(t, s, SpawnOptions{Limits: c.limits})
			if a := h.try(c.do); a.Errno != -1 {
				t.Errorf("answer %+v", a)
			}
			e := h.Wait()
			if e.Reason != c.want {
				t.Errorf("got %+v, want %s", e, c.want)
			}
			if c.name == "memory" && (e.PeakMemory < c.limits.Memory/2 || e.PeakMemory > c.limits.Memory) {
				t.Errorf("peak %d", e.PeakMemory)
			}
		})
	}
}

func TestLimitsCanBeChanged(t *testing.T) {
	s := newSpawner(t)
	if _, ok := s.cgroups.node["memory"]; !ok {
		t.Skipf("the memory controller is not usable here: %q", s.cgroups.missing)
	}
	h := spawn(t, s, SpawnOptions{Limits: Limits{Memory: 40 << 20, Pids: 40}})
	if err := h.SetLimits(Limits{Memory: 200 << 20, Cores: 0.5, Weight: 50, Pids: 60}); err != nil {
		t.Fatal(err)
	}
	h.want(0, request{Op: "memory", Num: 100})
	if err := h.SetLimits(Limits{Memory: 150 << 20}); err != nil {
		t.Fatal(err)
	}
	h.try(request{Op: "memory", Num: 100})
	if e := h.Wait(); e.Reason != ReasonMemory {
		t.Errorf("%+v", e)
	}
	if err := h.SetLimits(Limits{}); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: %v", err)
	}
}

func TestThreadsAreLimited(t *testing.T) {
	s := newSpawner(t)
	if _, ok := s.cgroups.node["pids"]; !ok && !s.Isolation().User {
		t.Skipf("the pids controller is not usable here: %q", s.cgroups.missing)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	h := spawn(t, s, SpawnOptions{Limits: Limits{Pids: 20}, Stderr: null}) // the Go runtime gives up loudly
	if a := h.try(request{Op: "threads", Num: 40}); a.Errno != -1 {
		t.Errorf("answer %+v", a)
	}
	if e := h.Wait(); e.Reason != ReasonExit || e.Code != 2 {
		t.Errorf("%+v", e)
	}
}

// The child moves its descriptors to 0, 1, 2, … before it executes the program,
// which is a descriptor too and must not be one of those.
func TestProgramMayHaveAnyDescriptor(t *testing.T) {
	s := newSpawner(t)
	for n := range 12 {
		h := spawn(t, s, SpawnOptions{})
		h.want(0, request{Op: "ids"})
		fd, err := unix.FcntlInt(s.exec.Fd(), unix.F_DUPFD_CLOEXEC, n)
		if err != nil {
			t.Fatal(err)
		}
		was := s.exec
		s.exec = os.NewFile(uintptr(fd), "low")
		h = spawn(t, s, SpawnOptions{})
		h.want(0, request{Op: "ids"})
		s.exec.Close()
		s.exec = was
	}
}

// A process may be allowed fewer descriptors than the number that is wanted.
func TestExecutableUnderALowLimit(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 128, Max: old.Max}); err != nil {
		t.Skip("needs to lower the limit of descriptors:", err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	f, err := aside(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestKill(t *testing.T) {
	s := newSpawner(t)
	h := spawn(t, s, SpawnOptions{})
	if m, err := h.Memory(); err != nil || m.PSS <= 0 || m.RSS < m.PSS {
		t.Errorf("memory %+v, %v", m, err)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := h.Wait(); e.Reason != ReasonKilled {
		t.Errorf("%+v", e)
	}
	if err := h.Kill(); err != nil {
		t.Errorf("second kill: %v", err)
	}
}

func TestSpawnRefuses(t *testing.T) {
	s := newSpawner(t)
	control, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer other.Close()
	for _, c := range []struct {
		opts SpawnOptions
		want string
	}{
		{SpawnOptions{Role: "x", Control: control}, `spawn x host: unknown role "x"`},
		{SpawnOptions{Role: RoleRun}, "spawn run host: no control socket"},
		{SpawnOptions{Role: RoleRun, Control: control, Limits: Limits{Space: 1}}, "spawn run host: address space of a run host cannot be limited"},
	} {
		if _, err := s.Spawn(t.Context(), c.opts); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Spawn(ctx, SpawnOptions{Role: RoleRun, Control: control}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsLeft(t *testing.T) {
	image, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := Executable(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	before := traces(t)
	for range 3 {
		s, err := NewSpawner(t.Context(), SpawnerOptions{Exec: exe})
		if err != nil {
			t.Fatal(err)
		}
		h := spawn(t, s, SpawnOptions{})
		if g, err := s.OpenDir(t.TempDir(), true); err != nil {
			t.Error(err)
		} else {
			h.grant(g.File)
		}
		unix.Shutdown(h.control, unix.SHUT_RDWR)
		h.Wait()
		h = spawn(t, s, SpawnOptions{})
		if err := s.Close(); err != nil { // with a host still running
			t.Error(err)
		}
		if e := h.Wait(); e.Reason != ReasonKilled {
			t.Errorf("%+v", e)
		}
		if _, err := s.Spawn(t.Context(), SpawnOptions{Role: RoleRun, Control: os.Stdin}); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	}
	// What reads the end of a host's log may be about to close it.
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		for what, n := range traces(t) {
			// The test keeps its ends of six control sockets until it is over.
			if extra := n - before[what]; extra > 0 && !(what == "descriptors" && extra <= 6) {
				left = append(left, fmt.Sprintf("%s: %d before, %d after", what, before[what], n))
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(strings.Join(left, "; "))
		}
	}
}

// traces counts what a spawner could leave behind.
func traces(t *testing.T) map[string]int {
	t.Helper()
	self, err := findCgroups()
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	for _, dir := range self.v1 {
		matches, _ := filepath.Glob(filepath.Join(dir, self.name()))
		groups += len(matches)
	}
	for _, dir := range self.v2 {
		matches, _ := filepath.Glob(filepath.Join(dir, self.name()))
		groups += len(matches)
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	return map[string]int{"cgroups": groups, "descriptors": len(fds),
		"mounts":   strings.Count(string(mounts), " weft "), // what a host mounts has that source; other tests mount too
		"children": len(strings.Fields(string(children)))}
}

// beNode is a node that starts a host, says its pid, and waits to be killed.
func beNode() {
	p, err := func() (*Process, error) {
		image, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return nil, err
		}
		exe, err := Executable(bytes.NewReader(image))
		if err != nil {
			return nil, err
		}
		s, err := NewSpawner(context.Background(), SpawnerOptions{Exec: exe})
		if err != nil {
			return nil, err
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return s.Spawn(context.Background(), SpawnOptions{Role: RoleRun, Control: os.NewFile(uintptr(pair[1]), "control")})
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	select {}
}

func TestHostDiesWithItsNode(t *testing.T) {
	node := exec.Command("/proc/self/exe")
	node.Env = append(os.Environ(), "WEFT_TEST_NODE=1")
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the node says %q", line)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = node.Process.Kill()
	_ = node.Wait()
	ended, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	if ended != 1 {
		t.Fatalf("host %d outlives its node: %v", pid, err)
	}
	// Whoever starts next removes the dead node's groups.
	newSpawner(t)
	self, err := findCgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range self.v1 {
		left, _ := filepath.Glob(filepath.Join(dir, fmt.Sprintf("weft-%d-*", node.Process.Pid)))
		if len(left) > 0 {
			t.Errorf("left: %s", left)
		}
	}
}

func TestConfigMatchesTheC(t *testing.T) {
	iso := Isolation{UID: 7, GID: 8, User: true, Mount: true, UTS: true}
	b := enterConfig(iso, true, []*Grant{{ReadOnly: true}, {}}, 3, Limits{CPU: 1500 * time.Millisecond, Files: 9, FileSize: 10, Space: 11, Pids: 12})
	if len(b) != enterSize {
		t.Fatalf("%d bytes, the header says %d", len(b), enterSize)
	}
	var words []uint32
	for i := 0; i < len(b); i += 4 {
		words = append(words, binary.NativeEndian.Uint32(b[i:]))
	}
	want := []uint32{enterMagic, enterSize, enterSetID | enterUserNS | enterMount | enterUTS | enterCaps, 7, 8, 2, 3, 0,
		2, 0, 9, 0, 10, 0, 11, 0, 12, 0, 2, 0}
	if !slices.Equal(words, want) {
		t.Errorf("got %v, want %v", words, want)
	}
}

func TestHostSaysWhyItCannotBeConfined(t *testing.T) {
	s := newSpawner(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	control := os.NewFile(uintptr(pair[1]), "control")
	unix.Close(pair[0]) // the node has gone
	p, err := s.Spawn(t.Context(), SpawnOptions{Role: RoleRun, Control: control, Stderr: w})
	control.Close()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := bufio.NewReader(r).ReadString('\n')
	if want := "weft-host: confine parent death signal: the node has gone: Broken pipe\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	if e := p.Wait(); e.Reason != ReasonConfine {
		t.Errorf("%+v", e)
	}
}

// TestOrdinaryUser runs the tests of this package once more as an ordinary
// user, and once as one who can make no namespaces.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	image, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := Executable(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	dir, err := os.MkdirTemp("/tmp", "weft-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{"WEFT_TEST_WALLS=all", "WEFT_TEST_WALLS=none"} {
		t.Run(env, func(t *testing.T) {
			cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), "-test.v", "-test.timeout=60s",
				"-test.run=^Test(Host|EveryThread|Threads|Grant|Kill|NothingIsLeft|Probe)")
			cmd.Dir = dir
			cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, env}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.CombinedOutput()
			if err != nil || testing.Verbose() {
				t.Logf("%s", out)
			}
			if err != nil {
				t.Error(err)
			}
			if strings.Contains(string(out), "--- SKIP: TestGranted") {
				t.Error("the tests of grants were skipped")
			}
		})
	}
}
