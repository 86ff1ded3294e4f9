package machine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// note notes its argument in the order in which it is called.
func note(c *servicetest.Context) ([]byte, error) {
	c.Put(field, bytesOf(number(c.Get(field))*10+number(c.Arg(0))))
	return nil, nil
}

// A request that is cancelled, or fails after it has waited, undoes what it has
// done, the latest first. What it has begun and waits for is cancelled with it, and undoes
// what it has done; what has failed by itself has done so already.
func TestCompensations(t *testing.T) {
	for _, cancelled := range []bool{true, false} {
		w := newWorld(t, 3, machine.Options{}, map[string]servicetest.Method{
			"s.note": note,
			"s.trip": func(c *servicetest.Context) ([]byte, error) {
				c.Compensate(to("note"), bytesOf(1))
				hotel := c.Go(to("hotel"))
				if err := c.Sleep(time.Nanosecond); err != nil {
					return nil, err
				}
				c.Compensate(to("note"), bytesOf(2))
				values, err := c.Await(hotel, c.Promise("answer"))
				if err != nil {
					return nil, err
				}
				c.Compensate(to("note"), bytesOf(3))
				return nil, errors.New(values[0].Text + ", " + string(values[1].Data))
			},
			"s.hotel": func(c *servicetest.Context) ([]byte, error) {
				c.Compensate(to("room"), bytesOf(4))
				if _, err := c.Await(c.Promise("room")); err != nil {
					return nil, err
				}
				return nil, errors.New("no room")
			},
			"s.room": func(c *servicetest.Context) ([]byte, error) {
				c.Put(wire.Key{Field: "room"}, c.Arg(0))
				return nil, nil
			},
		})
		w.client("trip", record.Call{To: to("trip")})
		w.until("the promises", func() bool {
			r := w.m.Requests()
			return len(r) == 2 && r[0].State == machine.Waiting && len(r[0].Undo) == 2 && r[1].State == machine.Waiting && r[1].Parent == "trip"
		})
		hotel := w.m.Requests()[1].ID
		if cancelled {
			w.tell(func(waiter uint64) machine.Event {
				return machine.Cancelled{Request: "trip", Reason: "rain", Waiter: waiter}
			})
		} else {
			for request, promise := range map[string]string{"trip": "answer", hotel: "room"} {
				w.tell(func(waiter uint64) machine.Event {
					return machine.Resolved{Request: request, Name: promise, Value: wire.Value{Data: []byte("full")}, Waiter: waiter}
				})
			}
		}
		w.until("the end", w.settled)
		want := map[bool]string{true: "cancelled: rain", false: "no room, full"}[cancelled]
		if v := w.clients[0].answers[0]; v.Code != wire.Failed || v.Text != want {
			t.Errorf("the trip ends with %v %s, want %s", v.Code, v.Text, want)
		}
		if n := w.stateOf(field); n != 21 {
			t.Errorf("compensations came as %d, want 21", n)
		}
		if n := w.stateOf(wire.Key{Field: "room"}); n != 4 {
			t.Errorf("the compensation of what it waits for has left %d, want 4", n)
		}
	}
}

// A method that registers a compensation may be one itself. As it has to succeed, there
// is nothing to undo; those that follow come, crashes or not.
func TestCompensationsOfCompensations(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, machine.Options{Attempts: 1 << 30, Backoff: time.Nanosecond}, map[string]servicetest.Method{
			"s.note": note,
			"s.tidy": func(c *servicetest.Context) ([]byte, error) {
				c.Compensate(to("note"), bytesOf(9))
				c.Compensate(to("note"), bytesOf(8))
				if err := c.Sleep(time.Second); err != nil {
					return nil, err
				}
				return c.Call(to("note"), c.Arg(0))
			},
			"s.trip": func(c *servicetest.Context) ([]byte, error) {
				for i := range uint64(3) {
					c.Compensate(to("tidy"), bytesOf(i+1))
				}
				if err := c.Sleep(time.Second); err != nil {
					return nil, err
				}
				return nil, errors.New("rain")
			},
		})
		w.crashes = int(seed % 4)
		w.client("trip", record.Call{To: to("trip")})
		w.live(100_000)
		if n := w.stateOf(field); n != 321 {
			t.Fatalf("seed %d: compensations came as %d, want 321", seed, n)
		}
	}
}

// A compensation that cannot succeed is tried as often as any request, and parked; those that
// would follow wait for it.
func TestCompensationsThatFail(t *testing.T) {
	w := newWorld(t, 1, machine.Options{Backoff: time.Nanosecond, Mode: func(_ string, to wire.Target) machine.Mode {
		return map[string]machine.Mode{"look": machine.Shared}[to.Method]
	}}, map[string]servicetest.Method{
		"s.note": note,
		"s.look": note,
		"s.trip": func(c *servicetest.Context) ([]byte, error) {
			c.Compensate(to("note"), bytesOf(1))
			c.Compensate(to("look"), bytesOf(2))
			if err := c.Sleep(time.Second); err != nil {
				return nil, err
			}
			return nil, errors.New("rain")
		},
	})
	w.parked = map[string]string{}
	w.client("trip", record.Call{To: to("trip")})
	w.until("the end of the attempts", func() bool { return len(w.parked) == 1 })
	if why := w.parked["trip/undo2"]; !strings.Contains(why, "5 attempts, the last one: write field: s.look is declared shared, and does not write") {
		t.Errorf("parked: %v", w.parked)
	}
	if n := w.stateOf(field); n != 0 {
		t.Errorf("compensations came as %d, want 0", n)
	}
	w.tell(func(waiter uint64) machine.Event { return machine.Cancelled{Request: "trip/undo2", Waiter: waiter} })
	w.until("the end", w.settled)
	if n := w.stateOf(field); n != 1 {
		t.Errorf("compensations came as %d, want 1", n)
	}
}
