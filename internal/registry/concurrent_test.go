package registry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/registry"
)

// slow is a Prepare that takes until it is let go on, for versions of one app.
type slow struct {
	app     string
	begun   chan struct{}
	release chan struct{}
	times   atomic.Int32
}

func newSlow(app string) *slow {
	return &slow{app: app, begun: make(chan struct{}, 10), release: make(chan struct{})}
}

func (s *slow) prepare(ctx context.Context, a *app.App, _ registry.Version) error {
	if a.Name != s.app {
		return nil
	}
	s.times.Add(1)
	s.begun <- struct{}{}
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestOtherChangesDoNotWaitForADeployment(t *testing.T) {
	s := newSlow("slow")
	dir := t.TempDir()
	r := open(t, dir, database(t), registry.Options{Prepare: s.prepare})
	one := deploy(t, r, pack(t, "shop", "one"))
	deploy(t, r, pack(t, "shop", "two"))
	bundles := []*strings.Reader{}
	for range 2 {
		bundles = append(bundles, strings.NewReader(pack(t, "slow", "x").String()))
	}
	var deployed sync.WaitGroup
	var existed atomic.Int32
	for _, b := range bundles {
		deployed.Go(func() {
			_, known, err := r.Deploy(t.Context(), b, registry.Deployment{Activate: true})
			if err != nil {
				t.Error(err)
			}
			if known {
				existed.Add(1)
			}
		})
	}
	<-s.begun
	if v, err := r.Rollback(t.Context(), "shop"); err != nil || v.ID != one.ID {
		t.Errorf("another app is rolled back to %s: %v", v.ID, err)
	}
	if _, _, err := r.Get("slow", ""); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the app is there before it is ready: %v", err)
	}
	close(s.release)
	deployed.Wait()
	if n := s.times.Load(); n != 1 || existed.Load() != 1 {
		t.Errorf("the same content was prepared %d times, and %d of two deployments were told that it existed", n, existed.Load())
	}
	if _, _, err := r.Get("slow", ""); err != nil {
		t.Error(err)
	}
}

func TestAnAppIsNotDeletedWhileItIsDeployed(t *testing.T) {
	s := newSlow("shop")
	r := open(t, t.TempDir(), database(t), registry.Options{Prepare: s.prepare})
	s.release = make(chan struct{}, 1)
	s.release <- struct{}{}
	one := deploy(t, r, pack(t, "shop", "one"))
	<-s.begun
	done := make(chan error)
	go func() {
		_, _, err := r.Deploy(t.Context(), pack(t, "shop", "two"), registry.Deployment{Activate: true})
		done <- err
	}()
	<-s.begun
	if err := r.Delete(t.Context(), "shop"); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("deleted: %v", err)
	}
	close(s.release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, v, err := r.Get("shop", ""); err != nil || v.ID == one.ID {
		t.Errorf("%v, %v", v, err)
	}
}

// Whoever gives up on a deployment leaves nothing.
func TestADeploymentIsGivenUp(t *testing.T) {
	s := newSlow("shop")
	dir := t.TempDir()
	r := open(t, dir, database(t), registry.Options{Prepare: s.prepare})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	b := pack(t, "shop", "x")
	go func() {
		_, _, err := r.Deploy(ctx, b, registry.Deployment{Activate: true})
		done <- err
	}()
	<-s.begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A run that begins while its version is being deleted is either counted, and
// the version stays, or finds no version.
func TestRunsAndDeletions(t *testing.T) {
	var mu sync.Mutex
	running := map[string]int{}
	r := open(t, t.TempDir(), database(t), registry.Options{InUse: func(_, version string) int {
		mu.Lock()
		defer mu.Unlock()
		return running[version]
	}})
	for i := range 30 {
		v := deploy(t, r, pack(t, "shop", fmt.Sprint("one ", i)))
		deploy(t, r, pack(t, "shop", fmt.Sprint("two ", i)))
		began := make(chan bool)
		go func() {
			mu.Lock()
			running[v.ID]++
			mu.Unlock()
			_, _, err := r.Get("shop", v.ID)
			if err != nil {
				mu.Lock()
				running[v.ID]--
				mu.Unlock()
			}
			began <- err == nil
		}()
		err := r.DeleteVersion(t.Context(), "shop", v.ID)
		if runs := <-began; runs == (err == nil) && runs {
			t.Fatalf("round %d: a run has begun, and its version is deleted", i)
		}
		if _, _, got := r.Get("shop", v.ID); (got == nil) != (err != nil) {
			t.Fatalf("round %d: deleted: %v, and there: %v", i, err, got)
		}
	}
}

// Whoever asks for a version while it is deleted gets it or is told that there is
// none, not which of its files is missing.
func TestReadersOfADeletedVersion(t *testing.T) {
	r := open(t, t.TempDir(), database(t), registry.Options{})
	for i := range 30 {
		v := deploy(t, r, pack(t, "shop", fmt.Sprint("one ", i)))
		deploy(t, r, pack(t, "shop", fmt.Sprint("two ", i)))
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					switch _, _, err := r.Get("shop", v.ID); {
					case errors.Is(err, registry.ErrNotFound):
						return
					case err != nil:
						t.Error(err)
						return
					}
					runtime.GC() // the next one reads the files again
				}
			})
		}
		if err := r.DeleteVersion(t.Context(), "shop", v.ID); err != nil {
			t.Error(err)
		}
		readers.Wait()
	}
}

func TestCheckpointHasWhatWasThere(t *testing.T) {
	dir, db := t.TempDir(), database(t)
	r := open(t, dir, db, registry.Options{})
	one, two := deploy(t, r, pack(t, "shop", "one")), deploy(t, r, pack(t, "shop", "two"))
	copied := filepath.Join(t.TempDir(), "apps")
	called := false
	if err := r.Checkpoint(t.Context(), copied, func() error { called = true; return nil }); err != nil || !called {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	for _, v := range []registry.Version{one, two} {
		if d, err := bundle.Digest(filepath.Join(copied, "shop", v.ID)); err != nil || d != v.ID {
			t.Errorf("version %s: digest %s, %v", v.ID, d, err)
		}
	}
	no := errors.New("no")
	if err := r.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "apps"), func() error { return no }); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
}

func TestAsManyAsThereMayBe(t *testing.T) {
	r := open(t, t.TempDir(), database(t), registry.Options{Apps: 2, Versions: 2})
	deploy(t, r, pack(t, "a", "1"))
	deploy(t, r, pack(t, "a", "2"))
	deploy(t, r, pack(t, "b", "1"))
	for app, word := range map[string]string{"a": "2 versions", "c": "2 apps"} {
		_, _, err := r.Deploy(t.Context(), pack(t, app, "3"), registry.Deployment{})
		var rejected *registry.RejectedError
		if !errors.As(err, &rejected) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "weft apps delete") {
			t.Errorf("app %s: %v", app, err)
		}
	}
	if _, existed, err := r.Deploy(t.Context(), pack(t, "a", "1"), registry.Deployment{Activate: true}); err != nil || !existed {
		t.Errorf("a version that is there: %v", err)
	}
}

// What cannot be read for a while is not lost.
func TestAFolderThatCannotBeRead(t *testing.T) {
	dir, db := t.TempDir(), database(t)
	v := deploy(t, open(t, dir, db, registry.Options{}), pack(t, "shop", "x"))
	r := open(t, dir, db, registry.Options{})
	folder := filepath.Join(dir, "shop", v.ID)
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Get("shop", ""); err == nil || errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without its folder: %v", err)
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Get("shop", ""); err != nil {
		t.Errorf("with its folder again: %v", err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir, db, registry.Options{})
	if _, existed, err := r.Deploy(t.Context(), pack(t, "shop", "x"), registry.Deployment{Activate: true}); err != nil || existed {
		t.Errorf("the folder is not made again: existed %v, %v", existed, err)
	}
	if _, _, err := r.Get("shop", ""); err != nil {
		t.Error(err)
	}
}

// A node that dies at any append of a deployment finds what it has told, and
// nothing that it has not written down.
func TestTheStoreFailsWhileItIsDeployed(t *testing.T) {
	broken := errors.New("broken")
	dir, db := t.TempDir(), database(t)
	r := open(t, dir, db, registry.Options{})
	one := deploy(t, r, pack(t, "shop", "one"))
	acknowledged := false
	for at := 1; !acknowledged; at++ {
		n := 0
		db.Inject(func(op string) error {
			if op == "append" {
				if n++; n == at {
					return broken
				}
			}
			return nil
		})
		two, _, err := r.Deploy(t.Context(), pack(t, "shop", "two"), registry.Deployment{Activate: true})
		acknowledged = err == nil
		if err != nil && !errors.Is(err, broken) {
			t.Errorf("append %d: %v", at, err)
		}
		db.Inject(nil)
		db.Crash()
		r = open(t, dir, db, registry.Options{})
		want := one.ID
		if acknowledged {
			want = two.ID
		}
		if _, v, err := r.Get("shop", ""); err != nil || v.ID != want {
			t.Errorf("append %d: active is %s, want %s: %v", at, v.ID, want, err)
		}
		versions, err := r.Versions("shop")
		if err != nil {
			t.Fatal(err)
		}
		if folders, _ := filepath.Glob(filepath.Join(dir, "shop", "*")); len(folders) != len(versions) {
			t.Errorf("append %d: %d versions in %d folders", at, len(versions), len(folders))
		}
		if at > 10 {
			t.Fatal("it never succeeds")
		}
	}
}
