package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix []byte, after store.Version) (<-chan store.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	w := &watch{s: s, prefix: bytes.Clone(prefix), events: make(chan store.Event, watchMax+1)}
	s.watches[w] = struct{}{}
	var past []store.Event
	for _, e := range s.history {
		if e.Version > after {
			past = append(past, e)
		}
	}
	w.tell(past)
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.stop()
	})
	return w.events, nil
}

func (w *watch) tell(events []store.Event) {
	for _, e := range events {
		if _, on := w.s.watches[w]; !on {
			return
		}
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

// Grant implements store.Store.
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

// checkpointFile is what Checkpoint writes.
const checkpointFile = "store.json"

// content is a state in a file.
type content struct {
	Version store.Version `json:"version"`
	Items   []store.Item  `json:"items"`
}

func (t *state) encode() ([]byte, error) { return json.Marshal(content{t.version, t.items}) }

// Open reads a checkpoint.
func Open(dir string, o Options) (*Store, error) {
	data, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var c content
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := New(o)
	s.state = state{version: c.Version, items: c.Items, shared: true}
	s.synced = s.state
	return s, nil
}
