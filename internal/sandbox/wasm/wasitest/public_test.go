package wasitest

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"golang.org/x/sys/unix"
)

// publicModule ships compiled programs, in C, Rust, Zig and TinyGo, by which
// another runtime tests its WASI. It is fetched, not imported.
const publicModule = "github.com/tetratelabs/wazero@v1.12.0"

// publicPrograms returns the folder that the programs are in.
func publicPrograms(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", publicModule)
	cmd.Dir = t.TempDir()
	b, err := cmd.Output()
	var module struct{ Dir, Error string }
	if json.Unmarshal(b, &module); err != nil || module.Dir == "" {
		t.Skipf("%s cannot be fetched: %v %s", publicModule, err, module.Error)
	}
	return filepath.Join(module.Dir, "imports", "wasi_snapshot_preview1", "testdata")
}

func TestPublicPrograms(t *testing.T) {
	programs := publicPrograms(t)
	const none = "stdin isatty: false\nstdout isatty: false\nstderr isatty: false\n/ isatty: false\n"
	const list = "./-\n./a-\n./ab-\n"
	for _, c := range []struct {
		program string
		args    []string
		stdin   string
		empty   bool // standard input is a pipe that stays empty
		want    string
	}{
		{program: "zig-cc", args: []string{"ls", "/list"}, want: "./.\n./..\n" + list},
		{program: "zig-cc", args: []string{"ls", "/list", "repeat"}, want: "./.\n./..\n" + list + "./.\n./..\n" + list},
		{program: "zig-cc", args: []string{"ls", "/list/-"}, want: "ENOTDIR\n"},
		{program: "zig-cc", args: []string{"stat"}, want: none},
		{program: "zig-cc", args: []string{"poll", "5"}, stdin: "x", want: "STDIN\n"},
		{program: "zig-cc", args: []string{"poll", "0", "10"}, empty: true, want: "NOINPUT\n"},
		{program: "zig-cc", args: []string{"sleepmillis", "20"}, want: "OK\n"},
		{program: "zig-cc", args: []string{"open-rdonly"}, want: "OK\n"},
		{program: "zig-cc", args: []string{"open-wronly"}, want: "OK\n"},
		{program: "cargo-wasi", args: []string{"ls", "/list"}, want: "/list/-\n/list/a-\n/list/ab-\n"},
		{program: "cargo-wasi", args: []string{"ls", "/list/-"}, want: "ENOTDIR\n"},
		{program: "cargo-wasi", args: []string{"stat"}, want: none},
		{program: "zig", args: []string{"ls", "list"}, want: list},
		{program: "zig", args: []string{"ls", "list/-"}, want: "ENOTDIR\n"},
		{program: "zig", args: []string{"stat"}, want: none},
		{program: "tinygo", args: []string{"ls", "/list"}, want: list},
		{program: "tinygo", args: []string{"ls", "/list/-"}, want: "ENOTDIR\n"},
		{program: "tinygo", args: []string{"stat"}, want: none},
	} {
		t.Run(strings.Join(append([]string{c.program}, c.args...), "-"), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"-", "a-", "ab-"} {
				write(t, filepath.Join(dir, "list", name), "")
			}
			var stdout, stderr output
			cfg := wasi.Config{Args: append([]string{"wasi"}, c.args...), Stdin: strings.NewReader(c.stdin), Stdout: &stdout, Stderr: &stderr,
				Mounts: []wasi.Mount{{Guest: "/", FD: openPath(t, dir, unix.O_PATH)}}}
			if c.empty {
				var p [2]int
				if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
				defer unix.Close(p[0])
				defer unix.Close(p[1])
				cfg.Stdin = wasi.Terminal{FD: p[0]}
			}
			code := run(t, load(t, filepath.Join(programs, c.program, "wasi.wasm")), cfg)
			listing := c.args[0] == "ls"
			if got := string(stdout.bytes()); code != 0 || sortLines(got, listing) != sortLines(c.want, listing) {
				t.Errorf("exit status %d, stdout %q, want %q; stderr %s", code, got, c.want, stderr.bytes())
			}
		})
	}
}

// sortLines sorts the lines of a listing, whose order is the file system's.
func sortLines(s string, listing bool) string {
	if !listing {
		return s
	}
	lines := strings.SplitAfter(s, "\n")
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// TestPublicServers runs programs that accept on descriptor 3, where the first
// granted port is when there are no folders.
func TestPublicServers(t *testing.T) {
	programs := publicPrograms(t)
	for _, name := range []string{"zig-cc", "cargo-wasi"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, filepath.Join(programs, name, "wasi.wasm"))
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
			c, err := net.Dial("tcp", ln.Addr().String()) // waits in the listener's queue
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := c.Write([]byte("wazero\x00")); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr output
			code := run(t, m, wasi.Config{Args: []string{"wasi", "sock"}, Stdout: &stdout, Stderr: &stderr,
				Listeners: []wasi.Listener{{Port: 1, FD: int(f.Fd())}}})
			if got := strings.TrimRight(string(stdout.bytes()), "\x00\n"); code != 0 || got != "wazero" {
				t.Errorf("exit status %d, stdout %q; stderr %s", code, got, stderr.bytes())
			}
		})
	}
}
