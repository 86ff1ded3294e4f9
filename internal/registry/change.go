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
func (r *Registry) Deploy(ctx context.Context, archive io.Reader, d Deployment) (v Version, existed bool, err error) {
	tmp, err := os.MkdirTemp(r.dir, tmpPrefix)
	if err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	defer os.RemoveAll(tmp) // it has become the version's folder, unless something went wrong
	if err := bundle.Unpack(archive, tmp, r.o.Limits); err != nil {
		return Version{}, false, &RejectedError{err}
	}
	id, err := bundle.Digest(tmp)
	if err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	a, err := bundle.Load(tmp)
	if err != nil {
		return Version{}, false, rejected(err)
	}
	r.change.Lock()
	defer r.change.Unlock()
	if _, known, err := r.Get(a.Name, id); err == nil {
		return known, true, r.activate(ctx, known.App, known.ID, d.Activate)
	}
	v = Version{App: a.Name, ID: id, Created: r.o.Now().UTC(), By: d.By, Functions: names(a.Functions), Workflows: names(a.Workflows)}
	if v.Size, err = size(tmp); err != nil {
		return Version{}, false, fmt.Errorf("deploy: %w", err)
	}
	dir := r.folder(v.App, v.ID)
	if err := r.place(tmp, dir); err != nil {
		return Version{}, false, fmt.Errorf("deploy %s: %w", v.App, err)
	}
	added := &deployed{Version: v}
	if err := r.admit(ctx, added, dir); err != nil {
		err = errors.Join(err, os.RemoveAll(dir))
		os.Remove(filepath.Dir(dir)) // it is empty if this would have been the app's first version
		return Version{}, false, err
	}
	if err := r.record(ctx, added); err != nil {
		return Version{}, false, err // the next Open finds out whether it is there
	}
	return v, false, r.activate(ctx, v.App, v.ID, d.Activate)
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
func (r *Registry) admit(ctx context.Context, d *deployed, dir string) error {
	d.once.Do(func() { d.app, d.err = bundle.Load(dir) })
	if d.err != nil {
		return rejected(d.err)
	}
	if r.o.Check != nil {
		if err := r.o.Check(d.app); err != nil {
			return rejected(err)
		}
	}
	if r.o.Prepare == nil {
		return nil
	}
	if err := r.o.Prepare(ctx, d.app, d.Version); err != nil {
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
	r.remember(d)
	return nil
}

// commit appends a batch and waits until it is durable. Who asked for it may go
// meanwhile: what is on disk and what is recorded stay the same.
func (r *Registry) commit(ctx context.Context, b *store.Batch) error {
	ctx = context.WithoutCancel(ctx)
	v, err := r.store.Append(ctx, b)
	if err != nil {
		return err
	}
	return r.store.Durable(ctx, v)
}

// Activate makes a version the one that new runs get.
func (r *Registry) Activate(ctx context.Context, name, version string) (Version, error) {
	r.change.Lock()
	defer r.change.Unlock()
	_, v, err := r.Get(name, version)
	if err != nil {
		return Version{}, err
	}
	return v, r.activate(ctx, name, v.ID, true)
}

func (r *Registry) activate(ctx context.Context, name, version string, wanted bool) error {
	a, err := r.App(name)
	if err != nil || !wanted || a.Active == version {
		return err
	}
	if a.Active != "" {
		a.History = append(a.History, a.Active)
		a.History = a.History[max(0, len(a.History)-historyMax):]
	}
	a.Active = version
	return r.update(ctx, a)
}

// Rollback makes the version active that was so before the active one.
func (r *Registry) Rollback(ctx context.Context, name string) (Version, error) {
	r.change.Lock()
	defer r.change.Unlock()
	a, err := r.App(name)
	if err != nil {
		return Version{}, err
	}
	if len(a.History) == 0 {
		return Version{}, fmt.Errorf("app %q: %w", name, ErrNoOther)
	}
	a.Active, a.History = a.History[len(a.History)-1], a.History[:len(a.History)-1]
	_, v, err := r.Get(name, a.Active)
	if err != nil {
		return Version{}, err
	}
	return v, r.update(ctx, a)
}

// update writes the record of an app.
func (r *Registry) update(ctx context.Context, a App) error {
	a.Updated = r.o.Now().UTC()
	value, err := encode(a)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Put(appKey(a.Name), value)
	if err := r.commit(ctx, &b); err != nil {
		return fmt.Errorf("update app %s: %w", a.Name, err)
	}
	r.mu.Lock()
	r.apps[a.Name] = &a
	r.mu.Unlock()
	r.changed(a.Name)
	return nil
}

func (r *Registry) changed(name string) {
	if r.o.Changed != nil {
		r.o.Changed(name)
	}
}

// DeleteVersion forgets a version that is not active and has no runs that have
// not ended: otherwise ErrInUse.
func (r *Registry) DeleteVersion(ctx context.Context, name, version string) error {
	r.change.Lock()
	defer r.change.Unlock()
	a, err := r.App(name)
	if err != nil {
		return err
	}
	_, v, err := r.Get(name, version)
	if err != nil {
		return err
	}
	if a.Active == v.ID {
		return fmt.Errorf("version %s of app %s is active: %w", v.ID, name, ErrInUse)
	}
	if err := r.unused(name, v.ID); err != nil {
		return err
	}
	a.History = slices.DeleteFunc(a.History, func(id string) bool { return id == v.ID })
	value, err := encode(a)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Put(appKey(name), value)
	b.Delete(versionKey(name, v.ID))
	if err := r.commit(ctx, &b); err != nil {
		return fmt.Errorf("delete version %s of app %s: %w", v.ID, name, err)
	}
	r.mu.Lock()
	r.apps[name] = &a
	delete(r.versions[name], v.ID)
	r.mu.Unlock()
	r.changed(name)
	return os.RemoveAll(r.folder(name, v.ID))
}

// unused fails while runs of a version have not ended.
func (r *Registry) unused(name, version string) error {
	if r.o.InUse == nil {
		return nil
	}
	if n := r.o.InUse(name, version); n > 0 {
		return fmt.Errorf("version %s of app %s has %d runs that have not ended: %w", version, name, n, ErrInUse)
	}
	return nil
}

// Delete forgets an app with all its versions, unless runs of it have not ended:
// then ErrInUse.
func (r *Registry) Delete(ctx context.Context, name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	versions, err := r.Versions(name)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Delete(appKey(name))
	for _, v := range versions {
		if err := r.unused(name, v.ID); err != nil {
			return err
		}
		b.Delete(versionKey(name, v.ID))
	}
	if err := r.commit(ctx, &b); err != nil {
		return fmt.Errorf("delete app %s: %w", name, err)
	}
	r.mu.Lock()
	delete(r.apps, name)
	delete(r.versions, name)
	r.mu.Unlock()
	r.changed(name)
	return os.RemoveAll(filepath.Join(r.dir, name))
}

// names lists the keys of a map in order, as an empty list if there are none.
func names[V any](m map[string]V) []string {
	return slices.AppendSeq(make([]string, 0, len(m)), slices.Values(slices.Sorted(maps.Keys(m))))
}
