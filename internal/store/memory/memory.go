// Package memory is a store in memory: for tests, and for the simulator, which
// decides when a flush ends, which call fails, and what a crash leaves.
//
//	s := memory.New(memory.Options{})                 // every append is durable at once
//	s := memory.New(memory.Options{Manual: true})     // it is when Sync is called
//	s.Crash()                                         // what was not synced is gone, or some of it
//
// Everything happens in the caller's goroutine, and the same calls give the same
// results, so a simulation with it is the same every time.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/driver"
)

// Options configure a Store.
type Options struct {
	// Manual leaves it to Sync what is durable. Without it every append is.
	Manual bool
	Seed   uint64           // of what a crash leaves
	Now    func() time.Time // of leases; default time.Now
}

// Store is a store in memory. It is safe for concurrent use.
type Store struct {
	o      Options
	rng    *rand.Rand
	feed   *driver.Feed
	leases *driver.Leases

	mu     sync.Mutex
	state  state // guarded by mu, as all below
	synced state
	log    [][]store.Event // by version, from the first one that is not synced
	waits  []wait
	fault  func(op string) error
	err    error // the store is closed or has failed
}

var _ store.Store = (*Store)(nil)

type wait struct {
	version store.Version
	f       func(error)
}

// state is the content at a version. Its items are never changed, only replaced,
// so that a copy of the slice is a snapshot.
type state struct {
	version store.Version
	items   []store.Item // by key
	shared  bool         // a snapshot has the slice
}

// New makes an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), feed: driver.NewFeed(0), leases: driver.NewLeases(o.Now)}
}

// Inject has f asked before each "append", "durable" and "checkpoint"; an error
// fails the store, as a disk's error does. Nil ends that.
func (s *Store) Inject(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// fail asks whether a call fails. The store's lock is held.
func (s *Store) fail(op string) error {
	if s.err == nil && s.fault != nil {
		if err := s.fault(op); err != nil {
			s.err = fmt.Errorf("%w: %w", store.ErrFailed, err)
			s.release(s.err)
		}
	}
	return s.err
}

// release tells everybody who waits that it is in vain. The store's lock is held.
func (s *Store) release(err error) {
	waits := s.waits
	s.waits = nil
	s.mu.Unlock()
	for _, w := range waits {
		w.f(err)
	}
	s.mu.Lock()
}

// Append implements store.Store.
func (s *Store) Append(_ context.Context, b *store.Batch) (store.Version, error) {
	if err := b.Check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail("append"); err != nil {
		return 0, err
	}
	if err := s.judge(b); err != nil {
		return 0, err
	}
	if b.Len() == 0 {
		return s.state.version, nil
	}
	s.state.version++
	var events []store.Event
	for _, op := range b.Ops() {
		switch op.Kind {
		case store.OpPut:
			events = append(events, store.Event{Item: store.Item{Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value), Version: s.state.version}})
		case store.OpDelete:
			events = append(events, store.Event{Item: store.Item{Key: bytes.Clone(op.Key), Version: s.state.version}, Deleted: true})
		case store.OpDeletePrefix:
			for _, e := range events { // of the same batch
				if !e.Deleted && bytes.HasPrefix(e.Key, op.Key) {
					events = append(events, store.Event{Item: store.Item{Key: e.Key, Version: s.state.version}, Deleted: true})
				}
			}
			for _, item := range s.state.within(op.Key) {
				events = append(events, store.Event{Item: store.Item{Key: item.Key, Version: s.state.version}, Deleted: true})
			}
		}
	}
	s.state.apply(events)
	if s.o.Manual {
		s.log = append(s.log, events)
	} else {
		s.synced.apply(events)
		s.synced.version = s.state.version
	}
	s.feed.Publish(s.state.version, events, true)
	return s.state.version, nil
}

// judge checks the conditions of a batch.
func (s *Store) judge(b *store.Batch) error {
	for _, op := range b.Ops() {
		switch op.Kind {
		case store.OpIf:
			item, found := s.state.get(op.Key)
			if item.Version != op.Version || !found && op.Version != 0 {
				return fmt.Errorf("key %q has version %d, expected is %d: %w", op.Key, item.Version, op.Version, store.ErrPrecondition)
			}
		case store.OpIfLease:
			if err := s.leases.Alive(op.Lease); err != nil {
				return err
			}
		}
	}
	return nil
}

// Durable implements store.Store. With Manual it waits for another goroutine to
// call Sync.
func (s *Store) Durable(ctx context.Context, v store.Version) error {
	done := make(chan error, 1)
	s.Notify(v, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Notify implements store.Store.
func (s *Store) Notify(v store.Version, f func(error)) {
	s.mu.Lock()
	err := s.fail("durable")
	if err == nil && v > s.state.version {
		err = store.Unwritten(v, s.state.version)
	}
	if err == nil && v > s.synced.version {
		s.waits = append(s.waits, wait{v, f})
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f(err)
}

// Sync makes durable all that was appended.
func (s *Store) Sync() {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	for _, events := range s.log {
		s.synced.apply(events)
	}
	s.log = nil
	s.synced.version = s.state.version
	var due []wait
	s.waits = slices.DeleteFunc(s.waits, func(w wait) bool {
		if w.version <= s.synced.version {
			due = append(due, w)
			return true
		}
		return false
	})
	s.mu.Unlock()
	for _, w := range due {
		w.f(nil)
	}
}

// Crash is the death of the process and of what its disk had not synced: of the
// appends since the last Sync some of the first ones are still there. Whoever
// waits is forgotten. The store can be used again, as if it had been opened.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	survive := 0
	if len(s.log) > 0 {
		survive = s.rng.IntN(len(s.log) + 1)
	}
	for _, events := range s.log[:survive] {
		s.synced.apply(events)
		s.synced.version++
	}
	s.synced.shared = true
	s.state = s.synced
	s.log, s.waits, s.err = nil, nil, nil
	s.leases.Clear()
	s.feed.Reset(s.state.version)
}

// Snapshot implements store.Store.
func (s *Store) Snapshot() store.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.shared = true
	return &snapshot{s.state}
}

// Synced is a snapshot of what would survive a crash for sure.
func (s *Store) Synced() store.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced.shared = true
	return &snapshot{s.synced}
}

// Checkpoint implements store.Store: it writes one file, which Open reads.
func (s *Store) Checkpoint(_ context.Context, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail("checkpoint"); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	data, err := s.state.encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, checkpointFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.err, store.ErrClosed) {
		return nil
	}
	s.err = store.ErrClosed
	s.release(s.err)
	s.feed.Close(s.err)
	return nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix []byte, after store.Version) (<-chan store.Event, error) {
	return s.feed.Watch(ctx, prefix, after)
}

// Grant implements store.Store.
func (s *Store) Grant(_ context.Context, ttl time.Duration) (store.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return s.leases.Grant(ttl), nil
}

// find returns where a key is or would be.
func (t *state) find(key []byte) (int, bool) {
	i := sort.Search(len(t.items), func(i int) bool { return bytes.Compare(t.items[i].Key, key) >= 0 })
	return i, i < len(t.items) && bytes.Equal(t.items[i].Key, key)
}

func (t *state) get(key []byte) (store.Item, bool) {
	if i, found := t.find(key); found {
		return t.items[i], true
	}
	return store.Item{}, false
}

// within are the items whose key has a prefix.
func (t *state) within(prefix []byte) []store.Item {
	from, _ := t.find(prefix)
	to := from
	for to < len(t.items) && bytes.HasPrefix(t.items[to].Key, prefix) {
		to++
	}
	return t.items[from:to]
}

// apply makes changes, in a copy if somebody else has the slice.
func (t *state) apply(events []store.Event) {
	if t.shared {
		t.items, t.shared = slices.Clone(t.items), false
	}
	for _, e := range events {
		i, found := t.find(e.Key)
		switch {
		case e.Deleted && found:
			t.items = slices.Delete(t.items, i, i+1)
		case e.Deleted:
		case found:
			t.items[i] = e.Item
		default:
			t.items = slices.Insert(t.items, i, e.Item)
		}
	}
}

// snapshot is a state that does not change any more.
type snapshot struct{ state }

func (s *snapshot) Get(key []byte) (store.Item, error) {
	item, found := s.get(key)
	if !found {
		return store.Item{}, fmt.Errorf("key %q: %w", key, store.ErrNotFound)
	}
	return store.Item{Key: bytes.Clone(item.Key), Value: bytes.Clone(item.Value), Version: item.Version}, nil
}

func (s *snapshot) Scan(prefix, after []byte, visit func(store.Item) bool) error {
	for _, item := range s.within(prefix) {
		if bytes.Compare(item.Key, after) > 0 && !visit(item) {
			break
		}
	}
	return nil
}

func (s *snapshot) Version() store.Version { return s.version }

func (s *snapshot) Close() error { return nil }
