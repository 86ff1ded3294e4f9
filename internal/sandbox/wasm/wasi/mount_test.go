package wasi

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/sandbox/wasm/wasi/image"
	"golang.org/x/sys/unix"
)

// writeArchive makes a zip archive and returns a descriptor of it.
func writeArchive(t testing.TB) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.zip")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := zip.NewWriter(out)
	add := func(name, text string, method uint16, mode fs.FileMode) {
		h := &zip.FileHeader{Name: name, Method: method}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(text))
	}
	add("d/stored", "stored text", zip.Store, 0o644)
	add("d/packed", "packed text", zip.Deflate, 0o644)
	add("link", "d/packed", zip.Store, fs.ModeSymlink|0o777)
	add("dl", "d", zip.Store, fs.ModeSymlink|0o777)
	add("d/up", "../..", zip.Store, fs.ModeSymlink|0o777)
	add("abs", "/etc", zip.Store, fs.ModeSymlink|0o777)
	add("loop", "loop", zip.Store, fs.ModeSymlink|0o777)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(fd) })
	return fd
}

func TestArchiveMount(t *testing.T) {
	var loaded []string
	g := newGuest(t, Config{
		Mounts: []Mount{{Guest: "/zip", Kind: Zip, FD: writeArchive(t)}},
		Loaded: func(m string, _ time.Duration) { loaded = append(loaded, m) },
	})
	g.must("fd_prestat_get", 3, uint64(g.alloc(8)))
	if !slices.Equal(loaded, []string{"fs"}) {
		t.Errorf("loaded %v before the first touch", loaded)
	}
	none := opening{noRights: true}
	for _, c := range []struct {
		path string
		o    opening
		want Errno
	}{
		{"d/stored", opening{readOnlyRights: true}, Success},
		{"d", none, Success},
		{"d/", none, Success},
		{".", none, Success},
		{"dl/packed", none, Success},
		{"dl/../d/stored", none, Success},
		{"link", none, Eloop},
		{"link", opening{noRights: true, follow: true}, Success},
		{"link", opening{noRights: true, oflags: openDirectory}, Enotdir},
		{"loop", opening{noRights: true, follow: true}, Eloop},
		{"d/stored/", none, Enotdir},
		{"d/stored/x", none, Enotdir},
		{"d/none", none, Enoent},
		{"", none, Enoent},
		{"..", none, Eperm},
		{"d/up/x", none, Eperm},
		{"abs/passwd", none, Eperm},
		{"/d", none, Eperm},
		{"d/stored", opening{}, Erofs},
		{"d/stored", opening{noRights: true, oflags: openTruncate}, Erofs},
		{"d/stored", opening{noRights: true, oflags: openCreate}, Success},
		{"d/stored", opening{noRights: true, oflags: openCreate | openExclusive}, Eexist},
		{"d/new", opening{oflags: openCreate}, Erofs},
		{"d/stored", opening{noRights: true, oflags: openDirectory}, Enotdir},
		{"d", opening{}, Eisdir},
	} {
		_, e := g.open(c.path, c.o)
		if e != c.want {
			t.Errorf("open %s %+v: %v, want %v", c.path, c.o, e, c.want)
		}
	}
	if !slices.Equal(loaded, []string{"fs", "fs:/zip"}) {
		t.Errorf("loaded %v", loaded)
	}
	for _, name := range []string{"d/stored", "d/packed"} {
		fd := g.mustOpen(name, opening{readOnlyRights: true})
		g.seek(fd, -4, whenceEnd)
		if s, e := g.read(fd, 100); s != "text" || e != Success {
			t.Errorf("%s ends in %q, %v", name, s, e)
		}
		if s, e := g.read(fd, 100); s != "" || e != Success {
			t.Errorf("%s goes on with %q, %v", name, s, e)
		}
		g.seek(fd, 0, whenceSet)
		if s, _ := g.read(fd, 6); s != name[2:] {
			t.Errorf("%s begins with %q", name, s)
		}
		expect(t, "write", g.call("fd_filestat_set_size", uint64(fd), 0), Erofs)
		expect(t, "sync", g.call("fd_sync", uint64(fd)), Success)
		events, e := g.pollOneoff(sub{kind: eventFdRead, fd: fd})
		if e != Success || events[0].bytes != 5 {
			t.Errorf("poll %v, %v", events, e)
		}
	}
	if got := g.readdir(3, 64); !slices.Equal(got, []string{"..:3", ".:3", "abs:7", "d:3", "dl:7", "link:7", "loop:7"}) {
		t.Errorf("entries %v", got)
	}
	st, e := g.stat("link", true)
	if e != Success || st.Size != 11 || st.Type != TypeRegular {
		t.Errorf("stat: %+v, %v", st, e)
	}
	p, n := g.data("link")
	buf := g.alloc(16)
	g.must("path_readlink", 3, p, n, uint64(buf), 16, uint64(g.alloc(4)))
	if string(g.mem[buf:buf+8]) != "d/packed" {
		t.Errorf("readlink %q", g.mem[buf:buf+8])
	}
	for _, name := range []string{"path_create_directory", "path_remove_directory", "path_unlink_file"} {
		expect(t, name, g.onPath(name, "d"), Erofs)
	}
	expect(t, "symlink", g.symlink("a", "b"), Erofs)
	expect(t, "rename", g.rename("d", "b"), Erofs)
	expect(t, "link", g.link("d/stored", "b", 0), Erofs)
}

func TestMountsDoNotMix(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "f"), nil, 0o600)
	g := newGuest(t, Config{Mounts: []Mount{{Guest: "/a", FD: openPath(t, dir)}, {Guest: "/b", Kind: Zip, FD: writeArchive(t)}}})
	f, n := g.data("f")
	expect(t, "link into an archive", g.call("path_link", 3, 0, f, n, 4, f, n), Exdev)
	expect(t, "rename into an archive", g.call("path_rename", 3, f, n, 4, f, n), Exdev)
	expect(t, "rename out of an archive", g.call("path_rename", 4, f, n, 3, f, n), Erofs)
}

func TestBrokenImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	os.WriteFile(path, bytes.Repeat([]byte("no"), 1000), 0o600)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	for _, kind := range []MountKind{Zip, FAT} {
		failures := 0
		g := newGuest(t, Config{Mounts: []Mount{{Guest: "/x", Kind: kind, FD: fd}}, Failed: func(string, error) { failures++ }})
		for range 2 {
			_, e := g.open("f", opening{noRights: true})
			expect(t, "open", e, Eio)
		}
		expect(t, "readdir", g.call("fd_readdir", 3, 0, 8, 0, 8), Eio)
		if failures != 1 {
			t.Errorf("told of %d failures", failures)
		}
	}
}

func TestEager(t *testing.T) {
	var loaded []string
	var cache image.Cache
	g := newGuest(t, Config{
		Mounts:    []Mount{{Guest: "/zip", Kind: Zip, FD: writeArchive(t)}},
		Listeners: []Listener{{Port: 1, FD: -1}},
		Loaded:    func(m string, _ time.Duration) { loaded = append(loaded, m) },
		Images:    &cache,
		Eager:     true,
	})
	if !slices.Equal(loaded, []string{"fs", "net", "fs:/zip"}) {
		t.Errorf("loaded %v", loaded)
	}
	g.mustOpen("d", opening{noRights: true})
	if len(loaded) != 3 {
		t.Errorf("loaded %v", loaded)
	}
}

// TestLargeReads reads a file into nearly all of memory with one call, from
// several guests at once.
func TestLargeReads(t *testing.T) {
	const size = 64 << 20
	dir := t.TempDir()
	want := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(filepath.Join(dir, "f"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		g := newGuest(t, Config{Mounts: []Mount{{Guest: "/", FD: openPath(t, dir)}}})
		g.mem = make([]byte, size+guestMemory)
		fd := g.mustOpen("f", opening{readOnlyRights: true})
		wg.Go(func() {
			p := g.alloc(size)
			v, c := g.iovec(p, size)
			out := g.alloc(4)
			if e := g.call("fd_pread", uint64(fd), v, c, 0, uint64(out)); e != Success || g.u32(out) != size {
				t.Errorf("read %d bytes, %v", g.u32(out), e)
			}
			if !bytes.Equal(g.mem[p:p+size], want) {
				t.Errorf("wrong bytes")
			}
		})
	}
	wg.Wait()
}

func TestReadOnlyMount(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "f"), []byte("abc"), 0o600)
	os.Mkdir(filepath.Join(dir, "d"), 0o700)
	g := newGuest(t, Config{Mounts: []Mount{{Guest: "/", FD: openPath(t, dir), ReadOnly: true}}})
	for _, c := range []struct {
		path string
		o    opening
		want Errno
	}{
		{"f", opening{}, Erofs},
		{"f", opening{readOnlyRights: true}, Success},
		{"f", opening{readOnlyRights: true, oflags: openCreate}, Success},
		{"f", opening{readOnlyRights: true, oflags: openCreate | openExclusive}, Eexist},
		{"f", opening{readOnlyRights: true, oflags: openTruncate}, Erofs},
		{"new", opening{oflags: openCreate}, Erofs},
		{"new", opening{readOnlyRights: true, oflags: openCreate}, Erofs},
		{"none", opening{}, Enoent},
		{"d", opening{}, Eisdir},
	} {
		_, e := g.open(c.path, c.o)
		expect(t, fmt.Sprintf("open %s %+v", c.path, c.o), e, c.want)
	}
	for _, name := range []string{"path_create_directory", "path_remove_directory", "path_unlink_file"} {
		expect(t, name, g.onPath(name, "f"), Erofs)
	}
	expect(t, "symlink", g.symlink("f", "l"), Erofs)
	expect(t, "link", g.link("f", "l", 0), Erofs)
	expect(t, "rename", g.rename("f", "l"), Erofs)
	fd := uint64(g.mustOpen("f", opening{readOnlyRights: true}))
	expect(t, "set size", g.call("fd_filestat_set_size", fd, 0), Erofs)
	expect(t, "set times", g.call("fd_filestat_set_times", fd, 0, 0, setMtimeNow), Erofs)
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "abc" {
		t.Errorf("file holds %q", b)
	}
}

func TestSingleFileMounts(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "a"), []byte("aaa"), 0o600)
	os.WriteFile(filepath.Join(dir, "b"), []byte("bbb"), 0o600)
	open := func(name string) int {
		fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeFD(fd) })
		return fd
	}
	g := newGuest(t, Config{Mounts: []Mount{
		{Guest: "/etc/a.conf", Kind: File, FD: open("a"), ReadOnly: true},
		{Guest: "/data", FD: openPath(t, dir)},
		{Guest: "/etc/b.conf", Kind: File, FD: open("b")},
	}})
	p := g.alloc(16)
	g.must("fd_prestat_dir_name", 3, uint64(p), 4)
	if got := string(g.mem[p : p+4]); got != "/etc" {
		t.Errorf("first pre-opened directory %q", got)
	}
	expect(t, "third pre-opened directory", g.call("fd_prestat_get", 5, uint64(p)), Ebadf)
	if got := g.readdir(3, 4096); !slices.Equal(got, []string{"..:3", ".:3", "a.conf:4", "b.conf:4"}) {
		t.Errorf("entries %v", got)
	}
	one := g.mustOpen("a.conf", opening{readOnlyRights: true})
	two := g.mustOpen("a.conf", opening{readOnlyRights: true})
	g.read(one, 2)
	if s, _ := g.read(two, 9); s != "aaa" {
		t.Errorf("positions are shared: %q", s)
	}
	_, e := g.open("a.conf", opening{})
	expect(t, "write a read-only file", e, Erofs)
	w := g.mustOpen("b.conf", opening{oflags: openTruncate})
	g.write(w, "new")
	if b, _ := os.ReadFile(filepath.Join(dir, "b")); string(b) != "new" {
		t.Errorf("file holds %q", b)
	}
	_, e = g.open("c.conf", opening{oflags: openCreate})
	expect(t, "make a file", e, Erofs)
	_, e = g.open("../data", opening{noRights: true})
	expect(t, "above the folder", e, Eperm)
}
