package pebble

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// SetFormat pretends that another version of weft has written the store.
func (s *Store) SetFormat(f byte) error { return s.db.Set(formatKey, []byte{f}, pebble.Sync) }

// SetRaw stores something as it is.
func (s *Store) SetRaw(key, value string) error {
	return s.db.Set([]byte(key), []byte(value), pebble.Sync)
}

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

// Migrating has two migrations after the formats that there are: the first puts
// "2:" before every value, the second has keys begin with "new/". Done twice, both
// would show.
func (o Options) Migrating() Options {
	each := func(n int, change func(b *pebble.Batch, key, stored []byte) error) migration {
		return func(r pebble.Reader, after []byte, b *pebble.Batch) (last []byte, err error) {
			low := []byte("d/k")
			if after != nil {
				low = append(after, 0)
			}
			it, err := r.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte("d/l")})
			if err != nil {
				return nil, err
			}
			defer it.Close()
			for it.First(); it.Valid() && b.Count() < uint32(n); it.Next() {
				last = bytes.Clone(it.Key())
				if err := change(b, last, it.Value()); err != nil {
					return nil, err
				}
			}
			return last, it.Error()
		}
	}
	o.migrations = append(migrations[:len(migrations):len(migrations)],
		each(7, func(b *pebble.Batch, key, stored []byte) error {
			return b.Set(key, append(bytes.Clone(stored[:8]), append([]byte("2:"), stored[8:]...)...), nil)
		}),
		each(5, func(b *pebble.Batch, key, stored []byte) error {
			return errors.Join(b.Set(append([]byte("d/new/"), key[2:]...), stored, nil), b.Delete(key, nil))
		}))
	return o
}

// Format is what is stored of the format.
func (s *Store) Format() byte {
	f, err := s.meta(formatKey)
	if err != nil || len(f) != 1 {
		return 0
	}
	return f[0]
}

// Current is the format that this package writes.
var Current = byte(firstFormat + len(migrations))
