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

// buildModules builds the app's functions as far as a server needs them, with progress on stderr, and returns the files
// of their modules.
func (sh *shell) buildModules(ctx context.Context, a *app.App, quiet bool) (map[string]string, error) {
	b, err := sh.builder(sh.getenv("WEFT_CACHE"))
	if err != nil {
		return nil, err
	}
	p := sh.newProgress(quiet)
	defer p.Close()
	names := slices.Sorted(maps.Keys(a.Functions))
	made := make([]build.Module, len(names))
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			f := a.Functions[name]
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
		return nil, fmt.Errorf("build app %s: %w", a.Name, err)
	}
	modules := map[string]string{}
	for i, name := range names {
		modules[name] = made[i].Path
	}
	return modules, nil
}

// place is where an app file has a function, "" if it is not known.
func place(a *app.App, f *app.Function) string {
	if f.Pos.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", a.File, f.Pos.Line, f.Pos.Column)
}
