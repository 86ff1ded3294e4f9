package buffer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openFolder(t *testing.T, dir string) *Folder {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return NewFolder(fd)
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	data := bytes.Repeat([]byte("value "), 50000)
	file, err := f.Put("map[0]/x", data)
	if err != nil {
		t.Fatal(err)
	}
	if file.Size() != int64(len(data)) || file.Name() != "map%5B0%5D%2Fx" {
		t.Error(file.Size(), file.Name())
	}
	if _, err := f.Put("map[0]/x", data); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	got := make([]byte, len(data)+10)
	if n, err := file.Load(got); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
		t.Errorf("load: %d, %v", n, err)
	}
	if _, err := file.Load(make([]byte, 10)); !errors.Is(err, ErrTooSmall) {
		t.Errorf("load into too little: %v", err)
	}
	empty, err := f.Put("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := empty.Load(nil); n != 0 || err != nil {
		t.Errorf("load of nothing: %d, %v", n, err)
	}
	elsewhere := openFolder(t, dir).File(file.Name(), file.Size()) // as another process of the run names it
	if n, err := elsewhere.Load(got); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
		t.Errorf("load elsewhere: %d, %v", n, err)
	}
	if err := os.Truncate(filepath.Join(dir, file.Name()), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Load(got); err == nil {
		t.Error("a file that lost bytes loads")
	}
	if err := file.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := file.Remove(); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove twice: %v", err)
	}
	if _, err := file.Load(got); !errors.Is(err, ErrNotFound) {
		t.Errorf("load after remove: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if left := listing(t, dir); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestFolderDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	file, err := f.Put("x", []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x")
	if err := errors.Join(os.Remove(path), os.Symlink("/etc/hostname", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Load(make([]byte, 1)); !errors.Is(err, unix.ELOOP) {
		t.Errorf("load through a link: %v", err)
	}
	if _, err := f.Put("x", []byte("v")); !errors.Is(err, ErrExists) {
		t.Errorf("put over a link: %v", err)
	}
}

func TestFullDiskLeavesNoPartialFile(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=65536"); err != nil {
		t.Skipf("needs to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	f := openFolder(t, dir)
	if _, err := f.Put("small", make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	_, err := f.Put("large", make([]byte, 128<<10))
	if !errors.Is(err, ErrSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if want := "put large: no space left: no space left on device: free some space, or pass values by reference"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if left := listing(t, dir); len(left) != 1 || left[0] != "small" {
		t.Errorf("left behind: %v", left)
	}
}

func TestFileNames(t *testing.T) {
	for _, c := range []struct{ key, want string }{
		{"map[2]#1/part-0", "map%5B2%5D%231%2Fpart-0"},
		{"", "%"}, {".", "%2E"}, {"..", "%2E."}, {"a.b", "a.b"}, {"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
		{"\x00é", "%00%C3%A9"}, {"%2E", "%252E"},
	} {
		if got := fileName(c.key); got != c.want {
			t.Errorf("fileName(%q) = %q, want %q", c.key, got, c.want)
		}
	}
	a, b := fileName(strings.Repeat("/", 500)+"a"), fileName(strings.Repeat("/", 500)+"b")
	if len(a) != 200 || a == b {
		t.Errorf("long keys: %d bytes, distinct %v", len(a), a != b)
	}
}

// TestTableOverFiles runs a step, its retry and a consumer with values in files.
func TestTableOverFiles(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	b := NewTable(1000)
	sweep := func() {
		for _, h := range b.Released() {
			if err := h.(*File).Remove(); err != nil {
				t.Error(err)
			}
		}
	}
	for number := 1; number <= 2; number++ {
		a := Attempt{"map[0]", number}
		file, err := f.Put("map[0]/x", bytes.Repeat([]byte{byte(number)}, 800))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Put(a, "x", Value{Holder: file, Len: file.Size()}); err != nil {
			t.Fatal(err)
		}
		if number == 1 {
			b.Withdraw(a)
		} else {
			mustCommit(t, b, a)
		}
		sweep()
	}
	v, err := b.Take(other, "map[0]/x", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, v.Len)
	if _, err := v.Holder.(*File).Load(got); err != nil || got[799] != 2 {
		t.Errorf("read %d, %v", got[799], err)
	}
	mustCommit(t, b, other)
	sweep()
	if left := listing(t, dir); left != nil || b.Charged() != 0 {
		t.Errorf("left behind: %v, %d bytes charged", left, b.Charged())
	}
}
