package image

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// content makes n bytes that compress, but differ everywhere.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(16))
	}
	return b
}

func openFile(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func mustOpen(t testing.TB, path string, kind Kind) *Image {
	t.Helper()
	img, err := (*Cache)(nil).Open(openFile(t, path), kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// find walks to a node.
func find(t testing.TB, img *Image, names ...string) *Node {
	t.Helper()
	n := img.Root()
	for _, name := range names {
		c, err := n.Child(name)
		if err != nil {
			t.Fatalf("%v: %s: %v", names, name, err)
		}
		n = c
	}
	return n
}

// check compares a file with what it should hold: as a whole, and in pieces in
// any order.
func check(t testing.TB, n *Node, want []byte) {
	t.Helper()
	if n.Size != int64(len(want)) {
		t.Errorf("%s: size %d, want %d", n.Name, n.Size, len(want))
	}
	f, err := n.Open()
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	defer f.Close()
	got := make([]byte, len(want)+10)
	if len(want) > 0 {
		k, err := f.ReadAt(got, 0)
		if err != nil || !bytes.Equal(got[:k], want) {
			t.Errorf("%s: read %d of %d bytes, %v", n.Name, k, len(want), err)
		}
	}
	r := rand.New(rand.NewPCG(1, uint64(len(want))))
	for range 8 {
		if len(want) == 0 {
			break
		}
		off := r.IntN(len(want))
		size := 1 + r.IntN(min(len(want)-off, 70000))
		k, err := f.ReadAt(got[:size], int64(off))
		if err != nil || !bytes.Equal(got[:k], want[off:off+k]) || k != size {
			t.Errorf("%s: %d bytes at %d: %d, %v", n.Name, size, off, k, err)
		}
	}
	if _, err := f.ReadAt(got[:1], int64(len(want))); err != io.EOF {
		t.Errorf("%s: read at the end: %v", n.Name, err)
	}
	if _, err := f.ReadAt(got[:1], -1); err == nil || err == io.EOF {
		t.Errorf("%s: read before the start: %v", n.Name, err)
	}
}

// bigSize is the size of a file that an archive does not decode at once.
const bigSize = wholeLimit + 300_000

// files are put into every kind of image.
var files = map[string][]byte{
	"hello.txt":                             []byte("hello"),
	"empty":                                 nil,
	"Dir/A long file name with spaces.text": content(1, 100_000),
	"Dir/sub/big.bin":                       content(2, bigSize),
	"Dir/sub/UPPER.TXT":                     []byte("upper"),
	"Dir/sub/\u00fcml\u00e4ut and \u4e2d\u6587": []byte("unicode"),
}

func checkAll(t *testing.T, img *Image) {
	t.Helper()
	for path, want := range files {
		var names []string
		for path != "" {
			dir, file := filepath.Split(path)
			names = append([]string{file}, names...)
			path = filepath.Clean(dir)
			if path == "." {
				break
			}
		}
		check(t, find(t, img, names...), want)
	}
	kids, err := find(t, img, "Dir", "sub").Children()
	if err != nil || len(kids) != 3 {
		t.Errorf("%d children, %v", len(kids), err)
	}
	seen := map[uint64]bool{}
	for _, k := range kids {
		if seen[k.Inode] {
			t.Errorf("inode of %s is not its own", k.Name)
		}
		seen[k.Inode] = true
	}
	if _, err := img.Root().Child("none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("missing name: %v", err)
	}
}

// writeZip makes an archive of files and of some entries that mean harm.
func writeZip(t testing.TB) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	add := func(h *zip.FileHeader, b []byte) {
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(b)
	}
	for name, b := range files {
		method := zip.Deflate
		if name == "hello.txt" {
			method = zip.Store
		}
		add(&zip.FileHeader{Name: name, Method: method, Modified: time.Unix(1_000_000_000, 0)}, b)
	}
	add(&zip.FileHeader{Name: "stored", Method: zip.Store}, files["Dir/sub/big.bin"])
	link := &zip.FileHeader{Name: "link"}
	link.SetMode(fs.ModeSymlink | 0o777)
	add(link, []byte("Dir/sub"))
	for _, name := range []string{"../evil", "/abs", "a/../../evil", "a//b", "hello.txt/below", "twice", "twice"} {
		add(&zip.FileHeader{Name: name}, []byte(name))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestZip(t *testing.T) {
	img := mustOpen(t, writeZip(t), Zip)
	checkAll(t, img)
	check(t, find(t, img, "stored"), files["Dir/sub/big.bin"])
	if n := find(t, img, "hello.txt"); n.Modified != 1_000_000_000e9 {
		t.Errorf("modified %d", n.Modified)
	}
	link := find(t, img, "link")
	if target, err := link.Target(); link.Type != Symlink || target != "Dir/sub" || err != nil {
		t.Errorf("link of type %d to %q, %v", link.Type, target, err)
	}
	for _, name := range []string{"..", "evil", "abs", "", "a"} {
		if n, err := img.Root().Child(name); err == nil {
			t.Errorf("%q is there: %+v", name, n)
		}
	}
}

func TestDamagedZip(t *testing.T) {
	whole, err := os.ReadFile(writeZip(t))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 12 {
		b := bytes.Clone(whole[max(0, len(whole)-4000):])
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		path := filepath.Join(t.TempDir(), "z")
		os.WriteFile(path, append(bytes.Clone(whole[:max(0, len(whole)-4000)]), b...), 0o600)
		img, err := (*Cache)(nil).Open(openFile(t, path), Zip)
		if err != nil {
			continue
		}
		walk(img.Root(), 0)
		img.Close()
	}
}

// walk reads some of everything, whatever the result.
func walk(n *Node, depth int) {
	if depth > 20 {
		return
	}
	switch n.Type {
	case Directory:
		kids, _ := n.Children()
		for _, k := range kids {
			walk(k, depth+1)
		}
	case Symlink:
		n.Target()
	default:
		f, err := n.Open()
		if err != nil {
			return
		}
		f.ReadAt(make([]byte, 1000), n.Size/2)
		f.Close()
	}
}

// writeFAT makes a disk image with the system's tools.
func writeFAT(t testing.TB, bits int, size int64) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.fat")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.fat"
		if _, err := os.Stat(mkfs); err != nil {
			t.Skip("mkfs.fat is not installed (package dosfstools)")
		}
	}
	if _, err := exec.LookPath("mcopy"); err != nil {
		t.Skip("mcopy is not installed (package mtools)")
	}
	dir := t.TempDir()
	img := filepath.Join(dir, "disk.img")
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	run(mkfs, "-F", fmt.Sprint(bits), "-n", "LABEL", img)
	tree := filepath.Join(dir, "tree")
	for name, b := range files {
		os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o700)
		if err := os.WriteFile(filepath.Join(tree, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	top, _ := os.ReadDir(tree)
	for _, e := range top {
		run("mcopy", "-s", "-Q", "-i", img, filepath.Join(tree, e.Name()), "::/")
	}
	return img
}

var fatSizes = map[int]int64{12: 4200 << 10, 16: 32 << 20, 32: 300 << 20}

func TestFAT(t *testing.T) {
	for bits, size := range fatSizes {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			img := mustOpen(t, writeFAT(t, bits, size), FAT)
			checkAll(t, img)
			if n := find(t, img, "dir", "SUB", "upper.txt"); n.Name != "UPPER.TXT" {
				t.Errorf("found %s", n.Name)
			}
			if n := find(t, img, "hello.txt"); time.Since(time.Unix(0, n.Modified)).Abs() > 30*time.Hour {
				t.Errorf("modified %v", time.Unix(0, n.Modified))
			}
			kids, err := img.Root().Children()
			if err != nil || len(kids) != 3 {
				t.Errorf("%d entries in the root, %v", len(kids), err)
			}
		})
	}
}

func TestFATParallelReaders(t *testing.T) {
	img := mustOpen(t, writeFAT(t, 16, fatSizes[16]), FAT)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { checkAll(t, img) })
	}
	wg.Wait()
}

func TestDamagedFAT(t *testing.T) {
	path := writeFAT(t, 12, fatSizes[12])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) error {
		p := filepath.Join(t.TempDir(), "disk.img")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := (*Cache)(nil).Open(openFile(t, p), FAT)
		if err != nil {
			return err
		}
		defer img.Close()
		done := make(chan bool)
		go func() { walk(img.Root(), 0); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("reading a damaged image does not end")
		}
		return nil
	}
	for _, c := range []struct {
		at    int
		value byte
	}{{510, 0}, {11, 1}, {12, 1}, {13, 0}, {13, 3}, {14, 0}, {16, 0}, {16, 1}, {22, 0}, {22, 1}} {
		b := bytes.Clone(whole)
		b[c.at] = c.value
		if err := try(b); err == nil {
			t.Errorf("byte %d set to %d is accepted", c.at, c.value)
		}
	}
	if err := try(whole[:len(whole)/2]); err == nil {
		t.Errorf("half an image is accepted")
	}
	if err := try(nil); err == nil {
		t.Errorf("an empty image is accepted")
	}
	loop := bytes.Clone(whole)
	table := 512 * (int(whole[14]) | int(whole[15])<<8)
	clear(loop[table+3 : table+300])
	loop[table+3] = 2 // cluster 2 is followed by cluster 2
	if err := try(loop); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a chain that is a loop: %v", err)
	}
	r := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		b := bytes.Clone(whole)
		for range 1 + r.IntN(20) {
			b[table+r.IntN(40000)] = byte(r.Uint32())
		}
		try(b)
	}
}

func TestCacheShares(t *testing.T) {
	path := writeZip(t)
	var c Cache
	a, err := c.Open(openFile(t, path), Zip)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Open(openFile(t, path), Zip)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("opened twice")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	check(t, find(t, b, "hello.txt"), []byte("hello"))
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if len(c.images) != 0 {
		t.Errorf("%d images stay open", len(c.images))
	}
}

func BenchmarkFATRead(b *testing.B) {
	img := mustOpen(b, writeFAT(b, 16, fatSizes[16]), FAT)
	f, err := find(b, img, "Dir", "sub", "big.bin").Open()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, bigSize)
	b.SetBytes(bigSize)
	for b.Loop() {
		if _, err := f.ReadAt(buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}
