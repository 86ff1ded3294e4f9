package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limits of what is stored.
const (
	KeyMax   = 1 << 10 // bytes of a key
	ValueMax = 2 << 20 // bytes of a value; larger ones are blobs (package data)
)

// What a store fails with.
var (
	ErrNotFound     = errors.New("not found")
	ErrPrecondition = errors.New("precondition failed") // the key has changed since it was looked at
	ErrLease        = errors.New("the lease has run out")
	ErrTooLarge     = errors.New("too large for the store")
	ErrCompacted    = errors.New("the store does not reach back that far")
	ErrClosed       = errors.New("the store is closed")
	// ErrFailed says that a write or a flush has failed earlier. It stays so until
	// the store is opened again.
	ErrFailed = errors.New("the store has failed")
)

// Version is a position in the log. Version 0 is before everything.
type Version uint64

// Unwritten is the error of a caller that waits for a version that no append has
// given out, for drivers.
func Unwritten(v, latest Version) error {
	return fmt.Errorf("version %d is not there, the latest is %d", v, latest)
}

// Item is a key with its value. Version is where it was written.
type Item struct {
	Key, Value []byte
	Version    Version
}

// Store is safe for concurrent use.
type Store interface {
	// Snapshot is all that is in the store now. Close it.
	Snapshot() Snapshot
	// Append writes a batch, all or nothing. Snapshots see it at once, in the order
	// of versions. It fails with ErrPrecondition, ErrLease, ErrTooLarge, ErrClosed or
	// ErrFailed; a batch without writes gives the latest version.
	Append(ctx context.Context, b *Batch) (Version, error)
	// Durable returns when a version and all before it are on disk. A version that
	// is not there yet is an error.
	Durable(ctx context.Context, v Version) error
	// Notify calls f once, when Durable would return: at once if it is so already,
	// otherwise in a goroutine of the store. f must not block.
	Notify(v Version, f func(error))
	// Watch tells every write to keys with a prefix in versions after one, in order.
	// Items are not to be changed. A store remembers some of the latest writes, so
	// that after may be the version of a snapshot.
	// The channel is closed when ctx ends, when the store does, or, after an Event
	// with Lost set, when the reader is too slow. It fails with ErrCompacted.
	Watch(ctx context.Context, prefix []byte, after Version) (<-chan Event, error)
	// Grant makes a lease that runs out after ttl without KeepAlive.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// Checkpoint writes a copy of the store, as it is now, to a folder that does not
	// exist. The store can be opened from there.
	Checkpoint(ctx context.Context, dir string) error
	// Close flushes and closes.
	Close() error
}

// Snapshot is the content of a store at one version. It is safe for concurrent
// use.
type Snapshot interface {
	// Get finds a key, or fails with ErrNotFound. The item belongs to the caller.
	Get(key []byte) (Item, error)
	// Scan visits the keys with a prefix that are greater than after (nil: all), in
	// ascending order, until visit returns false. Items are valid during the visit
	// only.
	Scan(prefix, after []byte, visit func(Item) bool) error
	Version() Version
	Close() error
}

// Event is a write that a watcher is told of.
type Event struct {
	Item
	Deleted bool // Value is empty
	Lost    bool // the reader was too slow: events are missing from here on
}

// Lease is a right that runs out unless it is kept alive.
type Lease interface {
	ID() uint64
	// KeepAlive lets it live for its whole time again, or fails with ErrLease.
	KeepAlive(ctx context.Context) error
	Revoke(ctx context.Context) error
}
