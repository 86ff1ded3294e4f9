// Package pebble is the store of one node: Pebble, an embedded log-structured
// database, behind the interface of package store.
//
//	s, err := pebble.Open(dir, pebble.Options{})
//	defer s.Close()
//
// # Group commit
//
// Append writes a batch to the database's log without a flush, which costs
// microseconds. One goroutine flushes: it takes the version that is the latest
// when it begins, writes an empty synced record, and tells everybody who waits
// for that version or an earlier one. While a flush is under way the next one
// gathers waiters, so the more callers there are, the fewer flushes each costs.
//
// A write or flush that fails ends the store: every later call returns
// store.ErrFailed. Nothing in the folder changes any more, whatever Pebble still
// does (guard.go), so opening the store again, when there is space, say, is like
// opening it after a crash at that moment.
//
// # On disk
//
//	m/format        version of this layout, one byte
//	m/version       the latest version of the log, 8 bytes
//	m/migration     what a change of the layout has come to, while there is one
//	d/KEY           version of the key, 8 bytes, and its value
//
// A folder with a newer format is refused, one with an older format is brought to
// the current one (migrate.go).
package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/driver"
)

var (
	formatKey  = []byte("m/format")
	versionKey = []byte("m/version")
)

const dataPrefix = "d/"

// Options configure a Store.
type Options struct {
	FS     vfs.FS           // default: the machine's
	Logger *slog.Logger     // told what goes wrong in the background; default: nobody
	Now    func() time.Time // of leases; default time.Now
	Failed func(error)      // told once if the store fails; it must not use the store; default: nobody

	migrations []migration // default: all

	table uint64 // bytes that are kept in memory before they are sorted into a file; default 8 MiB
}

// Stats counts since the store was opened.
type Stats struct {
	Appends   uint64
	Flushes   uint64
	FlushTime time.Duration // of all flushes
	Bytes     uint64        // of keys and values
}

// Store is a store in a folder.
type Store struct {
	o      Options
	db     *pebble.DB
	feed   *driver.Feed
	leases *driver.Leases
	guard  *guard

	mu      sync.Mutex
	version store.Version // latest; guarded by mu, as all below
	synced  store.Version
	waits   []wait
	err     error // the store is closed or has failed
	using   int   // who uses db without mu
	unused  *sync.Cond
	views   map[*snapshot]struct{} // that are open

	wake    chan struct{} // somebody waits, or the store has failed
	quit    chan struct{} // the store is closed
	flusher sync.WaitGroup
	once    sync.Once
	closed  error // what Close has given

	appends, flushes, flushTime, bytes atomic.Uint64
}

var _ store.Store = (*Store)(nil)

type wait struct {
	version store.Version
	f       func(error)
}

// Open opens the store in a folder, or makes one there. It fails if the folder
// was written by a newer version of weft.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	o.table = cmp.Or(o.table, 8<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: o, leases: driver.NewLeases(o.Now), views: map[*snapshot]struct{}{}, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	s.unused = sync.NewCond(&s.mu)
	s.guard = newGuard(o.FS, dir, s.ring)
	err := survive(func() (err error) {
		s.db, err = s.open(dir)
		return err
	})
	if err == nil {
		if err = survive(s.begin); err == nil {
			err = s.guard.failure()
		}
		if err != nil {
			s.db.Close() // what it says is not the reason
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, cmp.Or(s.guard.failure(), err))
	}
	s.flusher.Go(s.flush)
	return s, nil
}

// open opens the database.
func (s *Store) open(dir string) (*pebble.DB, error) {
	// Pebble takes the tables that are in memory, up to two as a rule, out of the cache's size.
	cache := pebble.NewCache(int64(2*s.o.table) + 16<<20)
	defer cache.Unref()
	o := &pebble.Options{
		FS: s.guard, Cache: cache, MemTableSize: s.o.table, MaxOpenFiles: 256,
		FormatMajorVersion: pebble.FormatNewest, Logger: logger{s.o.Logger},
		// An append that waits for a compaction waits for ever if that has failed.
		L0StopWritesThreshold: 1000,
		EventListener: &pebble.EventListener{
			BackgroundError: s.background,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { s.guard.fail(fmt.Errorf("the store is damaged: %s", info)) },
		},
	}
	// Most keys that are looked for by themselves are not there: the result of a request that
	// is new. A filter with 10 bits a key finds 99 % of them without a look at the table.
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return pebble.Open(dir, o)
}

// background is told when Pebble cannot do what it does by itself. It tries that
// again at once, without end.
func (s *Store) background(err error) {
	if s.guard.failure() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	s.guard.fail(err)
}

// begin brings the store to the current format and finds the latest version.
func (s *Store) begin() error {
	if err := s.migrate(s.o.migrations); err != nil {
		return err
	}
	found, err := s.meta(versionKey)
	if err != nil {
		return err
	}
	if s.version, err = decodeVersion(found); err != nil {
		return err
	}
	// What was read from the log of an earlier life may not have been flushed by it.
	if err := s.sync(); err != nil {
		return err
	}
	s.synced, s.feed = s.version, driver.NewFeed(s.version)
	return nil
}

// sync puts on disk all that was written to the log so far.
func (s *Store) sync() error {
	err := survive(func() error { return s.db.LogData(nil, pebble.Sync) })
	return cmp.Or(s.guard.failure(), err)
}

func (s *Store) meta(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

// Append implements store.Store.
func (s *Store) Append(_ context.Context, b *store.Batch) (store.Version, error) {
	if err := b.Check(); err != nil {
		return 0, err
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.alive(); err != nil {
		return 0, err
	}
	if err := s.judge(b); err != nil {
		return 0, err
	}
	if b.Len() == 0 {
		return s.version, nil
	}
	v := s.version + 1
	events, whole, err := s.fill(batch, b, v)
	if err == nil {
		err = survive(func() error { return batch.Commit(pebble.NoSync) })
	}
	if err == nil {
		err = s.guard.failure()
	}
	if err != nil {
		return 0, s.fail(err)
	}
	s.version = v
	s.appends.Add(1)
	s.bytes.Add(uint64(b.Size()))
	s.feed.Publish(v, events, whole)
	return v, nil
}

// judge checks the conditions of a batch. The store's lock is held.
func (s *Store) judge(b *store.Batch) error {
	for _, op := range b.Ops() {
		switch op.Kind {
		case store.OpIf:
			item, err := get(s.db, op.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return s.fail(err)
			}
			if item.Version != op.Version {
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

// fill translates a batch. It says what that changes; which keys a prefix is
// that is deleted is not looked up for nobody, and then they are missing.
func (s *Store) fill(batch *pebble.Batch, b *store.Batch, v store.Version) (events []store.Event, whole bool, err error) {
	whole = true
	events = make([]store.Event, 0, b.Len())
	note := func(key, value []byte, deleted bool) {
		events = append(events, store.Event{Item: store.Item{Key: key, Value: value, Version: v}, Deleted: deleted})
	}
	var latest [8]byte
	binary.BigEndian.PutUint64(latest[:], uint64(v))
	if err := batch.Set(versionKey, latest[:], nil); err != nil {
		return nil, false, err
	}
	for _, op := range b.Ops() {
		switch op.Kind {
		case store.OpPut:
			put := batch.SetDeferred(len(dataPrefix)+len(op.Key), len(latest)+len(op.Value))
			copy(put.Key[copy(put.Key, dataPrefix):], op.Key)
			copy(put.Value[copy(put.Value, latest[:]):], op.Value)
			err = put.Finish()
			note(op.Key, op.Value, false)
		case store.OpDelete:
			err = batch.Delete(dataKey(op.Key), nil)
			note(op.Key, nil, true)
		case store.OpDeletePrefix:
			if whole = whole && s.feed.Watched(); whole {
				err = scan(s.db, op.Key, nil, func(item store.Item) bool {
					note(bytes.Clone(item.Key), nil, true)
					return true
				})
			}
			if err == nil {
				err = batch.DeleteRange(dataKey(op.Key), store.After(dataKey(op.Key)), nil)
			}
		}
		if err != nil {
			return nil, false, err
		}
	}
	return events, whole, nil
}

// alive fails if the store has failed or is closed. The store's lock is held.
func (s *Store) alive() error {
	if s.err == nil {
		if err := s.guard.failure(); err != nil {
			s.fail(err)
		}
	}
	return s.err
}

// fail ends the store. The store's lock is held.
func (s *Store) fail(err error) error {
	if s.err == nil {
		err = cmp.Or(s.guard.failure(), err) // what followed from that is of no use to anybody
		s.err = fmt.Errorf("%w: %w", store.ErrFailed, err)
		s.o.Logger.Error("the store has failed", "error", err)
		if s.o.Failed != nil {
			s.o.Failed(s.err)
		}
		s.feed.Close(s.err)
		s.ring()
	}
	return s.err
}

func (s *Store) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Durable implements store.Store.
func (s *Store) Durable(ctx context.Context, v store.Version) error {
	s.mu.Lock()
	err, done := s.alive(), v <= s.synced
	s.mu.Unlock()
	if err != nil || done {
		return err
	}
	answer := make(chan error, 1)
	s.Notify(v, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Notify implements store.Store.
func (s *Store) Notify(v store.Version, f func(error)) {
	s.mu.Lock()
	err := s.alive()
	if err == nil && v > s.version {
		err = store.Unwritten(v, s.version)
	}
	if err == nil && v > s.synced {
		s.waits = append(s.waits, wait{v, f})
		s.ring()
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f(err)
}

// flush is the goroutine that flushes while somebody waits.
func (s *Store) flush() {
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
		}
		s.mu.Lock()
		v, err, idle := s.version, s.alive(), len(s.waits) == 0
		s.mu.Unlock()
		if err == nil && idle {
			continue
		}
		if err == nil {
			begun := time.Now()
			err = s.sync()
			s.flushes.Add(1)
			s.flushTime.Add(uint64(time.Since(begun)))
		}
		s.mu.Lock()
		if err != nil && s.err == nil {
			s.fail(err)
		}
		err = s.err
		var due []wait
		rest := s.waits[:0]
		for _, w := range s.waits {
			if err != nil || w.version <= v {
				due = append(due, w)
			} else {
				rest = append(rest, w)
			}
		}
		clear(s.waits[len(rest):])
		s.waits = rest
		if err == nil {
			s.synced = max(s.synced, v)
		}
		if len(rest) > 0 {
			s.ring()
		}
		s.mu.Unlock()
		for _, w := range due {
			w.f(err)
		}
	}
}

// Stats says what the store has done.
func (s *Store) Stats() Stats {
	return Stats{Appends: s.appends.Load(), Flushes: s.flushes.Load(), FlushTime: time.Duration(s.flushTime.Load()), Bytes: s.bytes.Load()}
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix []byte, after store.Version) (<-chan store.Event, error) {
	return s.feed.Watch(ctx, prefix, after)
}

// Grant implements store.Store. Leases of one node are kept in memory: with the
// node they all end.
func (s *Store) Grant(_ context.Context, ttl time.Duration) (store.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.alive(); err != nil {
		return nil, err
	}
	return s.leases.Grant(ttl), nil
}

// enter keeps the database open until leave; it fails once the store is closed or
// has failed.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.alive(); err != nil {
		return err
	}
	s.using++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.using--; s.using == 0 {
		s.unused.Broadcast()
	}
}

// Checkpoint implements store.Store.
func (s *Store) Checkpoint(_ context.Context, dir string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	err := survive(func() error { return s.db.Checkpoint(dir, pebble.WithFlushedWAL()) })
	if failed := s.guard.failure(); failed != nil {
		err = fmt.Errorf("%w: %w", store.ErrFailed, failed)
	}
	if err != nil {
		return fmt.Errorf("copy store to %s: %w", dir, err)
	}
	return nil
}

// Close implements store.Store. It waits for reads that are under way; later ones
// fail with store.ErrClosed, those of open snapshots too.
func (s *Store) Close() error {
	s.once.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Store) close() error {
	s.mu.Lock()
	failed := s.err
	s.err = store.ErrClosed
	waits := s.waits
	s.waits = nil
	for s.using > 0 {
		s.unused.Wait()
	}
	views := slices.Collect(maps.Keys(s.views))
	s.mu.Unlock()
	s.feed.Close(store.ErrClosed)
	close(s.quit)
	s.flusher.Wait()
	var err error
	if failed == nil {
		err = s.sync()
	}
	for _, w := range waits {
		w.f(store.ErrClosed)
	}
	for _, v := range views {
		v.Close()
	}
	closed := survive(s.db.Close)
	if failed != nil {
		return nil
	}
	return cmp.Or(err, s.guard.failure(), closed)
}
