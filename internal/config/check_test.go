package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/app"
)

func TestPeers(t *testing.T) {
	for _, test := range []struct {
		pattern, host string
		port          int
		want          bool
	}{
		{"example.org:443", "example.org", 443, true},
		{"Example.Org.:443", "EXAMPLE.org.", 443, true},
		{"example.org:443", "example.org", 80, false},
		{"example.org:443", "www.example.org", 443, false},
		{"example.org:*", "example.org", 1, true},
		{"example.org:80-82", "example.org", 82, true},
		{"example.org:80-82", "example.org", 83, false},
		{"*.example.org:443", "www.example.org", 443, true},
		{"*.example.org:443", "a.b.example.org", 443, true},
		{"*.example.org:443", "example.org", 443, false},
		{"*.example.org:443", "badexample.org", 443, false},
		{"*:*", "example.org", 443, true},
		{"*:*", "8.8.8.8", 53, true},
		{"*:*", "2606:4700:4700::1111", 53, true},
		{"*:*", "localhost", 80, false},
		{"*:*", "x.localhost.", 80, false},
		{"*:*", "127.0.0.1", 80, false},
		{"*:*", "::1", 80, false},
		{"*:*", "10.1.2.3", 80, false},
		{"*:*", "::ffff:10.1.2.3", 80, false},
		{"*:*", "fd00::1", 80, false},
		{"*:*", "100.100.100.200", 80, false},
		{"*:*", "169.254.169.254", 80, false},
		{"*:*", "168.63.129.16", 80, false},
		{"*:*", "64:ff9b::7f00:1", 80, false},
		{"*:*", "224.0.0.1", 80, false},
		{"*:*", "0.0.0.0", 80, false},
		{"localhost:80", "localhost", 80, true},
		{"127.0.0.1:80", "127.0.0.1", 80, true},
		{"127.0.0.1:80", "::ffff:127.0.0.1", 80, true},
		{"127.0.0.1:80", "localhost", 80, false},
		{"10.0.0.0/8:5432", "10.255.0.1", 5432, true},
		{"10.0.0.0/8:5432", "11.0.0.1", 5432, false},
		{"10.0.0.0/8:5432", "ten.example.org", 5432, false},
		{"[fd00::/8]:1", "fd12::1", 1, true},
		{"[::1]:1", "::1", 1, true},
		{"[::ffff:1.2.3.4]:1", "", 0, false}, // not a pattern: 1.2.3.4 has no brackets
	} {
		p, err := ParsePeer(test.pattern)
		if err != nil {
			if test.want || test.host != "" {
				t.Errorf("%s: %v", test.pattern, err)
			}
			continue
		}
		if got := p.Allows(test.host, test.port); got != test.want {
			t.Errorf("%s allows %s port %d: %v", test.pattern, test.host, test.port, got)
		}
		if again, err := ParsePeer(p.String()); err != nil || again != p {
			t.Errorf("%s is written as %s, which is %+v, %v", test.pattern, p, again, err)
		}
	}
	for _, bad := range []string{
		"", ":", ":80", "example.org", "example.org:", "example.org:0", "example.org:65536", "example.org:x", "example.org:2-1", "ex ample:80",
		"::1:80", "[::1:80", "[::1]80", "[example.org]:80", "[*]:80", "10.0.0.0/33:80", "*.*:80", "*x:80", "a*:80", "user@host:80", "[fe80::1%eth0]:80", "[10.0.0.1]:80", "fd00::/8:80", "10.0.0.1.:80",
	} {
		if p, err := ParsePeer(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, p)
		}
	}
}

func FuzzParsePeer(f *testing.F) {
	for _, s := range []string{"*:*", "[fd00::/8]:1-2", "*.example.org:443", "10.0.0.0/8:5432"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePeer(s)
		if err != nil {
			return
		}
		if again, err := ParsePeer(p.String()); err != nil || again != p {
			t.Errorf("%q is written as %q, which is %+v, %v", s, p, again, err)
		}
		if p.Allows("127.0.0.1", 80) && !strings.Contains(s, "127.") && !strings.Contains(s, "/") {
			t.Errorf("%q allows loopback", s)
		}
	})
}

// deploy writes an app and its folders, and reads it.
func deploy(t *testing.T, src string) *app.App {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, app.FileName), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	a.File = app.FileName
	return a
}

// verdict is what CheckApp says, an error a line.
func verdict(t *testing.T, c *Config, a *app.App) string {
	t.Helper()
	err := c.CheckApp(a)
	if err == nil {
		return ""
	}
	var list app.Errors
	if !errors.As(err, &list) {
		t.Fatalf("error of type %T", err)
	}
	var lines []string
	for _, e := range list {
		if e.Hint == "" {
			t.Errorf("%v has no hint", e)
		}
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

func TestEveryViolationIsNamed(t *testing.T) {
	a := deploy(t, `name: x
functions:
  b:
    source: ./b
    memory: 2GiB
    files: ["./data::/data:rw", "/etc::/etc"]
    dial: ["example.org:443", "127.0.0.1:80",
      "db.internal:5432"]
    listen: [8080, 9090]
  a: {source: ./a, memory: 64MiB}
`)
	c := Default()
	c.Grants.Memory = 1 << 30
	want := `weft.yaml:5:13: function b has 2GiB of memory; this node grants 1GiB at most
weft.yaml:6:33: function b reads /etc, which this node does not grant
weft.yaml:7:31: function b connects to 127.0.0.1:80, which this node does not grant
weft.yaml:9:14: function b accepts on port 8080, which this node does not grant
weft.yaml:9:20: function b accepts on port 9090, which this node does not grant`
	if got := verdict(t, c, a); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c.Grants.Memory, c.Limits.Memory = 4<<30, 1<<30
	c.Grants.Folders = []Folder{{"/etc", false}}
	c.Grants.Dial = append(c.Grants.Dial, peer(t, "127.0.0.0/8:*"))
	c.Grants.Listen = []Ports{{8000, 9999}}
	if got, want := verdict(t, c, a), "weft.yaml:5:13: function b has 2GiB of memory; this node has 1GiB for all"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c.Limits.Memory = 0
	if got := verdict(t, c, a); got != "" {
		t.Errorf("got\n%s", got)
	}
	c.Grants.Dial = nil
	if got := verdict(t, c, a); strings.Count(got, "connects to") != 3 {
		t.Errorf("got\n%s", got)
	}
	for _, runtime := range []string{app.RuntimeNative, app.RuntimePython} {
		a.Functions["a"].Runtime = runtime
		c.Grants.Native = false
		if got := verdict(t, c, a); !strings.Contains(got, "weft.yaml:10:3: function a is "+runtime+", which is native code") {
			t.Errorf("got\n%s", got)
		}
		c.Grants.Native = true
		if got := verdict(t, c, a); strings.Contains(got, "native") {
			t.Errorf("got\n%s", got)
		}
	}
}

func peer(t *testing.T, s string) Peer {
	t.Helper()
	p, err := ParsePeer(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFoldersAreFollowed(t *testing.T) {
	outside := t.TempDir()
	for _, dir := range []string{"granted/in", "other"} {
		if err := os.MkdirAll(filepath.Join(outside, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	granted := filepath.Join(outside, "granted")
	link := func(target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(outside, "other"), filepath.Join(granted, "away"))
	link(filepath.Join(outside, "missing"), filepath.Join(granted, "nowhere"))
	link(granted, filepath.Join(outside, "alias"))

	for _, test := range []struct {
		grant string // of the app; $ is the folder outside
		write bool   // what the node grants
		want  string // part of the error; "": none
	}{
		{"./data::/x:rw", false, ""},
		{"./new/file::/x", false, ""},
		{".::/x", false, ""},
		{"../app/data::/x", false, ""},
		{"../elsewhere::/x", false, "does not grant"},
		{"data/../..::/x", false, "does not grant"},
		{"$/granted::/x", false, ""},
		{"$/granted/in::/x", false, ""},
		{"$/granted/in/later::/x", false, ""},
		{"$/granted.zip::/x", false, "does not grant"},
		{"$/granted/in/../../other::/x", false, "does not grant"},
		{"$::/x", false, "does not grant"},
		{"$/granted::/x:rw", false, "grants for reading"},
		{"$/granted::/x:rw", true, ""},
		{"$/granted/away::/x", true, "does not grant"},
		{"$/granted/nowhere::/x", true, "leads nowhere"},
		{"$/granted/nowhere/below::/x", true, "leads nowhere"},
		{"$/alias/in::/x", false, ""},
	} {
		a := deploy(t, "name: x\nfunctions: {f: {source: ./f, files: ['"+strings.ReplaceAll(test.grant, "$", outside)+"']}}\n")
		c := Default()
		c.Grants.Folders = []Folder{{filepath.Join(outside, "alias"), test.write}, {filepath.Join(outside, "gone"), true}}
		got := verdict(t, c, a)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s (write %v): got %q, want %q", test.grant, test.write, got, test.want)
		}
	}

	// A link of the app itself leads outside as well.
	a := deploy(t, "name: x\nfunctions: {f: {source: ./f, files: ['./link::/x']}}\n")
	link(outside, filepath.Join(a.Dir, "link"))
	if got := verdict(t, Default(), a); !strings.Contains(got, "does not grant") {
		t.Errorf("got %q", got)
	}
}

func TestAppThatIsNotOnDisk(t *testing.T) {
	a, err := app.Parse("weft.yaml", []byte("name: x\nfunctions: {f: {source: ./f, files: ['./data::/a', '../b::/b']}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := verdict(t, Default(), a), "weft.yaml:2:52: function f reads ../b, which this node does not grant"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
