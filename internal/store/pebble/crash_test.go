package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/pebble"
)

// The machine dies between any two operations on the disk: while the store is
// made, while tables are written and merged and the log is rotated, while a
// checkpoint is copied, and while the store is closed.
func TestCrashBetweenAnyOperations(t *testing.T) {
	for seed := range uint64(2) {
		base := vfs.NewCrashableMem()
		var l life
		rng := rand.New(rand.NewPCG(seed, 2))
		type crash struct {
			what              string
			disk              *vfs.MemFS
			durable, appended int64
		}
		var crashes []crash
		every := stride(counted(t, writes), 80)
		n := 0
		taps := &tap{each: func(_ int, op errorfs.Op) error {
			if n++; !writes(op) || n%every != int(seed)%every {
				return nil
			}
			c := crash{what: fmt.Sprintf("crash before operation %d, kind %d of %s", n, op.Kind, op.Path), durable: l.durable.Load()}
			c.disk = base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[n/every%3], RNG: rng})
			c.appended = l.appended.Load()
			crashes = append(crashes, c)
			return nil
		}}
		if err := l.birth(faulty(base, taps)); err != nil {
			t.Fatal(err)
		}
		if len(crashes) < 50 {
			t.Fatalf("only %d crashes", len(crashes))
		}
		for _, c := range crashes {
			var left life
			left.durable.Store(c.durable)
			left.appended.Store(c.appended)
			left.reopened(t, c.what, c.disk)
		}
	}
}

// A crash while what a crash has left is being opened loses nothing either.
func TestCrashDuringRecovery(t *testing.T) {
	for seed := range uint64(10) {
		crashDuringRecovery(t, seed)
	}
}

func crashDuringRecovery(t *testing.T, seed uint64) {
	base := vfs.NewCrashableMem()
	var l life
	s := open(t, "store", pebble.Options{FS: base}.Small())
	if err := l.live(s, 0, 12+int(seed)); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	crashed := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var left []*vfs.MemFS
	again, err := pebble.Open("store", pebble.Options{FS: faulty(crashed, &tap{each: func(n int, _ errorfs.Op) error {
		left = append(left, crashed.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 90}[n%3], RNG: rng}))
		return nil
	}})}.Small())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for i, disk := range left {
		l.reopened(t, fmt.Sprintf("seed %d, crash before operation %d of opening", seed, i), disk)
	}
}

// Checkpoints that are made while others write hold a beginning of the log: all
// that was there when they began.
func TestCheckpointUnderWrites(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"), pebble.Options{}.Small())
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	var l life
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := l.step(s, i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range 8 {
		before := s.Snapshot()
		least := before.Version()
		before.Close()
		copied := filepath.Join(dir, fmt.Sprint("copy", n))
		if err := s.Checkpoint(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		most := l.appended.Load()
		c := open(t, copied, pebble.Options{}.Small())
		got, err := whole(c)
		if err != nil || store.Version(got) < least || got > int(most) {
			t.Errorf("checkpoint %d has %d appends, %v; there were %d before and %d after", n, got, err, least, most)
		}
		var next life
		if err := errors.Join(next.live(c, got, got+2), c.Close()); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	if _, err := whole(s); err != nil {
		t.Error(err)
	}
}
