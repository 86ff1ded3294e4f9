package pebble_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/tmpfs"
)

// A real file system runs full, at several sizes, and gets space again.
func TestRealDiskRunsFull(t *testing.T) {
	for _, ballast := range []int{3 << 20, 5 << 19, 2<<20 + 12345} {
		dir := tmpfs.New(t, "4m")
		if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, ballast), 0o600); err != nil {
			t.Fatal(err)
		}
		store := filepath.Join(dir, "store")
		s, err := pebble.Open(store, pebble.Options{}.Small())
		if err != nil {
			t.Fatal(err)
		}
		var l life
		for i := 0; err == nil; i++ {
			err = l.step(s, i)
		}
		if !isFailed(err) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), store) {
			t.Errorf("ballast of %d bytes: %v", ballast, err)
		}
		s.Close()
		if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
			t.Fatal(err)
		}
		s = open(t, store, pebble.Options{}.Small())
		n, err := whole(s)
		if err != nil || n < int(l.durable.Load()) || n > int(l.appended.Load()) {
			t.Errorf("ballast of %d bytes: %d appends are left, %v; %d were durable, %d begun", ballast, n, err, l.durable.Load(), l.appended.Load())
		}
		if err := errors.Join(l.live(s, n, n+10), s.Close()); err != nil {
			t.Errorf("with space: %v", err)
		}
	}
}
