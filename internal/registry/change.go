package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/weft-run/weft/internal/store"
)

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
	for id, d := range r.versions[a.Name] {
		d.keep(id == a.Active)
	}
	r.mu.Unlock()
	r.changed(a.Name)
	return nil
}

func (r *Registry) changed(name string) {
	if r.o.Changed != nil {
		r.o.Changed(name)
	}
}

// DeleteVersion forgets a version that is not active, is not being deployed, and
// has no runs that have not ended: otherwise ErrInUse.
func (r *Registry) DeleteVersion(ctx context.Context, name, version string) error {
	r.change.Lock()
	defer r.change.Unlock()
	a, err := r.App(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	d := r.versions[name][version]
	r.mu.Unlock()
	switch {
	case d == nil:
		return fmt.Errorf("version %q of app %q: %w", version, name, ErrNotFound)
	case a.Active == d.ID:
		return fmt.Errorf("version %s of app %s is active: %w", d.ID, name, ErrInUse)
	}
	a.History = slices.DeleteFunc(a.History, func(id string) bool { return id == d.ID })
	value, err := encode(a)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Put(appKey(name), value)
	b.Delete(versionKey(name, d.ID))
	if err := r.forget(ctx, name, []*deployed{d}, &b); err != nil {
		return fmt.Errorf("delete version %s of app %s: %w", d.ID, name, err)
	}
	r.mu.Lock()
	r.apps[name] = &a
	r.mu.Unlock()
	r.changed(name)
	return r.remove(d.dir)
}

// Delete forgets an app with all its versions, unless one is being deployed or
// runs of it have not ended: then ErrInUse.
func (r *Registry) Delete(ctx context.Context, name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	known := r.apps[name] != nil
	all := slices.Collect(maps.Values(r.versions[name]))
	r.mu.Unlock()
	if !known {
		return fmt.Errorf("app %q: %w", name, ErrNotFound)
	}
	var b store.Batch
	b.Delete(appKey(name))
	for _, d := range all {
		b.Delete(versionKey(name, d.ID))
	}
	if err := r.forget(ctx, name, all, &b); err != nil {
		return fmt.Errorf("delete app %s: %w", name, err)
	}
	r.mu.Lock()
	delete(r.apps, name)
	delete(r.versions, name)
	r.mu.Unlock()
	r.changed(name)
	return r.remove(filepath.Join(r.dir, name))
}

// forget takes versions away and writes that down, unless something uses them.
// Who counts runs that begin counts one before it looks for its version: so the
// versions go first, and come back if there are runs.
func (r *Registry) forget(ctx context.Context, name string, gone []*deployed, b *store.Batch) error {
	for of := range r.deploying {
		if of.app == name {
			return fmt.Errorf("version %s is being deployed: %w", of.version, ErrInUse)
		}
	}
	if err := r.unused(gone); err != nil { // mostly this is all: nobody notices that it was asked
		return err
	}
	r.mu.Lock()
	for _, d := range gone {
		delete(r.versions[name], d.ID)
	}
	r.mu.Unlock()
	err := r.unused(gone)
	if err == nil {
		err = r.commit(ctx, b)
	}
	if err != nil {
		r.mu.Lock()
		for _, d := range gone {
			r.remember(d)
		}
		r.mu.Unlock()
	}
	return err
}

// unused fails while runs of versions have not ended.
func (r *Registry) unused(versions []*deployed) error {
	if r.o.InUse == nil {
		return nil
	}
	for _, d := range versions {
		if n := r.o.InUse(d.App, d.ID); n > 0 {
			return fmt.Errorf("version %s has runs that have not ended, %d: %w", d.ID, n, ErrInUse)
		}
	}
	return nil
}

// remove removes a folder that nothing names any longer.
func (r *Registry) remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("its files stay until the next start: %w", err)
	}
	return nil
}

// Checkpoint has the folders of all versions in dir too, which is not there yet
// and has to be on the same file system: the files are links. Nothing changes
// while it does so and calls also.
func (r *Registry) Checkpoint(ctx context.Context, dir string, also func() error) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := also(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("copy apps: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, versions := range r.versions {
		for id, d := range versions {
			if err := link(ctx, d.dir, filepath.Join(dir, name, id)); err != nil {
				return fmt.Errorf("copy version %s of app %s: %w", id, name, err)
			}
		}
	}
	return nil
}

// link makes a folder whose files are those of another one.
func link(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return os.Link(p, filepath.Join(to, rel))
	})
}
