package pebble

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// migration brings a store to the next format, in steps: each reads the store as
// the steps before have left it, writes what is different into a batch, and says
// what it has come to, which is given to the next step (first: nil). It gives nil
// when nothing is left. A step should touch some hundred keys.
//
// A step's writes and what it has come to are written together, synced: whenever
// the process or the machine dies, the next Open goes on after the last step that
// was written, and no step happens twice.
type migration func(r pebble.Reader, after []byte, b *pebble.Batch) (last []byte, err error)

// migrations[i] makes format firstFormat+i+1 of format firstFormat+i. The format
// after the last one is the current one.
var migrations = []migration{}

const firstFormat = 1

// movingKey is there during a migration: the format that it began with, one byte,
// and what it has come to. The format is that which it leads to all the while, so
// that what cannot read that does not read half of it either.
var movingKey = []byte("m/migration")

// migrate brings the store to the current format. A new store has it at once.
func (s *Store) migrate(all []migration) error {
	current := byte(firstFormat + len(all))
	found, err := s.meta(formatKey)
	switch {
	case err != nil:
		return err
	case found == nil:
		return s.db.Set(formatKey, []byte{current}, pebble.Sync)
	case len(found) != 1 || found[0] < firstFormat:
		return fmt.Errorf("format %x is not one of weft", found)
	case found[0] > current:
		return fmt.Errorf("it has format %d, written by a newer version of weft; this one reads formats up to %d: install the newer version", found[0], current)
	}
	from := found[0]
	moving, err := s.meta(movingKey)
	if err != nil {
		return err
	}
	if moving != nil {
		if err := checkMoving(moving, found[0]); err != nil {
			return err
		}
		from--
	}
	for ; from < current; from++ {
		s.o.Logger.Info("the store is brought to a newer format", "from", from, "to", from+1)
		if err := s.move(from, moving, all[from-firstFormat]); err != nil {
			return fmt.Errorf("bring it from format %d to %d: %w", from, from+1, err)
		}
		moving = nil
	}
	return nil
}

// checkMoving judges what is stored of a migration to a format.
func checkMoving(moving []byte, to byte) error {
	if len(moving) == 0 || moving[0] < firstFormat || moving[0] != to-1 {
		return fmt.Errorf("its migration %x does not lead to its format %d", moving, to)
	}
	return nil
}

// move does one migration, or what is left of it.
func (s *Store) move(from byte, moving []byte, step migration) error {
	if moving == nil {
		moving = []byte{from}
		if err := s.write(func(b *pebble.Batch) error { return s.reach(b, from+1, moving) }); err != nil {
			return err
		}
	}
	for moving != nil {
		if err := s.write(func(b *pebble.Batch) error {
			var after []byte
			if len(moving) > 1 {
				after = moving[1:]
			}
			last, err := step(s.db, after, b)
			if err != nil {
				return err
			}
			if moving = nil; len(last) > 0 {
				moving = append([]byte{from}, last...)
			}
			return s.reach(b, from+1, moving)
		}); err != nil {
			return err
		}
	}
	return nil
}

// reach notes what a migration to a format has come to; nil: its end.
func (s *Store) reach(b *pebble.Batch, to byte, moving []byte) error {
	if moving == nil {
		return b.Delete(movingKey, nil)
	}
	if err := b.Set(formatKey, []byte{to}, nil); err != nil {
		return err
	}
	return b.Set(movingKey, moving, nil)
}

// write commits what f puts into a batch.
func (s *Store) write(f func(b *pebble.Batch) error) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := f(b); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	return s.guard.failure()
}
