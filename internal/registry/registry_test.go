package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/store/memory"
)

// pack makes a bundle of an app whose function prints a text.
func pack(t *testing.T, name, text string) *bytes.Buffer {
	t.Helper()
	dir := t.TempDir()
	yaml := fmt.Sprintf("name: %s\nfunctions: {f: {source: ./f.wasm}}\nworkflows: {main: {steps: {f: {call: f}}}}\n", name)
	for file, content := range map[string]string{"weft.yaml": yaml, "f.wasm": text} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Collect(a, bundle.Parts{Modules: map[string]string{"f": filepath.Join(dir, "f.wasm")}})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := b.Write(&archive); err != nil {
		t.Fatal(err)
	}
	return &archive
}

// open opens a registry over a folder and a store that stay.
func open(t *testing.T, dir string, db *memory.Store, o registry.Options) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), dir, db, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deploy(t *testing.T, r *registry.Registry, archive *bytes.Buffer) registry.Version {
	t.Helper()
	v, _, err := r.Deploy(t.Context(), archive, registry.Deployment{Activate: true, By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func database(t *testing.T) *memory.Store {
	db := memory.New(memory.Options{})
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDeployActivateRollback(t *testing.T) {
	dir, db := t.TempDir(), database(t)
	var told []string
	r := open(t, dir, db, registry.Options{Changed: func(app string) { told = append(told, app) }})
	one := deploy(t, r, pack(t, "shop", "one"))
	two := deploy(t, r, pack(t, "shop", "two"))
	again, existed, err := r.Deploy(t.Context(), pack(t, "shop", "one"), registry.Deployment{})
	if err != nil || !existed || again.ID != one.ID {
		t.Errorf("the same content again: %v, existed %v, %v", again, existed, err)
	}
	active := func(r *registry.Registry) string {
		_, v, err := r.Get("shop", "")
		if err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	if active(r) != two.ID {
		t.Errorf("active is %s, want the second, %s", active(r), two.ID)
	}
	if v, err := r.Rollback(t.Context(), "shop"); err != nil || v.ID != one.ID || active(r) != one.ID {
		t.Errorf("rolled back to %s: %v", v.ID, err)
	}
	if _, err := r.Rollback(t.Context(), "shop"); !errors.Is(err, registry.ErrNoOther) {
		t.Errorf("rolled back twice: %v", err)
	}
	if _, err := r.Activate(t.Context(), "shop", two.ID); err != nil {
		t.Error(err)
	}
	if want := []string{"shop", "shop", "shop", "shop"}; !slices.Equal(told, want) {
		t.Errorf("told %v", told)
	}
	r = open(t, dir, db, registry.Options{})
	if active(r) != two.ID {
		t.Error("another version is active after a restart")
	}
	if v, ok := r.Find(one.ID); !ok || v.App != "shop" || v.By != "me" {
		t.Errorf("found %v, %v", v, ok)
	}
}

func TestRejectedBundlesLeaveNothing(t *testing.T) {
	no := errors.New("not here")
	for name, o := range map[string]registry.Options{
		"by the operator":  {Check: func(*app.App) error { return no }},
		"by the sandboxes": {Prepare: func(context.Context, *app.App, registry.Version) error { return no }},
	} {
		t.Run(name, func(t *testing.T) {
			dir, db := t.TempDir(), database(t)
			r := open(t, dir, db, o)
			_, _, err := r.Deploy(t.Context(), pack(t, "shop", "x"), registry.Deployment{Activate: true})
			var rejected *registry.RejectedError
			if !errors.As(err, &rejected) || !errors.Is(err, no) {
				t.Errorf("%v", err)
			}
			if len(r.List()) != 0 {
				t.Error("it is listed")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	r := open(t, t.TempDir(), database(t), registry.Options{})
	var rejected *registry.RejectedError
	if _, _, err := r.Deploy(t.Context(), bytes.NewBufferString("junk"), registry.Deployment{}); !errors.As(err, &rejected) {
		t.Errorf("junk: %v", err)
	}
}

func TestDeleteWhatIsInUse(t *testing.T) {
	busy := map[string]int{}
	dir := t.TempDir()
	r := open(t, dir, database(t), registry.Options{InUse: func(_, version string) int { return busy[version] }})
	one, two := deploy(t, r, pack(t, "shop", "one")), deploy(t, r, pack(t, "shop", "two"))
	if err := r.DeleteVersion(t.Context(), "shop", two.ID); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("the active version: %v", err)
	}
	busy[one.ID] = 1
	if err := r.DeleteVersion(t.Context(), "shop", one.ID); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("a version with runs: %v", err)
	}
	if err := r.Delete(t.Context(), "shop"); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("an app with runs: %v", err)
	}
	delete(busy, one.ID)
	if err := r.DeleteVersion(t.Context(), "shop", one.ID); err != nil {
		t.Error(err)
	}
	if _, err := r.Rollback(t.Context(), "shop"); !errors.Is(err, registry.ErrNoOther) {
		t.Errorf("rolled back to a version that is gone: %v", err)
	}
	if err := r.Delete(t.Context(), "shop"); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Get("shop", ""); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a deleted app: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPlacesInARejectedAppFile(t *testing.T) {
	check := func(a *app.App) error {
		return app.Errors{{File: a.File, Line: 2, Column: 14, Message: "not granted"}}
	}
	r := open(t, t.TempDir(), database(t), registry.Options{Check: check})
	_, _, err := r.Deploy(t.Context(), pack(t, "shop", "x"), registry.Deployment{})
	var errs app.Errors
	if !errors.As(err, &errs) || errs[0].Error() != "weft.yaml:2:14: not granted" {
		t.Errorf("%v", err)
	}
}

// A node that dies while it deploys leaves a folder, and no record.
func TestLeftoversGo(t *testing.T) {
	dir, db := t.TempDir(), database(t)
	one := deploy(t, open(t, dir, db, registry.Options{}), pack(t, "shop", "one"))
	for _, left := range []string{".tmp-1/weft.yaml", "shop/0123456789abcdef/weft.yaml", "other/0123456789abcdef/weft.yaml"} {
		p := filepath.Join(dir, left)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir, db, registry.Options{})
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if _, v, err := r.Get("shop", ""); err != nil || v.ID != one.ID {
		t.Errorf("%v, %v", v, err)
	}
}
