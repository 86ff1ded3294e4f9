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
//	replay.go     journals in other code, without effects
//	state.go      the state, for people
//	stats.go      figures
package service

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
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

// ErrKey says that an idempotency key is too long.
var ErrKey = errors.New("the idempotency key is too long")

// Options configure services.
type Options struct {
	Store     store.Store
	Instances Instances
	Machine   machine.Options     // bounds; Seed is replaced if it is 0
	Logger    *slog.Logger        // told what is parked; default: nobody
	Failed    func(error)         // told once if the store fails; default: nobody
	Meter     Meter               // told of requests that have ended; default: nobody
	Ended     func(machine.Ended) // the same, with all that is known of it; must not wait; default: nobody
	Now       func() time.Time    // default time.Now
	// Keep reports whether there is room for an instance of a service that has nothing
	// to do, or whose request waits. Default: there is.
	Keep func(service string) bool
	Idle time.Duration // an instance that has had nothing to do for so long is ended; default 5 min
}

// Services are the services of a node. They are safe for concurrent use.
type Services struct {
	o      Options
	quit   chan struct{}
	ending chan struct{}  // closed when the goroutine takes nothing in any more
	done   sync.WaitGroup // the goroutine, and those that start and end instances

	mu     sync.Mutex
	queue  []func() // what has come; guarded by mu, as all below
	closed error
	wake   chan struct{} // there is something in the queue

	// The goroutine's.
	machine  *machine.Machine
	local    []machine.Event // to be applied before anything else
	batch    *store.Batch
	overlay  map[string][]byte         // what the batch writes; nil: it deletes that
	view     store.Snapshot            // from before the batch; nil: not needed yet
	views    map[string]store.Snapshot // that requests read from
	gated    []func(error)             // what leaves when the batch is on disk
	appended []func()                  // what leaves when it is appended
	version  store.Version             // of the latest append
	waiters  map[uint64]chan outcome
	waiter   uint64
	alarm    *time.Timer
	stats    Stats
	sweep    time.Time // when results are looked through for those to be forgotten
	running  map[uint64]*instance
	free     map[kind][]*instance
	pressed  time.Time // when it was last looked whether memory is short
	rested   time.Time // when free instances are looked through for those to be ended; zero: there are none
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
	if o.Keep == nil {
		o.Keep = func(string) bool { return true }
	}
	if o.Idle == 0 {
		o.Idle = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Machine.Seed == 0 {
		var b [8]byte
		rand.Read(b[:])
		o.Machine.Seed = binary.BigEndian.Uint64(b[:])
	}
	var err error
	if o.Machine.Versioned, err = versioned(o.Store); err != nil {
		return nil, fmt.Errorf("open services: %w", err)
	}
	s := &Services{o: o, quit: make(chan struct{}), ending: make(chan struct{}), wake: make(chan struct{}, 1), machine: machine.New(o.Machine), batch: &store.Batch{}, overlay: map[string][]byte{},
		waiters: map[uint64]chan outcome{}, views: map[string]store.Snapshot{}, running: map[uint64]*instance{}, free: map[kind][]*instance{}}
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
		s.relieve()
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
		next := s.sweep.UnixNano()
		if at, ok := s.machine.Next(); ok {
			next = min(next, at)
		}
		if s.machine.Idle() > 0 {
			next = min(next, s.pressed.Add(pressedEvery).UnixNano())
		}
		if !s.rested.IsZero() {
			next = min(next, s.rested.UnixNano())
		}
		s.alarm.Reset(max(0, time.Duration(next-s.now())))
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
	close(s.ending)
	s.alarm.Stop()
	if s.view != nil {
		s.view.Close()
	}
	for _, v := range s.views {
		v.Close()
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
		s.done.Go(i.close)
	}
	for _, list := range s.free {
		for _, i := range list {
			s.done.Go(i.close)
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
	// Deadline is when it is ended if it has not by itself: what has not begun never does,
	// what has is cancelled, and its compensations follow. Zero: never.
	Deadline time.Time
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
		return rec, fmt.Errorf("call %v: %w: escaped, and with the service's name, it has %d bytes, at most %d", r.To, ErrKey, len(rec.ID), record.NameMax)
	}
	if r.Delay > 0 {
		rec.Due = now + int64(r.Delay)
	}
	if !r.Deadline.IsZero() {
		rec.Deadline = r.Deadline.UnixNano()
	}
	return rec, nil
}

// Invoke calls a method and waits for its result, which is on disk with all of its
// effects. A value whose code is wire.Failed is the method's error, wire.Refused says
// why nothing has happened, wire.Late that its deadline has passed. After an error it may have happened.
func (s *Services) Invoke(ctx context.Context, r Request) (wire.Value, error) {
	rec, err := r.record(s.now())
	if err != nil {
		return wire.Value{}, err
	}
	return s.ask(ctx, rec.ID, func(waiter uint64) (machine.Event, error) {
		done, err := s.ended(rec)
		return machine.Begun{Request: rec, Result: done, Waiter: waiter}, err
	})
}

// Accept has a method called. It returns the request's ID when that is on disk: then
// it happens. A value whose code is not wire.OK says why it does not.
func (s *Services) Accept(ctx context.Context, r Request) (id string, v wire.Value, err error) {
	rec, err := r.record(s.now())
	if err != nil {
		return "", v, err
	}
	v, err = s.ask(ctx, rec.ID, func(waiter uint64) (machine.Event, error) {
		done, err := s.ended(rec)
		return machine.Accepted{Request: rec, Result: done, Waiter: waiter}, err
	})
	return rec.ID, v, err
}

// Resolve gives the promise of a request its value. The first one stands.
func (s *Services) Resolve(ctx context.Context, request, name string, v wire.Value) error {
	return told(s.ask(ctx, request, func(waiter uint64) (machine.Event, error) {
		return machine.Resolved{Request: request, Name: name, Value: v, Waiter: waiter}, nil
	}))
}

// Cancel ends a request, and what it has begun and waits for; its compensations
// follow.
func (s *Services) Cancel(ctx context.Context, request, reason string) error {
	return told(s.ask(ctx, request, func(waiter uint64) (machine.Event, error) {
		return machine.Cancelled{Request: request, Reason: reason, Waiter: waiter}, nil
	}))
}

// CancelFamily ends all requests that go back to the same one from outside as a request does, which may
// be that one itself, ended or not; their compensations follow.
func (s *Services) CancelFamily(ctx context.Context, request, reason string) error {
	return told(s.ask(ctx, request, func(waiter uint64) (machine.Event, error) {
		return machine.Cancelled{Request: request, Reason: reason, Family: true, Waiter: waiter}, nil
	}))
}

// Retry has a parked request tried again.
func (s *Services) Retry(ctx context.Context, request string) error {
	return told(s.ask(ctx, request, func(waiter uint64) (machine.Event, error) {
		return machine.Retried{Request: request, Waiter: waiter}, nil
	}))
}

// Restart begins a request anew from the segment that a question of its own method is in, and
// returns the first question of that; machine.Restarted says what that means. version is that of the app which
// it goes on with; "" for the one that it has.
func (s *Services) Restart(ctx context.Context, request string, from uint64, version string) (at uint64, err error) {
	v, err := s.ask(ctx, request, func(waiter uint64) (machine.Event, error) {
		if err := s.write(); err != nil {
			return nil, err
		}
		st, err := s.Story(request)
		if errors.Is(err, ErrGone) {
			err = nil // the machine knows why
		}
		return machine.Restarted{Request: request, From: from, Version: version, Entries: st.Entries, Waiter: waiter}, err
	})
	if err = told(v, err); err != nil {
		return 0, err
	}
	return strconv.ParseUint(v.Text, 10, 64)
}

// Refusal says why something is not done with a request; nothing has changed.
type Refusal struct{ Text string }

func (e *Refusal) Error() string { return e.Text }

func told(v wire.Value, err error) error {
	if err == nil && v.Code != wire.OK {
		err = &Refusal{v.Text}
	}
	return err
}

// ask applies an event about a request that has a waiter, and waits.
func (s *Services) ask(ctx context.Context, request string, event func(waiter uint64) (machine.Event, error)) (wire.Value, error) {
	answer := make(chan outcome, 1)
	var waiter uint64 // the goroutine's
	ok := s.post(func() {
		s.waiter++
		waiter = s.waiter
		ev, err := event(waiter)
		if err != nil {
			answer <- outcome{err: err}
			return
		}
		s.waiters[waiter] = answer
		s.local = append(s.local, ev)
	})
	if !ok {
		return wire.Value{}, s.Err()
	}
	select {
	case o := <-answer:
		return o.value, o.err
	case <-ctx.Done():
		s.post(func() {
			delete(s.waiters, waiter)
			s.local = append(s.local, machine.Left{Request: request, Waiter: waiter})
		})
		return wire.Value{}, ctx.Err()
	case <-s.quit:
		return wire.Value{}, s.Err()
	}
}

// Requests lists the requests that have not ended.
func (s *Services) Requests() []machine.View { return look(s, s.machine.Requests) }

// Request is a request that has not ended.
func (s *Services) Request(id string) (v machine.View, ok bool) {
	type found struct {
		v  machine.View
		ok bool
	}
	f := look(s, func() found {
		v, ok := s.machine.Request(id)
		return found{v, ok}
	})
	return f.v, f.ok
}

// Err is why the services have ended, nil while they have not: what lists were empty for, say.
func (s *Services) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Locks lists the locks.
func (s *Services) Locks() []machine.Held { return look(s, s.machine.Locks) }

// Using counts the requests that have begun on a version of an app and not ended.
func (s *Services) Using(app, version string) int {
	return look(s, func() int { return s.machine.Using(app, version) })
}

// look asks the goroutine; it gives nothing when the services are closed. What it gives is appended: who reads the
// state then sees nothing older.
func look[T any](s *Services, f func() T) (v T) {
	answer := make(chan T, 1)
	if s.post(func() {
		v := f()
		s.appended = append(s.appended, func() { answer <- v })
	}) {
		select {
		case v = <-answer:
		case <-s.quit:
		}
	}
	return v
}
