package store_test

import (
	"bytes"
	"testing"

	"github.com/weft-run/weft/internal/store"
)

// After is the end of what begins with a prefix: nothing of that is left out, and
// nothing else is let in.
func FuzzAfter(f *testing.F) {
	f.Add([]byte("a"), []byte("a\xff"))
	f.Add([]byte("a\xff\xff"), []byte("b"))
	f.Add([]byte("\xff"), []byte("\xff\xff"))
	f.Add([]byte("a\x94"), []byte("a\xff"))
	f.Add([]byte{}, []byte("x"))
	f.Fuzz(func(t *testing.T, prefix, key []byte) {
		end := store.After(prefix)
		within := bytes.Compare(key, prefix) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
		if within != bytes.HasPrefix(key, prefix) {
			t.Errorf("key %q, prefix %q, end %q", key, prefix, end)
		}
	})
}
