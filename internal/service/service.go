// Package service runs the services of a node: the rules of package machine over a
// store, and over instances that execute methods.
//
//	s, err := service.Open(service.Options{Store: db, Instances: pool, Catalog: apps.Method})
//	v, err := s.Invoke(ctx, service.Request{To: wire.Target{Service: "bank", Object: "7", Method: "add"}, Args: args, Key: "order-17"})
//	err = s.Close()
//
// One goroutine has the machine. It takes all events that have come, applies them one
// after the other, and gathers what is to be appended into one batch, so that many
// requests share an append as they share a flush: reads look into the batch first. What leaves
// the node is held back until the store says that the batch is on disk; the
// goroutine does not wait for that.
//
//	service.go    requests, and the goroutine
//	effects.go    what the machine wants done
//	instances.go  who executes methods
//	recover.go    what an earlier life has left, and what may be forgotten
package service

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
)

// ErrClosed is what requests fail with when the node stops. They may have happened:
// who has given a Key asks again.
var ErrClosed = errors.New("services are closed")

// Options configure services.
type Options struct {
	Store     store.Store
	Instances Instances
	Machine   machine.Options  // bounds; Seed is replaced if it is 0
	Logger    *slog.Logger     // told what is parked; default: nobody
	Failed    func(error)      // told once if the store fails; default: nobody
	Now       func() time.Time // default time.Now
}

// Services are the services of a node. They are safe for concurrent use.
type Services struct {
	o    Options
	quit chan struct{}
	done sync.WaitGroup // the goroutine, and those that start and end instances

	mu     sync.Mutex
	queue  []func() // what has come; guarded by mu, as all below
	closed error
	wake   chan struct{} // there is something in the queue

	// The goroutine's.
	machine *machine.Machine
	local   []machine.Event // to be applied before anything else
	batch   *store.Batch
	overlay map[string][]byte // what the batch writes; nil: it deletes that
	view    store.Snapshot    // from before the batch; nil: not needed yet
	gated   []func(error)     // what leaves when the batch is on disk
	version store.Version     // of the latest append
	waiters map[uint64]chan outcome
	waiter  uint64
	alarm   *time.Timer
	sweep   time.Time // when results are looked through for those to be forgotten
	running map[uint64]*instance
	free    map[kind][]*instance
}

type outcome struct {
	value wire.Value
	err   error
}

// Open takes up the requests that an earlier life has left, and begins.
func Open(o Options) (*Services, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Machine.Seed == 0 {
		var b [8]byte
		rand.Read(b[:])
		o.Machine.Seed = binary.BigEndian.Uint64(b[:])
	}
	s := &Services{o: o, quit: make(chan struct{}), wake: make(chan struct{}, 1), machine: machine.New(o.Machine), batch: &store.Batch{}, overlay: map[string][]byte{},
		waiters: map[uint64]chan outcome{}, running: map[uint64]*instance{}, free: map[kind][]*instance{}}
	s.alarm = time.NewTimer(time.Hour)
	left, err := s.left()
	if err != nil {
		return nil, fmt.Errorf("open services: %w", err)
	}
	for _, ev := range left {
		s.local = append(s.local, ev)
	}
	s.done.Go(s.loop)
	s.post(func() {})
	return s, nil
}

// post has the goroutine call f.
func (s *Services) post(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return false
	}
	s.queue = append(s.queue, f)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// loop takes what has come, a turn at a time.
func (s *Services) loop() {
	defer s.end()
	var spare []func()
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-s.alarm.C:
			s.local = append(s.local, machine.Ticked{})
		}
		s.mu.Lock()
		s.queue, spare = spare[:0], s.queue
		s.mu.Unlock()
		s.drain()
		for i, f := range spare {
			spare[i] = nil
			f()
			s.drain()
		}
		if err := s.flush(); err != nil {
			s.fail(err)
			return
		}
		s.forget()
		if at, ok := s.machine.Next(); ok {
			s.alarm.Reset(max(0, time.Duration(at-s.now())))
		} else {
			s.alarm.Reset(time.Minute)
		}
	}
}

func (s *Services) now() int64 { return s.o.Now().UnixNano() }

// fail ends the services because the store has.
func (s *Services) fail(err error) {
	s.mu.Lock()
	first := s.shut(err)
	s.mu.Unlock()
	if first && s.o.Failed != nil {
		s.o.Failed(err)
	}
}

// shut has everything end, and reports whether that is new. s.mu is held.
func (s *Services) shut(err error) bool {
	if s.closed != nil {
		return false
	}
	s.closed = err
	close(s.quit)
	return true
}

// end tells everybody who waits that it is in vain.
func (s *Services) end() {
	s.alarm.Stop()
	if s.view != nil {
		s.view.Close()
	}
	s.mu.Lock()
	err := s.closed
	s.mu.Unlock()
	for _, w := range s.waiters {
		w <- outcome{err: err}
	}
	for _, f := range s.gated {
		f(err)
	}
	for _, i := range s.running {
		i.close()
	}
	for _, list := range s.free {
		for _, i := range list {
			i.close()
		}
	}
}

// Close ends what runs, without waiting for it: it goes on when the services are
// opened again. The store is not closed.
func (s *Services) Close() error {
	s.mu.Lock()
	s.shut(ErrClosed)
	s.mu.Unlock()
	s.done.Wait()
	return nil
}

// Request is a call from outside.
type Request struct {
	To      wire.Target
	Args    [][]byte
	Key     string        // an idempotency key: the same call under the same key happens once; "" for none
	Version string        // of the app
	Delay   time.Duration // of Accept: it begins that much later
}

// id is the request's ID. Keys are apart for each service, and from the IDs of what
// requests begin, which have a slash.
func (r Request) id() string {
	if r.Key == "" {
		return rand.Text()
	}
	return r.To.Service + ":" + url.PathEscape(r.Key)
}

func (r Request) record(now int64) (record.Request, error) {
	rec := record.Request{ID: r.id(), Call: record.Call{To: r.To, Args: r.Args}, Version: r.Version, Keep: r.Key != ""}
	if len(rec.ID) > record.NameMax {
		return rec, fmt.Errorf("call %v: the key is too long: escaped, and with the service's name, it has %d bytes, at most %d", r.To, len(rec.ID), record.NameMax)
	}
	if r.Delay > 0 {
		rec.Due = now + int64(r.Delay)
	}
	return rec, nil
}

// Invoke calls a method and waits for its result, which is on disk with all of its
// effects. A value whose code is wire.Failed is the method's error, wire.Refused says
// why nothing has happened. After an error it may have happened.
func (s *Services) Invoke(ctx context.Context, r Request) (wire.Value, error) {
	rec, err := r.record(s.now())
	if err != nil {
		return wire.Value{}, err
	}
	return s.ask(ctx, func(waiter uint64) (machine.Event, error) {
		done, err := s.ended(rec)
		return machine.Begun{Request: rec, Result: done, Waiter: waiter}, err
	})
}

// Accept has a method called. It returns the request's ID when that is on disk: then
// it happens.
func (s *Services) Accept(ctx context.Context, r Request) (id string, err error) {
	rec, err := r.record(s.now())
	if err != nil {
		return "", err
	}
	v, err := s.ask(ctx, func(waiter uint64) (machine.Event, error) {
		done, err := s.ended(rec)
		return machine.Accepted{Request: rec, Result: done, Waiter: waiter}, err
	})
	return rec.ID, told(v, err)
}

// Resolve gives the promise of a request its value. The first one stands.
func (s *Services) Resolve(ctx context.Context, request, name string, v wire.Value) error {
	return told(s.ask(ctx, func(waiter uint64) (machine.Event, error) {
		return machine.Resolved{Request: request, Name: name, Value: v, Waiter: waiter}, nil
	}))
}

// Cancel ends a request, and what it has begun and waits for; its compensations
// follow.
func (s *Services) Cancel(ctx context.Context, request, reason string) error {
	return told(s.ask(ctx, func(waiter uint64) (machine.Event, error) {
		return machine.Cancelled{Request: request, Reason: reason, Waiter: waiter}, nil
	}))
}

// Retry has a parked request tried again.
func (s *Services) Retry(ctx context.Context, request string) error {
	return told(s.ask(ctx, func(waiter uint64) (machine.Event, error) {
		return machine.Retried{Request: request, Waiter: waiter}, nil
	}))
}

func told(v wire.Value, err error) error {
	if err == nil && v.Code != wire.OK {
		err = errors.New(v.Text)
	}
	return err
}

// ask applies an event that has a waiter, and waits.
func (s *Services) ask(ctx context.Context, event func(waiter uint64) (machine.Event, error)) (wire.Value, error) {
	answer := make(chan outcome, 1)
	ok := s.post(func() {
		s.waiter++
		ev, err := event(s.waiter)
		if err != nil {
			answer <- outcome{err: err}
			return
		}
		s.waiters[s.waiter] = answer
		s.local = append(s.local, ev)
	})
	if !ok {
		return wire.Value{}, ErrClosed
	}
	select {
	case o := <-answer:
		return o.value, o.err
	case <-ctx.Done():
		return wire.Value{}, ctx.Err()
	case <-s.quit:
		return wire.Value{}, ErrClosed
	}
}

// Requests lists the requests that have not ended.
func (s *Services) Requests() []machine.View { return look(s, s.machine.Requests) }

// Locks lists the locks.
func (s *Services) Locks() []machine.Held { return look(s, s.machine.Locks) }

// Deaths counts the segments that were begun anew for a lock.
func (s *Services) Deaths() uint64 { return look(s, s.machine.Deaths) }

// look asks the goroutine; it gives nothing when the services are closed.
func look[T any](s *Services, f func() T) (v T) {
	answer := make(chan T, 1)
	if s.post(func() { answer <- f() }) {
		select {
		case v = <-answer:
		case <-s.quit:
		}
	}
	return v
}
