package wasitest

import (
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"golang.org/x/sys/unix"
)

// grant is a folder or file that a program gets.
type grant struct {
	guest    string
	kind     wasi.MountKind
	make     func(t *testing.T, dir string) string // returns the host path; nil: dir itself, empty
	readOnly bool
}

var scratch = []grant{{guest: "/data"}}

// program is a run of a C program. One that expects nothing exits with status 0
// and prints nothing.
type program struct {
	name   string
	args   []string
	env    []string
	stdin  string
	grants []grant
	stdout string
	code   uint32
	// after inspects the folder of the first grant.
	after func(t *testing.T, dir string)
}

var programs = []program{
	{name: "args", args: []string{"one", "", "two words", "-x"}, env: []string{"GREETING=hello there"}, stdout: "[one][][two words][-x]\nhello there\n"},
	{name: "args", stdout: "\n(none)\n"},
	{name: "exit", args: []string{"return", "0"}, stdout: "leaving\n"},
	{name: "exit", args: []string{"return", "7"}, stdout: "leaving\n", code: 7},
	{name: "exit", args: []string{"exit", "99"}, stdout: "leaving\n", code: 99},
	{name: "exit", args: []string{"_Exit", "1"}, stdout: "leaving\n", code: 1},
	{name: "stdin", stdin: "some input\nwith lines", stdout: "SOME INPUT\nWITH LINES"},
	{name: "stdin"},
	{name: "files", grants: scratch},
	{name: "openflags", grants: scratch},
	{name: "seek", grants: scratch},
	{name: "pread", grants: scratch},
	{name: "append", grants: scratch},
	{name: "truncate", grants: scratch},
	{name: "dirs", grants: scratch},
	{name: "readdir", grants: scratch},
	{name: "readdir_raw", grants: scratch},
	{name: "symlinks", grants: scratch},
	{name: "links", grants: scratch},
	{name: "rename", grants: scratch},
	{name: "unlink", grants: scratch},
	{name: "stat", grants: scratch},
	{name: "times", grants: scratch},
	{name: "escape", grants: scratch},
	{name: "rights", grants: scratch},
	{name: "renumber", grants: scratch},
	{name: "preopens", grants: []grant{{guest: "/data"}, {guest: "/other/place"}, {guest: "/"}}, stdout: "3 /data\n4 /other/place\n5 /\n"},
	{name: "poll_clock"},
	{name: "poll_fd", grants: scratch, stdin: "input\n"},
	{name: "clocks"},
	{name: "random"},
	{name: "sync", grants: scratch},
	{name: "faults", grants: scratch},
	{name: "large", grants: scratch},
	{name: "readonly", grants: []grant{{guest: "/data", readOnly: true, make: func(t *testing.T, dir string) string {
		write(t, filepath.Join(dir, "f"), "text")
		return dir
	}}}},
	{name: "image", grants: []grant{{guest: "/data", kind: wasi.Zip, make: makeZip, readOnly: true}}},
	{name: "image", grants: []grant{{guest: "/data", kind: wasi.FAT, make: makeFAT, readOnly: true}}},
	{name: "onefile", grants: []grant{{guest: "/etc/app/settings", kind: wasi.File, make: func(t *testing.T, dir string) string {
		path := filepath.Join(dir, "conf")
		write(t, path, "key=value")
		write(t, filepath.Join(dir, "other"), "not granted")
		return path
	}}}, after: func(t *testing.T, dir string) {
		if b, _ := os.ReadFile(filepath.Join(dir, "conf")); string(b) != "changed" {
			t.Errorf("the file holds %q", b)
		}
	}},
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// imageFiles are in every image.
var imageFiles = map[string]string{"hello.txt": "hello from the image", "sub/deep/file.txt": "deep"}

func makeZip(t *testing.T, dir string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range imageFiles {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.zip")
	write(t, path, b.String())
	return path
}

func makeFAT(t *testing.T, dir string) string {
	path, tree := filepath.Join(dir, "disk.img"), t.TempDir()
	write(t, path, "")
	if err := os.Truncate(path, 20<<20); err != nil {
		t.Fatal(err)
	}
	for name, text := range imageFiles {
		write(t, filepath.Join(tree, name), text)
	}
	for _, command := range [][]string{
		{"mkfs.fat", "-F", "16", path},
		{"mcopy", "-s", "-i", path, filepath.Join(tree, "hello.txt"), filepath.Join(tree, "sub"), "::/"},
	} {
		tool, err := exec.LookPath(command[0])
		if err != nil {
			if tool = "/usr/sbin/" + command[0]; !exists(tool) {
				t.Skipf("%s is not installed (packages dosfstools and mtools)", command[0])
			}
		}
		if out, err := exec.Command(tool, command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hostPaths makes what the grants are of.
func (p *program) hostPaths(t *testing.T) (paths []string, first string) {
	for i, g := range p.grants {
		dir := t.TempDir()
		if i == 0 {
			first = dir
		}
		if g.make != nil {
			dir = g.make(t, dir)
		}
		paths = append(paths, dir)
	}
	return paths, first
}

func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(strings.Join(append([]string{p.name}, p.args...), "-"), func(t *testing.T) {
			t.Parallel()
			m := load(t, clang(t, p.name))
			paths, first := p.hostPaths(t)
			var stdout, stderr output
			cfg := wasi.Config{Args: append([]string{p.name}, p.args...), Env: p.env, Stdin: strings.NewReader(p.stdin), Stdout: &stdout, Stderr: &stderr}
			for i, g := range p.grants {
				flags := unix.O_PATH
				switch {
				case g.kind == wasi.File:
					flags = unix.O_RDWR
				case g.kind != wasi.Dir:
					flags = unix.O_RDONLY
				}
				cfg.Mounts = append(cfg.Mounts, wasi.Mount{Guest: g.guest, Kind: g.kind, FD: openPath(t, paths[i], flags), ReadOnly: g.readOnly})
			}
			code := run(t, m, cfg)
			p.check(t, code, stdout.bytes(), stderr.bytes())
			if p.after != nil {
				p.after(t, first)
			}
		})
	}
}

func (p *program) check(t *testing.T, code uint32, stdout, stderr []byte) {
	t.Helper()
	if code != p.code || string(stdout) != p.stdout || len(stderr) > 0 {
		t.Errorf("exit status %d, want %d; stdout %q, want %q; stderr:\n%s", code, p.code, stdout, p.stdout, tail(stderr))
	}
}

// TestProgramsInSandbox runs the same programs by weft exec.
func TestProgramsInSandbox(t *testing.T) {
	weft := os.Getenv("WEFT")
	if weft == "" {
		t.Skip("WEFT is not set to the path of a weft binary")
	}
	for _, p := range programs {
		t.Run(strings.Join(append([]string{p.name}, p.args...), "-"), func(t *testing.T) {
			module := clang(t, p.name)
			paths, first := p.hostPaths(t)
			args := []string{"exec", "--timeout", "60s", "--memory", "1GiB"}
			for _, e := range p.env {
				args = append(args, "--env", e)
			}
			for i, g := range p.grants {
				mount := paths[i] + "::" + g.guest
				if g.readOnly {
					mount += ":ro"
				}
				args = append(args, "--dir", mount)
			}
			cmd := exec.Command(weft, append(append(args, module), p.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(p.stdin), &stdout, &stderr
			err := cmd.Run()
			if _, exited := err.(*exec.ExitError); err != nil && !exited {
				t.Fatal(err)
			}
			p.check(t, uint32(cmd.ProcessState.ExitCode()), stdout.Bytes(), stderr.Bytes())
			if p.after != nil {
				p.after(t, first)
			}
		})
	}
}

func TestServer(t *testing.T) {
	m := load(t, clang(t, "sockets"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback network: %v", err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	client := make(chan error, 1)
	go func() { client <- converse(ln.Addr().String()) }()
	var stdout, stderr output
	code := run(t, m, wasi.Config{Args: []string{"sockets", "8080"}, Stdout: &stdout, Stderr: &stderr,
		Listeners: []wasi.Listener{{Port: 8080, FD: int(f.Fd())}}})
	want := program{stdout: "listening\n"}
	want.check(t, code, stdout.bytes(), stderr.bytes())
	if err := <-client; err != nil {
		t.Error(err)
	}
}

// TestNetworkInSandbox runs the server and the client by weft exec.
func TestNetworkInSandbox(t *testing.T) {
	weft := os.Getenv("WEFT")
	if weft == "" {
		t.Skip("WEFT is not set to the path of a weft binary")
	}
	t.Run("server", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skipf("no loopback network: %v", err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ln.Close() // for weft to listen on
		cmd := exec.Command(weft, "exec", "--timeout", "60s", "--listen", port, clang(t, "sockets"), port)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line == "listening\n" {
			if err := converse("127.0.0.1:" + port); err != nil {
				t.Error(err)
			}
		} else {
			t.Errorf("said %q, %v", line, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, stderr.Bytes())
		}
	})
	t.Run("client", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skipf("no loopback network: %v", err)
		}
		defer ln.Close()
		go pong(ln)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		out, err := exec.Command(weft, "exec", "--timeout", "60s", "--dial", "127.0.0.1:"+port, clang(t, "dial"), port).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// pong is the server of the dial program.
func pong(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	bufio.NewReader(c).ReadString('\n')
	fmt.Fprint(c, "pong\n")
}

// converse is the client of the sockets program.
func converse(address string) error {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	if s, err := r.ReadString('\n'); err != nil || s != "who is there?\n" {
		return fmt.Errorf("greeting %q, %v", s, err)
	}
	fmt.Fprintf(c, "it is me")
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "it is me" {
		return fmt.Errorf("answer %q, %v", b, err)
	}
	return nil
}

func TestClient(t *testing.T) {
	m := load(t, clang(t, "dial"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback network: %v", err)
	}
	defer ln.Close()
	go pong(ln)
	port := ln.Addr().(*net.TCPAddr).Port
	var stdout, stderr output
	code := run(t, m, wasi.Config{Args: []string{"dial", strconv.Itoa(port)}, Stdout: &stdout, Stderr: &stderr,
		Dial: func(host string, p uint16) (int, wasi.Errno) {
			if int(p) != port {
				return -1, wasi.Enotcapable
			}
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return -1, wasi.Eio
			}
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				unix.Close(fd)
				return -1, wasi.Econnrefused
			}
			return fd, wasi.Success
		}})
	want := program{}
	want.check(t, code, stdout.bytes(), stderr.bytes())
}
