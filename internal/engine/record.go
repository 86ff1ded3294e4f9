package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// What a run has in the store. Every value begins with a version byte.
//
//	run/~ID                 its record (~: so that the newest run comes first)
//	open/ID                 it has not ended
//	journal/ID/SEQ          a line of its journal, SEQ as 8 bytes
//	key/APP/WORKFLOW/KEY    the run that an idempotency key belongs to
//	expire/TIME/ID          when an ended run may be forgotten, TIME in ns as 8 bytes
const (
	runPrefix     = "run/"
	openPrefix    = "open/"
	journalPrefix = "journal/"
	keyPrefix     = "key/"
	expirePrefix  = "expire/"
)

// recordVersion is the first byte of the values of this package.
const recordVersion = 1

// inlineMax bounds what records and journal lines hold; more goes to a blob.
const inlineMax = 48 << 10

// alphabet is Crockford's base 32, whose order is that of its bytes.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// newID makes the name of a run: 10 digits of time in milliseconds and 12
// random ones, so that names are in the order of their runs.
func newID(now time.Time, random uint64) string {
	var b [22]byte
	ms := uint64(now.UnixMilli())
	for i := 9; i >= 0; i-- {
		b[i] = alphabet[ms&31]
		ms >>= 5
	}
	for i := 21; i >= 10; i-- {
		b[i] = alphabet[random&31]
		random >>= 5
	}
	return string(b[:])
}

// validID reports whether a name could be that of a run.
func validID(id string) bool {
	return len(id) == 22 && strings.Trim(id, alphabet) == ""
}

// runKey is the key of a run's record: the later the run, the smaller.
func runKey(id string) []byte {
	k := make([]byte, 0, len(runPrefix)+len(id))
	k = append(k, runPrefix...)
	for i := range len(id) {
		k = append(k, alphabet[31-strings.IndexByte(alphabet, id[i])])
	}
	return k
}

func openKey(id string) []byte { return []byte(openPrefix + id) }

func journalKeys(id string) []byte { return []byte(journalPrefix + id + "/") }

func journalKey(id string, seq uint64) []byte {
	k := make([]byte, 0, len(journalPrefix)+len(id)+9)
	k = append(append(append(k, journalPrefix...), id...), '/')
	return binary.BigEndian.AppendUint64(k, seq)
}

func idempotencyKey(app, workflow, key string) []byte {
	return []byte(keyPrefix + app + "/" + workflow + "/" + key)
}

func expireKey(at time.Time, id string) []byte {
	k := binary.BigEndian.AppendUint64([]byte(expirePrefix), uint64(at.UnixNano()))
	return append(append(k, '/'), id...)
}

// expireTime reads an expireKey.
func expireTime(key []byte) (at time.Time, id string, err error) {
	rest := key[len(expirePrefix):]
	if len(rest) < 10 || !validID(string(rest[9:])) {
		return time.Time{}, "", fmt.Errorf("decode key %q: not the end of a run's retention", key)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(rest))), string(rest[9:]), nil
}

// record is what the store holds of a run beside its journal.
type record struct {
	Run
	Seed    uint64    `json:"seed"`
	Uploads []upload  `json:"uploads,omitempty"` // buffers that came with the input
	Expires time.Time `json:"expires,omitzero"`  // once it has ended
	Blobs   []string  `json:"blobs,omitempty"`   // fields that are blobs: "input", "output"
}

// upload is a buffer that was uploaded ahead of the run.
type upload struct {
	Slot string `json:"slot"`
	Size int64  `json:"size"`
}

// blob is a field of a record that is too large for it.
type blob struct {
	name string
	data []byte
}

// encode gives the value of a record, and its fields that have to be on disk
// before it.
func (r record) encode() (value []byte, blobs []blob, err error) {
	r.Blobs = nil
	for name, field := range map[string]*any{"input": &r.Input, "output": &r.Output} {
		data, err := json.Marshal(*field)
		if err != nil {
			return nil, nil, fmt.Errorf("encode %s of run %s: %w", name, r.ID, err)
		}
		if len(data) > inlineMax/2 {
			blobs = append(blobs, blob{name, data})
			*field = nil
		} else if *field != nil {
			*field = json.RawMessage(data)
		}
	}
	slices.SortFunc(blobs, func(a, b blob) int { return strings.Compare(a.name, b.name) })
	for _, b := range blobs {
		r.Blobs = append(r.Blobs, b.name)
	}
	value, err = encode(r)
	return value, blobs, err
}

// load reads the fields of a record that are blobs.
func (r *record) load(blobs Blobs) error {
	for _, name := range r.Blobs {
		b, _, err := blobs.Open(r.ID, name)
		if err != nil {
			return fmt.Errorf("read %s of run %s: %w", name, r.ID, err)
		}
		field := &r.Input
		if name == "output" {
			field = &r.Output
		}
		err = json.NewDecoder(b).Decode(field)
		b.Close()
		if err != nil {
			return fmt.Errorf("read %s of run %s: %w", name, r.ID, err)
		}
	}
	return nil
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte{recordVersion}, b...), nil
}

var errVersion = errors.New("written by a newer version of weft")

// payload strips the version byte.
func payload(value []byte) ([]byte, error) {
	switch {
	case len(value) == 0:
		return nil, errors.New("empty value")
	case value[0] != recordVersion:
		return nil, fmt.Errorf("%w (record version %d)", errVersion, value[0])
	}
	return value[1:], nil
}

func decode(value []byte, v any) error {
	b, err := payload(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// keyed is what the store holds under an idempotency key.
type keyed struct {
	Run   string `json:"run"`
	Input string `json:"input"` // SHA-256
}

// loadRecord reads the record of a run; blobs are left where they are.
func loadRecord(s store.Snapshot, id string) (*record, error) {
	if !validID(id) {
		return nil, fmt.Errorf("run %q: %w", id, ErrNotFound)
	}
	item, err := s.Get(runKey(id))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("run %s: %w", id, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", id, err)
	}
	r := &record{}
	if err := decode(item.Value, r); err != nil {
		return nil, fmt.Errorf("decode run %s: %w", id, err)
	}
	return r, nil
}
