package pebble_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/pebble"
)

// life is a use of a store that makes Pebble do all that it does: it rotates its
// log, writes tables, merges and deletes them, and copies all to a checkpoint.
// Append i, from 0, puts key i and counts in a key that all appends share, so
// that what is there at any version is known.
type life struct {
	appended atomic.Int64 // appends that have begun
	durable  atomic.Int64 // appends that are promised to be there
}

const lifeSteps = 60

// payload is the value of key i: incompressible, of up to 8 KiB, and one of 60 KiB
// now and then, which is too large for Pebble's tables in memory.
func payload(i int) []byte {
	size := 200 + i*131%8000
	if i%20 == 13 {
		size = 60 << 10
	}
	rng, b := rand.New(rand.NewPCG(uint64(i), 7)), make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b
}

func lifeKey(i int) []byte { return fmt.Appendf(nil, "k%04d", i) }

// step is append i.
func (l *life) step(s *pebble.Store, i int) error {
	var b store.Batch
	b.IfAbsent(lifeKey(i))
	b.Put(lifeKey(i), payload(i))
	b.Put([]byte("last"), lifeKey(i))
	l.appended.Store(int64(i) + 1)
	v, err := s.Append(context.Background(), &b)
	if err != nil {
		return err
	}
	if int(v) != i+1 {
		return fmt.Errorf("append %d has version %d", i, v)
	}
	if i%3 != 0 {
		return nil
	}
	if err := s.Durable(context.Background(), v); err != nil {
		return err
	}
	l.durable.Store(int64(i) + 1)
	return nil
}

// live lives steps from one to another, until something fails.
func (l *life) live(s *pebble.Store, from, to int) error {
	for i := from; i < to; i++ {
		if err := l.step(s, i); err != nil {
			return err
		}
		switch i % 20 {
		case 7, 14, 18:
			if err := s.Sort(); err != nil {
				return err
			}
		case 19:
			if err := s.Compact(); err != nil {
				return err
			}
		}
		if i == lifeSteps/2 {
			if err := s.Checkpoint(context.Background(), fmt.Sprintf("copies/at%d", i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole checks that a store holds the first appends, all of each, and says how
// many.
func whole(s store.Store) (int, error) {
	view := s.Snapshot()
	defer view.Close()
	n := 0
	var wrong error
	if err := view.Scan([]byte("k"), nil, func(i store.Item) bool {
		if !bytes.Equal(i.Key, lifeKey(n)) || int(i.Version) != n+1 || !bytes.Equal(i.Value, payload(n)) {
			wrong = fmt.Errorf("key %d is %s of version %d with %d bytes: what is left is not a beginning of the log", n, i.Key, i.Version, len(i.Value))
			return false
		}
		n++
		return true
	}); err != nil {
		return 0, err
	}
	if wrong != nil || n == 0 {
		return n, wrong
	}
	last, err := view.Get([]byte("last"))
	if err == nil && (!bytes.Equal(last.Value, lifeKey(n-1)) || int(last.Version) != n || int(view.Version()) != n) {
		err = fmt.Errorf("of %d appends the last is %s of version %d, the store has version %d: a batch is torn", n, last.Value, last.Version, view.Version())
	}
	return n, err
}

// reopened opens what a life has left, checks it, and lives on.
func (l *life) reopened(t *testing.T, what string, disk vfs.FS) {
	t.Helper()
	s, err := pebble.Open("store", pebble.Options{FS: disk}.Small())
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer s.Close()
	n, err := whole(s)
	if err != nil || n < int(l.durable.Load()) || n > int(l.appended.Load()) {
		t.Errorf("%s: %d appends are left, %v; %d were durable, %d begun", what, n, err, l.durable.Load(), l.appended.Load())
		return
	}
	var next life
	if err := next.live(s, n, n+2); err != nil {
		t.Errorf("%s: the store does not go on: %v", what, err)
	}
}

var every = flag.Bool("every", false, "fail and crash at every operation, not at a sample of them")

// stride visits about n of all points, every one if there are fewer.
func stride(all, n int) int {
	if *every {
		return 1
	}
	if testing.Short() {
		n /= 4
	}
	return max(1, all/n)
}

func isFailed(err error) bool { return errors.Is(err, store.ErrFailed) }
