package scratch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed process has left is removed by the next one at once; what lives, or belongs to others, stays.
func TestFoldersOfKilledProcessesAreSwept(t *testing.T) {
	parent := t.TempDir()
	live, err := Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	folder := func(name string, age time.Duration) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "run-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := []string{folder(prefix+"1", 0), folder(prefix+"2", time.Hour), folder(newPrefix+"1", time.Hour)}
	stays := []string{live.Path, folder(newPrefix+"2", 0), folder("weft-other", time.Hour), folder("x", time.Hour)}
	link := filepath.Join(parent, prefix+"link")
	if err := os.Symlink(filepath.Join(parent, "x"), link); err != nil {
		t.Fatal(err)
	}
	next, err := Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range gone {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	for _, dir := range append(stays, next.Path, link) {
		if _, err := os.Lstat(dir); err != nil {
			t.Error(err)
		}
	}
	for _, f := range []*Folder{live, next} {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(f.Path); err == nil {
			t.Errorf("%s is left", f.Path)
		}
	}
}

func TestFolderIsMadeInTMPDIR(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f, err := Make("")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	if filepath.Dir(f.Path) != os.Getenv("TMPDIR") {
		t.Errorf("it is %s", f.Path)
	}
	t.Setenv("TMPDIR", filepath.Join(f.Path, "none"))
	if _, err := Make(""); err == nil {
		t.Error("made in a folder that does not exist")
	}
}
