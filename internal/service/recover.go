package service

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// left reads the requests that have not ended.
func (s *Services) left() ([]machine.Recovered, error) {
	view := s.o.Store.Snapshot()
	defer view.Close()
	s.version = view.Version()
	var list []machine.Recovered
	var broken error
	err := view.Scan([]byte(record.OpenPrefix), nil, func(i store.Item) bool {
		var r record.Request
		r, broken = record.DecodeRequest(string(i.Key[len(record.OpenPrefix):]), i.Value)
		list = append(list, machine.Recovered{Request: r})
		return broken == nil
	})
	for n := range list {
		if err == nil && broken == nil {
			list[n].Promises, broken, err = promises(view, list[n].Request.ID)
		}
	}
	if err == nil {
		err = broken
	}
	return list, err
}

// entries reads the journal of a request.
func entries(view store.Snapshot, r record.Request) (list []journal.Entry, broken, err error) {
	id := r.ID
	chunks := uint64(0)
	err = view.Scan([]byte(record.Journal(id)), nil, func(i store.Item) bool {
		var part []journal.Entry
		part, broken = journal.Decode(bytes.Clone(i.Value))
		list = append(list, part...)
		chunks++
		return broken == nil
	})
	if err == nil && broken == nil && chunks != r.Chunks {
		broken = fmt.Errorf("request %s: its journal has %d parts of %d", id, chunks, r.Chunks)
	}
	return list, broken, err
}

// promises reads those of a request that were resolved.
func promises(view store.Snapshot, id string) (values map[string]wire.Value, broken, err error) {
	err = view.Scan([]byte(record.Promises(id)), nil, func(i store.Item) bool {
		var res record.Result
		res, broken = record.DecodeResult(bytes.Clone(i.Value))
		if values == nil {
			values = map[string]wire.Value{}
		}
		values[strings.TrimPrefix(string(i.Key), record.Promises(id))] = res.Value
		return broken == nil
	})
	return values, broken, err
}

// versioned lists the services of which an object has, or had, a version of its state.
func versioned(s store.Store) (list []string, err error) {
	view := s.Snapshot()
	defer view.Close()
	err = view.Scan([]byte(record.VersionedPrefix), nil, func(i store.Item) bool {
		list = append(list, string(i.Key[len(record.VersionedPrefix):]))
		return true
	})
	return list, err
}

// forgetEvery is how often results are looked through, and forgetMax how many are
// forgotten at a time.
const (
	forgetEvery = time.Minute
	forgetMax   = 1000
)

// awaitedFor is when it is looked again, at the latest, whether somebody may wait for a result whose
// retention is over.
const awaitedFor = time.Hour

// awaited reports whether the request may wait for a result that has begun what it is of.
func (s *Services) awaited(view store.Snapshot, id string) bool {
	data, found, err := find(view, record.Done(id))
	if err != nil || !found {
		return false
	}
	res, err := record.DecodeResult(data)
	return err == nil && res.Parent != "" && s.machine.Has(res.Parent)
}

// forget deletes results whose retention is over, and ends instances that have nothing to do.
func (s *Services) forget() {
	now, later := s.o.Now(), min(awaitedFor, cmp.Or(s.o.Machine.Retention, awaitedFor))
	if !s.rested.IsZero() && !now.Before(s.rested) {
		s.dismiss(now)
	}
	if now.Before(s.sweep) {
		return
	}
	s.sweep = now.Add(forgetEvery)
	view := s.o.Store.Snapshot()
	defer view.Close()
	n := 0
	err := view.Scan([]byte(record.ExpirePrefix), nil, func(i store.Item) bool {
		at, id, err := record.Expiry(string(i.Key))
		if err != nil || at > now.UnixNano() {
			return false
		}
		if s.awaited(view, id) {
			s.append([]machine.Op{{Key: string(i.Key), Delete: true}, {Key: record.Expire(now.Add(later).UnixNano(), id), Value: []byte{1}}})
			n++
			return n < forgetMax
		}
		s.append([]machine.Op{{Key: string(i.Key), Delete: true}, {Key: record.Done(id), Delete: true}})
		n++
		return n < forgetMax
	})
	if err == nil {
		err = s.write()
	}
	if err != nil {
		s.fail(err)
	}
	if n == forgetMax {
		s.sweep = now
	}
}
