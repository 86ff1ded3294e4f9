// Package registry keeps the deployed apps of a node. What is deployed is a
// version: an immutable folder named by its content (package bundle). One version
// of an app is active; runs stay with the version that they were started with.
//
//	r, err := registry.Open(ctx, dir, db, registry.Options{Check: limits.CheckApp})
//	v, existed, err := r.Deploy(ctx, archive, registry.Deployment{Activate: true, By: "ci"})
//	a, v, err := r.Get("shop", "")   // the active version
//	v, err = r.Rollback(ctx, "shop")
//
// The folder of a version is on disk before its record is, and its record is
// durable before anybody is told. A folder without a record is what a crash has
// left, and goes at the next Open.
//
//	DIR/APP/VERSION/     an unpacked bundle
//	DIR/.tmp-…           one that is being unpacked
//	app/APP              the record of an app: which version is active
//	version/APP/VERSION  the record of a version
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/store"
)

// What a registry fails with.
var (
	ErrNotFound = errors.New("not deployed")
	ErrInUse    = errors.New("in use")
	ErrNoOther  = errors.New("there is no earlier version")
)

// RejectedError says that a bundle cannot be deployed, and wraps why.
type RejectedError struct{ Err error }

func (e *RejectedError) Error() string { return e.Err.Error() }
func (e *RejectedError) Unwrap() error { return e.Err }

// historyMax bounds how many earlier active versions of an app are remembered.
const historyMax = 20

// App is a deployed app.
type App struct {
	Name    string    `json:"name"`
	Active  string    `json:"active,omitempty"`  // version that new runs get; empty: none yet
	History []string  `json:"history,omitempty"` // versions that were active before, the latest last
	Updated time.Time `json:"updated"`
}

// Version is a deployed version of an app.
type Version struct {
	App       string    `json:"app"`
	ID        string    `json:"version"` // 16 hexadecimal digits of the content's digest
	Created   time.Time `json:"created"`
	By        string    `json:"by,omitempty"`
	Size      int64     `json:"size"` // bytes
	Functions []string  `json:"functions"`
	Services  []string  `json:"services,omitempty"`
	Workflows []string  `json:"workflows"`
}

// Options configure a Registry.
type Options struct {
	Limits   bundle.Limits
	Apps     int // that can be deployed; default 1000
	Versions int // of one app; default 1000
	// Check says what the operator does not allow an app; nil: everything.
	Check func(*app.App) error
	// Prepare makes a version ready to run before it counts as deployed; nil:
	// nothing has to be done.
	Prepare func(ctx context.Context, a *app.App, v Version) error
	// InUse counts the runs of a version that have not ended; nil: there are none.
	InUse func(app, version string) int
	// Changed is told, after the fact, that another version of an app is active, or
	// that one or the app is gone; nil: nobody is.
	Changed func(app string)
	Now     func() time.Time // default time.Now
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.Limits.EnsureDefaults()
	if o.Apps <= 0 {
		o.Apps = 1000
	}
	if o.Versions <= 0 {
		o.Versions = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Registry keeps deployed apps. It is safe for concurrent use.
type Registry struct {
	o     Options
	dir   string
	store store.Store

	change    sync.Mutex                // one change at a time, held over disk and store
	deploying map[edition]chan struct{} // versions that are being prepared, until when; guarded by change

	mu       sync.Mutex
	apps     map[string]*App                 // guarded by mu, like versions
	versions map[string]map[string]*deployed // by app and version
}

// edition is a version of an app.
type edition struct{ app, version string }

// deployed is a version with its app, as long as somebody uses that.
type deployed struct {
	Version
	dir string

	mu     sync.Mutex
	active bool
	app    *app.App              // set if it is active and has been asked for; guarded by mu, as all here
	last   weak.Pointer[app.App] // what load gave last
}

// load reads the app, unless somebody has it.
func (d *deployed) load() (*app.App, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.app != nil {
		return d.app, nil
	}
	a := d.last.Value()
	if a == nil {
		var err error
		if a, err = bundle.Load(d.dir); err != nil {
			return nil, err
		}
		d.last = weak.Make(a)
	}
	if d.active {
		d.app = a
	}
	return a, nil
}

// keep says whether the version is active, so that its app stays in memory.
func (d *deployed) keep(active bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active = active; !active {
		d.app = nil
	}
}

const (
	appPrefix     = "app/"
	versionPrefix = "version/"
	// recordVersion is the first byte of the values of this package.
	recordVersion = 1
	tmpPrefix     = ".tmp-"
)

func appKey(name string) []byte              { return []byte(appPrefix + name) }
func versionKey(name, version string) []byte { return []byte(versionPrefix + name + "/" + version) }

func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append([]byte{recordVersion}, text...), err
}

func decode(value []byte, v any) error {
	if len(value) == 0 || value[0] != recordVersion {
		return errors.New("a record of another version of weft")
	}
	return json.Unmarshal(value[1:], v)
}

// Open reads what is deployed and removes what a crash has left.
func Open(ctx context.Context, dir string, s store.Store, o Options) (*Registry, error) {
	o.EnsureDefaults()
	r := &Registry{o: o, dir: dir, store: s, deploying: map[edition]chan struct{}{}, apps: map[string]*App{}, versions: map[string]map[string]*deployed{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open apps: %w", err)
	}
	snap := s.Snapshot()
	defer snap.Close()
	var failed error
	scan := func(prefix string, visit func(store.Item) error) error {
		err := snap.Scan([]byte(prefix), nil, func(i store.Item) bool {
			if failed = visit(i); failed != nil {
				failed = fmt.Errorf("record %s: %w", i.Key, failed)
			}
			return failed == nil
		})
		return errors.Join(err, failed)
	}
	err := scan(appPrefix, func(i store.Item) error {
		a := &App{}
		if err := decode(i.Value, a); err != nil {
			return err
		}
		r.apps[a.Name] = a
		return nil
	})
	if err == nil {
		err = scan(versionPrefix, func(i store.Item) error {
			d := &deployed{}
			if err := decode(i.Value, &d.Version); err != nil {
				return err
			}
			d.dir = r.folder(d.App, d.ID)
			if a := r.apps[d.App]; a != nil {
				d.active = a.Active == d.ID
			}
			r.remember(d)
			return nil
		})
	}
	if err == nil {
		err = r.sweep()
	}
	if err != nil {
		return nil, fmt.Errorf("open apps: %w", err)
	}
	return r, s.Durable(ctx, snap.Version())
}

// remember adds a version to those known.
func (r *Registry) remember(d *deployed) {
	if r.versions[d.App] == nil {
		r.versions[d.App] = map[string]*deployed{}
	}
	r.versions[d.App][d.ID] = d
}

// sweep removes folders without a record.
func (r *Registry) sweep() error {
	list, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), tmpPrefix) || r.versions[e.Name()] == nil {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, e.Name())))
			continue
		}
		below, readErr := os.ReadDir(filepath.Join(r.dir, e.Name()))
		err = errors.Join(err, readErr)
		for _, v := range below {
			if r.versions[e.Name()][v.Name()] == nil {
				err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, e.Name(), v.Name())))
			}
		}
	}
	return err
}

// folder is where a version is.
func (r *Registry) folder(name, version string) string { return filepath.Join(r.dir, name, version) }

// Get finds a version of an app; version "" is the active one. The App is shared:
// it is the same one as long as somebody has it.
func (r *Registry) Get(name, version string) (*app.App, Version, error) {
	r.mu.Lock()
	a := r.apps[name]
	if a != nil && version == "" {
		version = a.Active
	}
	d := r.versions[name][version]
	r.mu.Unlock()
	switch {
	case a == nil:
		return nil, Version{}, fmt.Errorf("app %q: %w", name, ErrNotFound)
	case version == "":
		return nil, Version{}, fmt.Errorf("app %q has no active version: %w", name, ErrNotFound)
	case d == nil:
		return nil, Version{}, fmt.Errorf("version %q of app %q: %w", version, name, ErrNotFound)
	}
	loaded, err := d.load()
	if err != nil && !r.knows(d) {
		err = fmt.Errorf("version %q of app %q: %w", version, name, ErrNotFound) // deleted while it was read
	}
	return loaded, d.Version, err
}

// knows reports whether a version is still deployed.
func (r *Registry) knows(d *deployed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[d.App][d.ID] == d
}

// Find looks for a version by its content.
func (r *Registry) Find(digest string) (Version, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, versions := range r.versions {
		if d := versions[digest]; d != nil {
			return d.Version, true
		}
	}
	return Version{}, false
}

// App tells about one app.
func (r *Registry) App(name string) (App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.apps[name]
	if a == nil {
		return App{}, fmt.Errorf("app %q: %w", name, ErrNotFound)
	}
	return a.clone(), nil
}

func (a *App) clone() App {
	c := *a
	c.History = slices.Clone(a.History)
	return c
}

// List gives the apps, by name.
func (r *Registry) List() []App {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []App{}
	for _, name := range slices.Sorted(maps.Keys(r.apps)) {
		list = append(list, r.apps[name].clone())
	}
	return list
}

// Versions gives the versions of an app, the newest first.
func (r *Registry) Versions(name string) ([]Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.apps[name] == nil {
		return nil, fmt.Errorf("app %q: %w", name, ErrNotFound)
	}
	list := []Version{}
	for _, d := range r.versions[name] {
		list = append(list, d.Version)
	}
	slices.SortFunc(list, func(a, b Version) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// exists reports whether there is such a folder.
func exists(dir string) bool {
	_, err := os.Stat(dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// syncFolder has the entries of a folder on disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// size is the sum of the files in a folder, in bytes.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
	return n, err
}
