package process

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDoorsOf(t *testing.T) {
	for _, c := range []struct {
		dial  string
		doors string
		hosts string
	}{
		{"", "", ""},
		{"localhost:5432 127.0.0.1:5432", "127.0.0.1:5432", ""},
		{"DB.example:5432 api:443 db.example.:80 api:443", "127.1.0.1:5432 127.1.0.2:443 127.1.0.1:80", "127.1.0.1 db.example 127.1.0.2 api"},
		{"10.1.2.3:80 [fd00::1]:80 [::ffff:10.1.2.3]:80", "10.1.2.3:80 [fd00::1]:80", ""},
	} {
		doors, err := doorsOf(strings.Fields(c.dial))
		if err != nil {
			t.Errorf("%s: %v", c.dial, err)
			continue
		}
		var got []string
		for _, d := range doors {
			got = append(got, net.JoinHostPort(d.address.String(), fmt.Sprint(d.port)))
		}
		if strings.Join(got, " ") != c.doors {
			t.Errorf("%s: doors %s, want %s", c.dial, got, c.doors)
		}
		if got := strings.Join(strings.Fields(strings.TrimPrefix(hosts(doors), "127.0.0.1 localhost\n::1 localhost\n")), " "); got != c.hosts {
			t.Errorf("%s: names %q, want %q", c.dial, got, c.hosts)
		}
	}
	for _, bad := range []string{"db", "db:0", "db:65536", "db:x", ":80", "a b:80", "a\nb:80", "db:80 127.1.0.1:80"} {
		if doors, err := doorsOf(strings.Split(bad, " ")); err == nil {
			t.Errorf("%q became %v", bad, doors)
		}
	}
	if _, err := doorsOf(slices.Repeat([]string{"db:80"}, doorsMax+1)); err == nil {
		t.Error("there is no limit")
	}
}

// echo serves lines that come back in capitals, and returns its port.
func echo(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					io.WriteString(c, strings.ToUpper(lines.Text())+"\n")
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// What is granted can be reached by what knows nothing of weft; nothing else can.
func TestDial(t *testing.T) {
	p := newPool(t, Options{})
	granted, other := echo(t), echo(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dial := []string{fmt.Sprintf("127.0.0.1:%d", granted), fmt.Sprintf("localhost:%d", gone), "10.99.98.97:81", "[fd00:99::1]:82", "weft-test.invalid:83"}

	t.Run("python", func(t *testing.T) {
		f := pythonFunction(t, `
import errno, socket

def what(host, port):
    try:
        with socket.create_connection((host, port), 20) as s:
            s.sendall(b"hello\nworld\n")
            s.shutdown(socket.SHUT_WR)
            got = b""
            while True:
                b = s.recv(100)
                if not b:
                    return got.decode()
                got += b
    except socket.gaierror:
        return "no such name"
    except OSError as e:
        return errno.errorcode[e.errno]

def handler(event, context):
    return [what(host, port) for host, port in event]
`)
		f.Dial = dial
		var log logged
		r := run(t, p, Call{Function: f, Log: log.add, Input: fmt.Appendf(nil,
			`[["127.0.0.1", %d], ["localhost", %[1]d], ["127.0.0.1", %d], ["localhost", %d], ["weft-test.invalid", 83], ["other.invalid", 83], ["10.99.98.96", 81], ["10.99.98.97", 80]]`,
			granted, other, gone)})
		if r.Failure != nil {
			t.Fatal(r.Failure, log.text())
		}
		const echoed = "HELLO\\nWORLD\\n"
		want := strings.Join([]string{echoed, echoed, "denied", "ECONNRESET", "ECONNRESET", "no such name", "ENETUNREACH", "denied"}, "|")
		got := strings.NewReplacer(`","`, "|", `["`, "", `"]`, "", "EACCES", "denied", "ECONNREFUSED", "denied").Replace(string(r.Output))
		if got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	})
	t.Run("go", func(t *testing.T) { // whose library does not ask the C library
		f := goFunction(t, fmt.Sprintf(`package main

import (
	"bufio"
	"fmt"
	"net"
)

func main() {
	c, err := net.Dial("tcp", "localhost:%d")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(c, "from go")
	line, _ := bufio.NewReader(c).ReadString('\n')
	_, err = net.Dial("tcp", "localhost:%d")
	fmt.Printf("%%s%%v", line, err != nil)
}
`, granted, other))
		f.Dial = dial
		var log logged
		if r := run(t, p, Call{Function: f, Log: log.add}); r.Failure != nil || string(r.Output) != "FROM GO\ntrue" {
			t.Errorf("%q, %v, %s", r.Output, r.Failure, log.text())
		}
	})
}

// The escapes fail too where there are doors, but for what doors are for: there
// are sockets of TCP, and they can be connected.
func TestEscapesThroughDoors(t *testing.T) {
	p := newPool(t, Options{})
	source, err := os.ReadFile("testdata/escape.c")
	if err != nil {
		t.Fatal(err)
	}
	f := cFunction(t, string(source), "-w")
	f.Env, f.Limits = append(host(t), "PIDS=200"), escapeLimits(p)
	f.Dial = []string{fmt.Sprintf("localhost:%d", echo(t)), "weft-test.invalid:83"}
	var log logged
	r := run(t, p, Call{Function: f, Log: log.add})
	if r.Failure != nil {
		t.Errorf("%v\n%s\n%s", r.Failure, r.Output, log.text())
	}
	judge(t, string(r.Output), 100)
}

func TestGrantedFiles(t *testing.T) {
	p := newPool(t, Options{})
	dir := folder(t)
	for _, name := range []string{"read", "write", "secret"} {
		write(t, filepath.Join(dir, name), name)
	}
	f := shellFunction(t, `cat /data/r; cat /w; echo -n more >> /w; echo x >> /data/r || echo -n " kept"; ls /data | tr -d '\n'`)
	f.Mounts = []Mount{{Host: filepath.Join(dir, "read"), Path: "/data/r", ReadOnly: true, File: true}, {Host: filepath.Join(dir, "write"), Path: "/w", File: true}}
	var log logged
	r := run(t, p, Call{Function: f, Log: log.add})
	if r.Failure != nil || string(r.Output) != "readwrite keptr" {
		t.Errorf("%q, %v, %s", r.Output, r.Failure, log.text())
	}
	for name, want := range map[string]string{"read": "read", "write": "writemore"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}
