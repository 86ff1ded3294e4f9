package data_test

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/data"
)

func open(t testing.TB) (*data.Folder, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	f, err := data.Open(dir, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func content(t *testing.T, f *data.Folder, owner, name string) string {
	t.Helper()
	v, size, err := f.Open(owner, name)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b, err := io.ReadAll(v)
	if err != nil || int64(len(b)) != size {
		t.Errorf("%d bytes, %v; the size is %d", len(b), err, size)
	}
	return string(b)
}

func save(t testing.TB, f *data.Folder, owner, name, value string) {
	t.Helper()
	if n, err := f.Save(owner, name, strings.NewReader(value)); err != nil || int(n) != len(value) {
		t.Fatalf("save: %d, %v", n, err)
	}
}

// Names are what slots and blobs are called, and worse.
func TestNames(t *testing.T) {
	f, dir := open(t)
	names := []string{"call/17", "upload/upload-x", "map[2]/x", "/x", ".", "..", "../../etc/passwd", "a b%2F", "ä\n", ".tmp", "line/1"}
	for _, owner := range []string{"run-1", "..", ".tmp", ".upload", "a/b"} {
		for _, name := range names {
			save(t, f, owner, name, owner+" "+name)
		}
		for _, name := range names {
			if got := content(t, f, owner, name); got != owner+" "+name {
				t.Errorf("%q of %q holds %q", name, owner, got)
			}
		}
	}
	owners, err := f.Owners()
	slices.Sort(owners)
	if want := []string{"..", ".tmp", ".upload", "a/b", "run-1"}; err != nil || !slices.Equal(owners, want) {
		t.Errorf("owners are %q, %v; want %q", owners, err, want)
	}
	beside, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(beside) != 1 {
		t.Errorf("beside the folder there is %v, %v", beside, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 300)} {
		if _, err := f.Save("o", bad, strings.NewReader("")); err == nil {
			t.Errorf("name of %d bytes is taken", len(bad))
		}
	}
}

func TestValues(t *testing.T) {
	f, _ := open(t)
	save(t, f, "r", "x", "old")
	held, _, err := f.Open("r", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	save(t, f, "r", "x", "new")
	if b, err := io.ReadAll(held); err != nil || string(b) != "old" {
		t.Errorf("who has opened it before reads %q, %v", b, err)
	}
	if got := content(t, f, "r", "x"); got != "new" {
		t.Errorf("there is %q", got)
	}
	for range 2 {
		if err := f.Remove("r", "x"); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := f.Open("r", "x"); !errors.Is(err, data.ErrNotFound) {
		t.Errorf("open: %v, want ErrNotFound", err)
	}
	save(t, f, "r", "y", "1")
	for range 2 {
		if err := f.Drop("r"); err != nil {
			t.Error(err)
		}
	}
	if owners, err := f.Owners(); err != nil || len(owners) > 0 {
		t.Errorf("owners are %q, %v", owners, err)
	}
}

// A value that cannot be read to its end leaves what was there before, and
// nothing else.
func TestFailedSave(t *testing.T) {
	f, dir := open(t)
	save(t, f, "r", "x", "old")
	broken := io.MultiReader(strings.NewReader("half"), errorReader{})
	if _, err := f.Save("r", "x", broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("save: %v", err)
	}
	if got := content(t, f, "r", "x"); got != "old" {
		t.Errorf("there is %q", got)
	}
	if left, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploads(t *testing.T) {
	f, _ := open(t)
	id, size, err := f.Upload(strings.NewReader("12345"), 5)
	if err != nil || size != 5 {
		t.Fatal(size, err)
	}
	if _, _, err := f.Upload(strings.NewReader("123456"), 5); !errors.Is(err, data.ErrTooLarge) {
		t.Errorf("upload: %v, want ErrTooLarge", err)
	}
	if n, err := f.Claim(id, "r", "in"); err != nil || n != 5 || content(t, f, "r", "in") != "12345" {
		t.Errorf("claim: %d, %v", n, err)
	}
	if n, err := f.Claim(id, "other", "in"); err != nil || n != 5 { // the first owner may never be
		t.Errorf("claim once more: %d, %v", n, err)
	}
	for range 2 {
		if err := f.Spend(id); err != nil {
			t.Error(err)
		}
	}
	if got := content(t, f, "r", "in"); got != "12345" {
		t.Errorf("after the upload was spent its owner has %q", got)
	}
	for _, gone := range []string{id, "../r/in", "nothing"} {
		if _, err := f.Claim(gone, "r2", "in"); !errors.Is(err, data.ErrNotFound) {
			t.Errorf("claim %q: %v, want ErrNotFound", gone, err)
		}
	}
	if _, _, err := f.Upload(strings.NewReader("late"), 5); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Sweep(time.Now().Add(-time.Hour)); err != nil || n != 0 {
		t.Errorf("sweep of old uploads: %d, %v", n, err)
	}
	if n, err := f.Sweep(time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("sweep of all uploads: %d, %v", n, err)
	}
}

func TestReopen(t *testing.T) {
	f, dir := open(t)
	save(t, f, "r", "x", "1")
	if err := os.WriteFile(filepath.Join(dir, ".tmp", "half"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := data.Open(dir, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, again, "r", "x"); got != "1" {
		t.Errorf("there is %q", got)
	}
	if left, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestConcurrentSaves(t *testing.T) {
	f, _ := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := f.Save("r", "x", strings.NewReader(strings.Repeat(string(rune('a'+i)), 1000))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := content(t, f, "r", "x"); len(got) != 1000 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("the value is mixed: %q", got)
	}
}

// A claim that fails leaves the upload where it is.
func TestFailedClaim(t *testing.T) {
	f, dir := open(t)
	id, _, err := f.Upload(strings.NewReader("x"), math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(dir, "r")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Claim(id, "r", "in"); err == nil {
		t.Fatalf("claim: %d bytes go into a file", n)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Claim(id, "r", "in"); err != nil || n != 1 || content(t, f, "r", "in") != "x" {
		t.Errorf("claim: %d, %v", n, err)
	}
}

// An owner whose values were dropped may have others.
func TestSaveAfterDrop(t *testing.T) {
	f, _ := open(t)
	for _, value := range []string{"1", "2"} {
		save(t, f, "r", "x", value)
		if got := content(t, f, "r", "x"); got != value {
			t.Errorf("there is %q, want %q", got, value)
		}
		if err := f.Drop("r"); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever copies the folder sees every value that was there when it began.
func TestHold(t *testing.T) {
	f, err := data.Open(t.TempDir(), data.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	save := func(owner, name, text string) {
		t.Helper()
		if _, err := f.Save(owner, name, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(owner, name string) bool {
		v, _, err := f.Open(owner, name)
		if err == nil {
			v.Close()
		}
		return err == nil
	}
	save("a", "x", "1")
	save("a", "y", "1")
	save("b", "x", "1")
	first, second := f.Hold(), f.Hold()
	if err := errors.Join(f.Remove("a", "x"), f.Remove("a", "y"), f.Drop("b")); err != nil {
		t.Fatal(err)
	}
	first()
	first()
	if !there("a", "x") || !there("b", "x") {
		t.Error("a value went while somebody held the folder")
	}
	save("a", "y", "2")
	second()
	if there("a", "x") || there("b", "x") {
		t.Error("a value stayed after the release")
	}
	if !there("a", "y") {
		t.Error("a value that was made anew is gone")
	}
	if err := f.Remove("a", "y"); err != nil || there("a", "y") {
		t.Errorf("removing afterwards: %v", err)
	}
}
