package pebble

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// SetFormat pretends that another version of weft has written the store.
func (s *Store) SetFormat(f byte) error { return s.db.Set(formatKey, []byte{f}, pebble.Sync) }

// Small has a store use tables of some KiB, so that a short test sees many.
func (o Options) Small() Options {
	o.table = 64 << 10
	return o
}

// Sort has Pebble write what is in memory to a table.
func (s *Store) Sort() error { return s.told(s.db.Flush()) }

// Compact has Pebble merge all tables.
func (s *Store) Compact() error {
	return s.told(s.db.Compact(context.Background(), []byte("a"), []byte("z"), false))
}

// told is the error of something that the store does not do for its callers.
func (s *Store) told(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed := s.alive(); failed != nil {
		return failed
	}
	return err
}
