package layer

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/python"
)

// makeWheel writes a wheel of a package with the files, and returns its path.
func makeWheel(t *testing.T, dir, name, version string, requires []string, files map[string]string) string {
	t.Helper()
	path := filepath.Join(dir, name+"-"+version+"-py3-none-any.whl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	add := func(name, text string) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for n, text := range files {
		add(n, text)
	}
	info := name + "-" + version + ".dist-info/"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	add(info+"METADATA", meta)
	add(info+"WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
	add(info+"RECORD", "")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// newStore makes a store that knows no index, only the wheels in links.
func newStore(t *testing.T, cache, links string) *Store {
	t.Helper()
	needPip(t)
	s, err := NewStore(Options{Dir: cache, Pip: []string{"--no-index", "--find-links", links}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// needPip skips the test where there is none, or no Python.
func needPip(t *testing.T) {
	t.Helper()
	if _, err := python.Find(context.Background(), "python3"); err != nil {
		t.Skip(err)
	}
	if err := exec.Command("python3", "-m", "pip", "--version").Run(); err != nil {
		t.Skip("python3 has no pip: ", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func install(t *testing.T, s *Store, r Request, lock *Lock) Layer {
	t.Helper()
	l, err := s.Install(context.Background(), r, lock)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestInstall(t *testing.T) {
	links, cache, app := t.TempDir(), t.TempDir(), t.TempDir()
	makeWheel(t, links, "upper", "1.2", []string{"lower>=1"}, map[string]string{
		"upper/__init__.py": "import lower\n", "upper-1.2.data/purelib/extra.py": "x = 1\n", "upper-1.2.data/scripts/tool": "#!python\n"})
	makeWheel(t, links, "lower", "1.0", nil, map[string]string{"lower.py": "answer = 42\n"})
	makeWheel(t, links, "lower", "2.0", nil, map[string]string{"lower.py": "answer = 43\n"})
	write(t, filepath.Join(app, "requirements.txt"), "# what it needs\nupper==1.2  # and what that needs\n-c limits.txt\n")
	write(t, filepath.Join(app, "limits.txt"), "lower<2\n")
	r := Request{Function: "f", Dir: app, File: "requirements.txt", Pack: true}

	lock := &Lock{}
	s := newStore(t, cache, links)
	first := install(t, s, r, lock)
	if first.Cached || !lock.Changed() || len(first.Wheels) != 2 || first.Wheels[0].Name() != "lower" || first.Wheels[0].Version() != "1.0" {
		t.Errorf("%+v", first)
	}
	for name, want := range map[string]bool{"upper/__init__.py": true, "lower.py": true, "extra.py": true, "tool": false, "upper-1.2.data": false, "__pycache__": true} {
		if _, err := os.Stat(filepath.Join(first.Path, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, err := exec.Command("python3", "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import upper; print(upper.lower.answer)", first.Path).CombinedOutput()
	if err != nil || string(out) != "42\n" {
		t.Errorf("%s, %v", out, err)
	}
	if err := lock.Write(app); err != nil {
		t.Fatal(err)
	}

	t.Run("again", func(t *testing.T) {
		lock, err := ReadLock(app)
		if err != nil {
			t.Fatal(err)
		}
		l := install(t, newStore(t, cache, "/nowhere"), r, lock)
		if !l.Cached || l.Path != first.Path || lock.Changed() {
			t.Errorf("%+v", l)
		}
	})
	t.Run("with the lock, without the cache", func(t *testing.T) {
		makeWheel(t, links, "lower", "1.5", nil, map[string]string{"lower.py": "answer = 44\n"})
		lock, err := ReadLock(app)
		if err != nil {
			t.Fatal(err)
		}
		l := install(t, newStore(t, t.TempDir(), links), r, lock)
		if l.Cached || l.Key != first.Key || lock.Changed() {
			t.Errorf("%+v", l)
		}
	})
	t.Run("where it is deployed", func(t *testing.T) {
		lock, err := ReadLock(app)
		if err != nil {
			t.Fatal(err)
		}
		brought := t.TempDir()
		for i, f := range first.Files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(brought, first.Wheels[i].File), string(text))
		}
		deployed := Request{Function: "f", Dir: app, File: "requirements.txt", Wheels: brought, Offline: true}
		if l := install(t, newStore(t, t.TempDir(), "/nowhere"), deployed, lock); l.Key != first.Key {
			t.Errorf("%+v", l)
		}
		write(t, filepath.Join(brought, first.Wheels[0].File), "something else")
		_, err = newStore(t, t.TempDir(), "/nowhere").Install(context.Background(), deployed, lock)
		if err == nil || !strings.Contains(err.Error(), "lower-1.0-py3-none-any.whl is not what weft.lock says") {
			t.Error(err)
		}
	})
	t.Run("with other requirements", func(t *testing.T) {
		write(t, filepath.Join(app, "limits.txt"), "lower>=2\n")
		lock, err := ReadLock(app)
		if err != nil {
			t.Fatal(err)
		}
		l := install(t, newStore(t, cache, links), r, lock)
		if l.Key == first.Key || l.Wheels[0].Version() != "2.0" || !lock.Changed() {
			t.Errorf("%+v", l)
		}
		if text, err := lock.Text(); err != nil || strings.Contains(string(text), "lower-1.0") {
			t.Errorf("the lock keeps what was: %s, %v", text, err)
		}
	})
}

func TestInstallLists(t *testing.T) {
	links := t.TempDir()
	makeWheel(t, links, "one", "1", nil, map[string]string{"one.py": ""})
	s := newStore(t, t.TempDir(), links)
	lock := &Lock{}
	a := install(t, s, Request{Function: "a", Dir: t.TempDir(), Lines: []string{"one"}}, lock)
	b := install(t, s, Request{Function: "b", Dir: t.TempDir(), Lines: []string{"one==1"}}, lock)
	if a.Path != b.Path || !b.Cached {
		t.Errorf("the same wheels are in %s and %s", a.Path, b.Path)
	}
	if empty := install(t, s, Request{Function: "c", Dir: t.TempDir()}, lock); len(empty.Wheels) != 0 {
		t.Errorf("%+v", empty)
	}
}

func TestInstallFailures(t *testing.T) {
	links, dir := t.TempDir(), t.TempDir()
	makeWheel(t, links, "one", "1", nil, map[string]string{"one.py": ""})
	makeWheel(t, links, "evil", "1", nil, map[string]string{"../../evil.py": ""})
	makeWheel(t, links, "left", "1", []string{"one==2"}, map[string]string{"left.py": ""})
	write(t, filepath.Join(links, "source-1.tar.gz"), "")
	s := newStore(t, t.TempDir(), links)
	zeros := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		lines []string
		want  []string
	}{
		"unknown":   {[]string{"nothing-like-it"}, []string{"install the requirements of function f:", "is not there", "nothing-like-it", "hint: see that name and version are right"}},
		"version":   {[]string{"one==7"}, []string{"is not there", "one==7"}},
		"needs":     {[]string{"left"}, []string{"one==2"}},
		"hash":      {[]string{"one==1 --hash=sha256:" + zeros}, []string{"a package is not what its hash says"}},
		"malformed": {[]string{"one=1"}, []string{"a requirement is malformed"}},
		"source":    {[]string{"source"}, []string{"as a wheel for this Python, is not there"}},
		"escapes":   {[]string{"evil"}, []string{"cannot unpack evil-1-py3-none-any.whl", "leads out of the layer"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Install(context.Background(), Request{Function: "f", Dir: dir, Lines: c.lines}, &Lock{})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		if _, err := s.Install(context.Background(), Request{Function: "f", Dir: dir, File: "no.txt"}, &Lock{}); err == nil || !strings.Contains(err.Error(), "cannot read the requirements") {
			t.Error(err)
		}
	})
	t.Run("offline", func(t *testing.T) {
		_, err := s.Install(context.Background(), Request{Function: "f", Dir: dir, Lines: []string{"one"}, Offline: true}, &Lock{})
		if err == nil || !strings.Contains(err.Error(), "weft.lock does not have them") {
			t.Error(err)
		}
	})
	t.Run("other python", func(t *testing.T) {
		r := Request{Function: "f", Dir: dir, Lines: []string{"one"}, Offline: true}
		sum, err := r.sum()
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Install(context.Background(), r, &Lock{sets: []set{{Digest: sum, Python: "cp399-plan_9"}}})
		if err == nil || !strings.Contains(err.Error(), "has them for cp399-plan_9, and the Python here is cp3") {
			t.Error(err)
		}
	})
	t.Run("changed", func(t *testing.T) {
		lock, r := &Lock{}, Request{Function: "f", Dir: dir, Lines: []string{"one"}}
		install(t, s, r, lock)
		makeWheel(t, links, "one", "1", nil, map[string]string{"one.py": "changed = True\n"})
		_, err := newStore(t, t.TempDir(), links).Install(context.Background(), r, lock)
		if err == nil || !strings.Contains(err.Error(), "a package is not what its hash says") {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := s.Install(ctx, Request{Function: "f", Dir: dir, Lines: []string{"one>0"}}, &Lock{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestPipThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "python")
	write(t, script, `#!/bin/sh
case "$*" in
*pip*) echo "$0: No module named pip" >&2; exit 1;;
esac
echo '{"version": [3, 11], "path": "/usr/bin/x", "prefix": "/usr", "exec": "/usr", "ctypes": true, "tag": "cp311-x"}'
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(Options{Dir: t.TempDir(), Python: script})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Install(context.Background(), Request{Function: "f", Dir: dir, Lines: []string{"one"}}, &Lock{})
	if err == nil || !strings.Contains(err.Error(), "this Python has no pip\nhint: install it (apt-get install python3-pip)") {
		t.Error(err)
	}
}

func TestUnreachableIndex(t *testing.T) {
	needPip(t)
	s, err := NewStore(Options{Dir: t.TempDir(), Pip: []string{"--index-url", "http://127.0.0.1:9/simple", "--retries", "1", "--timeout", "5", "--proxy", ""}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PIP_PROXY", "PIP_FIND_LINKS"} {
		t.Setenv(v, "")
	}
	_, err = s.Install(context.Background(), Request{Function: "f", Dir: t.TempDir(), Lines: []string{"one"}}, &Lock{})
	if err == nil || !strings.Contains(err.Error(), "the package index cannot be reached") {
		t.Error(err)
	}
}

// TestIndex installs a small package from the index that this machine's pip uses.
func TestIndex(t *testing.T) {
	needPip(t)
	s, err := NewStore(Options{Dir: t.TempDir(), Pip: []string{"--retries", "0", "--timeout", "20"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := s.Install(ctx, Request{Function: "f", Dir: t.TempDir(), Lines: []string{"idna==3.6"}}, &Lock{})
	if err != nil {
		t.Skip("no package index: ", err)
	}
	want := Wheel{File: "idna-3.6-py3-none-any.whl", SHA256: "c05567e9c24a6b9faaa835c4821bad0590fbb9d5779e7caa6e1cc4978e7eb24f"}
	if len(l.Wheels) != 1 || l.Wheels[0] != want {
		t.Errorf("%+v", l.Wheels)
	}
}

func TestPrune(t *testing.T) {
	links := t.TempDir()
	makeWheel(t, links, "one", "1", nil, map[string]string{"one.py": ""})
	cache := t.TempDir()
	s := newStore(t, cache, links)
	l := install(t, s, Request{Function: "f", Dir: links, Lines: []string{"one"}}, &Lock{})
	later := time.Now().Add(2 * keepUnused)
	s.prune(later)
	if _, err := os.Stat(l.Path); err != nil {
		t.Errorf("a layer in use is gone: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.prune(later)
	if _, err := os.Stat(l.Path); err == nil {
		t.Error("a layer that nobody uses stays")
	}
	if entries, err := os.ReadDir(filepath.Join(cache, "wheels")); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
