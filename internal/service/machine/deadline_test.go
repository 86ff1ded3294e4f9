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

// Wherever a deadline finds a request, crashes or not: it has happened, or nothing of it has, or
// all that it has done is undone; and the answer says which.
func TestDeadlines(t *testing.T) {
	met := map[string]int{}
	for seed := range uint64(400) {
		w := newWorld(t, seed, machine.Options{Concurrency: 2, Idle: 1, Backoff: time.Nanosecond, Attempts: 1 << 30}, map[string]servicetest.Method{
			"s.note": func(c *servicetest.Context) ([]byte, error) {
				c.Put(field, bytesOf(number(c.Get(field))*10+number(c.Arg(0))))
				return nil, nil
			},
			"s.trip": func(c *servicetest.Context) ([]byte, error) {
				c.Compensate(to("note"), bytesOf(1))
				child := c.Go(to("part"))
				if _, err := c.Run("effect", func(string) ([]byte, error) { return nil, nil }); err != nil {
					return nil, err
				}
				c.Compensate(to("note"), bytesOf(2))
				if _, err := c.Await(child, c.Promise("answer")); err != nil {
					return nil, err
				}
				return bytesOf(5), nil
			},
			"s.part": func(c *servicetest.Context) ([]byte, error) { return nil, c.Sleep(2 * time.Nanosecond) },
		})
		w.crashes = int(seed % 3)
		deadline := w.now + int64(1+seed/2)
		begin := func(waiter uint64) machine.Event {
			return machine.Begun{Request: record.Request{ID: "trip", Call: record.Call{To: to("trip")}, Keep: true, Deadline: deadline}, Result: w.result("trip"), Waiter: waiter}
		}
		if seed%4 == 1 {
			begin = func(waiter uint64) machine.Event {
				r := record.Request{ID: "trip", Call: record.Call{To: to("trip")}, Keep: true, Deadline: deadline, Due: w.now + 20}
				return machine.Accepted{Request: r, Result: w.result("trip"), Waiter: waiter}
			}
		}
		trip := w.tell(begin)
		for range w.rng.IntN(150) {
			w.move()
		}
		if seed%2 == 0 && len(w.m.Requests()) > 0 {
			w.apply(machine.Resolved{Request: "trip", Name: "answer"})
		}
		for n := 0; !w.settled(); n++ {
			if n > 100_000 {
				t.Fatalf("seed %d: not everything has ended: %+v", seed, w.m.Requests())
			}
			if !w.move() || n%100 == 99 { // nobody resolves it after a crash
				w.now = max(w.now, deadline)
				w.apply(machine.Ticked{})
			}
		}
		w.live(1)
		v := trip.answers[0]
		if seed%4 == 1 {
			if r := w.result("trip"); v.Code == wire.OK && r != nil {
				v = r.Value
			}
		}
		got := fmt.Sprint(v.Code)
		for _, words := range []string{"nothing of it has happened", "compensations follow"} {
			if strings.Contains(v.Text, words) {
				got += " " + words
			}
		}
		met[got]++
		n := w.stateOf(field)
		switch got {
		case "ok", "late nothing of it has happened":
			if n != 0 {
				t.Errorf("seed %d: %s, and compensations came: %d", seed, got, n)
			}
		case "late compensations follow":
			if n != 1 && n != 21 {
				t.Errorf("seed %d: compensations came as %d, want 1 or 21", seed, n)
			}
		default:
			t.Errorf("seed %d: the trip ends with %v %s", seed, v.Code, v.Text)
		}
	}
	for _, got := range []string{"ok", "late nothing of it has happened", "late compensations follow"} {
		if met[got] < 10 {
			t.Errorf("%q was met %d times: %v", got, met[got], met)
		}
	}
}

// A request that waits for its place until its deadline leaves it to others; nothing of it is kept,
// so its key is good for another attempt.
func TestDeadlineInTheQueue(t *testing.T) {
	w := newWorld(t, 1, machine.Options{Concurrency: 1, Queue: 3}, map[string]servicetest.Method{
		"s.long": func(c *servicetest.Context) ([]byte, error) { c.Put(field, bytesOf(1)); return nil, nil },
		"s.set":  func(c *servicetest.Context) ([]byte, error) { c.Put(field, bytesOf(9)); return nil, errors.New("late") },
	})
	w.client("long", record.Call{To: to("long")})
	w.ask(w.clients[0])
	ask := func(id string, deadline int64) *client {
		return w.tell(func(waiter uint64) machine.Event {
			return machine.Begun{Request: record.Request{ID: id, Call: record.Call{To: to("set")}, Keep: true, Deadline: deadline}, Result: w.result(id), Waiter: waiter}
		})
	}
	for round := range 3 {
		var waiting []*client
		for i := range 3 {
			waiting = append(waiting, ask(fmt.Sprint("a", i), w.now+100))
		}
		if c := ask("b", w.now+100); len(c.answers) != 1 || c.answers[0].Code != wire.Busy {
			t.Errorf("round %d: one more than may wait is answered %v", round, c.answers)
		}
		w.now += 100
		w.apply(machine.Ticked{})
		for i, c := range waiting {
			if len(c.answers) != 1 || c.answers[0].Code != wire.Late || !strings.HasSuffix(c.answers[0].Text, "has passed: nothing of it has happened") {
				t.Errorf("round %d: request %d is answered %v", round, i, c.answers)
			}
		}
	}
	if c := ask("c", w.now); len(c.answers) != 1 || c.answers[0].Code != wire.Late {
		t.Errorf("one whose deadline has passed: %v", c.answers)
	}
	w.until("the long one", w.settled)
	if n := w.stateOf(field); n != 1 {
		t.Errorf("the field has %d", n)
	}
}
