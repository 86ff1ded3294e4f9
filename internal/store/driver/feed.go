// Package driver is what the drivers of package store share: the feed of writes
// that watchers read, and leases that end with the process.
package driver

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/weft-run/weft/internal/store"
)

const (
	// watchMax is how many events may wait for a watcher.
	watchMax = 1024
	// recentMax is how many events a feed remembers, for who looks at the store
	// first and watches then; at most watchMax, so that they fit a watcher.
	recentMax = watchMax
	// recentBytes bounds their keys and values.
	recentBytes = 1 << 20
)

// Feed tells watchers of the writes to a store. It is safe for concurrent use.
type Feed struct {
	mu      sync.Mutex
	closed  error // guarded by mu, as all below
	watches map[*watch]struct{}
	recent  []store.Event // those of the versions after floor
	size    int           // of their keys and values
	floor   store.Version
}

// watch is a channel that a watcher reads.
type watch struct {
	prefix []byte
	after  store.Version
	events chan store.Event // one longer than watchMax, for the last event
	forget func() bool      // ends what waits for the watcher's context
}

// NewFeed makes the feed of a store that has a version already.
func NewFeed(v store.Version) *Feed {
	return &Feed{floor: v, watches: map[*watch]struct{}{}}
}

// Watched reports whether anybody watches.
func (f *Feed) Watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watches) > 0
}

// Publish tells of a version's writes. Versions come in order. whole says that
// these are all of them; if not, nobody may watch and the past is forgotten.
func (f *Feed) Publish(v store.Version, events []store.Event, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watches {
		f.tell(w, events)
	}
	if !whole {
		f.forget(v)
		return
	}
	f.recent = append(f.recent, events...)
	for _, e := range events {
		f.size += len(e.Key) + len(e.Value)
	}
	if len(f.recent) > recentMax || f.size > recentBytes {
		f.shorten()
	}
}

// shorten forgets the older half of the events, in whole versions.
func (f *Feed) shorten() {
	half := f.recent[len(f.recent)/2].Version
	n := 0
	for n < len(f.recent) && f.recent[n].Version <= half {
		f.size -= len(f.recent[n].Key) + len(f.recent[n].Value)
		n++
	}
	f.recent = append([]store.Event(nil), f.recent[n:]...)
	f.floor = half
}

func (f *Feed) forget(v store.Version) { f.recent, f.size, f.floor = nil, 0, v }

// Watch is that of store.Store.
func (f *Feed) Watch(ctx context.Context, prefix []byte, after store.Version) (<-chan store.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed != nil:
		return nil, f.closed
	case after < f.floor:
		return nil, fmt.Errorf("watch %q after version %d: %w", prefix, after, store.ErrCompacted)
	}
	w := &watch{prefix: bytes.Clone(prefix), after: after, events: make(chan store.Event, watchMax+1)}
	f.watches[w] = struct{}{}
	w.forget = context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end(w)
	})
	f.tell(w, f.recent)
	return w.events, nil
}

func (f *Feed) tell(w *watch, events []store.Event) {
	for _, e := range events {
		if e.Version <= w.after || !bytes.HasPrefix(e.Key, w.prefix) {
			continue
		}
		if len(w.events) == watchMax {
			w.events <- store.Event{Lost: true}
			f.end(w)
			return
		}
		w.events <- e
	}
}

func (f *Feed) end(w *watch) {
	if _, on := f.watches[w]; on {
		delete(f.watches, w)
		close(w.events)
		w.forget()
	}
}

// Reset ends all watches and forgets the past: the store's latest version is v.
func (f *Feed) Reset(v store.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watches {
		f.end(w)
	}
	f.forget(v)
}

// Close ends all watches; further ones fail with err.
func (f *Feed) Close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = err
	for w := range f.watches {
		f.end(w)
	}
}
