package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/telemetry"
)

// moduleBuilder makes modules of sources; tests act one out.
type moduleBuilder interface {
	Build(ctx context.Context, dir string, f build.Source, progress func(build.Event)) (build.Module, error)
}

// builderOpener opens a builder that keeps what it has built in a folder, by default the user's cache.
type builderOpener func(cacheDir string) (moduleBuilder, error)

// openBuilder opens the builder of this process.
func openBuilder(cacheDir string) (moduleBuilder, error) {
	b, err := node.NewBuilder(cacheDir)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// buildParts builds the app's functions and services as far as a server needs them, with progress on stderr.
func (sh *shell) buildParts(ctx context.Context, a *app.App, quiet bool) (bundle.Parts, error) {
	parts := bundle.Parts{Modules: map[string]string{}, Requirements: map[string]string{}}
	b, err := sh.builder(sh.getenv("WEFT_CACHE"))
	if err != nil {
		return parts, err
	}
	p := sh.newProgress(quiet)
	defer p.Close()
	units := a.Units()
	names := slices.Sorted(maps.Keys(units))
	made := make([]build.Module, len(names))
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			f := units[name]
			event := telemetry.Event{Kind: telemetry.EventBuildStarted, Function: name, Index: telemetry.NoIndex}
			p.Observe(event)
			begun := time.Now()
			made[i], errs[i] = b.Build(ctx, a.Dir, build.Source{Function: name, Runtime: f.Runtime, Path: f.Source, Place: place(a, f)}, nil)
			event.Kind, event.Took = telemetry.EventBuildFinished, time.Since(begun)
			if made[i].Cached {
				event.Text = "cached"
			}
			if errs[i] != nil {
				event.Kind = telemetry.EventBuildFailed
			}
			p.Observe(event)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return parts, fmt.Errorf("build app %s: %w", a.Name, err)
	}
	for i, name := range names {
		parts.Modules[name] = made[i].Path
	}
	if err := sh.require(ctx, a, &parts); err != nil {
		return parts, fmt.Errorf("build app %s: %w", a.Name, err)
	}
	return parts, nil
}

// require installs what functions in Python require, and adds it to the parts.
func (sh *shell) require(ctx context.Context, a *app.App, parts *bundle.Parts) error {
	layers, err := node.NewLayers(sh.getenv("WEFT_CACHE"), "")
	if err != nil {
		return err
	}
	defer layers.Close()
	installed, lock, err := layers.Install(ctx, a, true)
	if err != nil || lock == nil {
		return err
	}
	for name, l := range installed {
		parts.Requirements[name] = l.Digest
		parts.Wheels = append(parts.Wheels, l.Files...)
	}
	parts.Lock, err = lock.Text()
	return err
}

// place is where an app file has a function, "" if it is not known.
func place(a *app.App, f *app.Function) string {
	if f.Pos.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", a.File, f.Pos.Line, f.Pos.Column)
}
