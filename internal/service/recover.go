package service

import (
	"bytes"
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
			broken, err = story(view, &list[n])
		}
	}
	if err == nil {
		err = broken
	}
	return list, err
}

// story reads what a request has done so far.
func story(view store.Snapshot, ev *machine.Recovered) (broken, err error) {
	id := ev.Request.ID
	chunks := uint64(0)
	err = view.Scan([]byte(record.Journal(id)), nil, func(i store.Item) bool {
		var entries []journal.Entry
		entries, broken = journal.Decode(bytes.Clone(i.Value))
		ev.Entries = append(ev.Entries, entries...)
		chunks++
		return broken == nil
	})
	if err == nil && broken == nil && chunks != ev.Request.Chunks {
		broken = fmt.Errorf("request %s: its journal has %d parts of %d", id, chunks, ev.Request.Chunks)
	}
	if err != nil || broken != nil {
		return broken, err
	}
	ev.Promises = map[string]wire.Value{}
	err = view.Scan([]byte(record.Promises(id)), nil, func(i store.Item) bool {
		var res record.Result
		res, broken = record.DecodeResult(bytes.Clone(i.Value))
		ev.Promises[strings.TrimPrefix(string(i.Key), record.Promises(id))] = res.Value
		return broken == nil
	})
	return broken, err
}

// forgetEvery is how often results are looked through, and forgetMax how many are
// forgotten at a time.
const (
	forgetEvery = time.Minute
	forgetMax   = 1000
)

// forget deletes results whose retention is over.
func (s *Services) forget() {
	now := s.o.Now()
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
