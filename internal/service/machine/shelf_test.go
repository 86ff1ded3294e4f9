package machine_test

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// A request that waits without an instance takes little memory, however large its journal is.
func TestMemoryOfWaitingRequests(t *testing.T) {
	const requests, read, most = 10_000, 16 << 10, 6 << 10
	m := machine.New(machine.Options{Idle: 10})
	before := heap()
	for i := range requests {
		events := []machine.Event{machine.Begun{Request: record.Request{ID: fmt.Sprint("request", i), Call: record.Call{To: to("m"), Args: [][]byte{make([]byte, 100)}}}}}
		for len(events) > 0 {
			ev := events[0]
			events = events[1:]
			for _, e := range m.Apply(int64(i), ev) {
				switch e := e.(type) {
				case machine.Load:
					events = append(events, machine.Loaded{Load: e.Load, Values: []wire.Value{{Data: make([]byte, read)}}})
				case machine.Send:
					switch msg := e.Message.(type) {
					case *wire.Start:
						q := wire.Question{Call: msg.Call, Seq: 1}
						events = append(events, machine.Asked{Message: &wire.Read{Question: q, Keys: []wire.Key{{Field: fmt.Sprint("field", i)}}}})
					case *wire.Answer:
						events = append(events, machine.Asked{Message: &wire.Promise{Question: wire.Question{Call: msg.Call, Seq: 2}, Name: "answer"}},
							machine.Asked{Message: &wire.Await{Question: wire.Question{Call: msg.Call, Seq: 3}, Handles: []uint64{2}}})
					}
				}
			}
		}
	}
	if n := m.Stats().Requests[machine.Waiting]; n != requests || m.Idle() != 10 {
		t.Fatalf("%d requests wait, %d with their instances, want %d and 10", n, m.Idle(), requests)
	}
	each := (heap() - before) / requests
	t.Logf("%d bytes for each request", each)
	if each > most {
		t.Errorf("a request that waits takes %d bytes, at most %d", each, most)
	}
	m.Apply(requests, machine.Pressed{Short: func(service string) bool { return service == "other" }})
	if m.Idle() != 10 {
		t.Errorf("%d requests have their instances though memory is not short", m.Idle())
	}
	free := 0
	for _, e := range m.Apply(requests, machine.Pressed{Short: func(service string) bool { return service == "s" }}) {
		if _, ok := e.(machine.Free); ok {
			free++
		}
	}
	if m.Idle() != 0 || free != 10 {
		t.Errorf("memory is short: %d requests have their instances, %d were taken", m.Idle(), free)
	}
}

// heap is what is in memory, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// What a method has written is not kept in memory once it is in the store, however long the
// method goes on.
func TestMemoryOfWhatWasWritten(t *testing.T) {
	const times = 60
	m := machine.New(machine.Options{})
	var call uint64
	for _, e := range m.Apply(1, machine.Begun{Request: record.Request{ID: "r", Call: record.Call{To: to("m")}}}) {
		if s, ok := e.(machine.Send); ok {
			call = s.Message.(*wire.Start).Call
		}
	}
	before := heap()
	for seq := uint64(1); seq <= times; seq++ {
		q := wire.Question{Call: call, Seq: seq, Writes: []wire.Write{{Key: field, Value: make([]byte, 1<<20)}}}
		m.Apply(int64(seq), machine.Asked{Message: &wire.Run{Question: q, Name: "effect"}})
		m.Apply(int64(seq), machine.Asked{Message: &wire.Ran{Call: call, Seq: seq}})
	}
	if used := heap() - before; used > times<<20/4 {
		t.Errorf("%d bytes are kept", used)
	}
	if r, ok := m.Request("r"); !ok || r.State != machine.Running || r.Chunks < times {
		t.Errorf("the request is %+v", r)
	}
}

// Results that a request has not room for are read again when they are of use: those of many
// children, and those that come while it has no instance.
func TestLargeResults(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(t, seed, machine.Options{Idle: 1, Attempts: 1 << 30, Backoff: time.Nanosecond, Concurrency: 3}, map[string]servicetest.Method{
			"s.part": func(c *servicetest.Context) ([]byte, error) {
				if err := c.Sleep(time.Duration(number(c.Arg(0))) * time.Second); err != nil {
					return nil, err
				}
				return append(bytesOf(number(c.Arg(0))), make([]byte, 20<<10)...), nil
			},
			"s.sum": func(c *servicetest.Context) ([]byte, error) {
				var handles []uint64
				for i := range uint64(9) {
					handles = append(handles, c.Go(to("part"), bytesOf(i+1)))
				}
				if _, err := c.Await(c.Promise("go")); err != nil {
					return nil, err
				}
				sum := uint64(0)
				for i := 0; i < 9; i += 3 {
					values, err := c.Await(handles[i : i+3]...)
					if err != nil {
						return nil, err
					}
					for _, v := range values {
						if v.Code != wire.OK || len(v.Data) != 8+20<<10 {
							return nil, fmt.Errorf("%v %s %d", v.Code, v.Text, len(v.Data))
						}
						sum = sum*10 + number(v.Data)
					}
				}
				return bytesOf(sum), nil
			},
		})
		w.crashes = int(seed % 4)
		w.client("sum", record.Call{To: to("sum")})
		for range w.rng.IntN(400) {
			w.move()
		}
		w.tell(func(waiter uint64) machine.Event { return machine.Resolved{Request: "sum", Name: "go", Waiter: waiter} })
		for n := 0; n < 100_000 && len(w.clients[0].answers) == 0; n++ {
			if !w.move() || n%500 == 499 { // a crash may have taken the promise
				w.apply(machine.Resolved{Request: "sum", Name: "go"})
			}
		}
		if len(w.clients[0].answers) == 0 {
			t.Fatalf("seed %d: no answer: %+v", seed, w.m.Requests())
		}
		if v := w.clients[0].answers[0]; v.Code != wire.OK || number(v.Data) != 123456789 {
			t.Fatalf("seed %d: %v %s %d", seed, v.Code, v.Text, number(v.Data))
		}
	}
}

// What a method reads may be more than a journal has room for, unless it waits afterwards. A
// value is the same again that there was no room to remember.
func TestMuchThatIsRead(t *testing.T) {
	fill := func(c *servicetest.Context) error {
		for range 2 {
			for i := range 20 {
				v := c.Get(wire.Key{Field: fmt.Sprint(i)})
				c.Put(wire.Key{Field: fmt.Sprint(i)}, append(bytesOf(number(v)+1), make([]byte, 1<<10)...))
			}
			if _, err := c.Call(to("get")); err != nil {
				return err
			}
		}
		return nil
	}
	w := newWorld(t, 1, machine.Options{JournalMax: 10_000, Attempts: 50, Backoff: time.Nanosecond}, map[string]servicetest.Method{
		"s.set": func(c *servicetest.Context) ([]byte, error) { return nil, fill(c) },
		"s.get": func(c *servicetest.Context) ([]byte, error) {
			sum := uint64(0)
			for i := range 20 {
				sum += number(c.Get(wire.Key{Field: fmt.Sprint(i)}))
			}
			return append(bytesOf(sum), make([]byte, 1<<10)...), nil
		},
		"s.called": func(c *servicetest.Context) ([]byte, error) {
			if _, err := c.Call(to("get")); err != nil { // its own answers are not in the journal
				return nil, err
			}
			return nil, c.Sleep(time.Hour)
		},
		"s.waits": func(c *servicetest.Context) ([]byte, error) {
			for range 20 {
				if _, err := c.Call(to("get")); err != nil {
					return nil, err
				}
			}
			return nil, c.Sleep(time.Hour)
		},
	})
	for _, c := range []struct {
		method string
		code   wire.Code
		want   string
	}{
		{"set", wire.OK, ""}, {"set", wire.OK, ""}, {"get", wire.OK, ""}, {"called", wire.OK, ""},
		{"waits", wire.Refused, "its journal has "},
	} {
		w.client(fmt.Sprint(c.method, len(w.clients)), record.Call{To: to(c.method)})
		w.until(c.method, w.settled)
		v := w.clients[len(w.clients)-1].answers[0]
		if v.Code != c.code || !strings.Contains(v.Text, c.want) {
			t.Errorf("%s: %v %s, want %v %s", c.method, v.Code, v.Text, c.code, c.want)
		}
		if c.method == "get" && number(v.Data) != 80 {
			t.Errorf("the sum is %d, want 80", number(v.Data))
		}
	}
}

// A segment that has no room in the journal comes to nothing, as a whole: the request is parked, and tried
// again from where it last waited, as often as somebody wants that.
func TestJournalIsFull(t *testing.T) {
	room := false
	read := func(c *servicetest.Context) {
		for i := range 4 {
			c.Get(wire.Key{Field: fmt.Sprint(i)})
		}
	}
	w := newWorld(t, 1, machine.Options{JournalMax: 300_000, Attempts: 50}, map[string]servicetest.Method{
		"s.fill": func(c *servicetest.Context) ([]byte, error) {
			c.Compensate(to("undo"))
			read(c)
			if err := c.Sleep(time.Hour); err != nil {
				return nil, err
			}
			c.Compensate(to("undo"))
			c.Put(field, bytesOf(number(c.Get(field))+1))
			if !room {
				read(c)
			}
			return nil, c.Sleep(time.Hour)
		},
		"s.undo": func(*servicetest.Context) ([]byte, error) { return nil, nil },
		"s.set": func(c *servicetest.Context) ([]byte, error) {
			for i := range 4 {
				c.Put(wire.Key{Field: fmt.Sprint(i)}, make([]byte, 50_000))
			}
			return nil, nil
		},
	})
	w.parked = map[string]string{}
	w.client("set", record.Call{To: to("set")})
	w.until("the values", w.settled)
	w.client("fill", record.Call{To: to("fill")})
	parts := uint64(0)
	for n := range 4 {
		w.until("it is parked", func() bool { r := w.m.Requests(); return len(r) == 1 && r[0].State == machine.Parked })
		r := w.m.Requests()[0]
		if parts = cmp.Or(parts, r.Chunks); !strings.Contains(r.Request.Parked, "let the method continue with a new one") || len(r.Undo) != 1 || r.Chunks != parts {
			t.Fatalf("parked: %s, with %d compensations, and %d parts of a journal of %d", r.Request.Parked, len(r.Undo), r.Chunks, parts)
		}
		if room = n == 3; n == 1 {
			w.crash()
		}
		w.tell(func(waiter uint64) machine.Event { return machine.Retried{Request: "fill", Waiter: waiter} })
	}
	w.until("the end", w.settled)
	if n := w.stateOf(field); n != 1 {
		t.Errorf("it has happened %d times", n)
	}
}

// The values of promises take memory, so there is a bound.
func TestManyPromises(t *testing.T) {
	w := newWorld(t, 1, machine.Options{JournalMax: 10_000}, map[string]servicetest.Method{
		"s.ask": func(c *servicetest.Context) ([]byte, error) {
			_, err := c.Await(c.Promise("answer"))
			return nil, err
		},
	})
	w.client("ask", record.Call{To: to("ask")})
	w.until("the promise", func() bool { r := w.m.Requests(); return len(r) == 1 && r[0].State == machine.Waiting })
	resolve := func(name string, size int) *client {
		return w.tell(func(waiter uint64) machine.Event {
			return machine.Resolved{Request: "ask", Name: name, Value: wire.Value{Data: make([]byte, size)}, Waiter: waiter}
		})
	}
	first, second := resolve("a", 9000), resolve("b", 1000)
	w.until("the answers", func() bool { return len(first.answers) > 0 && len(second.answers) > 0 })
	if first.answers[0].Code != wire.OK || second.answers[0].Code != wire.Refused || !strings.Contains(second.answers[0].Text, "with 10002 bytes together") {
		t.Errorf("answers: %v, %v", first.answers, second.answers)
	}
	resolve("answer", 100)
	w.until("the end", w.settled)
}
