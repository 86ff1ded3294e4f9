package sweep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/pebble"
)

// life is one of the node, from the start with what is on disk until all clients are
// content, or a crash.
type life struct {
	script *Script
	net    *network
	wrap   func(store.Store) store.Store // what looks at appends
	again  bool                          // it is not the first one
	db     store.Store
	s      *service.Services

	mu     sync.Mutex
	ops    []op // guarded by mu, as all below
	events int
	wrong  []error
	over   bool // clients ask nothing any more
}

func newLife(s *Script, seed uint64, f fault) *life {
	l := &life{script: s, net: &network{fault: f, rng: rand.New(rand.NewPCG(seed, 1))}, ops: s.ops(), wrap: func(db store.Store) store.Store { return db }}
	return l
}

// after is a life that goes on after a crash, where clients knew what is in ops.
func after(s *Script, seed uint64, ops []op, events int) *life {
	l := newLife(s, seed, fault{})
	l.again, l.ops, l.events = true, slices.Clone(ops), events
	return l
}

// fail notes what is wrong.
func (l *life) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Errorf(format, args...))
}

// live runs the life, within a bubble, and returns the state at its end.
func (l *life) live(disk vfs.FS) (state []string, err error) {
	l.net.comes = make(chan struct{}, 1) // of the bubble
	db, err := pebble.Open("store", pebble.Options{FS: disk})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	l.db = l.wrap(&slowStore{Store: db, net: l.net})
	l.s, err = service.Open(service.Options{Store: l.db, Instances: &instances{net: l.net, script: l.script}, Machine: machine.Options{
		Seed: 1 + l.net.rng.Uint64()>>1, Retention: retention, Conflict: l.net.conflict,
		Catalog: func(_ string, t wire.Target) error {
			if !l.script.has(t) {
				return fmt.Errorf("there is no method %v", t)
			}
			return nil
		},
	}})
	if err != nil {
		return nil, err
	}
	defer l.s.Close()
	defer l.net.let()
	l.until("the clients wait", l.clients)
	l.until("requests are left", l.quiet)
	l.net.repeat()
	l.until("who asks again waits", func() {
		for i := range l.ops {
			l.ask(i, "again")
		}
	})
	l.until("requests are left in the end", l.quiet)
	if locks := l.s.Locks(); len(locks) > 0 {
		l.fail("locks are left: %v", locks)
	}
	state = l.rows(len(l.ops))
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	if l.again && l.net.rng.IntN(8) == 0 {
		l.until("results are kept for ever", func() { time.Sleep(retention + 2*time.Minute) })
		state = l.rows(0)
	}
	l.net.let()
	l.s.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	return state, errors.Join(l.wrong...)
}

// retention is how long results are kept, which is longer than anything takes.
const retention = 10 * time.Minute

// patience is the time of a bubble that nothing may take longer than.
const patience = 10 * 365 * 24 * time.Hour

// until has messages come and time pass until f has returned.
func (l *life) until(stuck string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		synctest.Wait()
		select {
		case <-done:
			return
		default:
		}
		if l.net.step(func() { time.Sleep(15 * time.Second) }) {
			continue
		}
		select {
		case <-done:
			return
		case <-l.net.comes:
		case <-time.After(patience):
			l.fail("%s, and nothing happens any more: %+v, locks %v", stuck, l.s.Requests(), l.s.Locks())
			l.net.let()
			l.s.Close()
			<-done
			return
		}
	}
}

// quiet returns when no request is left.
func (l *life) quiet() {
	for pause := time.Millisecond; len(l.s.Requests()) > 0; pause *= 2 {
		time.Sleep(pause)
		if v := l.s.Requests(); slices.ContainsFunc(v, func(v machine.View) bool { return v.State == machine.Parked }) {
			l.fail("a request is parked: %+v", v)
			return
		}
	}
}

// clients has all clients ask what they have not been answered.
func (l *life) clients() {
	var wg sync.WaitGroup
	for i := range l.ops {
		if l.ops[i].client < 0 {
			l.both(i)
		}
	}
	for c := range l.script.Clients {
		wg.Go(func() {
			for i := range l.ops {
				if l.ops[i].client == c {
					l.both(i)
				}
			}
		})
	}
	wg.Wait()
}

// both sends a request twice at the same time, and returns with the first answer.
func (l *life) both(i int) {
	l.mu.Lock()
	known := l.ops[i].answered > 0
	l.mu.Unlock()
	if known {
		return
	}
	first := make(chan struct{}, 2)
	for _, copied := range []string{"", "'"} {
		go func() {
			l.ask(i, copied)
			first <- struct{}{}
		}()
	}
	<-first
}

// ask sends a request and waits for the answer.
func (l *life) ask(i int, copied string) {
	channel := fmt.Sprint("request ", i, copied)
	l.mu.Lock()
	o := &l.ops[i]
	if o.asked == 0 {
		l.events++
		o.asked = l.events
	}
	call := l.script.written(o.call)
	l.mu.Unlock()
	l.net.pass(channel, nil)
	v, err := l.s.Invoke(context.Background(), call.request(i))
	if err != nil {
		if !errors.Is(err, service.ErrClosed) {
			l.fail("%v: %w", call, err)
		}
		return
	}
	l.net.pass(channel, nil)
	text := string(v.Data)
	if v.Code != wire.OK {
		text = "error: " + v.Text
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case o.answered == 0:
		l.events++
		o.answered, o.answer = l.events, text
	case o.answer != text:
		l.wrong = append(l.wrong, fmt.Errorf("%v was answered %s, and then %s", call, o.answer, text))
	}
}

// rows lists the state, and fails for rows of requests that are not as many results.
// One whose life had a crash may have more, of calls within it, until they are
// forgotten.
func (l *life) rows(want int) (state []string) {
	view := l.db.Snapshot()
	defer view.Close()
	results, expiries := 0, 0
	err := view.Scan([]byte("svc/"), nil, func(i store.Item) bool {
		key := string(i.Key)
		switch key[:6] {
		case record.StatePrefix:
			svc, object, k, err := record.Place(key)
			if err != nil {
				l.fail("%v", err)
			}
			state = append(state, fmt.Sprintf("%s/%s %v %s", svc, object, k, i.Value[1:]))
		case record.Done(""):
			results++
		case record.ExpirePrefix:
			expiries++
		default:
			l.fail("a row is left: %q", key)
		}
		return true
	})
	if err != nil {
		l.fail("%w", err)
	}
	if results != expiries || results < want || results > want && (!l.again || want == 0) {
		l.fail("%d results and %d times to forget them are left, want %d", results, expiries, want)
	}
	return state
}

// slowStore is a store whose node hears late of flushes.
type slowStore struct {
	store.Store
	net *network

	mu   sync.Mutex
	last chan struct{} // closed when the one before has been told; guarded by mu
}

func (s *slowStore) Notify(v store.Version, f func(error)) {
	s.mu.Lock()
	before, told := s.last, make(chan struct{})
	s.last = told
	s.mu.Unlock()
	s.Store.Notify(v, func(err error) {
		go func() {
			if before != nil {
				<-before
			}
			s.net.pass("flushed", nil)
			f(err)
			close(told)
		}()
	})
}
