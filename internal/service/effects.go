package service

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// drain applies events, and those that follow at once.
func (s *Services) drain() {
	for len(s.local) > 0 {
		ev := s.local[0]
		s.local[0] = nil
		s.local = s.local[1:]
		for _, e := range s.machine.Apply(s.now(), ev) {
			s.carry(e)
		}
	}
	s.local = nil
}

// carry does what the machine wants done.
func (s *Services) carry(e machine.Effect) {
	switch e := e.(type) {
	case machine.Append:
		s.append(e.Ops)
	case machine.Load:
		s.load(e)
	case machine.Scan:
		s.scan(e)
	case machine.Close:
		if v := s.views[e.View]; v != nil {
			v.Close()
			delete(s.views, e.View)
		}
	case machine.Send:
		if e.Durable {
			s.gated = append(s.gated, func(err error) {
				if err == nil {
					s.post(func() { s.send(e.Message) })
				}
			})
			return
		}
		s.send(e.Message)
	case machine.Free:
		s.release(e)
	case machine.Kill:
		s.kill(e.Call)
	case machine.Reply:
		if answer := s.waiters[e.Waiter]; answer != nil {
			delete(s.waiters, e.Waiter)
			if e.Volatile {
				s.appended = append(s.appended, func() { answer <- outcome{value: e.Value} })
				return
			}
			s.gated = append(s.gated, func(err error) { answer <- outcome{e.Value, err} })
		}
	case machine.Ended:
		if s.o.Ended != nil {
			s.o.Ended(e)
		}
		if s.o.Meter != nil {
			s.o.Meter.ServiceRequest(strings.TrimSuffix(app(e.To.Service), "."), e.To.Service[len(app(e.To.Service)):], e.To.Method, e.Outcome, e.Took)
		}
	case machine.Park:
		s.o.Logger.Warn("a request is parked", "request", e.Request, "reason", e.Why)
	}
}

// append adds to the batch.
func (s *Services) append(ops []machine.Op) {
	for _, op := range ops {
		key := []byte(op.Key)
		switch {
		case op.Prefix:
			s.batch.DeletePrefix(key)
			for k := range s.overlay {
				if strings.HasPrefix(k, op.Key) {
					s.overlay[k] = nil
				}
			}
		case op.Delete:
			s.batch.Delete(key)
			s.overlay[op.Key] = nil
		default:
			value := op.Value
			if strings.HasPrefix(op.Key, record.StatePrefix) {
				value = append([]byte{stateVersion}, value...)
			}
			s.batch.Put(key, value)
			s.overlay[op.Key] = value
		}
	}
}

// stateVersion is the first byte of values in the state.
const stateVersion = 1

// get reads a key as it is after the batch.
func (s *Services) get(key string) (value []byte, found bool, err error) {
	if v, written := s.overlay[key]; written {
		return v, v != nil, nil
	}
	if s.view == nil {
		s.view = s.o.Store.Snapshot()
	}
	return find(s.view, key)
}

// find reads a key as it is in a view.
func find(view store.Snapshot, key string) (value []byte, found bool, err error) {
	item, err := view.Get([]byte(key))
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return item.Value, err == nil, err
}

// open makes a view of all that was appended so far, the batch included, and keeps it
// under a name.
func (s *Services) open(name string) (store.Snapshot, error) {
	if v := s.views[name]; v != nil {
		return v, nil
	}
	if err := s.write(); err != nil {
		return nil, err
	}
	v := s.o.Store.Snapshot()
	s.views[name] = v
	return v, nil
}

// ended finds the result that a request has had.
func (s *Services) ended(r record.Request) (*record.Result, error) {
	if !r.Keep {
		return nil, nil
	}
	data, found, err := s.get(record.Done(r.ID))
	if err != nil || !found {
		return nil, err
	}
	res, err := record.DecodeResult(data)
	return &res, err
}

// load reads keys.
func (s *Services) load(e machine.Load) {
	get := s.get
	if e.View != "" {
		view, err := s.open(e.View)
		if err != nil {
			s.broken(err)
			return
		}
		get = func(key string) ([]byte, bool, error) { return find(view, key) }
	}
	ev, size := machine.Loaded{Load: e.Load, Values: make([]wire.Value, len(e.Keys))}, 0
	for i, k := range e.Keys {
		if e.Bytes > 0 && size > e.Bytes {
			ev.Values[i].Code = wire.Pending
			continue
		}
		value, found, err := get(k)
		switch {
		case err != nil:
			s.broken(err)
			return
		case !found:
			ev.Values[i].Code = wire.Absent
		case strings.HasPrefix(k, record.StatePrefix):
			ev.Values[i].Data = value[1:]
		default:
			ev.Values[i].Data = value
		}
		size += machine.Size(ev.Values[i])
	}
	s.local = append(s.local, ev)
}

// scan reads keys with a prefix.
func (s *Services) scan(e machine.Scan) {
	view, err := s.open(e.View)
	if err != nil {
		s.broken(err)
		return
	}
	if e.View == "" { // as things are now: for this scan only
		defer s.carry(machine.Close{})
	}
	ev, size := machine.Loaded{Load: e.Load}, 0
	after := []byte(e.Prefix + e.After)
	if e.After == "" {
		after = nil
	}
	err = view.Scan([]byte(e.Prefix), after, func(i store.Item) bool {
		v := wire.Value{Text: string(i.Key[len(e.Prefix):]), Data: bytes.Clone(i.Value[1:])}
		ev.Values = append(ev.Values, v)
		size += machine.Size(v)
		return len(ev.Values) < e.Limit && size <= e.Bytes
	})
	if err != nil {
		s.broken(err)
		return
	}
	s.local = append(s.local, ev)
}

// broken ends the services from within a turn.
func (s *Services) broken(err error) {
	s.fail(err)
	s.local = nil
}

// write appends the batch.
func (s *Services) write() error {
	if s.view != nil {
		s.view.Close()
		s.view = nil
	}
	if s.batch.Len() == 0 {
		return nil
	}
	v, err := s.o.Store.Append(context.Background(), s.batch)
	if err != nil {
		return err
	}
	s.stats.Appends++
	s.version, s.batch = v, &store.Batch{}
	clear(s.overlay)
	return nil
}

// flush appends the batch, and lets what has waited for it go when it is on disk.
func (s *Services) flush() error {
	s.mu.Lock()
	err := s.closed
	s.mu.Unlock()
	if err == nil {
		err = s.write()
	}
	if err == nil {
		for _, f := range s.appended {
			f()
		}
		clear(s.appended)
		s.appended = s.appended[:0]
	}
	if err != nil || len(s.gated) == 0 {
		return err
	}
	gated := s.gated
	s.gated = nil
	s.stats.Flushes++
	s.stats.Held += uint64(len(gated))
	s.o.Store.Notify(s.version, func(err error) {
		for _, f := range gated {
			f(err)
		}
		if err != nil {
			s.fail(err)
		}
	})
	return nil
}
