package pebble_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/pebble"
)

const oldKeys = 30

// older makes a store of the format before the test's migrations.
func older(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	s := open(t, "store", pebble.Options{FS: disk})
	for i := range oldKeys {
		if _, err := put(s, fmt.Sprintf("k%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

// content lists what is in a store.
func content(s store.Store) (string, error) {
	view := s.Snapshot()
	defer view.Close()
	var b strings.Builder
	err := view.Scan(nil, nil, func(i store.Item) bool {
		fmt.Fprintf(&b, "%s=%s at %d\n", i.Key, i.Value, i.Version)
		return true
	})
	return b.String(), err
}

func contents(format string) string {
	var b strings.Builder
	for i := range oldKeys {
		fmt.Fprintf(&b, format, i, i+1)
	}
	return b.String()
}

var (
	before = contents("k%04d=1 at %d\n")
	after  = contents("new/k%04d=2:1 at %d\n")
)

// migrated opens what is there with the migrations and checks that they have
// happened, once; who does not know them sees nothing or what was there before.
func migrated(t *testing.T, what string, disk *vfs.MemFS) {
	t.Helper()
	clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	if s, err := pebble.Open("store", pebble.Options{FS: clone}); err == nil {
		if got, err := content(s); err != nil || got != before {
			t.Errorf("%s: who does not know the migration reads %v\n%s", what, err, got)
		}
		s.Close()
	} else if !strings.Contains(err.Error(), "written by a newer version of weft") {
		t.Errorf("%s: who does not know the migration is told %v", what, err)
	}
	s, err := pebble.Open("store", pebble.Options{FS: disk}.Migrating())
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer s.Close()
	if got, err := content(s); err != nil || got != after || s.Format() != pebble.Current+2 {
		t.Errorf("%s: format %d, %v\n%s", what, s.Format(), err, got)
	}
	if v, err := put(s, "z"); err != nil || v != oldKeys+1 {
		t.Errorf("%s: the log goes on with %d, %v", what, v, err)
	}
}

func TestMigration(t *testing.T) {
	disk := older(t)
	migrated(t, "migration", disk)
	fresh := open(t, "fresh", pebble.Options{FS: vfs.NewMem()}.Migrating())
	defer fresh.Close()
	if fresh.Format() != pebble.Current+2 {
		t.Errorf("a new store has format %d", fresh.Format())
	}
}

func TestCrashAtEveryStepOfMigration(t *testing.T) {
	disk := older(t)
	rng := rand.New(rand.NewPCG(1, 9))
	var crashes []*vfs.MemFS
	s := open(t, "store", pebble.Options{FS: faulty(disk, &tap{each: func(n int, op errorfs.Op) error {
		if writes(op) {
			crashes = append(crashes, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 90}[n%3], RNG: rng}))
		}
		return nil
	}})}.Migrating())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(crashes) < 20 {
		t.Fatalf("only %d crashes", len(crashes))
	}
	for i, c := range crashes {
		migrated(t, fmt.Sprint("crash ", i), c)
	}
}

func TestErrorAtEveryStepOfMigration(t *testing.T) {
	for at, failed := 0, true; failed; at++ {
		disk := older(t)
		n := 0
		failed = false
		s, err := pebble.Open("store", pebble.Options{FS: faulty(disk, &tap{each: func(_ int, op errorfs.Op) error {
			if !writes(op) {
				return nil
			}
			if n++; n <= at {
				return nil
			}
			failed = true
			return syscall.ENOSPC
		}})}.Migrating())
		if err == nil {
			s.Close()
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %d: %v", at, err)
		}
		migrated(t, fmt.Sprint("error ", at), disk)
	}
}

func TestDamagedFormat(t *testing.T) {
	for name, test := range map[string]struct {
		key, value string
		want       string
	}{
		"empty format":        {"m/format", "", "format  is not one of weft"},
		"long format":         {"m/format", "\x01\x02", "format 0102 is not one of weft"},
		"format 0":            {"m/format", "\x00", "format 00 is not one of weft"},
		"empty migration":     {"m/migration", "", "its migration  does not lead to its format 1"},
		"unrelated migration": {"m/migration", "\x05x", "its migration 0578 does not lead to its format 1"},
		"migration from 0":    {"m/migration", "\x00x", "its migration 0078 does not lead to its format 1"},
		"short version":       {"m/version", "1", "its version has 1 bytes, not 8"},
		"empty version":       {"m/version", "", "its version has 0 bytes, not 8"},
	} {
		disk := older(t)
		s := open(t, "store", pebble.Options{FS: disk})
		if err := errors.Join(s.SetRaw(test.key, test.value), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := pebble.Open("store", pebble.Options{FS: disk}); err == nil || err.Error() != "open store store: "+test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}
