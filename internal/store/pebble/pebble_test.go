package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/store/storetest"
)

func open(t testing.TB, dir string, o pebble.Options) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			return open(t, t.TempDir(), pebble.Options{Now: now})
		},
		Restore: func(t *testing.T, dir string) store.Store { return open(t, dir, pebble.Options{}) },
	})
}

func put(s store.Store, key string) (store.Version, error) {
	var b store.Batch
	b.Put([]byte(key), []byte("1"))
	return s.Append(context.Background(), &b)
}

// count counts the keys, which have to be those of the first appends.
func count(t *testing.T, s store.Store) (n int) {
	t.Helper()
	view := s.Snapshot()
	defer view.Close()
	if err := view.Scan(nil, nil, func(i store.Item) bool {
		if want := fmt.Sprintf("k%04d", n); string(i.Key) != want || int(i.Version) != n+1 {
			t.Fatalf("key %d is %s of version %d: what is left is not a beginning of the log", n, i.Key, i.Version)
		}
		n++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever the disk forgets of what was not synced, what Durable has promised is
// there, and what is there is a beginning of the log.
func TestCrashAtEveryWrite(t *testing.T) {
	lives := 60
	if testing.Short() {
		lives = 20
	}
	for life := range lives {
		fs := vfs.NewCrashableMem()
		s := open(t, "store", pebble.Options{FS: fs})
		durable := 0
		for i := range 1 + life {
			v, err := put(s, fmt.Sprintf("k%04d", i))
			if err != nil {
				t.Fatal(err)
			}
			if i%7 == 3 {
				if err := s.Durable(context.Background(), v); err != nil {
					t.Fatal(err)
				}
				durable = i + 1
			}
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: life * 7 % 101, RNG: rand.New(rand.NewPCG(uint64(life), 1))})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, "store", pebble.Options{FS: crashed})
		n := count(t, again)
		if n < durable {
			t.Errorf("life %d: %d keys are left, %d were durable", life, n, durable)
		}
		if v, err := put(again, fmt.Sprintf("k%04d", n)); err != nil || int(v) != n+1 {
			t.Errorf("life %d: the log goes on with version %d, %v; want %d", life, v, err, n+1)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A disk that fails at any of its writes ends the store: nothing is promised
// from then on, and what was promised before is there.
func TestErrorAtEveryWrite(t *testing.T) {
	failures := 0
	for at := range int64(40) {
		base := vfs.NewCrashableMem()
		on := &toggle{inner: errorfs.OnIndex(int32(at))}
		s := open(t, "store", pebble.Options{FS: faulty(base, on)})
		on.set(true)
		durable, failed := 0, false
		for i := range 20 {
			v, err := put(s, fmt.Sprintf("k%04d", i))
			if err == nil {
				err = s.Durable(context.Background(), v)
			}
			switch {
			case err == nil && failed:
				t.Fatalf("at %d: append %d succeeds after a failure", at, i)
			case err == nil:
				durable = i + 1
			case !errors.Is(err, store.ErrFailed):
				t.Fatalf("at %d: %v, want ErrFailed", at, err)
			default:
				failed = true
			}
		}
		if failed {
			failures++
		}
		crashed := base.CrashClone(vfs.CrashCloneCfg{})
		on.set(false)
		s.Close()
		again := open(t, "store", pebble.Options{FS: crashed})
		if n := count(t, again); n < durable {
			t.Errorf("at %d: %d keys are left, %d were durable", at, n, durable)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	if failures == 0 {
		t.Error("no write has failed")
	}
}

// toggle injects errors into writes and flushes of the log while it is on.
type toggle struct {
	mu    sync.Mutex
	on    bool
	inner errorfs.Injector
}

func (g *toggle) set(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.on = on
}

func (g *toggle) String() string { return "toggle" }

func (g *toggle) MaybeError(op errorfs.Op) error {
	g.mu.Lock()
	on := g.on
	g.mu.Unlock()
	if !on || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	return g.inner.MaybeError(op)
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "store", pebble.Options{FS: fs})
	if err := s.SetFormat(200); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const want = "open store store: it has format 200, written by a newer version of weft; this one reads formats up to 1: install the newer version"
	if _, err := pebble.Open("store", pebble.Options{FS: fs}); err == nil || err.Error() != want {
		t.Errorf("open: %v\nwant: %s", err, want)
	}
}

// Callers that wait at the same time share flushes.
func TestGroupCommit(t *testing.T) {
	s := open(t, t.TempDir(), pebble.Options{})
	defer s.Close()
	const callers, each = 32, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				v, err := put(s, fmt.Sprintf("%d/%d", c, i))
				if err == nil {
					err = s.Durable(context.Background(), v)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	if st.Appends != callers*each || st.Flushes == 0 || st.Flushes > callers*each/2 || st.FlushTime <= 0 {
		t.Errorf("%+v: %d durable appends share too few flushes", st, callers*each)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), pebble.Options{})
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		if _, err := put(s, fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}
