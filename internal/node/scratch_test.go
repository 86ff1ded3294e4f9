package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed node has left is removed by the next one at once; what lives, or belongs to others, stays.
func TestScratchFoldersOfKilledNodesAreSwept(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	live, lock, err := MakeScratch()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	folder := func(name string, age time.Duration) string {
		dir := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Join(dir, "run-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := []string{folder(scratchPrefix+"1", 0), folder(scratchPrefix+"2", time.Hour), folder(newPrefix+"1", time.Hour)}
	stays := []string{live, folder(newPrefix+"2", 0), folder("weft-other", time.Hour), folder("x", time.Hour)}
	link := filepath.Join(tmp, scratchPrefix+"link")
	if err := os.Symlink(filepath.Join(tmp, "x"), link); err != nil {
		t.Fatal(err)
	}
	next, other, err := MakeScratch()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, dir := range gone {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	for _, dir := range append(stays, next, link) {
		if _, err := os.Lstat(dir); err != nil {
			t.Error(err)
		}
	}
}
