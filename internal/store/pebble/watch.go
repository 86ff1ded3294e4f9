package pebble

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// watchMax is how many events may wait for a watcher.
const watchMax = 1024

// watch is a channel that a watcher reads. Its fields are guarded by the
// store's mu.
type watch struct {
	s      *Store
	prefix []byte
	events chan store.Event // one longer than watchMax, for the last event
}

// Watch implements store.Store. It tells of writes from now on: after is the
// latest version, or store.ErrCompacted is returned.
func (s *Store) Watch(ctx context.Context, prefix []byte, after store.Version) (<-chan store.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case after < s.version:
		return nil, fmt.Errorf("watch %q after version %d, the latest is %d: %w", prefix, after, s.version, store.ErrCompacted)
	}
	w := &watch{s: s, prefix: bytes.Clone(prefix), events: make(chan store.Event, watchMax+1)}
	s.watches[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.stop()
	})
	return w.events, nil
}

func (w *watch) tell(events []store.Event) {
	for _, e := range events {
		if !bytes.HasPrefix(e.Key, w.prefix) {
			continue
		}
		if len(w.events) == watchMax {
			w.events <- store.Event{Lost: true}
			w.stop()
			return
		}
		w.events <- e
	}
}

func (w *watch) stop() {
	if _, on := w.s.watches[w]; on {
		delete(w.s.watches, w)
		close(w.events)
	}
}

// Grant implements store.Store. Leases of one node are kept in memory: with the
// node they all end.
func (s *Store) Grant(_ context.Context, ttl time.Duration) (store.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.lease++
	s.leases[s.lease] = s.o.Now().Add(ttl)
	return &lease{s, s.lease, ttl}, nil
}

// alive checks a lease. The store's lock is held.
func (s *Store) alive(id uint64) error {
	if end, ok := s.leases[id]; !ok || !s.o.Now().Before(end) {
		delete(s.leases, id)
		return fmt.Errorf("lease %d: %w", id, store.ErrLease)
	}
	return nil
}

type lease struct {
	s   *Store
	id  uint64
	ttl time.Duration
}

func (l *lease) ID() uint64 { return l.id }

func (l *lease) KeepAlive(context.Context) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if err := l.s.alive(l.id); err != nil {
		return err
	}
	l.s.leases[l.id] = l.s.o.Now().Add(l.ttl)
	return nil
}

func (l *lease) Revoke(context.Context) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	delete(l.s.leases, l.id)
	return nil
}
