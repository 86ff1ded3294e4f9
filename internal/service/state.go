package service

import (
	"bytes"
	"context"
	"errors"

	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// Place is a place in the state of an object, and what is there.
type Place struct {
	Object string
	Key    wire.Key
	Value  []byte
}

// Get reads a place in the state of an object. It takes no lock: it sees what some
// segment has left, on disk.
func (s *Services) Get(ctx context.Context, service, object string, k wire.Key) (value []byte, found bool, err error) {
	view := s.o.Store.Snapshot()
	defer view.Close()
	item, err := view.Get([]byte(record.State(service, object, k)))
	if found = err == nil; found {
		value = bytes.Clone(item.Value[1:])
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, false, err
	}
	return value, found, s.o.Store.Durable(ctx, view.Version())
}

// pageBytes bounds the values that Scan lists: the one with which they are as many is the last one.
const pageBytes = 4 << 20

// Scan lists the state of an object, or, with every, of all objects of a service, in
// the order of the keys: at most limit places, and as many as have pageBytes together, after the
// one that next of an earlier Scan stands for. next is "" at the end.
func (s *Services) Scan(ctx context.Context, service, object string, every bool, after string, limit int) (list []Place, next string, err error) {
	prefix := record.Object(service, object)
	if every {
		prefix = record.Service(service)
	}
	view := s.o.Store.Snapshot()
	defer view.Close()
	var from []byte
	if after != "" {
		from = []byte(prefix + after)
	}
	var broken error
	size := 0
	err = view.Scan([]byte(prefix), from, func(i store.Item) bool {
		p := Place{Value: bytes.Clone(i.Value[1:])}
		_, p.Object, p.Key, broken = record.Place(string(i.Key))
		if broken != nil {
			return false
		}
		list = append(list, p)
		size += len(p.Value)
		full := len(list) == limit || size >= pageBytes
		if full {
			next = string(i.Key[len(prefix):])
		}
		return !full
	})
	if err = errors.Join(err, broken); err == nil {
		err = s.o.Store.Durable(ctx, view.Version())
	}
	return list, next, err
}
