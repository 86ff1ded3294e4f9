package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// A method that begins itself twice fills neither memory nor the store: there are never more
// of them than the bound, crashes or not, what was acknowledged is parked and not lost, and
// all of it can be ended at once. Others are not refused meanwhile.
func TestForkBomb(t *testing.T) {
	for _, crashes := range []int{0, 4} {
		w := newWorld(t, 9, machine.Options{Family: 40, Attempts: 2, Backoff: time.Nanosecond}, map[string]servicetest.Method{
			"s.bomb": func(c *servicetest.Context) ([]byte, error) {
				c.Send(0, to("bomb"))
				if _, err := c.Run("effect", func(string) ([]byte, error) { return nil, nil }); err != nil {
					return nil, err
				}
				c.Go(to("bomb"))
				return nil, nil
			},
			"s.read": func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil },
		})
		w.parked, w.crashes = map[string]string{}, crashes
		w.tell(func(waiter uint64) machine.Event {
			return machine.Accepted{Request: record.Request{ID: "bomb", Call: record.Call{To: to("bomb")}}, Waiter: waiter}
		})
		w.until("the bound", func() bool {
			list := w.m.Requests()
			if len(list) > 40 {
				t.Fatalf("%d requests have not ended, the bound is 40", len(list))
			}
			for _, r := range list {
				if r.State != machine.Parked {
					return false
				}
				if r.Root != "bomb" && r.ID != "bomb" || !strings.Contains(r.Request.Parked, "40 requests that request bomb has begun") && !strings.Contains(r.Request.Parked, "killed") {
					t.Errorf("request %s of %q is parked: %s", r.ID, r.Root, r.Request.Parked)
				}
			}
			return len(list) > 0
		})
		w.client("read", record.Call{To: to("read")})
		w.until("the others", func() bool { return len(w.clients[1].answers) > 0 })
		cancel := w.tell(func(waiter uint64) machine.Event {
			return machine.Cancelled{Request: "bomb", Family: true, Waiter: waiter}
		})
		w.until("the end", func() bool { return len(w.m.Requests()) == 0 && len(cancel.answers) > 0 })
		w.live(1000)
	}
}

// A request that begins one which begins one may do so for ever, since no more of them are
// there at a time; arguments count, and so do those that have not begun.
func TestFamilies(t *testing.T) {
	const generations = 3000
	w := newWorld(t, 4, machine.Options{Family: 2, FamilyBytes: 1000, Attempts: 20, Backoff: time.Nanosecond}, map[string]servicetest.Method{
		"s.daily": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Get(field)) + 1
			c.Put(field, bytesOf(n))
			if n < generations {
				c.Send(24*time.Hour, to("daily"))
			}
			return nil, nil
		},
		"s.several": func(c *servicetest.Context) ([]byte, error) {
			for range number(c.Arg(0)) {
				if err := c.Tx(func() error { c.Go(to("set")); return nil }); err != nil { // part of it: it is none of them
					return nil, err
				}
				c.Send(time.Hour, to("set"))
			}
			return nil, nil
		},
		"s.inline": func(c *servicetest.Context) ([]byte, error) {
			for range 5 {
				if _, err := c.Await(c.Go(to("set"))); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		"s.large": func(c *servicetest.Context) ([]byte, error) { c.Send(0, to("set"), make([]byte, 900)); return nil, nil },
		"s.set":   func(c *servicetest.Context) ([]byte, error) { return nil, nil },
	})
	w.client("daily", record.Call{To: to("daily")})
	for n := 0; !w.settled() && n < 1_000_000; n++ {
		w.move()
	}
	if n := w.stateOf(field); n != generations {
		t.Errorf("the daily one has come %d times, want %d", n, generations)
	}
	for i, c := range []struct {
		method string
		args   [][]byte
		want   string // "": it succeeds
	}{
		{"several", [][]byte{bytesOf(1)}, ""},
		{"several", [][]byte{bytesOf(2)}, "2 requests that request several1 has begun"},
		{"inline", nil, ""},
		{"large", [][]byte{make([]byte, 100)}, ""},
		{"large", [][]byte{make([]byte, 101)}, "would have 1001 bytes, at most 1000"},
	} {
		w.client(fmt.Sprint(c.method, i), record.Call{To: to(c.method), Args: c.args})
		w.live(10_000)
		v := w.clients[len(w.clients)-1].answers[0]
		if ok := v.Code == wire.OK; ok != (c.want == "") || !strings.Contains(v.Text, c.want) {
			t.Errorf("%s %d: %v %s, want %q", c.method, len(c.args), v.Code, v.Text, c.want)
		}
	}
}

// Too many requests in all: those from outside are told so, and what is there goes on.
func TestTooManyRequests(t *testing.T) {
	w := newWorld(t, 2, machine.Options{Open: 3, OpenBytes: 300}, map[string]servicetest.Method{
		"s.set": func(c *servicetest.Context) ([]byte, error) { return nil, nil },
	})
	accept := func(id string, size int) wire.Value {
		c := w.tell(func(waiter uint64) machine.Event {
			return machine.Accepted{Request: record.Request{ID: id, Call: record.Call{To: to("set"), Args: [][]byte{make([]byte, size)}}, Due: int64(time.Hour)}, Waiter: waiter}
		})
		w.until("the answer", func() bool { return len(c.answers) > 0 })
		return c.answers[0]
	}
	for i, want := range []string{"", "", "would have 301 bytes, at most 300: try later"} {
		if v := accept(fmt.Sprint("a", i), 100+i/2); !strings.Contains(v.Text, want) || (v.Code == wire.Busy) != (want != "") {
			t.Errorf("request %d: %v %s", i, v.Code, v.Text)
		}
	}
	accept("b", 0)
	if v := accept("c", 0); v.Code != wire.Busy || v.Text != "3 requests have not ended, which is the most: try later" {
		t.Errorf("one too many: %v %s", v.Code, v.Text)
	}
	if v := accept("b", 0); v.Code != wire.OK {
		t.Errorf("one that is there: %v %s", v.Code, v.Text)
	}
	w.live(1000)
	if v := accept("c", 0); v.Code != wire.OK {
		t.Errorf("one more, later: %v %s", v.Code, v.Text)
	}
	w.live(1000)
}
