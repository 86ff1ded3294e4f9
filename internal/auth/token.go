package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weft-run/weft/internal/store"
)

const (
	scheme    = "weft_"
	idLen     = 12
	secretLen = 26
	plainLen  = len(scheme) + idLen + 1 + secretLen
	nameMax   = 64 // bytes of a token's name
)

// Token is what is known of a token; its text is not.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // need not be unique
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`    // when it was last accepted, to the second; zero: never
}

// Tokens are the tokens of a node. It is safe for concurrent use. The store's
// records belong to it alone while it is open.
type Tokens struct {
	store store.Store
	now   func() time.Time

	change sync.Mutex // held by who writes to the store, so that records and index agree
	index  sync.RWMutex
	byID   map[string]*entry // guarded by index
}

// entry is a token in memory. All but used is constant.
type entry struct {
	token   Token // without Used
	hash    [sha256.Size]byte
	expires int64        // Unix seconds; 0: never
	used    atomic.Int64 // Unix seconds; 0: never
	flushed int64        // used in the store; guarded by change
}

// OpenTokens reads the tokens that are in a store. now is the clock that tokens
// expire by.
func OpenTokens(_ context.Context, s store.Store, now func() time.Time) (*Tokens, error) {
	t := &Tokens{store: s, now: now, byID: map[string]*entry{}}
	view := s.Snapshot()
	defer view.Close()
	var failed error
	err := view.Scan([]byte(prefix), nil, func(item store.Item) bool {
		id := string(bytes.TrimPrefix(item.Key, []byte(prefix)))
		r, err := decode(item.Value)
		if err != nil {
			failed = fmt.Errorf("token %s: %w", id, err)
			return false
		}
		t.byID[id] = newEntry(id, r)
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	return t, nil
}

func newEntry(id string, r *record) *entry {
	e := &entry{
		token:   Token{ID: id, Name: r.Name, Role: r.Role, Created: r.Created, Expires: r.Expires},
		expires: seconds(r.Expires),
		flushed: seconds(r.Used),
	}
	copy(e.hash[:], r.Hash)
	e.used.Store(e.flushed)
	return e
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func (e *entry) view() Token {
	t := e.token
	if used := e.used.Load(); used != 0 {
		t.Used = time.Unix(used, 0).UTC()
	}
	return t
}

// Create makes a token that is valid for a time (0: until it is revoked). The
// text, plain, is nowhere else: show it once. The token is on disk on return. A
// name is 1 to 64 bytes that can be printed; other arguments fail with ErrInvalid.
func (t *Tokens) Create(ctx context.Context, name string, role Role, expires time.Duration) (token Token, plain string, err error) {
	switch {
	case !printable(name):
		err = fmt.Errorf("name %.80q: use 1 to %d bytes that can be printed: %w", name, nameMax, ErrInvalid)
	case !role.valid():
		err = fmt.Errorf("%s does not exist: %w", role, ErrInvalid)
	case expires < 0 || expires > 0 && expires < time.Second:
		err = fmt.Errorf("expires in %s: use at least a second, or 0 for never: %w", expires, ErrInvalid)
	}
	if err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}
	created := t.now().UTC().Truncate(time.Second)
	r := &record{Name: name, Role: role, Created: created}
	if expires > 0 {
		r.Expires = created.Add(expires).Truncate(time.Second)
	}
	id := strings.ToLower(rand.Text()[:idLen])
	plain = scheme + id + "_" + strings.ToLower(rand.Text()[:secretLen])
	hash := sha256.Sum256([]byte(plain))
	r.Hash = hash[:]
	value, err := r.encode()
	if err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}

	t.change.Lock()
	defer t.change.Unlock()
	var b store.Batch
	key := []byte(prefix + id)
	b.IfAbsent(key)
	b.Put(key, value)
	if err := t.write(ctx, &b); err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}
	e := newEntry(id, r)
	t.index.Lock()
	t.byID[id] = e
	t.index.Unlock()
	return e.view(), plain, nil
}

// printable reports whether a name is short text on one line.
func printable(name string) bool {
	if name == "" || len(name) > nameMax || !utf8.ValidString(name) {
		return false
	}
	return strings.IndexFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) < 0
}

// write appends a batch and waits until it is on disk, which takes milliseconds:
// once it is appended, a caller that goes away does not leave it half done.
func (t *Tokens) write(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := t.store.Append(ctx, b)
	if err != nil {
		return err
	}
	return t.store.Durable(context.WithoutCancel(ctx), v)
}

// Revoke ends a token: no check that begins after Revoke has returned accepts it,
// after a crash of the machine either. It fails with ErrUnknown. If the store
// fails, the token is refused until weft starts again.
func (t *Tokens) Revoke(ctx context.Context, id string) error {
	t.change.Lock()
	defer t.change.Unlock()
	t.index.RLock()
	e := t.byID[id]
	t.index.RUnlock()
	if e == nil {
		return fmt.Errorf("revoke token %.40q: %w", id, ErrUnknown)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	var b store.Batch
	b.Delete([]byte(prefix + id))
	t.index.Lock()
	delete(t.byID, id)
	t.index.Unlock()
	if err := t.write(ctx, &b); err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	return nil
}

// List returns the tokens that were not revoked, expired ones too, by age.
func (t *Tokens) List() []Token {
	t.index.RLock()
	list := make([]Token, 0, len(t.byID))
	for _, e := range t.byID {
		list = append(list, e.view())
	}
	t.index.RUnlock()
	slices.SortFunc(list, func(a, b Token) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Check says whose token a text is, or fails with ErrUnknown or ErrExpired. It
// neither waits nor allocates. How long it takes does not depend on how much of
// a secret is right.
func (t *Tokens) Check(plain string) (Identity, error) {
	id, ok := tokenID(plain)
	if !ok {
		return Identity{}, ErrUnknown
	}
	var text [plainLen]byte
	copy(text[:], plain)
	hash := sha256.Sum256(text[:])
	t.index.RLock()
	e := t.byID[id]
	t.index.RUnlock()
	if e == nil || subtle.ConstantTimeCompare(hash[:], e.hash[:]) != 1 {
		return Identity{}, ErrUnknown
	}
	now := t.now().Unix()
	if e.expires != 0 && now >= e.expires {
		return Identity{}, ErrExpired
	}
	if e.used.Load() < now {
		e.used.Store(now)
	}
	return Identity{Name: e.token.Name, Role: e.token.Role, Token: e.token.ID}, nil
}

// tokenID is the id in a token's text, if it has the form of one.
func tokenID(plain string) (string, bool) {
	const end = len(scheme) + idLen
	if len(plain) != plainLen || plain[:len(scheme)] != scheme || plain[end] != '_' {
		return "", false
	}
	return plain[len(scheme):end], true
}

// Flush writes when tokens were last used, which is in memory only until then:
// call it now and then, and before the store is closed. It does not wait for the
// disk.
func (t *Tokens) Flush(ctx context.Context) error {
	t.change.Lock()
	defer t.change.Unlock()
	type write struct {
		e    *entry
		used int64
	}
	var due []write
	t.index.RLock()
	for _, e := range t.byID {
		if used := e.used.Load(); used != e.flushed {
			due = append(due, write{e, used})
		}
	}
	t.index.RUnlock()
	var b store.Batch
	for _, w := range due {
		token := w.e.token
		r := &record{Name: token.Name, Role: token.Role, Created: token.Created, Expires: token.Expires, Used: time.Unix(w.used, 0).UTC(), Hash: w.e.hash[:]}
		value, err := r.encode()
		if err != nil {
			return fmt.Errorf("flush use of tokens: %w", err)
		}
		b.Put([]byte(prefix+token.ID), value)
	}
	if b.Len() == 0 {
		return nil
	}
	if _, err := t.store.Append(ctx, &b); err != nil {
		return fmt.Errorf("flush use of tokens: %w", err)
	}
	for _, w := range due {
		w.e.flushed = w.used
	}
	return nil
}
