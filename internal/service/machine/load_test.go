package machine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// What is read from the store at a time is no more than an answer has room for, and one value
// besides, however many results are waited for.
func TestResultsAreReadAFewAtATime(t *testing.T) {
	w := newWorld(t, 1, machine.Options{}, map[string]servicetest.Method{
		"s.part": func(c *servicetest.Context) ([]byte, error) { return make([]byte, 500<<10), nil },
		"s.all": func(c *servicetest.Context) ([]byte, error) {
			var handles []uint64
			for range 20 {
				handles = append(handles, c.Go(to("part")))
			}
			if _, err := c.Await(handles...); err == nil || !strings.Contains(err.Error(), "20 results of more than ") {
				return nil, fmt.Errorf("they are waited for with %v", err)
			}
			for i := 0; i < 20; i += 2 {
				if _, err := c.Await(handles[i : i+2]...); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
	})
	w.client("all", record.Call{To: to("all")})
	w.until("the result", func() bool { return len(w.clients[0].answers) > 0 })
	if v := w.clients[0].answers[0]; v.Code != wire.OK {
		t.Errorf("the result is %v %s", v.Code, v.Text)
	}
	if w.loaded > 3<<20 {
		t.Errorf("%d bytes were loaded at a time", w.loaded)
	}
}

// The same goes for values: those that were left are Pending, and so are all after them, whether
// they were known or not.
func TestValuesAreReadAFewAtATime(t *testing.T) {
	m := machine.New(machine.Options{})
	var call uint64
	now := int64(0)
	apply := func(ev machine.Event) (load machine.Load, answer *wire.Answer) {
		now++
		for _, e := range m.Apply(now, ev) {
			switch e := e.(type) {
			case machine.Load:
				load = e
			case machine.Send:
				switch msg := e.Message.(type) {
				case *wire.Start:
					call = msg.Call
				case *wire.Answer:
					answer = msg
				}
			}
		}
		return load, answer
	}
	apply(machine.Begun{Request: record.Request{ID: "r", Call: record.Call{To: to("m")}}})
	keys := []wire.Key{{Field: "a"}, {Field: "b"}, {Field: "mine"}}
	load, _ := apply(machine.Asked{Message: &wire.Read{Question: wire.Question{Call: call, Seq: 1, Writes: []wire.Write{{Key: keys[2], Value: []byte("1")}}}, Keys: keys}})
	if load.Bytes == 0 || load.Bytes > 2<<20 || len(load.Keys) != 2 {
		t.Errorf("%d keys are loaded, with %d bytes at most", len(load.Keys), load.Bytes)
	}
	_, answer := apply(machine.Loaded{Load: load.Load, Values: []wire.Value{{Data: []byte("large")}, {Code: wire.Pending}}})
	if answer == nil || len(answer.List) != 3 || answer.List[0].Code != wire.OK || answer.List[1].Code != wire.Pending || answer.List[2].Code != wire.Pending {
		t.Fatalf("the answer is %+v", answer)
	}
	if load, _ = apply(machine.Asked{Message: &wire.Read{Question: wire.Question{Call: call, Seq: 2}, Keys: keys[1:]}}); len(load.Keys) != 1 {
		t.Errorf("%q are loaded when it is asked for the rest, want b", load.Keys)
	}
}
