package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is what an escape would find: a file, a server on loopback, an abstract
// socket, the node's process.
func host(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(folder(t), "secret")
	write(t, file, "secret of the host")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("weft-escape-%d", os.Getpid())
	abstract, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []net.Listener{tcp, abstract} {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Errorf("something connected to %v", l.Addr())
				c.Close()
			}
		}()
	}
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	return []string{"HOST_FILE=" + file, "PORT=" + port, "ABSTRACT=" + name, fmt.Sprintf("NODE=%d", os.Getpid())}
}

// judge checks the lines "attempt errno" of an escape program.
func judge(t *testing.T, output string, least int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for _, line := range lines {
		var errno int
		at := strings.LastIndexByte(line, ' ')
		if _, err := fmt.Sscan(line[at+1:], &errno); err != nil {
			t.Errorf("line %q", line)
			continue
		}
		if errno == 0 {
			t.Errorf("%s: the attempt succeeded", line[:at])
		}
	}
	if len(lines) < least {
		t.Errorf("%d attempts were made, not %d: the last was %q", len(lines), least, lines[len(lines)-1])
	}
	t.Logf("%d attempts", len(lines))
}

func escapeLimits(p *Pool) Limits {
	l := Limits{Tmp: 16 << 20, Time: time.Minute, Memory: 256 << 20}
	if !p.limited.memory {
		l.Memory = 2 << 30 // of addresses
	}
	return l
}

func TestEscapesFromC(t *testing.T) {
	p := newPool(t, Options{})
	source, err := os.ReadFile("testdata/escape.c")
	if err != nil {
		t.Fatal(err)
	}
	f := cFunction(t, string(source), "-w")
	f.Env, f.Limits = append(host(t), "PIDS=200"), escapeLimits(p)
	var log logged
	r := run(t, p, Call{Function: f, Log: log.add})
	if r.Failure != nil {
		t.Errorf("%v\n%s\n%s", r.Failure, r.Output, log.text())
	}
	judge(t, string(r.Output), 100)
}

func TestEscapesFromPython(t *testing.T) {
	p := newPool(t, Options{})
	needPython(t)
	source, err := os.ReadFile("testdata/escape.py")
	if err != nil {
		t.Fatal(err)
	}
	c, err := os.ReadFile("testdata/escape.c")
	if err != nil {
		t.Fatal(err)
	}
	f := pythonFunction(t, string(source))
	library := cFunction(t, string(c), "-w", "-shared", "-fPIC")
	if err := os.Rename(filepath.Join(library.Dir, "main"), filepath.Join(f.Dir, "escape.so")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(f.Dir, "names"), strings.Join(attemptNames(string(c)), "\n"))
	f.Env, f.Limits = append(host(t), "PIDS=200"), escapeLimits(p)
	for name, family := range map[string]string{"alone": "", "below a parent": "app"} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.Version, f.Family = unique(), family
			var log logged
			r := run(t, p, Call{Function: &f, Log: log.add})
			if r.Failure != nil {
				t.Errorf("%v\n%s\n%s", r.Failure, r.Output, log.text())
			}
			judge(t, string(r.Output), 120)
			if (adoptedBy(p, &f) != nil) != (family != "" && os.Getuid() == 0) {
				t.Error("it is not where it should be")
			}

			// What a module does while it is imported is behind the same walls.
			g := f
			g.Version, g.Env = unique(), append(g.Env, "AT_IMPORT=1")
			r = run(t, p, Call{Function: &g, Input: []byte(`"import"`), Log: log.add})
			if r.Failure != nil {
				t.Errorf("%v\n%s\n%s", r.Failure, r.Output, log.text())
			}
			judge(t, string(r.Output), 90)
		})
	}
}

// attemptNames reads the table of the C source.
func attemptNames(source string) []string {
	_, table, _ := strings.Cut(source, "#define A(f)")
	table, _, _ = strings.Cut(table[strings.Index(table, "\n"):], "};")
	var names []string
	for _, m := range regexp.MustCompile(`A\((\w+)\)`).FindAllStringSubmatch(table, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestAsOrdinaryUser runs tests of this package again, as nobody in particular.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is an ordinary user already")
	}
	const uid = 54321
	dir := folder(t)
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The binary and what it reads may lie where only root can go.
	binary := filepath.Join(dir, "process.test")
	compiled := filepath.Join(goFunction(t, helloGo).Dir, "main")
	for from, to := range map[string]string{self: binary, compiled: filepath.Join(dir, compiledGo), "testdata/escape.c": "testdata/escape.c", "testdata/escape.py": "testdata/escape.py"} {
		if !filepath.IsAbs(from) {
			from, to = filepath.Join(source, from), filepath.Join(dir, to)
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-test.v", "-test.run", "^(TestEscapes|TestNativeCopies|TestGoFits|TestCallsShare|TestKillEnds|TestDial|TestNothingOutlives|TestBuffersPass|TestPythonHandlers|TestPythonFailures)")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "--- SKIP") || strings.Contains(line, "attempts") {
			t.Log(line)
		}
	}
	if !strings.Contains(string(out), "--- PASS: TestEscapesFromC") {
		t.Logf("%s", out)
	}
}
