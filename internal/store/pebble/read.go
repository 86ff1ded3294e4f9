package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weft-run/weft/internal/store"
)

func dataKey(key []byte) []byte {
	k := make([]byte, 0, len(dataPrefix)+len(key))
	return append(append(k, dataPrefix...), key...)
}

// value takes apart what is stored under a key.
func value(key, stored []byte) (store.Item, error) {
	if len(stored) < 8 {
		return store.Item{}, fmt.Errorf("key %q: %d bytes are stored, fewer than its version has", key, len(stored))
	}
	return store.Item{Key: key, Value: stored[8:], Version: store.Version(binary.BigEndian.Uint64(stored))}, nil
}

// decodeVersion reads the latest version; a new store has none.
func decodeVersion(stored []byte) (store.Version, error) {
	switch {
	case stored == nil:
		return 0, nil
	case len(stored) == 8:
		return store.Version(binary.BigEndian.Uint64(stored)), nil
	}
	return 0, fmt.Errorf("its version has %d bytes, not 8", len(stored))
}

// get finds a key in a database or a snapshot of one.
func get(r pebble.Reader, key []byte) (store.Item, error) {
	stored, closer, err := r.Get(dataKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return store.Item{}, fmt.Errorf("key %q: %w", key, store.ErrNotFound)
	}
	if err != nil {
		return store.Item{}, fmt.Errorf("read key %q: %w", key, err)
	}
	defer closer.Close()
	return value(append([]byte{}, key...), append([]byte{}, stored...))
}

// scan visits keys with a prefix.
func scan(r pebble.Reader, prefix, after []byte, visit func(store.Item) bool) error {
	low := dataKey(prefix)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: store.After(low)})
	if err != nil {
		return fmt.Errorf("scan %q: %w", prefix, err)
	}
	var failed error
	ok := it.First()
	if after != nil {
		ok = it.SeekGE(append(dataKey(after), 0))
	}
	for ; ok; ok = it.Next() {
		stored, err := it.ValueAndErr()
		var item store.Item
		if err == nil {
			item, err = value(it.Key()[len(dataPrefix):], stored)
		}
		if err != nil {
			failed = err
			break
		}
		if !visit(item) {
			break
		}
	}
	if err := errors.Join(failed, it.Error(), it.Close()); err != nil {
		return fmt.Errorf("scan %q: %w", prefix, err)
	}
	return nil
}

// Snapshot implements store.Store. Snapshots of a store that is closed or has
// failed find nothing but store.ErrClosed or store.ErrFailed.
func (s *Store) Snapshot() store.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &snapshot{s: s, version: s.version}
	if s.alive() == nil {
		p.view = s.db.NewSnapshot()
		s.views[p] = struct{}{}
	}
	return p
}

// snapshot reads a snapshot of the database.
type snapshot struct {
	s       *Store
	version store.Version
	view    *pebble.Snapshot // nil once it is closed; guarded by s.mu
}

// use keeps the database open during f.
func (p *snapshot) use(f func(r pebble.Reader) error) error {
	if err := p.s.enter(); err != nil {
		return err
	}
	defer p.s.leave()
	p.s.mu.Lock()
	view := p.view
	p.s.mu.Unlock()
	if view == nil {
		return store.ErrClosed
	}
	err := f(view)
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return err
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return cmp.Or(p.s.alive(), err)
}

func (p *snapshot) Get(key []byte) (item store.Item, err error) {
	err = p.use(func(r pebble.Reader) error {
		item, err = get(r, key)
		return err
	})
	return item, err
}

func (p *snapshot) Scan(prefix, after []byte, visit func(store.Item) bool) error {
	return p.use(func(r pebble.Reader) error { return scan(r, prefix, after, visit) })
}

func (p *snapshot) Version() store.Version { return p.version }

func (p *snapshot) Close() error {
	p.s.mu.Lock() // until it is closed: the database must not be closed before
	defer p.s.mu.Unlock()
	if p.view == nil {
		return nil
	}
	view := p.view
	p.view = nil
	delete(p.s.views, p)
	return view.Close()
}

// logger gives Pebble's messages to slog.
type logger struct{ to *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	l.to.Debug("store: " + fmt.Sprintf(format, args...))
}
func (l logger) Errorf(format string, args ...any) {
	l.to.Error("store: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on, as when a write to its log has
// failed. It must not return: in our own calls the panic becomes their error
// (survive), in Pebble's goroutines it ends the process.
func (l logger) Fatalf(format string, args ...any) {
	err := fatal(fmt.Sprintf(format, args...))
	l.to.Error("store: " + string(err))
	panic(err)
}

// fatal is what Fatalf panics with.
type fatal string

func (f fatal) Error() string { return string(f) }

// survive does something with the database and makes an error of what Pebble
// calls fatal.
func survive(f func() error) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case fatal:
			err = v
		default:
			panic(v)
		}
	}()
	return f()
}
