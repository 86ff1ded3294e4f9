package data_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/data"
	"github.com/weft-run/weft/internal/tmpfs"
)

// long is a value that is torn if it is not there whole.
func long(c string) string { return strings.Repeat(c, 10_000) }

// use is a use of a folder, step by step. Each step may be done again after it
// has failed.
type use struct {
	f      *data.Folder
	upload string
}

var steps = []struct {
	name string
	do   func(u *use) error
}{
	{"save", func(u *use) error { return saved(u.f.Save("r", "x", strings.NewReader(long("a")))) }},
	{"save again", func(u *use) error { return saved(u.f.Save("r", "x", strings.NewReader(long("b")))) }},
	{"save another", func(u *use) error { return saved(u.f.Save("r", "call/1", strings.NewReader(long("c")))) }},
	{"read", func(u *use) error {
		v, _, err := u.f.Open("r", "x")
		if err != nil {
			return err
		}
		defer v.Close()
		b, err := io.ReadAll(v)
		if err == nil && string(b) != long("b") {
			err = fmt.Errorf("%d bytes are read", len(b))
		}
		return err
	}},
	{"upload", func(u *use) (err error) {
		u.upload, _, err = u.f.Upload(strings.NewReader(long("d")), 1<<20)
		return err
	}},
	{"claim", func(u *use) error {
		_, err := u.f.Claim(u.upload, "s", "in")
		if v, _, opened := u.f.Open("s", "in"); errors.Is(err, data.ErrNotFound) && opened == nil {
			return v.Close() // it had its name, which may not have been on disk
		}
		return err
	}},
	{"upload for nobody", func(u *use) error { _, _, err := u.f.Upload(strings.NewReader(long("e")), 1<<20); return err }},
	{"save for a third", func(u *use) error { return saved(u.f.Save("t", "x", strings.NewReader(long("f")))) }},
	{"remove", func(u *use) error { return u.f.Remove("r", "call/1") }},
	{"drop", func(u *use) error { return u.f.Drop("t") }},
	{"sweep", func(u *use) error {
		if _, err := u.f.Sweep(time.Now().Add(time.Hour)); err != nil {
			return err
		}
		return nil
	}},
	{"owners", func(u *use) error { _, err := u.f.Owners(); return err }},
}

func saved(_ int64, err error) error { return err }

// found lists the values on disk, and what is torn or left behind.
func found(t *testing.T, dir string) (values map[string]string, left []string) {
	t.Helper()
	values = map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		switch {
		case strings.HasPrefix(name, ".tmp"):
			left = append(left, name)
		case len(b) != 10_000:
			t.Errorf("%s is torn: %d bytes", name, len(b))
		case strings.HasPrefix(name, ".upload"):
			values[".upload"] += string(b[:1])
		default:
			values[name] = string(b[:1])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return values, left
}

// One operation fails, each in its turn, or the disk is full from one operation
// on: the step that meets it fails and says why, leaves nothing behind and
// nothing torn, and does what it should when it is repeated.
func TestErrorAtEveryOperation(t *testing.T) {
	for _, mode := range []struct {
		name  string
		err   syscall.Errno
		meets func(op string) bool
		lasts bool // until a step has failed
	}{
		{"one error", syscall.EIO, func(string) bool { return true }, false},
		{"full disk", syscall.ENOSPC, func(op string) bool {
			return op == "create" || op == "write" || op == "mkdir" || op == "rename" || op == "sync"
		}, true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			met := true
			for at := 0; met; at++ {
				dir := filepath.Join(t.TempDir(), "data")
				n, over, what := 0, false, ""
				met = false
				o := data.Options{}.Faulty(func(op, path string) error {
					if over || !mode.meets(op) {
						return nil
					}
					if n++; n <= at {
						return nil
					}
					over, met, what = !mode.lasts, true, fmt.Sprintf("%s %d: %s", mode.name, at, op)
					return mode.err
				})
				u := &use{}
				try := func(step string, f func() error) {
					t.Helper()
					err := f()
					if err == nil {
						return
					}
					if !errors.Is(err, mode.err) || !strings.Contains(err.Error(), filepath.Dir(dir)) {
						t.Errorf("%s: %s: %v", what, step, err)
					}
					if _, left := found(t, dir); len(left) > 0 && u.f != nil {
						t.Errorf("%s: %s leaves %v", what, step, left)
					}
					over = true
					if err := f(); err != nil {
						t.Errorf("%s: %s again: %v", what, step, err)
					}
				}
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				try("open", func() (err error) { u.f, err = data.Open(dir, o); return err })
				for _, s := range steps {
					try(s.name, func() error { return s.do(u) })
				}
				over = true
				if _, err := u.f.Sweep(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
				values, left := found(t, dir)
				if len(values) != 2 || values["r/x"] != "b" || values["s/in"] != "d" || len(left) > 0 {
					t.Errorf("%s: in the end there are %v and %v", what, values, left)
				}
			}
		})
	}
}

// The process dies before any operation, in the middle of a write too. What was
// acknowledged is there, nothing is torn, and the next user finds no remains.
func TestCrashAtEveryOperation(t *testing.T) {
	died := errors.New("the process is dead")
	met := true
	for at := 0; met; at++ {
		dir := filepath.Join(t.TempDir(), "data")
		n, what := 0, ""
		met = false
		o := data.Options{}.Faulty(func(op, path string) error {
			if n++; n <= at {
				return nil
			}
			if !met && op == "write" {
				if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
					t.Error(err)
				}
			}
			if !met {
				what = fmt.Sprintf("crash %d: before %s", at, op)
			}
			met = true
			return died
		})
		u := &use{}
		want := map[string]string{} // acknowledged: the value; "-": none
		var err error
		if u.f, err = data.Open(dir, o); err == nil {
			for _, s := range steps {
				if err = s.do(u); err != nil || met {
					break
				}
				switch s.name {
				case "save":
					want["r/x"] = "ab"
				case "save again":
					want["r/x"] = "b"
				case "save another":
					want["r/call%2F1"] = "c-" // it is being removed, perhaps
				case "claim":
					want["s/in"] = "d"
				case "remove":
					want["r/call%2F1"] = "-"
				case "drop":
					want["t/x"] = "-"
				}
			}
		}
		f, err := data.Open(dir, data.Options{})
		if err != nil {
			t.Fatalf("%s: open: %v", what, err)
		}
		values, left := found(t, dir)
		if len(left) > 0 {
			t.Errorf("%s: left are %v", what, left)
		}
		for name, allowed := range want {
			if got, ok := values[name]; ok && !strings.Contains(allowed, got) || !ok && !strings.Contains(allowed, "-") {
				t.Errorf("%s: %s is %q, want one of %q", what, name, got, allowed)
			}
		}
		owners, err := f.Owners()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, owner := range owners {
			if err := f.Drop(owner); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := f.Sweep(time.Now().Add(time.Hour)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if values, _ := found(t, dir); len(values) > 0 {
			t.Errorf("%s: swept of everything there are %v", what, values)
		}
	}
}

// A value has its name only when its content is on disk, in a folder whose own
// name is, and Save returns when the name is too.
func TestOrderOnDisk(t *testing.T) {
	dir := t.TempDir()
	var trace []string
	f, err := data.Open(dir, data.Options{}.Faulty(func(op, path string) error {
		name, _ := filepath.Rel(dir, path)
		if first, _, below := strings.Cut(name, "/"); below && first == ".tmp" {
			name = "FILE"
		}
		trace = append(trace, op+" "+name)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		do   func() error
		want string
	}{
		{"first of an owner", func() error { return saved(f.Save("r", "x", strings.NewReader("1"))) },
			"create .tmp, write FILE, sync FILE, close FILE, mkdir r, open ., sync ., close ., rename FILE, open r, sync r, close r, remove FILE"},
		{"second of an owner", func() error { return saved(f.Save("r", "y", strings.NewReader("1"))) },
			"create .tmp, write FILE, sync FILE, close FILE, rename FILE, open r, sync r, close r, remove FILE"},
	} {
		trace = nil
		if err := test.do(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(trace, ", "); got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

// A real file system of 1 MiB.
func TestFullDisk(t *testing.T) {
	dir := tmpfs.New(t, "1m")
	f, err := data.Open(filepath.Join(dir, "data"), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	save(t, f, "r", "x", "old")
	big := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"save", func() error { return saved(f.Save("r", "x", strings.NewReader(big))) }},
		{"save from a file", func() error {
			zero, err := os.Open("/dev/zero")
			if err != nil {
				return err
			}
			defer zero.Close()
			return saved(f.Save("r2", "x", io.LimitReader(zero, 2<<20)))
		}},
		{"upload", func() error { _, _, err := f.Upload(strings.NewReader(big), 4<<20); return err }},
	} {
		if err := test.do(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("%s: %v", test.name, err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil || (st.Blocks-st.Bfree)*uint64(st.Bsize) > 8<<10 {
			t.Errorf("%s leaves %d blocks used, %v", test.name, st.Blocks-st.Bfree, err)
		}
		if got := content(t, f, "r", "x"); got != "old" {
			t.Errorf("after %s there is %d bytes", test.name, len(got))
		}
	}
	save(t, f, "r", "x", strings.Repeat("y", 900<<10))
	if got := content(t, f, "r", "x"); len(got) != 900<<10 {
		t.Errorf("with space there are %d bytes", len(got))
	}
}

// Every name has a file name of its own that is one part of a path, hides nothing
// of the folder's own, and leads back to the name.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"call/17", "..", ".tmp", ".upload", "a b%2F", "ä\n\x00\xff", "", strings.Repeat("x", 201), "%2E"} {
		f.Add(name, name+"x")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		file, err := data.File(name)
		if err != nil {
			if name != "" && len(name)*3 <= 200 {
				t.Errorf("%q is refused: %v", name, err)
			}
			return
		}
		if len(file) > 200 || !filepath.IsLocal(file) || filepath.Base(file) != file || strings.ContainsAny(file, "/\x00.") {
			t.Errorf("%q is called %q", name, file)
		}
		if back, err := url.PathUnescape(file); err != nil || back != name {
			t.Errorf("%q is called %q, which is %q, %v", name, file, back, err)
		}
		if f2, err := data.File(other); err == nil && (f2 == file) != (name == other) {
			t.Errorf("%q and %q are called %q and %q", name, other, file, f2)
		}
	})
}
