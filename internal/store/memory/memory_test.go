package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Driver{
		Open: func(t *testing.T, now func() time.Time) store.Store { return memory.New(memory.Options{Now: now}) },
		Restore: func(t *testing.T, dir string) store.Store {
			s, err := memory.Open(dir, memory.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	})
}

func put(t *testing.T, s store.Store, key string) store.Version {
	t.Helper()
	var b store.Batch
	b.Put([]byte(key), []byte("1"))
	v, err := s.Append(context.Background(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func keys(t *testing.T, s store.Store) (n int) {
	t.Helper()
	view := s.Snapshot()
	defer view.Close()
	if err := view.Scan(nil, nil, func(i store.Item) bool {
		if want := fmt.Sprintf("k%02d", n); string(i.Key) != want {
			t.Errorf("key %d is %s: what is left is not a beginning of the log", n, i.Key)
		}
		n++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// After a crash there is what was synced, and of the rest a beginning.
func TestCrash(t *testing.T) {
	left := map[int]bool{}
	for seed := range uint64(50) {
		s := memory.New(memory.Options{Manual: true, Seed: seed})
		for i := range 10 {
			if i == 4 {
				s.Sync()
			}
			put(t, s, fmt.Sprintf("k%02d", i))
		}
		s.Notify(5, func(error) { t.Error("a waiter is told of a flush that never was") })
		s.Crash()
		n := keys(t, s)
		if n < 4 {
			t.Errorf("seed %d: %d of 4 synced keys are left", seed, n)
		}
		left[n] = true
		if v := put(t, s, fmt.Sprintf("k%02d", n)); int(v) != n+1 {
			t.Errorf("seed %d: the log goes on with version %d, want %d", seed, v, n+1)
		}
		keys(t, s)
	}
	if len(left) < 5 {
		t.Errorf("crashes leave only %v keys", left)
	}
}

func TestInjectedFailure(t *testing.T) {
	s := memory.New(memory.Options{Manual: true})
	v := put(t, s, "k00")
	told := make(chan error, 1)
	s.Notify(v, func(err error) { told <- err })
	s.Inject(func(op string) error {
		if op == "append" {
			return errors.New("no space left on device")
		}
		return nil
	})
	var b store.Batch
	b.Put([]byte("k01"), []byte("1"))
	if _, err := s.Append(context.Background(), &b); !errors.Is(err, store.ErrFailed) {
		t.Errorf("append: %v, want ErrFailed", err)
	}
	if err := <-told; !errors.Is(err, store.ErrFailed) {
		t.Errorf("a waiter is told %v, want ErrFailed", err)
	}
	s.Inject(nil)
	if _, err := s.Append(context.Background(), &b); !errors.Is(err, store.ErrFailed) {
		t.Errorf("append after a failure: %v, want ErrFailed", err)
	}
}
