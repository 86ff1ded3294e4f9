package service_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
	"github.com/weft-run/weft/service"
)

// cell is what the tests of this file work on: each one is about something that goes
// wrong in systems that log each step of a method, and lock object by object.
type cell struct {
	Hits service.Map[string, int]
}

// gate is where a method waits that was told to, in its instance.
type gate struct{ reached, open chan struct{} }

var errWanted = errors.New("as the test wants it")

func hit(object, key string, how ...string) service.Request[int] {
	return service.NewRequest[int]("cell", object, "hit", key, strings.Join(how, " "))
}

func both(key string, how ...string) service.Request[[]int] {
	return service.NewRequest[[]int]("root", "", "both", key, strings.Join(how, " "))
}

func cells(g *gate) []service.Service {
	return []service.Service{
		service.Define("cell", func(ctx *service.Context, c *cell) { service.Bind(ctx, "Hits", &c.Hits) }, map[string]service.Method[cell]{
			"hit": func(ctx *service.Context, c *cell, args service.Args) (any, error) {
				var key, how string
				if err := args.Decode(&key, &how); err != nil {
					return nil, err
				}
				n, _ := c.Hits.Get(key)
				c.Hits.Set(key, n+1)
				switch {
				case how == "fail":
					return nil, errWanted
				case how == "panic" && ctx.Attempt() == 1:
					panic("as the test wants it")
				case how == "wait":
					c.Hits.Get("none") // so that the node knows of the write
					g.reached <- struct{}{}
					<-g.open
				case how == "nested":
					err := service.Tx(ctx, func() error {
						c.Hits.Set(key, n+10)
						return nil
					})
					return n + 10, err
				}
				return n + 1, nil
			},
			"get": func(ctx *service.Context, c *cell, args service.Args) (any, error) {
				var key, how string
				if err := args.Decode(&key, &how); err != nil {
					return nil, err
				}
				n, _ := c.Hits.Get(key)
				return n, nil
			},
			"cut": func(ctx *service.Context, c *cell, args service.Args) (any, error) {
				var key string
				if err := args.Decode(&key); err != nil {
					return nil, err
				}
				c.Hits.Delete(key)
				left := []string{}
				for k := range c.Hits.All() {
					left = append(left, k)
				}
				return fmt.Sprint(c.Hits.Has(key), left), nil
			},
		}),
		service.Define("root", func(*service.Context, *struct{}) {}, map[string]service.Method[struct{}]{
			"both": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
				var key, how string
				if err := args.Decode(&key, &how); err != nil {
					return nil, err
				}
				var hits []int
				err := service.Tx(ctx, func() (err error) {
					second := "right"
					if how == "same" {
						second = "left"
					}
					hits, err = service.All(ctx, service.Go(ctx, hit("left", key)), service.Go(ctx, hit(second, key, how)))
					return err
				})
				return hits, err
			},
			"cut": func(ctx *service.Context, _ *struct{}, args service.Args) (any, error) {
				var key string
				var abort bool
				if err := args.Decode(&key, &abort); err != nil {
					return nil, err
				}
				var said string
				err := service.Tx(ctx, func() (err error) {
					said, err = service.Call(ctx, service.NewRequest[string]("cell", "left", "cut", key))
					if err == nil && abort {
						err = errWanted
					}
					return err
				})
				if errors.Is(err, errWanted) {
					err = nil
				}
				return said, err
			},
		}),
	}
}

func get(object, key string) service.Request[int] {
	return service.NewRequest[int]("cell", object, "get", key, "")
}

// want calls a method and compares its result.
func want[R any](t *testing.T, s *node.Services, r service.Request[R], result string) {
	t.Helper()
	if got, err := on(t, s, r); err != nil || got != result {
		t.Errorf("%v gives %s, %v, want %s", r, got, err, result)
	}
}

// rows counts what is stored beside the state.
func rows(t *testing.T, db store.Store) (list []string) {
	t.Helper()
	view := db.Snapshot()
	defer view.Close()
	err := view.Scan([]byte("svc/"), nil, func(i store.Item) bool {
		if !strings.HasPrefix(string(i.Key), "svc/s/") && !strings.HasPrefix(string(i.Key), "svc/v/") {
			list = append(list, string(i.Key))
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Many clients hit one key in two services, in transactions that begin anew when they
// meet. If what an abort has sent came after the next attempt had begun, and was taken
// for it, hits would be missing though each client was told that it has hit.
func TestContentionLosesNoUpdate(t *testing.T) {
	s := open(t, cells(nil)...)
	const clients = 16
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if _, err := on(t, s, both("k")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(t, s, get("left", "k"), fmt.Sprint(clients))
	want(t, s, get("right", "k"), fmt.Sprint(clients))
}

// A method that returns an error, or panics, inside of a transaction or outside, keeps
// no lock: if it did, the next request for the key would wait for ever.
func TestErrorsGiveUpLocks(t *testing.T) {
	s := open(t, cells(nil)...)
	hits := 0
	for _, how := range []string{"fail", "panic"} {
		for _, tx := range []bool{false, true} {
			var err error
			if tx {
				_, err = on(t, s, both("k", how))
			} else {
				_, err = on(t, s, hit("right", "k", how))
			}
			if (err != nil) != (how == "fail") {
				t.Errorf("%s, transaction %v: %v", how, tx, err)
			}
			if how == "panic" {
				hits++ // in its second attempt
			}
			if locks := s.Locks(); len(locks) > 0 {
				t.Errorf("%s, transaction %v: locks are left: %v", how, tx, locks)
			}
			hits++
			want(t, s, hit("right", "k"), fmt.Sprint(hits))
		}
	}
}

// A method that makes a transaction can be called in one: the inner one joins.
func TestTransactionsWithinTransactions(t *testing.T) {
	s := open(t, cells(nil)...)
	want(t, s, both("k", "nested"), "[1,10]")
	want(t, s, get("right", "k"), "10")
}

// Keys may be anything, a UUID above all, and name the same entry in a transaction and
// outside: if a part of them were taken for something else, what the transaction has
// written would not be found.
func TestKeysMayHoldAnything(t *testing.T) {
	s := open(t, cells(nil)...)
	keys := []string{"a-b", "b", "550e8400-e29b-41d4-a716-446655440000", "-", "a/b", "a b", "a\x00b", "%2F", "a:b", "é", "\"", strings.Repeat("k", 100)}
	for i, k := range keys {
		want(t, s, both(k), "[1,1]")
		want(t, s, hit("left", k), "2")
		want(t, s, both(k), "[3,2]")
		want(t, s, hit(k, "x"), "1") // as an object
		for _, other := range keys[i+1:] {
			want(t, s, get("left", other), "0")
			want(t, s, get(other, "x"), "0")
		}
	}
}

// What a transaction takes out of a map is gone, for itself and after it; if it is
// aborted, it is there again.
func TestTransactionsTakeEntriesOut(t *testing.T) {
	s := open(t, cells(nil)...)
	for _, k := range []string{"a", "b", "c"} {
		want(t, s, hit("left", k), "1")
	}
	cut := func(key string, abort bool) service.Request[string] {
		return service.NewRequest[string]("root", "", "cut", key, abort)
	}
	want(t, s, cut("b", true), `"false [a c]"`)
	want(t, s, get("left", "b"), "1")
	want(t, s, cut("b", false), `"false [a c]"`)
	want(t, s, get("left", "b"), "0")
	want(t, s, cut("none", false), `"false [a c]"`)
}

// Branches of one transaction that work on one object see each other's writes: if each
// had read before the other one had written, one hit would be lost.
func TestBranchesOnOneObject(t *testing.T) {
	s := open(t, cells(nil)...)
	want(t, s, both("k", "same"), "[1,2]")
	want(t, s, get("left", "k"), "2")
}

// A method that holds a lock and does not come to an end holds up those that want the
// lock, which wait without doing anything, and nobody else.
func TestWhoWaitsForALockDoesNothing(t *testing.T) {
	g := &gate{make(chan struct{}), make(chan struct{})}
	s := open(t, cells(g)...)
	want(t, s, hit("left", "k"), "1") // so that it is known what the method reads
	var wg sync.WaitGroup
	wg.Go(func() { want(t, s, hit("left", "k", "wait"), "2") })
	<-g.reached
	const waiters = 40 // more than compute at a time
	for range waiters {
		wg.Go(func() {
			if _, err := on(t, s, hit("left", "k")); err != nil {
				t.Error(err)
			}
		})
	}
	deadline := time.Now().Add(time.Minute)
	for len(s.Requests()) < waiters+1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	for n := range 50 { // others go on meanwhile
		want(t, s, hit("right", "k"), fmt.Sprint(n+1))
	}
	for _, v := range s.Requests() {
		if v.Attempt > 2 {
			t.Errorf("a request that waits has been tried %d times", v.Attempt)
		}
	}
	close(g.open)
	wg.Wait()
	want(t, s, get("left", "k"), fmt.Sprint(waiters+2))
}

// descriptors counts those of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	return len(list)
}

// Requests cost no descriptor, no file, and no row that stays: of transactions without
// keys nothing but the state is left, of those with keys the result, until its
// retention is over.
func TestRequestsLeaveNothingBehind(t *testing.T) {
	db := memory.New(memory.Options{})
	defer db.Close()
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	s, err := node.Open(node.Options{Store: db, Instances: instances(cells(nil)), Now: clock, Machine: machine.Options{Retention: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const requests = 200
	want(t, s, both("k"), "[1,1]") // the first one starts instances
	before := descriptors(t)
	for n := range requests {
		want(t, s, both("k"), fmt.Sprintf("[%d,%d]", n+2, n+2))
	}
	if left := rows(t, db); len(left) > 0 {
		t.Errorf("requests without keys have left %q", left)
	}
	for n := range requests {
		to, args := both("k").Parts()
		for range 2 { // and again
			v, err := s.Invoke(t.Context(), node.Request{To: to, Args: args, Key: fmt.Sprint("key-", n)})
			if wanted := fmt.Sprintf("[%d,%d]", requests+n+2, requests+n+2); err != nil || string(v.Data) != wanted {
				t.Fatalf("request %d: %s %s, %v, want %s", n, v.Data, v.Text, err, wanted)
			}
		}
	}
	if left := rows(t, db); len(left) != 2*requests {
		t.Errorf("%d requests with keys have left %d rows, want 2 of each", requests, len(left))
	}
	if after := descriptors(t); after > before+8 { // a few more instances, and what the runtime has
		t.Errorf("%d requests have left %d descriptors", 3*requests, after-before)
	}
	mu.Lock()
	now = now.Add(2 * time.Hour)
	mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	for len(rows(t, db)) > 0 && time.Now().Before(deadline) {
		want(t, s, get("left", "k"), fmt.Sprint(2*requests+1))
	}
	if left := rows(t, db); len(left) > 0 {
		t.Errorf("after their retention %d rows are left: %q", len(left), slices.Sorted(slices.Values(left))[:1])
	}
}
