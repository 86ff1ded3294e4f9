package machine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// switched has the switches of all services be s.
func switched(s machine.Switches) machine.Options {
	return machine.Options{Attempts: 1 << 30, Backoff: time.Microsecond, Idle: 1, Switches: func(string, string) machine.Switches { return s }}
}

// A volatile request is answered though the disk does nothing, whatever it does, and
// leaves nothing but its state and its result. A crash ends it.
func TestVolatile(t *testing.T) {
	count := func(c *servicetest.Context) ([]byte, error) {
		n := number(c.Get(field)) + 1
		c.Put(field, bytesOf(n))
		return bytesOf(n), nil
	}
	methods := map[string]servicetest.Method{
		"s.count": count,
		"s.all": func(c *servicetest.Context) ([]byte, error) {
			if _, err := count(c); err != nil {
				return nil, err
			}
			if _, err := c.Run("mail", func(string) ([]byte, error) { return nil, nil }); err != nil {
				return nil, err
			}
			if err := c.Sleep(time.Microsecond); err != nil {
				return nil, err
			}
			c.Send(0, to("count"))
			c.Compensate(to("count"))
			if _, err := c.Await(c.Go(to("count")), c.Go(to("count"))); err != nil {
				return nil, err
			}
			if number(c.Arg(0)) == 1 {
				c.Continue(bytesOf(0))
				return nil, nil
			}
			values, err := c.Await(c.Promise("answer"))
			if err != nil {
				return nil, err
			}
			return values[0].Data, nil
		},
	}
	for seed := range uint64(20) {
		w := newWorld(t, seed, switched(machine.Switches{Volatile: true}), methods)
		w.still = true
		w.client("all", record.Call{To: to("all"), Args: [][]byte{bytesOf(1)}})
		w.client("count", record.Call{To: to("count")})
		waits := func() bool {
			r := w.m.Requests()
			return len(r) == 1 && r[0].State == machine.Waiting && len(w.clients[1].answers) > 0 && w.stateOf(field) == 9
		}
		w.until("the promise", waits)
		for _, ops := range w.log {
			for _, op := range ops {
				if !strings.HasPrefix(op.Key, "svc/s/") && !strings.HasPrefix(op.Key, "svc/d/") && !strings.HasPrefix(op.Key, "svc/x/") {
					t.Fatalf("it is stored: %q", op.Key)
				}
			}
		}
		if seed%2 == 0 {
			w.crash()
			if r := w.m.Requests(); len(r) > 0 {
				t.Fatalf("after a crash there are %+v", r)
			}
			continue
		}
		w.tell(func(waiter uint64) machine.Event {
			return machine.Resolved{Request: "all", Name: "answer", Value: wire.Value{Data: []byte("yes")}, Waiter: waiter}
		})
		w.until("the end", func() bool { return len(w.m.Requests()) == 0 && len(w.clients[0].answers) > 0 })
		if v := w.clients[0].answers[0]; string(v.Data) != "yes" || w.flushed > 0 {
			t.Errorf("seed %d: %v %s, after %d flushes", seed, v.Code, v.Text, w.flushed)
		}
	}
}

// What a durable request has seen of a volatile one is on disk before it is answered.
func TestDurableAfterVolatile(t *testing.T) {
	o := machine.Options{Switches: func(service, _ string) machine.Switches { return machine.Switches{Volatile: service == "v"} }}
	w := newWorld(t, 1, o, map[string]servicetest.Method{
		"v.set": func(c *servicetest.Context) ([]byte, error) { c.Put(field, bytesOf(7)); return nil, nil },
		"v.get": func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil },
		"d.get": func(c *servicetest.Context) ([]byte, error) {
			return c.Call(wire.Target{Service: "v", Method: "get"})
		},
	})
	w.still = true
	w.client("set", record.Call{To: wire.Target{Service: "v", Method: "set"}})
	w.until("the volatile answer", func() bool { return len(w.clients[0].answers) > 0 })
	w.client("get", record.Call{To: wire.Target{Service: "d", Method: "get"}})
	for range 1000 {
		w.move()
	}
	if len(w.clients[1].answers) > 0 {
		t.Error("the durable request is answered before the disk has what it has seen")
	}
	w.still = false
	w.live(10_000)
	if n := number(w.clients[1].answers[0].Data); n != 7 {
		t.Errorf("it has seen %d, want 7", n)
	}
}

// An object with one lock is locked by nothing else; methods that write have it alone,
// those that read together.
func TestObjectLocks(t *testing.T) {
	o := switched(machine.Switches{Whole: true})
	o.Mode = modes(map[string]machine.Mode{"get": machine.Shared})
	entry := func(c *servicetest.Context) wire.Key {
		return wire.Key{Field: "map", Item: true, Entry: string(c.Arg(0))}
	}
	w := newWorld(t, 4, o, map[string]servicetest.Method{
		"s.put": func(c *servicetest.Context) ([]byte, error) {
			c.Put(entry(c), bytesOf(number(c.Get(entry(c)))+1))
			return nil, nil
		},
		"s.get": func(c *servicetest.Context) ([]byte, error) {
			c.Scan("map", "", 10)
			return c.Get(entry(c)), nil
		},
	})
	for i := range 6 {
		key := [][]byte{bytesOf(uint64(i))}
		w.client(fmt.Sprint("put", i), record.Call{To: to("put"), Args: key})
		w.client(fmt.Sprint("get", i), record.Call{To: to("get"), Args: key})
	}
	together := 0
	for !w.settled() && w.move() {
		writers, readers := 0, 0
		for _, l := range w.m.Locks() {
			switch {
			case l.Key != record.Shape("s", "", ""):
				t.Fatalf("there is a lock on %q", l.Key)
			case l.Waiting:
			case strings.HasPrefix(l.Request, "put"):
				writers++
			default:
				readers++
			}
		}
		if together = max(together, readers); writers > 1 || writers > 0 && readers > 0 {
			t.Fatalf("%d methods write and %d read", writers, readers)
		}
	}
	w.live(1)
	check(w)
	if together < 2 {
		t.Errorf("%d methods have read at the same time, want several", together)
	}
}

// Where transactions are off, what fails in one is not taken back.
func TestNoTransactions(t *testing.T) {
	w := newWorld(t, 1, switched(machine.Switches{Flat: true}), map[string]servicetest.Method{
		"s.fail": func(c *servicetest.Context) ([]byte, error) {
			c.Put(field, bytesOf(8))
			return nil, errors.New("always")
		},
		"s.method": func(c *servicetest.Context) ([]byte, error) {
			_ = c.Tx(func() error {
				c.Put(field, bytesOf(3))
				_, err := c.Call(to("fail"))
				return err
			})
			return nil, c.Tx(func() error { return c.Sleep(time.Microsecond) })
		},
	})
	w.client("c", record.Call{To: to("method")})
	w.live(10_000)
	if v := w.clients[0].answers[0]; v.Code != wire.OK || w.stateOf(field) != 3 {
		t.Errorf("%v %s, the field has %d, want 3", v.Code, v.Text, w.stateOf(field))
	}
}
