package pebble_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-run/weft/internal/store/pebble"
)

func TestMeasureFlush(t *testing.T) {
	dir := t.TempDir()
	got, err := pebble.MeasureFlush(dir)
	if err != nil || got.Writes < 1 || got.Median <= 0 || got.P99 < got.Median {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := pebble.MeasureFlush(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}
