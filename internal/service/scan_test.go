package service_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

// metered is a store that knows how much of the state the largest of its scans has visited.
type metered struct {
	store.Store
	most *atomic.Int64 // bytes
}

func (m metered) Snapshot() store.Snapshot { return view{m.Store.Snapshot(), m.most} }

type view struct {
	store.Snapshot
	most *atomic.Int64
}

func (v view) Scan(prefix, after []byte, visit func(store.Item) bool) error {
	size := int64(0)
	return v.Snapshot.Scan(prefix, after, func(i store.Item) bool {
		if strings.HasPrefix(string(i.Key), record.StatePrefix) {
			size += int64(len(i.Value))
			v.most.Store(max(v.most.Load(), size))
		}
		return visit(i)
	})
}

// Who scans a map of large values, or lists the state, has all of them, and the node never
// more than a few at a time.
func TestScansOfLargeValues(t *testing.T) {
	const entries, size = 10, 900 << 10
	entry := func(name string) wire.Key { return wire.Key{Field: "map", Item: true, Entry: name} }
	methods := servicetest.Methods{
		"s.put": func(c *servicetest.Context) ([]byte, error) {
			c.Put(entry(string(c.Arg(0))), make([]byte, size))
			return nil, nil
		},
		// Entries 0 to 4 are gone, and new ones are at the beginning, between others, and at the end.
		"s.change": func(c *servicetest.Context) ([]byte, error) {
			for i := range 5 {
				c.Delete(entry(fmt.Sprint(i)))
			}
			for _, name := range []string{"00", "65", "99"} {
				c.Put(entry(name), []byte("new"))
			}
			var names []string
			for _, v := range c.Scan("map", string(c.Arg(0)), 1000) {
				names = append(names, v.Text)
			}
			return []byte(strings.Join(names, " ")), nil
		},
		"s.first": func(c *servicetest.Context) ([]byte, error) {
			var names []string
			for _, v := range c.Scan("map", "", 6) {
				names = append(names, v.Text)
			}
			return []byte(strings.Join(names, " ")), nil
		},
	}
	most := &atomic.Int64{}
	s := open(t, metered{memory.New(memory.Options{}), most}, methods, machine.Options{})
	for i := range entries {
		invoke(t, s, target("s", "", "put"), []byte(fmt.Sprint(i)))
	}
	var listed, pages int
	for after := ""; ; {
		list, next, err := s.Scan(context.Background(), "s", "", false, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		listed, pages = listed+len(list), pages+1
		if after = next; next == "" {
			break
		}
	}
	if listed != entries || pages != 3 {
		t.Errorf("%d values on %d pages, want %d on 3", listed, pages, entries)
	}
	if v := invoke(t, s, target("s", "", "first")); string(v.Data) != "0 1 2 3 4 5" {
		t.Errorf("the first entries are %s %s", v.Data, v.Text)
	}
	if v := invoke(t, s, target("s", "", "change"), []byte("0")); string(v.Data) != "00 5 6 65 7 8 9 99" {
		t.Errorf("the entries are %s %s", v.Data, v.Text)
	}
	if n := most.Load(); n > 6<<20 {
		t.Errorf("%d bytes were read for one scan", n)
	}
	if v := invoke(t, s, target("s", "", "change"), []byte("6")); string(v.Data) != "65 7 8 9 99" {
		t.Errorf("the entries after 6 are %s %s", v.Data, v.Text)
	}
}
