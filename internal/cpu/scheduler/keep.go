package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-run/weft/internal/cpu/profile"
	"github.com/weft-run/weft/internal/store"
)

// prefix begins the keys of profiles: Name follows.
const prefix = "cpu/profile/"

// Load reads the profiles that Save has written. One that cannot be read is forgotten: it
// is learned anew.
func (s *Scheduler) Load(st store.Store) error {
	if s == nil {
		return nil
	}
	view := st.Snapshot()
	defer view.Close()
	found := map[string]profile.Profile{}
	err := view.Scan([]byte(prefix), nil, func(i store.Item) bool {
		name := string(bytes.TrimPrefix(i.Key, []byte(prefix)))
		var p profile.Profile
		if err := p.UnmarshalBinary(i.Value); err != nil {
			s.o.Log.Warn("a CPU profile is learned anew", "function", name, "error", err)
			return true
		}
		found[name] = p
		return len(found) < profile.DefaultFunctions
	})
	if err != nil {
		return fmt.Errorf("load CPU profiles: %w", err)
	}
	s.withBook(func(b *profile.Book) {
		for name, p := range found {
			b.Put(name, p)
			s.saved[name] = p.Calls()
		}
	})
	return nil
}

// saveBatch is how many profiles one batch has.
const saveBatch = 500

// Save writes the profiles that have changed since Load and the last Save. They are on
// disk when the store says so; losing the last ones costs a few calls of learning.
func (s *Scheduler) Save(ctx context.Context, st store.Store) error {
	if s == nil {
		return nil
	}
	type entry struct {
		name  string
		calls uint64
		value []byte
	}
	var changed []entry
	s.withBook(func(b *profile.Book) {
		b.Functions(func(name string, p *profile.Profile) bool { // the one observed last first
			if s.saved[name] == p.Calls() {
				return false
			}
			value, _ := p.MarshalBinary() // never fails
			changed = append(changed, entry{name, p.Calls(), value})
			return true
		})
	})
	for len(changed) > 0 {
		n := min(len(changed), saveBatch)
		var batch store.Batch
		for _, e := range changed[:n] {
			batch.Put([]byte(prefix+e.name), e.value)
		}
		if _, err := st.Append(ctx, &batch); err != nil {
			return fmt.Errorf("save CPU profiles: %w", err)
		}
		s.withBook(func(*profile.Book) {
			for _, e := range changed[:n] {
				s.saved[e.name] = e.calls
			}
		})
		changed = changed[n:]
	}
	return nil
}

// Forget drops the profiles of an app's versions but for those that has keeps.
func (s *Scheduler) Forget(ctx context.Context, st store.Store, app string, has func(version string) bool) error {
	if s == nil {
		return nil
	}
	var names []string
	gone := func(name string) bool {
		rest, ok := strings.CutPrefix(name, app+"@")
		version, _, _ := strings.Cut(rest, "/")
		return ok && !has(version)
	}
	view := st.Snapshot()
	err := view.Scan([]byte(prefix+app+"@"), nil, func(i store.Item) bool {
		if name := string(bytes.TrimPrefix(i.Key, []byte(prefix))); gone(name) {
			names = append(names, name)
		}
		return true
	})
	if err = errors.Join(err, view.Close()); err != nil {
		return fmt.Errorf("forget CPU profiles: %w", err)
	}
	s.withBook(func(b *profile.Book) {
		var more []string
		b.Functions(func(name string, _ *profile.Profile) bool {
			if gone(name) {
				more = append(more, name)
			}
			return true
		})
		for _, name := range append(more, names...) {
			b.Drop(name)
			delete(s.saved, name)
		}
	})
	if len(names) == 0 {
		return nil
	}
	var batch store.Batch
	for _, name := range names {
		batch.Delete([]byte(prefix + name))
	}
	if _, err := st.Append(ctx, &batch); err != nil {
		return fmt.Errorf("forget CPU profiles: %w", err)
	}
	return nil
}
