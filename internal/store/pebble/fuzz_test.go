package pebble

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-run/weft/internal/store"
)

// Whatever is stored under a key, it is a value with its version or an error.
func FuzzValue(f *testing.F) {
	f.Add([]byte("k"), []byte("12345678value"))
	f.Add([]byte("k"), []byte("1234567"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, stored []byte) {
		item, err := value(key, stored)
		if (err != nil) != (len(stored) < 8) {
			t.Fatalf("%d bytes: %v", len(stored), err)
		}
		if err == nil && (!bytes.Equal(item.Value, stored[8:]) || !bytes.Equal(item.Key, key)) {
			t.Errorf("%x gives %q %x", stored, item.Key, item.Value)
		}
	})
}

// Whatever the records of format, version and migration are, the store opens and
// goes on after that version, or says why it does not, and leaves them as they are.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{1}, []byte("\x00\x00\x00\x00\x00\x00\x00\x01"), []byte(nil))
	f.Add([]byte{2}, []byte("1"), []byte{1, 'k'})
	f.Add([]byte{}, []byte{}, []byte{0})
	f.Add([]byte{200}, []byte(nil), []byte{255})
	f.Fuzz(func(t *testing.T, format, version, moving []byte) {
		records := []struct{ key, value []byte }{{formatKey, format}, {versionKey, version}, {movingKey, moving}}
		disk := vfs.NewMem()
		db, err := pebble.Open("store", &pebble.Options{FS: disk, FormatMajorVersion: pebble.FormatNewest, Logger: pebble.DefaultLogger})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.value != nil {
				err = errors.Join(err, db.Set(r.key, r.value, pebble.Sync))
			}
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		s, err := Open("store", Options{FS: disk})
		if err != nil {
			return
		}
		defer s.Close()
		if len(format) > 1 || len(format) == 1 && format[0] != firstFormat+byte(len(migrations)) {
			t.Fatalf("a store of format %x opens", format)
		}
		last, err := decodeVersion(version)
		if err != nil {
			t.Fatalf("a store opens whose version is %x", version)
		}
		var b store.Batch
		b.Put([]byte("k"), []byte("1"))
		if v, err := s.Append(context.Background(), &b); err != nil || v != last+1 {
			t.Errorf("after version %d comes %d, %v", last, v, err)
		}
	})
}

// A scan finds the keys that it should, whatever bytes they and its bounds have.
func FuzzScan(f *testing.F) {
	f.Add([]byte("a,b,b/1,b\xff,b\xff\xff,c"), []byte("b"), []byte("b/1"))
	f.Add([]byte("\xff,\xff\xff,\x00"), []byte("\xff"), []byte(nil))
	f.Add([]byte("m/format,d/,d"), []byte("d"), []byte("a"))
	s, err := Open("store", Options{FS: vfs.NewMem()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, list, prefix, after []byte) {
		if len(list) > 4<<10 || len(prefix) > store.KeyMax || len(after) > store.KeyMax {
			return
		}
		var want []string
		var b store.Batch
		for _, old := range all(t, s, nil, nil) {
			b.Delete([]byte(old))
		}
		for key := range bytes.SplitSeq(list, []byte(",")) {
			if len(key) == 0 || len(key) > store.KeyMax {
				continue
			}
			b.Put(key, nil)
			if bytes.HasPrefix(key, prefix) && (after == nil || bytes.Compare(key, after) > 0) {
				want = append(want, string(key))
			}
		}
		if _, err := s.Append(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if got := all(t, s, prefix, after); !slices.Equal(got, want) {
			t.Errorf("keys with %q after %q are %q, want %q", prefix, after, got, want)
		}
	})
}

func all(t *testing.T, s *Store, prefix, after []byte) (keys []string) {
	view := s.Snapshot()
	defer view.Close()
	if err := view.Scan(prefix, after, func(i store.Item) bool {
		keys = append(keys, string(i.Key))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}
