package pebble

import "github.com/cockroachdb/pebble/v2"

// SetFormat pretends that another version of weft has written the store.
func (s *Store) SetFormat(f byte) error { return s.db.Set(formatKey, []byte{f}, pebble.Sync) }
