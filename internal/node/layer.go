package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/layer"
)

// Layers installs what functions in Python require.
type Layers struct{ store *layer.Store }

// NewLayers returns the layers of a node with that CacheDir and Python, empty for
// the defaults, without a node, as NewBuilder does for modules. Close it.
func NewLayers(cacheDir, python string) (*Layers, error) {
	dir, err := cacheFolder(cacheDir)
	if err != nil {
		return nil, err
	}
	store, err := layer.NewStore(layer.Options{Dir: filepath.Join(dir, "python"), Python: python})
	if err != nil {
		return nil, err
	}
	return &Layers{store}, nil
}

// Close gives up the layers.
func (l *Layers) Close() error { return l.store.Close() }

// Install installs what an app's functions require, and returns the layers by
// function, with the lock that pins them. The lock is written to the app's
// folder where it has changed. With pack the layers' wheels are at hand. The app
// of a bundle is installed from what came along.
func (l *Layers) Install(ctx context.Context, a *app.App, pack bool) (map[string]layer.Layer, *layer.Lock, error) {
	made := map[string]layer.Layer{}
	if !slices.ContainsFunc(slices.Collect(maps.Values(a.Units())), func(f *app.Function) bool { return !f.Requirements.IsZero() }) {
		return made, nil, nil
	}
	lock, err := layer.ReadLock(a.Dir)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	units := a.Units()
	for _, name := range slices.Sorted(maps.Keys(units)) {
		r := units[name].Requirements
		if r.IsZero() {
			continue
		}
		dir, err := filepath.Abs(a.Dir)
		if err != nil {
			return nil, nil, fmt.Errorf("find app folder: %w", err)
		}
		made[name], err = l.store.Install(ctx, layer.Request{Function: name, Dir: dir, File: r.File, Lines: r.Lines,
			Digest: r.Digest, Wheels: r.Wheels, Offline: r.Wheels != "", Pack: pack}, lock)
		errs = append(errs, err)
	}
	if lock.Changed() {
		errs = append(errs, lock.Write(a.Dir))
	}
	return made, lock, errors.Join(errs...)
}
