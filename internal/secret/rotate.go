package secret

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-run/weft/internal/store"
)

// batchSize is how much of records a rotation writes at once, in bytes.
const batchSize = 1 << 20

// errSome says that a rotation went as far as it could.
var errSome = errors.New("the former key stays in the key file until all secrets can be opened; set them again or delete them, then rotate again")

// Rotate makes a new key and seals all values with it; the former key is then
// gone from the key file. All is on disk on return. Values can be read meanwhile,
// and after an error: it may be called again, and Open finishes what a crash has
// interrupted. If some values cannot be opened the others have the new key, and
// the error says which.
func (t *Secrets) Rotate(ctx context.Context) error {
	t.change.Lock()
	defer t.change.Unlock()
	keys := append(t.keys[:len(t.keys):len(t.keys)], newKey())
	if err := t.save(t.file, keys); err != nil {
		return fmt.Errorf("rotate key of secrets: write key file: %w", err)
	}
	// The new key is on disk, so it may be used.
	t.setKeys(keys)
	if err := t.finish(ctx); err != nil {
		return fmt.Errorf("rotate key of secrets: %w", err)
	}
	return nil
}

// setKeys changes the keys when nobody is between finding a record and its key.
// Secrets.change is held, unless the secrets are not open yet.
func (t *Secrets) setKeys(keys keyring) {
	t.reader.Lock()
	defer t.reader.Unlock()
	t.keys = keys
}

// finish seals with the current key what is not sealed with it, and forgets the
// others. Secrets.change is held, unless the secrets are not open yet.
func (t *Secrets) finish(ctx context.Context) error {
	failed, err := t.reseal(ctx)
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return errors.Join(append(failed, errSome)...)
	}
	keys := keyring{t.keys.current()}
	if err := t.save(t.file, keys); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	t.setKeys(keys)
	return nil
}

// reseal seals all values with the current key. It is on disk on return. failed
// are those that could not be opened.
func (t *Secrets) reseal(ctx context.Context) (failed []error, err error) {
	current := t.keys.current()
	view := t.store.Snapshot()
	defer view.Close()
	type secret struct{ app, name string }
	var due []secret
	if err := view.Scan([]byte(prefix), nil, func(i store.Item) bool {
		if app, name, ok := splitKey(i.Key); ok {
			if h, err := readHeader(i.Value); err != nil || h.key != current.id {
				due = append(due, secret{app, name})
			}
		}
		return true
	}); err != nil {
		return nil, err
	}
	var b store.Batch
	for i, s := range due {
		record, err := read(view, s.app, s.name)
		if err != nil {
			return nil, err
		}
		value, err := t.unseal(s.app, s.name, record)
		if err != nil {
			failed = append(failed, fmt.Errorf("secret %q of app %q: %w", s.name, s.app, err))
		} else {
			h, _ := readHeader(record) // unseal has read it
			if record, err = seal(current, s.app, s.name, value, h.updated); err != nil {
				return nil, err
			}
			put(&b, s.app, s.name, record)
		}
		if b.Size() >= batchSize || i == len(due)-1 {
			if _, err := t.store.Append(ctx, &b); err != nil {
				return nil, err
			}
			b = store.Batch{}
		}
	}
	// What was set with the former key just before is waited for, too.
	return failed, t.write(ctx, &b)
}
