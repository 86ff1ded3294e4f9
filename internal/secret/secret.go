// Package secret keeps what apps must not have in their files: passwords, keys and
// certificates, each with a name within an app.
//
//	secrets, err := secret.Open(ctx, store, "/var/lib/weft/secret.key")
//	err = secrets.Set(ctx, "shop", "api-key", value)
//	value, err := secrets.Get("shop", "api-key")
//
//	hide := secret.NewRedactor(value)
//	line = hide.Redact(line)            // of a log
//
// Values are sealed (XChaCha20-Poly1305) with a key that is in a file of its own,
// not in the store: whoever has a copy of the store alone has no values. A backup
// needs both. A record is bound to its app and name, so that one who can write to
// the store cannot give one app another's value, nor a made-up one; an older value
// of the same name can be put back.
//
// Rotate makes a new key and seals all values with it. While it does, the key file
// holds both keys and each record says which one it needs, so it may be
// interrupted anywhere; Open finishes it.
//
//	secret.go    the secrets of a node
//	rotate.go    changing the key
//	seal.go      a record
//	keyfile.go   the key file
//	redact.go    hiding values in logs
package secret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// ValueMax is how long a value may be, in bytes.
const ValueMax = 64 << 10

// What secrets fail with.
var (
	ErrNotFound = errors.New("no such secret")
	// ErrInvalid says that an app, a name or a value is not allowed.
	ErrInvalid = errors.New("invalid")
	// ErrKey says that the key that a value was sealed with is not in the key file.
	ErrKey = errors.New("the key is missing")
)

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	appForm  = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
)

// prefix begins the keys of secrets: APP/NAME follows. What of a record is more
// than a value of the store holds is under APP/NAME/more, after a byte of the
// format.
const (
	prefix = "secret/"
	more   = "/more"
)

// Info is what is known of a secret without its value.
type Info struct {
	Name    string    `json:"name"`
	Updated time.Time `json:"updated"` // when it was set
}

// Secrets are the secrets of a node. It is safe for concurrent use. The records of
// the store, and the key file, belong to it alone while it is open.
type Secrets struct {
	store store.Store
	file  string // the key file, with links resolved
	now   func() time.Time
	save  func(path string, keys keyring) error // writeKeys; of tests: a disk that fails

	change sync.Mutex   // held by who writes to the store or to the key file
	reader sync.RWMutex // held to read records with the keys that they need
	keys   keyring      // guarded by reader; not empty
}

// Open opens the secrets that are in a store. The key file is made, mode 0600, if
// it is not there; if it is not, but secrets are, Open fails with ErrKey, since a
// new key opens none of them. An empty key file says that these are given up: Open
// makes a key, Get of each fails until it is set again.
func Open(ctx context.Context, s store.Store, keyFile string) (*Secrets, error) {
	return openWith(ctx, &Secrets{store: s, file: keyFile, now: time.Now, save: writeKeys})
}

func openWith(ctx context.Context, t *Secrets) (*Secrets, error) {
	if err := t.open(ctx); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return t, nil
}

func (t *Secrets) open(ctx context.Context) error {
	if path, err := filepath.EvalSymlinks(t.file); err == nil {
		t.file = path // what is replaced is the file, not a link to it
	}
	if err := sweepKeys(t.file); err != nil {
		return err
	}
	keys, err := readKeys(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		if n, err := t.count(); err != nil {
			return err
		} else if n > 0 {
			return fmt.Errorf("key file %s is not there, but %d secrets are sealed with it; restore it from a backup, or put an empty file there (mode 0600) to give them up: %w", t.file, n, ErrKey)
		}
		err = nil
	}
	if err == nil && len(keys) == 0 {
		keys = keyring{newKey()}
		err = t.save(t.file, keys)
	}
	if err != nil {
		return err
	}
	t.keys = keys
	if len(keys) > 1 {
		// An interrupted rotation. Both keys stay if it cannot be finished, so
		// nothing is lost by going on.
		if err := t.finish(ctx); errors.Is(err, errSome) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// count counts the secrets of all apps.
func (t *Secrets) count() (n int, err error) {
	view := t.store.Snapshot()
	defer view.Close()
	err = view.Scan([]byte(prefix), nil, func(i store.Item) bool {
		if _, _, ok := splitKey(i.Key); ok {
			n++
		}
		return true
	})
	return n, err
}

// splitKey takes the key of a secret apart; it is not ok if it is another one.
func splitKey(k []byte) (app, name string, ok bool) {
	rest, ok := strings.CutPrefix(string(k), prefix)
	app, name, found := strings.Cut(rest, "/")
	return app, name, ok && found && !strings.Contains(name, "/")
}

func recordKey(app, name string) []byte { return []byte(prefix + app + "/" + name) }

func moreKey(app, name string) []byte { return []byte(prefix + app + "/" + name + more) }

// check finds apps and names that no secret has.
func check(app, name string) error {
	if !appForm.MatchString(app) {
		return fmt.Errorf("app %.80q: use a-z, 0-9 and -, at most 63: %w", app, ErrInvalid)
	}
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %.80q: use letters, digits, . _ and -, at most 64: %w", name, ErrInvalid)
	}
	return nil
}

// Set sets a secret of at most ValueMax bytes. It is on disk on return. Arguments
// that are not allowed fail with ErrInvalid.
func (t *Secrets) Set(ctx context.Context, app, name string, value []byte) error {
	err := check(app, name)
	if err == nil && len(value) > ValueMax {
		err = fmt.Errorf("the value has %d bytes, at most %d are allowed: %w", len(value), ValueMax, ErrInvalid)
	}
	if err == nil {
		err = t.set(ctx, app, name, value)
	}
	if err != nil {
		return fmt.Errorf("set secret %.80q of %.80q: %w", name, app, err)
	}
	return nil
}

func (t *Secrets) set(ctx context.Context, app, name string, value []byte) error {
	t.change.Lock()
	record, err := seal(t.keys.current(), app, name, value, t.now())
	var v store.Version
	if err == nil {
		var b store.Batch
		put(&b, app, name, record)
		v, err = t.store.Append(ctx, &b)
	}
	t.change.Unlock()
	if err != nil {
		return err
	}
	return t.store.Durable(ctx, v)
}

// partMax is how long the first part of a record is, in bytes, if there is a second one.
const partMax = 64 << 10

// put adds a record to a batch, in two parts if it is too long for one.
func put(b *store.Batch, app, name string, record []byte) {
	if len(record) > partMax {
		b.Put(moreKey(app, name), append([]byte{format}, record[partMax:]...))
		record = record[:partMax]
	} else {
		b.Delete(moreKey(app, name))
	}
	b.Put(recordKey(app, name), record)
}

// Get returns the value of a secret. It fails with ErrNotFound, with ErrKey, and if
// the record is damaged.
func (t *Secrets) Get(app, name string) ([]byte, error) {
	err := check(app, name)
	var value []byte
	if err == nil {
		t.reader.RLock()
		view := t.store.Snapshot()
		var record []byte
		if record, err = read(view, app, name); err == nil {
			value, err = t.unseal(app, name, record)
		}
		err = errors.Join(err, view.Close())
		t.reader.RUnlock()
	}
	if err != nil {
		return nil, fmt.Errorf("secret %.80q of app %.80q: %w", name, app, err)
	}
	return value, nil
}

// read returns a record, put together again.
func read(view store.Snapshot, app, name string) ([]byte, error) {
	head, err := view.Get(recordKey(app, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil || len(head.Value) < partMax {
		return head.Value, err
	}
	tail, err := view.Get(moreKey(app, name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return head.Value, nil
	case err != nil:
		return nil, err
	case len(tail.Value) == 0 || tail.Value[0] != format:
		return nil, errDamaged
	}
	return append(head.Value, tail.Value[1:]...), nil
}

// unseal opens a record with whichever key it needs. Secrets.reader or
// Secrets.change is held.
func (t *Secrets) unseal(app, name string, record []byte) ([]byte, error) {
	h, err := readHeader(record)
	if err != nil {
		return nil, err
	}
	k, ok := t.keys.find(h.key)
	if !ok {
		return nil, fmt.Errorf("key file %s does not hold the key that it was sealed with; restore that file or set the secret again: %w", t.file, ErrKey)
	}
	return unseal(k, app, name, record)
}

// List returns the secrets of an app by name; none if there is no such app. A
// damaged one is listed too, without a time.
func (t *Secrets) List(app string) ([]Info, error) {
	infos := []Info{}
	if !appForm.MatchString(app) {
		return infos, nil
	}
	view := t.store.Snapshot()
	defer view.Close()
	err := view.Scan(recordKey(app, ""), nil, func(i store.Item) bool {
		if _, name, ok := splitKey(i.Key); ok {
			info := Info{Name: name}
			if h, err := readHeader(i.Value); err == nil {
				info.Updated = h.updated
			}
			infos = append(infos, info)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("list secrets of %s: %w", app, err)
	}
	return infos, nil
}

// Delete removes a secret, or fails with ErrNotFound. That is on disk on return;
// the sealed value may stay in files of the store until it is compacted.
func (t *Secrets) Delete(ctx context.Context, app, name string) error {
	err := check(app, name)
	if err == nil {
		err = t.remove(ctx, app, name)
	}
	if err != nil {
		return fmt.Errorf("delete secret %.80q of %.80q: %w", name, app, err)
	}
	return nil
}

func (t *Secrets) remove(ctx context.Context, app, name string) error {
	t.change.Lock()
	defer t.change.Unlock()
	view := t.store.Snapshot()
	_, err := view.Get(recordKey(app, name))
	if errors.Is(err, store.ErrNotFound) {
		err = ErrNotFound
	}
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	var b store.Batch
	b.Delete(recordKey(app, name))
	b.Delete(moreKey(app, name))
	return t.write(ctx, &b)
}

// DropApp removes all secrets of an app, if it has any. That is on disk on return.
func (t *Secrets) DropApp(ctx context.Context, app string) error {
	if !appForm.MatchString(app) {
		return nil
	}
	t.change.Lock()
	defer t.change.Unlock()
	var b store.Batch
	b.DeletePrefix(recordKey(app, ""))
	if err := t.write(ctx, &b); err != nil {
		return fmt.Errorf("drop secrets of %s: %w", app, err)
	}
	return nil
}

// write appends a batch and waits until it is on disk.
func (t *Secrets) write(ctx context.Context, b *store.Batch) error {
	v, err := t.store.Append(ctx, b)
	if err != nil {
		return err
	}
	return t.store.Durable(ctx, v)
}
