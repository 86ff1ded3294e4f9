package build

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	now := time.Now()
	cache := t.TempDir()
	for path, age := range map[string]time.Duration{
		"modules/a.wasm": 5 * time.Hour, "modules/b.wasm": 3 * time.Hour, "modules/c.wasm": 2 * time.Hour, "modules/d.wasm": time.Minute,
	} {
		path = filepath.Join(cache, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 100), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		limit int64
		left  []string
	}{
		{400, []string{"a.wasm", "b.wasm", "c.wasm", "d.wasm"}},
		{250, []string{"c.wasm", "d.wasm"}},
		{0, []string{"d.wasm"}}, // used a minute ago
	} {
		prune(cache, step.limit, now)
		var left []string
		paths, _ := filepath.Glob(filepath.Join(cache, "modules", "*"))
		for _, p := range paths {
			left = append(left, filepath.Base(p))
		}
		if !slices.Equal(left, step.left) {
			t.Errorf("limit %d leaves %v, want %v", step.limit, left, step.left)
		}
	}
}

// A module that is found in the cache counts as used.
func TestUseKeepsModules(t *testing.T) {
	need(t, "c")
	dir, cache := write(t, map[string]string{"f.c": helloC}), t.TempDir()
	b := New(Config{CacheDir: cache})
	f := Source{Function: "f", Path: "f.c"}
	m, err := b.Build(t.Context(), dir, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-10 * time.Hour)
	if err := os.Chtimes(m.Path, old, old); err != nil {
		t.Fatal(err)
	}
	if again, err := b.Build(t.Context(), dir, f, nil); err != nil || !again.Cached {
		t.Fatalf("got %+v, %v", again, err)
	}
	prune(cache, 0, time.Now())
	if _, err := os.Stat(m.Path); err != nil {
		t.Error("a module that was just used is gone")
	}
}

func TestFoldersThatNobodyUsesAreRemoved(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{"old": keepFolder + time.Hour, "used": keepFolder + time.Hour, "new": time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	Use(filepath.Join(dir, "used"))
	pruneFolders(dir, now)
	for name, want := range map[string]bool{"old": false, "used": true, "new": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
