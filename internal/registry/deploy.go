package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/store"
)

// Deployment says what is to become of a bundle.
type Deployment struct {
	Activate bool   // new runs get this version
	By       string // who deploys it
}

// Deploy unpacks a bundle and keeps it as a version of its app; existed says
// that the same content was there before. What is wrong with the bundle, and
// what the operator does not allow, is a *RejectedError.
//
// Other changes do not wait while the version is prepared, which may take
// minutes; a deployment of the same content does.
func (r *Registry) Deploy(ctx context.Context, archive io.Reader, d Deployment) (v Version, existed bool, err error) {
	tmp, err := os.MkdirTemp(r.dir, tmpPrefix)
	if err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	defer os.RemoveAll(tmp) // it has become the version's folder, unless something went wrong
	if err := bundle.Unpack(archive, tmp, r.o.Limits); errors.Is(err, bundle.ErrBundle) {
		return Version{}, false, &RejectedError{err}
	} else if err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	id, err := bundle.Digest(tmp)
	if err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	a, err := bundle.Load(tmp)
	if err != nil {
		return Version{}, false, rejected(err)
	}
	of := edition{a.Name, id}
	if err := r.await(ctx, of); err != nil {
		return Version{}, false, fmt.Errorf("deploy %s: %w", of.app, err)
	}
	defer r.change.Unlock()
	if _, known, err := r.Get(of.app, of.version); err == nil {
		return known, true, r.activate(ctx, known.App, known.ID, d.Activate)
	}
	v = Version{App: of.app, ID: of.version, Created: r.o.Now().UTC(), By: d.By, Functions: names(a.Functions), Services: names(a.Services), Workflows: names(a.Workflows)}
	if v.Size, err = size(tmp); err != nil {
		return Version{}, false, fmt.Errorf("deploy %s: %w", v.App, err)
	}
	added, err := r.add(ctx, v, tmp)
	if err != nil {
		return Version{}, false, err
	}
	if err := r.record(ctx, added); err != nil {
		return Version{}, false, err // the next Open finds out whether it is there
	}
	return v, false, r.activate(ctx, v.App, v.ID, d.Activate)
}

// await takes the lock on changes as soon as nobody deploys a version.
func (r *Registry) await(ctx context.Context, of edition) error {
	for {
		r.change.Lock()
		done := r.deploying[of]
		if done == nil {
			return nil
		}
		r.change.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add makes an unpacked bundle a version that can run here and may, and nothing
// of it is left otherwise. The lock on changes is held, but for the while that the
// version is prepared.
func (r *Registry) add(ctx context.Context, v Version, tmp string) (*deployed, error) {
	if err := r.room(v.App); err != nil {
		return nil, &RejectedError{err}
	}
	dir := r.folder(v.App, v.ID)
	if err := r.place(tmp, dir); err != nil {
		return nil, fmt.Errorf("deploy %s: %w", v.App, err)
	}
	of, done := edition{v.App, v.ID}, make(chan struct{})
	r.deploying[of] = done
	r.change.Unlock()
	added := &deployed{Version: v, dir: dir}
	err := r.admit(ctx, added)
	r.change.Lock()
	delete(r.deploying, of)
	close(done)
	if err != nil {
		err = errors.Join(err, r.remove(dir))
		os.Remove(filepath.Dir(dir)) // it is empty if this would have been the app's first version
		return nil, err
	}
	return added, nil
}

// room fails if there are as many apps, or versions of an app, as there may be.
func (r *Registry) room(name string) error {
	coming, fresh := 0, map[string]bool{}
	for of := range r.deploying {
		if of.app == name {
			coming++
		}
		fresh[of.app] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for known := range r.apps {
		delete(fresh, known)
	}
	if r.apps[name] == nil && !fresh[name] && len(r.apps)+len(fresh) >= r.o.Apps {
		return fmt.Errorf("%d apps are deployed, which is the limit: delete one with weft apps delete APP", r.o.Apps)
	}
	if len(r.versions[name])+coming >= r.o.Versions {
		return fmt.Errorf("app %s has %d versions, which is the limit: delete some with weft apps delete %s VERSION", name, r.o.Versions, name)
	}
	return nil
}

// place makes an unpacked bundle the folder of a version.
func (r *Registry) place(tmp, dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if exists(dir) { // it was refused earlier, and could not be removed then
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	if err := syncFolder(parent); err != nil {
		return err
	}
	return syncFolder(r.dir)
}

// admit finds out whether a version can run here and may.
func (r *Registry) admit(ctx context.Context, d *deployed) error {
	a, err := d.load()
	if err != nil {
		return rejected(err)
	}
	if r.o.Check != nil {
		if err := r.o.Check(a); err != nil {
			return rejected(err)
		}
	}
	if r.o.Prepare == nil {
		return nil
	}
	if err := r.o.Prepare(ctx, a, d.Version); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return rejected(err)
	}
	return nil
}

// rejected says why a bundle is refused. Places in the app file are told by the
// name that it has in the bundle: where it is here means nothing to who sent it.
func rejected(err error) error {
	var errs app.Errors
	if errors.As(err, &errs) {
		here := make(app.Errors, len(errs))
		for i, e := range errs {
			there := *e
			there.File = app.FileName
			here[i] = &there
		}
		err = here
	}
	return &RejectedError{err}
}

// record writes the record of a new version, and that of its app.
func (r *Registry) record(ctx context.Context, d *deployed) error {
	r.mu.Lock()
	a := r.apps[d.App]
	r.mu.Unlock()
	var b store.Batch
	value, err := encode(d.Version)
	if err != nil {
		return err
	}
	b.Put(versionKey(d.App, d.ID), value)
	if a == nil {
		a = &App{Name: d.App, Updated: d.Created}
		if value, err = encode(a); err != nil {
			return err
		}
		b.Put(appKey(d.App), value)
	}
	if err := r.commit(ctx, &b); err != nil {
		return fmt.Errorf("deploy %s: %w", d.App, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apps[d.App] = a
	d.keep(a.Active == d.ID)
	r.remember(d)
	return nil
}

// names lists the keys of a map in order, as an empty list if there are none.
func names[V any](m map[string]V) []string {
	return slices.AppendSeq(make([]string, 0, len(m)), slices.Values(slices.Sorted(maps.Keys(m))))
}
