package service_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

// everything is a service whose method leaves, for a while, all that a request can leave.
func everything() servicetest.Methods {
	count := wire.Key{Field: "count"}
	m := servicetest.Methods{
		"all.run": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Get(count)) + 1
			c.Put(count, bytesOf(n))
			c.Compensate(target("all", "", "note"))
			c.Send(0, target("all", "", "note"))
			c.Send(time.Second, target("all", "", "note"))
			if _, err := c.Run("effect", func(string) ([]byte, error) { return []byte("x"), nil }); err != nil {
				return nil, err
			}
			if _, err := c.Await(c.Go(target("all", "", "wait")), c.Go(target("all", "", "note"))); err != nil {
				return nil, err
			}
			if _, err := c.Await(c.Promise("go"), c.Timer(time.Second)); err != nil {
				return nil, err
			}
			switch {
			case c.Arg(0)[0] == 0 && len(c.Arg(1)) == 0:
				c.Continue([]byte{0}, []byte("again"))
				return nil, nil
			case c.Arg(0)[0] == 1:
				return nil, errors.New("it fails, and is undone")
			}
			return bytesOf(n), nil
		},
		"all.wait": func(c *servicetest.Context) ([]byte, error) { return nil, c.Sleep(time.Second) },
		"all.note": func(c *servicetest.Context) ([]byte, error) { return nil, nil },
	}
	return m
}

// A steady load, half of it under keys, leaves no more in the store after a long time than
// after a short one: what its retention has, and the state.
func TestStoreDoesNotGrow(t *testing.T) {
	requests := 1600
	if *every {
		requests = 20_000
	}
	const apart, retention = 200 * time.Millisecond, time.Minute
	db := memory.New(memory.Options{})
	var now atomic.Int64
	now.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	options := service.Options{Store: db, Instances: everything(), Now: func() time.Time { return time.Unix(0, now.Load()) }, Machine: machine.Options{Retention: retention, Backoff: time.Millisecond, Idle: 4}}
	s, err := service.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	poke := func() { invoke(t, s, target("all", "", "note")) }
	var high []int
	most := 0
	for i := range requests {
		r := service.Request{To: target("all", strconv.Itoa(i%7), "run"), Args: [][]byte{{byte(i % 3)}, nil}}
		if i%2 == 0 {
			r.Key = fmt.Sprint("key ", i)
		}
		id, _, err := s.Accept(patience(t), r)
		if err != nil {
			t.Fatal(err)
		}
		if i%5 != 0 {
			if err := s.Resolve(patience(t), id, "go", wire.Value{}); err != nil && !strings.Contains(err.Error(), "is not there") {
				t.Fatal(err)
			}
		} else if err := s.Cancel(patience(t), id, "not wanted"); err != nil && !strings.Contains(err.Error(), "is not there") {
			t.Fatal(err)
		}
		now.Add(int64(apart))
		poke()
		if i == requests/2 {
			s.Close()
			if s, err = service.Open(options); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 0 {
			most = max(most, count(t, db, "svc/"))
		}
		if i%(requests/4) == requests/4-1 {
			high = append(high, most)
			most = 0
		}
	}
	t.Logf("keys at most, by quarter: %v", high)
	if high[3] > high[1]*5/4+100 {
		t.Errorf("the store grows: keys at most, by quarter: %v", high)
	}
	for end := time.Now().Add(time.Minute); len(s.Requests()) > 0 && time.Now().Before(end); { // those that nobody resolves any more
		for _, r := range s.Requests() {
			s.Resolve(patience(t), r.ID, "go", wire.Value{})
		}
		now.Add(int64(time.Second))
		poke()
	}
	for range 5 {
		now.Add(int64(retention))
		poke()
		poke()
	}
	if left, state := count(t, db, "svc/"), count(t, db, "svc/s/"); left != state || state != 7 {
		t.Errorf("%d keys are left, of which %d are state: %q", left, state, dump(t, db))
	}
}

// count counts keys.
func count(t testing.TB, db store.Store, prefix string) (n int) {
	t.Helper()
	view := db.Snapshot()
	defer view.Close()
	if err := view.Scan([]byte(prefix), nil, func(store.Item) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// More results than are forgotten at a time are forgotten without waiting for requests.
func TestAllThatIsDueIsForgotten(t *testing.T) {
	db := memory.New(memory.Options{})
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	s, err := service.Open(service.Options{Store: db, Instances: everything(), Now: func() time.Time { return time.Unix(0, now.Load()) }, Machine: machine.Options{Retention: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 2500 {
		if _, _, err := s.Accept(patience(t), service.Request{To: target("all", "", "note"), Key: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for len(s.Requests()) > 0 {
		invoke(t, s, target("all", "", "note"))
	}
	now.Add(int64(2 * time.Minute))
	invoke(t, s, target("all", "", "note"))
	for end := time.Now().Add(30 * time.Second); count(t, db, "svc/d/")+count(t, db, "svc/x/") > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d keys are left", count(t, db, "svc/"))
		}
	}
}

// A key that is used again when its result is forgotten makes a new request, which does not take the place of
// what the earlier one has left to be done.
func TestKeysThatAreUsedAgain(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	methods := servicetest.Methods{
		"s.remind": func(c *servicetest.Context) ([]byte, error) {
			c.Send(time.Hour, target("s", "", "note"), c.Arg(0))
			return nil, nil
		},
		"s.note": func(c *servicetest.Context) ([]byte, error) {
			c.Put(wire.Key{Field: "notes", Item: true, Entry: string(c.Arg(0))}, []byte{1})
			return nil, nil
		},
		"s.notes": func(c *servicetest.Context) ([]byte, error) {
			var names []string
			for _, v := range c.Scan("notes", "", 10) {
				names = append(names, v.Text)
			}
			return []byte(strings.Join(names, " ")), nil
		},
	}
	s, err := service.Open(service.Options{Store: memory.New(memory.Options{}), Instances: methods, Now: func() time.Time { return time.Unix(0, now.Load()) }, Machine: machine.Options{Retention: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	remind := func(of string) wire.Value {
		v, err := s.Invoke(patience(t), service.Request{To: target("s", "", "remind"), Args: [][]byte{[]byte(of)}, Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	notes := func() string { return string(invoke(t, s, target("s", "", "notes")).Data) }
	if v := remind("first"); v.Code != wire.OK {
		t.Fatalf("%v %s", v.Code, v.Text)
	}
	now.Add(int64(2 * time.Minute))
	notes() // at the end of this turn what is due is forgotten
	if v := remind("second"); v.Code != wire.Failed || !strings.Contains(v.Text, "has not ended") {
		t.Errorf("under the same key: %v %s", v.Code, v.Text)
	}
	now.Add(int64(time.Hour))
	notes()
	for end := time.Now().Add(time.Minute); notes() != "first"; {
		if time.Now().After(end) {
			t.Fatalf("the notes are %q, want first", notes())
		}
	}
}
