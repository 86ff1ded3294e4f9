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

var field = wire.Key{Field: "field"}

func to(method string) wire.Target { return wire.Target{Service: "s", Method: method} }

// until runs a world until a condition holds.
func (w *world) until(what string, cond func() bool) {
	for range 10_000 {
		if cond() {
			return
		}
		if !w.move() {
			break
		}
	}
	if !cond() {
		w.t.Fatalf("%s has not come: %+v", what, w.m.Requests())
	}
}

// tell applies an event that has a waiter.
func (w *world) tell(event func(waiter uint64) machine.Event) *client {
	c := &client{event: event}
	w.clients = append(w.clients, c)
	w.ask(c)
	return c
}

func (w *world) stateOf(k wire.Key) uint64 {
	return number(w.state(len(w.log))[record.State("s", "", k)])
}

// What a method gets wrong, or asks too much of, is told, changes nothing and leaves
// nothing behind.
func TestRefusals(t *testing.T) {
	big := make([]byte, 50<<10)
	write := func(c *servicetest.Context) { c.Put(field, bytesOf(9)) }
	for name, c := range map[string]struct {
		method servicetest.Method
		want   string
	}{
		"error": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			c.Send(0, to("set"))
			return nil, errors.New("no luck")
		}, "no luck"},
		"value": {func(c *servicetest.Context) ([]byte, error) {
			c.Put(field, big)
			c.Get(wire.Key{Field: "other"})
			return nil, nil
		}, "a value of 51200 bytes, at most 32768"},
		"swallowed": {func(c *servicetest.Context) ([]byte, error) {
			func() {
				defer func() { _ = recover() }()
				c.Put(field, big)
				c.Get(wire.Key{Field: "other"})
			}()
			write(c)
			return nil, nil
		}, "a value of 51200 bytes, at most 32768"},
		"value, then continues": {func(c *servicetest.Context) ([]byte, error) {
			c.Put(field, big)
			c.Continue()
			return nil, nil
		}, "a value of 51200 bytes, at most 32768"},
		"result":    {func(c *servicetest.Context) ([]byte, error) { write(c); return big, nil }, "a result of 51200 bytes"},
		"arguments": {func(c *servicetest.Context) ([]byte, error) { write(c); return c.Call(to("set"), big) }, "arguments of 51200 bytes"},
		"unknown":   {func(c *servicetest.Context) ([]byte, error) { write(c); return c.Call(to("nobody")) }, "there is no method s.nobody"},
		"unknown, sent": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			c.Send(0, to("nobody"))
			return nil, nil
		}, "there is no method s.nobody"},
		"depth": {func(c *servicetest.Context) ([]byte, error) { write(c); return c.Call(to("method")) }, "32 calls within each other"},
		"wait in a transaction": {func(c *servicetest.Context) ([]byte, error) {
			return nil, c.Tx(func() error {
				write(c)
				_ = c.Sleep(time.Second)
				return nil
			})
		}, "a transaction holds locks, and does not wait"},
		"failed call in a transaction": {func(c *servicetest.Context) ([]byte, error) {
			return nil, c.Tx(func() error {
				write(c)
				_, _ = c.Call(to("fail"))
				return nil
			})
		}, "s.fail has failed: always"},
		"key": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			c.Put(wire.Key{Field: strings.Repeat("k", 201)}, bytesOf(1))
			c.Get(wire.Key{Field: "other"})
			return nil, nil
		}, "a key of more than 200 bytes"},
		"key, read": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			return c.Get(wire.Key{Field: "map", Item: true, Entry: strings.Repeat("k", 201)}), nil
		}, "a key of more than 200 bytes"},
		"written at a time": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			for i := range 5 {
				c.Put(wire.Key{Field: fmt.Sprint(i)}, big[:32<<10])
				c.Get(wire.Key{Field: fmt.Sprint("other", i)})
			}
			return nil, nil
		}, "bytes are written at a time, at most 131072"},
		"not a handle": {func(c *servicetest.Context) ([]byte, error) {
			write(c)
			_, err := c.Await(7)
			return nil, err
		}, "7 is not a handle"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, machine.Options{ValueMax: 32 << 10, WritesMax: 128 << 10}, map[string]servicetest.Method{
				"s.method": c.method,
				"s.set":    func(c *servicetest.Context) ([]byte, error) { write(c); return nil, nil },
				"s.fail":   func(c *servicetest.Context) ([]byte, error) { return nil, errors.New("always") },
			})
			w.catalog()
			w.client("c", record.Call{To: to("method")})
			w.live(10_000)
			got := w.clients[0].answers[0]
			if got.Code != wire.Failed || !strings.Contains(got.Text, c.want) {
				t.Errorf("got %v %s, want %s", got.Code, got.Text, c.want)
			}
			if n := w.stateOf(field); n != 0 {
				t.Errorf("the field has %d", n)
			}
		})
	}
}

// catalog has the machine know the world's methods.
func (w *world) catalog() {
	w.o.Catalog = func(_ string, t wire.Target) error {
		if w.methods[t.Service+"."+t.Method] == nil {
			return fmt.Errorf("there is no method %v", t)
		}
		return nil
	}
	w.m = machine.New(w.o)
}

func TestKeysAreForOneCall(t *testing.T) {
	w := newWorld(t, 1, machine.Options{}, map[string]servicetest.Method{"s.echo": func(c *servicetest.Context) ([]byte, error) { return c.Arg(0), nil }})
	w.client("c", record.Call{To: to("echo"), Args: [][]byte{bytesOf(1)}})
	w.live(1000)
	w.client("c", record.Call{To: to("echo"), Args: [][]byte{bytesOf(2)}})
	w.client("c", record.Call{To: to("echo"), Args: [][]byte{bytesOf(1)}})
	w.live(1000)
	if v := w.clients[1].answers[0]; v.Code != wire.Conflict || !strings.Contains(v.Text, "another call") {
		t.Errorf("another call under the same key: %v %s", v.Code, v.Text)
	}
	if v := w.clients[2].answers[0]; number(v.Data) != 1 {
		t.Errorf("the same call again: %v %d", v.Code, number(v.Data))
	}
}

// A method that panics each time is given up, without locks; one that changes its
// mind about what it asks is parked with the difference.
func TestPoison(t *testing.T) {
	lives := 0
	w := newWorld(t, 1, machine.Options{Attempts: 3, Idle: 1}, map[string]servicetest.Method{
		"s.panic": func(c *servicetest.Context) ([]byte, error) {
			c.Put(field, bytesOf(1))
			c.Get(wire.Key{Field: "other"})
			panic("always")
		},
		"s.moody": func(c *servicetest.Context) ([]byte, error) {
			lives++
			if lives == 1 {
				return nil, c.Sleep(time.Hour)
			}
			c.Get(field)
			return nil, nil
		},
		"s.read": func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil },
	})
	w.parked = map[string]string{}
	w.client("poison", record.Call{To: to("panic")})
	w.until("the refusal", func() bool { return len(w.clients[0].answers) > 0 })
	if v := w.clients[0].answers[0]; v.Code != wire.Refused || !strings.Contains(v.Text, "3 attempts, the last one: s.panic: always") {
		t.Errorf("poison: %v %s", v.Code, v.Text)
	}
	w.client("moody", record.Call{To: to("moody")})
	w.until("the sleep", func() bool { return len(w.m.Requests()) == 1 && w.m.Requests()[0].State == machine.Waiting })
	w.flushed = len(w.log)
	w.crash()
	w.until("the difference", func() bool { return len(w.parked) == 1 })
	if why := w.parked["moody"]; !strings.Contains(why, `s.moody is not deterministic: question 1 was "timer 1h0m0s", now it is "read field"`) {
		t.Errorf("moody: %s", why)
	}
	if locks := w.m.Locks(); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
	w.client("reader", record.Call{To: to("read")})
	w.until("the reader", func() bool { return len(w.clients[2].answers) > 0 })
}

// A method that continues has an empty journal, and one result.
func TestContinue(t *testing.T) {
	w := newWorld(t, 5, machine.Options{JournalMax: 600, Attempts: 1 << 30}, map[string]servicetest.Method{"s.loop": func(c *servicetest.Context) ([]byte, error) {
		n := number(c.Arg(0))
		c.Put(field, bytesOf(number(c.Get(field))+1))
		if err := c.Sleep(time.Nanosecond); err != nil {
			return nil, err
		}
		if n == 20 {
			return bytesOf(n), nil
		}
		c.Continue(bytesOf(n + 1))
		return nil, nil
	}})
	w.crashes = 3
	w.client("c", record.Call{To: to("loop"), Args: [][]byte{bytesOf(1)}})
	w.live(100_000)
	if v := w.clients[0].answers[0]; number(v.Data) != 20 || w.stateOf(field) != 20 {
		t.Errorf("got %v %d %s, the field has %d", v.Code, number(v.Data), v.Text, w.stateOf(field))
	}
}

// What a method that continues has begun before leaves nothing behind.
func TestContinueForgetsResults(t *testing.T) {
	w := newWorld(t, 5, machine.Options{}, map[string]servicetest.Method{
		"s.loop": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Arg(0))
			if n == 20 {
				_, err := c.Await(c.Promise("end"))
				return nil, err
			}
			if _, err := c.Await(c.Go(to("echo"), bytesOf(n)), c.Timer(time.Nanosecond)); err != nil {
				return nil, err
			}
			c.Continue(bytesOf(n + 1))
			return nil, nil
		},
		"s.echo": func(c *servicetest.Context) ([]byte, error) { return c.Arg(0), nil },
	})
	w.client("c", record.Call{To: to("loop"), Args: [][]byte{bytesOf(0)}})
	w.until("the last generation", func() bool {
		r := w.m.Requests()
		return len(r) == 1 && r[0].Generation == 20 && r[0].State == machine.Waiting
	})
	for k := range w.state(len(w.log)) {
		if strings.HasPrefix(k, record.Done("")) {
			t.Errorf("%s is left", k)
		}
	}
	w.tell(func(waiter uint64) machine.Event {
		return machine.Resolved{Request: "c", Name: "end", Waiter: waiter}
	})
	w.live(1000)
}

// A journal that grows without end parks the request, which says what to do. What it had
// before a crash counts.
func TestJournalBound(t *testing.T) {
	for _, crashes := range []bool{false, true} {
		w := newWorld(t, 5, machine.Options{JournalMax: 600}, map[string]servicetest.Method{"s.loop": func(c *servicetest.Context) ([]byte, error) {
			for {
				if err := c.Sleep(time.Hour); err != nil {
					return nil, err
				}
			}
		}})
		w.parked = map[string]string{}
		w.client("c", record.Call{To: to("loop")})
		last := uint64(0)
		w.until("the bound", func() bool {
			for _, r := range w.m.Requests() {
				if crashes && r.State == machine.Waiting && r.Chunks > last { // it has come further than before
					last = r.Chunks
					w.flushed = len(w.log)
					w.crash()
				}
			}
			return len(w.parked) > 0 || last > 100
		})
		if why := w.parked["c"]; !strings.Contains(why, "let the method continue") {
			t.Errorf("crashes %v: parked: %s", crashes, why)
		}
	}
}

// A request whose instance dies at the moment at which the time comes that it waits for goes on.
func TestInstanceDiesWhenTheTimeComes(t *testing.T) {
	w := newWorld(t, 5, machine.Options{}, map[string]servicetest.Method{"s.nap": func(c *servicetest.Context) ([]byte, error) {
		return nil, c.Sleep(time.Second)
	}})
	w.client("c", record.Call{To: to("nap")})
	w.until("the sleep", func() bool {
		r := w.m.Requests()
		return len(r) == 1 && r[0].State == machine.Waiting
	})
	at, _ := w.m.Next()
	w.now = max(w.now, at)
	for _, call := range sortedCalls(w.execs) {
		w.kill(call)
	}
	w.live(1000)
}

// More requests than fit the queue are refused at once, those that are sent included.
func TestQueueBound(t *testing.T) {
	w := newWorld(t, 5, machine.Options{Concurrency: 1, Queue: 2}, map[string]servicetest.Method{"s.read": func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil }})
	for i := range 6 {
		w.client(fmt.Sprint("c", i), record.Call{To: to("read")})
	}
	for _, c := range w.clients {
		w.ask(c)
	}
	refused := 0
	for _, c := range w.clients {
		if len(c.answers) == 1 && c.answers[0].Code == wire.Busy {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d requests are refused, want 3", refused)
	}
	log := len(w.log)
	sent := w.tell(func(waiter uint64) machine.Event {
		return machine.Accepted{Request: record.Request{ID: "sent", Call: record.Call{To: to("read")}}, Waiter: waiter}
	})
	if len(sent.answers) != 1 || sent.answers[0].Code != wire.Busy || len(w.log) > log {
		t.Errorf("a request that is sent is answered with %+v, and %d batches", sent.answers, len(w.log)-log)
	}
}

// What the latest execution has read comes with the start of the next one: a method
// that reads an entry and writes it is two frames, whatever the entry.
func TestForesight(t *testing.T) {
	w := newWorld(t, 5, machine.Options{}, map[string]servicetest.Method{"s.add": func(c *servicetest.Context) ([]byte, error) {
		k := wire.Key{Field: "map", Item: true, Entry: string(c.Arg(0))}
		c.Put(k, bytesOf(number(c.Get(k))+1))
		return nil, nil
	}})
	for i, entry := range []string{"a", "b", "b"} {
		w.client(fmt.Sprint("c", i), record.Call{To: to("add"), Args: [][]byte{[]byte(entry)}})
		var given, frames int
		for w.ask(w.clients[i]); len(w.clients[i].answers) == 0; w.move() {
			for _, x := range w.execs {
				given = max(given, len(x.start.Values))
				frames = max(frames, len(x.sent)+len(x.toNode))
			}
		}
		if want := min(i, 1); given != want || frames != 2-want {
			t.Errorf("request %d is given %d values and sends %d frames, want %d and %d", i, given, frames, want, 2-want)
		}
	}
}

// What a transaction leaves of a field that was set to 2 just ahead of it, in the
// same segment.
func TestTransactions(t *testing.T) {
	set := func(c *servicetest.Context, n uint64) { c.Put(field, bytesOf(n)) }
	stop := errors.New("stop")
	for name, c := range map[string]struct {
		part func(c *servicetest.Context) error
		want uint64
		err  string
	}{
		"commits":        {func(c *servicetest.Context) error { set(c, 3); return nil }, 3, ""},
		"aborts":         {func(c *servicetest.Context) error { set(c, 3); return stop }, 2, "stop"},
		"reads its own":  {func(c *servicetest.Context) error { set(c, number(c.Get(field))+5); return nil }, 7, ""},
		"nested, joined": {func(c *servicetest.Context) error { return c.Tx(func() error { set(c, 3); return nil }) }, 3, ""},
		"nested, aborted, swallowed": {func(c *servicetest.Context) error {
			_ = c.Tx(func() error { return stop })
			set(c, 3)
			return nil
		}, 2, "aborted its part"},
		"a callee begins one": {func(c *servicetest.Context) error { _, err := c.Call(to("addTx")); return err }, 3, ""},
		"two branches on one object": {func(c *servicetest.Context) error {
			_, err := c.Await(c.Go(to("add")), c.Go(to("add")))
			return err
		}, 4, ""},
		"a branch fails": {func(c *servicetest.Context) error {
			_ = c.Go(to("add"))
			_ = c.Go(to("fail"))
			return nil
		}, 2, "s.fail has failed"},
		"a callee leaves one open": {func(c *servicetest.Context) error { _, err := c.Call(to("open")); return err }, 2, "in the middle of a transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			add := func(c *servicetest.Context) ([]byte, error) {
				set(c, number(c.Get(field))+1)
				return nil, nil
			}
			var got error
			part := c.part
			w := newWorld(t, 2, machine.Options{}, map[string]servicetest.Method{
				"s.add":  add,
				"s.fail": func(c *servicetest.Context) ([]byte, error) { return nil, stop },
				"s.addTx": func(c *servicetest.Context) ([]byte, error) {
					return nil, c.Tx(func() error { _, err := add(c); return err })
				},
				"s.open": func(c *servicetest.Context) ([]byte, error) { c.Begin(); return add(c) },
				"s.method": func(c *servicetest.Context) ([]byte, error) {
					set(c, 2)
					got = c.Tx(func() error { return part(c) })
					return nil, nil
				},
			})
			w.client("c", record.Call{To: to("method")})
			w.live(10_000)
			if n := w.stateOf(field); n != c.want {
				t.Errorf("the field has %d, want %d", n, c.want)
			}
			if (got == nil) != (c.err == "") || got != nil && !strings.Contains(got.Error(), c.err) {
				t.Errorf("the transaction ends with %v, want %q", got, c.err)
			}
		})
	}
}
