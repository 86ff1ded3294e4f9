package service_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/store/memory"
)

// versions are the methods of each version of an app.
type versions map[string]servicetest.Methods

func (v versions) Start(name, version string, receive func([]byte), gone func(error)) (service.Instance, error) {
	m := v[version]
	if m == nil {
		return nil, errors.New("there is no version " + version)
	}
	return m.Start(name, version, receive, gone)
}

// trip is a method that does something of each kind before it waits, the second time
// within a method that it has called.
func trip(change string) servicetest.Methods {
	changed := func(what string) bool { return what == change }
	seats := wire.Key{Field: "seats"}
	m := servicetest.Methods{
		"trip.book": func(c *servicetest.Context) ([]byte, error) {
			key := seats
			if changed("read") {
				key.Field = "places"
			}
			n := c.Get(key)
			if changed("write") {
				n = append(n, 1)
			}
			c.Put(seats, append(n, 0))
			c.Send(0, target("trip", "", "note"))
			name := "pay"
			if changed("run") {
				name = "charge"
			}
			if _, err := c.Run(name, func(string) ([]byte, error) { return []byte("paid"), nil }); err != nil {
				return nil, err
			}
			switch {
			case changed("panic"):
				panic("no seats")
			case changed("hang"):
				time.Sleep(time.Hour)
			case changed("return"):
				return nil, nil
			case changed("argument"):
				return c.Call(target("trip", "", "hotel"), []byte("b"))
			}
			return c.Call(target("trip", "", "hotel"), []byte("a"))
		},
		"trip.hotel": func(c *servicetest.Context) ([]byte, error) {
			name := "confirmed"
			if changed("promise") {
				name = "approved"
			}
			_, err := c.Await(c.Promise(name))
			if changed("after") {
				return c.Call(target("trip", "", "other"))
			}
			return []byte("room"), err
		},
		"trip.note": func(c *servicetest.Context) ([]byte, error) { return nil, nil },
	}
	return m
}

// Each change of the code is found that would park the request, before it does; what
// comes after the journal's end may be anything.
func TestReplay(t *testing.T) {
	db := memory.New(memory.Options{})
	all := versions{"old": trip("")}
	for _, change := range []string{"", "read", "write", "run", "panic", "hang", "return", "argument", "promise", "after"} {
		all["new "+change] = trip(change)
	}
	s, err := service.Open(service.Options{Store: db, Instances: all, Machine: machine.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id, _, err := s.Accept(patience(t), service.Request{To: target("trip", "", "book"), Version: "old", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for len(s.Requests()) != 1 || s.Requests()[0].State != machine.Waiting {
		if _, err := s.Invoke(patience(t), service.Request{To: target("trip", "", "note"), Version: "old"}); err != nil {
			t.Fatal(err)
		}
	}
	st, err := s.Story(id)
	if err != nil {
		t.Fatal(err)
	}
	before := dump(t, db)
	for version, want := range map[string]string{
		"old":          "",
		"new ":         "",
		"new after":    "",
		"new read":     `trip.book is not deterministic: question 1 was "read seats", now it is "read places"`,
		"new write":    `trip.book is not deterministic: question 2, "send trip.note", comes with other arguments or writes`,
		"new run":      `question 3 was "run pay", now it is "run charge"`,
		"new argument": `question 4, "call trip.hotel", comes with other arguments`,
		"new return":   `question 4 was "call trip.hotel", now it is "return"`,
		"new promise":  `trip.hotel is not deterministic: question 1 was "promise confirmed", now it is "promise approved"`,
		"new panic":    "trip.book: panicked: no seats",
		"new hang":     "no question within",
		"new none":     "there is no version new none",
	} {
		limit := time.Minute
		if version == "new hang" {
			limit = 10 * time.Millisecond
		}
		r := s.Replay(patience(t), version, st, limit)
		got := r.Failure
		if r.Divergence != nil {
			got = r.Divergence.Error()
		}
		if r.Same() != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
		if r.Same() && r.Questions != 6 {
			t.Errorf("%s: %d questions are compared, want 6", version, r.Questions)
		}
	}
	if after := dump(t, db); !bytes.Equal(before, after) {
		t.Errorf("a replay has changed the store:\n%q\n%q", before, after)
	}
	if _, err := s.Story("nobody"); !errors.Is(err, service.ErrGone) {
		t.Errorf("the story of no request: %v", err)
	}
}

// dump is all that a store has.
func dump(t *testing.T, db store.Store) (all []byte) {
	t.Helper()
	view := db.Snapshot()
	defer view.Close()
	if err := view.Scan([]byte("svc/"), nil, func(i store.Item) bool {
		all = append(append(append(all, i.Key...), '='), i.Value...)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
