package pebble

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FlushTime is how long a disk takes to put a small write where it survives the
// machine's death.
type FlushTime struct {
	Median time.Duration `json:"median"` // nanoseconds, as JSON
	P99    time.Duration `json:"p99"`
	Writes int           `json:"writes"` // that were measured
}

const (
	measureTime   = 30 * time.Millisecond // after which no write begins
	measureWrites = 200
	measureSize   = 4 << 10
)

// MeasureFlush writes to a file in a folder as Pebble writes its log, flushes
// after each write, and removes the file again. It takes 30 ms, or one write if
// that takes longer.
func MeasureFlush(dir string) (t FlushTime, err error) {
	disk := vfs.Default
	name := disk.PathJoin(dir, ".flush-"+rand.Text())
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return t, fmt.Errorf("measure flushes: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close(), disk.Remove(name)); err != nil {
			t, err = FlushTime{}, fmt.Errorf("measure flushes: %w", err)
		}
	}()
	// As a log that is used again: its blocks are there.
	page := make([]byte, measureSize)
	for range 8 {
		if _, err := f.Write(page); err != nil {
			return t, err
		}
	}
	if err := f.Sync(); err != nil {
		return t, err
	}
	var took []time.Duration
	for begun := time.Now(); len(took) == 0 || time.Since(begun) < measureTime && len(took) < measureWrites; {
		now := time.Now()
		if _, err := f.WriteAt(page, int64(len(took)%8*measureSize)); err != nil {
			return t, err
		}
		if err := f.SyncData(); err != nil {
			return t, err
		}
		took = append(took, time.Since(now))
	}
	slices.Sort(took)
	n := len(took)
	return FlushTime{Median: took[n/2], P99: took[min(n-1, n*99/100)], Writes: n}, nil
}
