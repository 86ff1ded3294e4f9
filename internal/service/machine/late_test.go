package machine_test

import (
	"testing"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Whatever an execution that was given up still says, above all that its transaction
// is aborted or committed, says nothing about the next attempt, which has its own
// number: if it did, the attempt's writes would be gone, or half of them there, though
// its client is told that all is well.
func TestLateMessagesOfAnEarlierAttempt(t *testing.T) {
	for _, late := range []wire.Message{
		&wire.Transaction{Edge: wire.Abort},
		&wire.Transaction{Edge: wire.Commit},
		&wire.Read{Question: wire.Question{Writes: []wire.Write{{Key: field, Value: bytesOf(666)}}}, Keys: []wire.Key{field}},
		&wire.Return{Question: wire.Question{Writes: []wire.Write{{Key: field, Value: bytesOf(666)}}}},
	} {
		for at := range 4 { // when it comes: after so many of the attempt's own
			for seq := range uint64(6) {
				m := machine.New(machine.Options{})
				var log []machine.Op
				var call uint64
				var reply *wire.Value
				now := int64(0)
				var apply func(ev machine.Event)
				apply = func(ev machine.Event) {
					now++
					var loads []machine.Loaded
					for _, e := range m.Apply(now, ev) {
						switch e := e.(type) {
						case machine.Append:
							log = append(log, e.Ops...)
						case machine.Send:
							if s, ok := e.Message.(*wire.Start); ok {
								call = s.Call
							}
						case machine.Load:
							loads = append(loads, machine.Loaded{Load: e.Load, Values: make([]wire.Value, len(e.Keys))})
						case machine.Reply:
							reply = &e.Value
						}
					}
					for _, l := range loads {
						apply(l)
					}
				}
				ask := func(seq uint64, msg wire.Message) {
					q := wire.Question{Call: call, Seq: seq}
					switch msg := msg.(type) {
					case *wire.Transaction:
						apply(machine.Asked{Message: &wire.Transaction{Question: q, Edge: msg.Edge}})
					case *wire.Read:
						q.Writes = msg.Writes
						apply(machine.Asked{Message: &wire.Read{Question: q, Keys: msg.Keys}})
					case *wire.Return:
						q.Writes = msg.Writes
						apply(machine.Asked{Message: &wire.Return{Question: q, Value: msg.Value}})
					}
				}
				other := wire.Key{Field: "other"}
				steps := []wire.Message{
					&wire.Transaction{Edge: wire.Begin},
					&wire.Read{Question: wire.Question{Writes: []wire.Write{{Key: field, Value: bytesOf(1)}}}, Keys: []wire.Key{other}},
					&wire.Transaction{Question: wire.Question{}, Edge: wire.Commit},
					&wire.Return{Question: wire.Question{Writes: []wire.Write{{Key: other, Value: bytesOf(2)}}}, Value: wire.Value{Data: []byte("ok")}},
				}
				apply(machine.Begun{Request: record.Request{ID: "a", Call: record.Call{To: to("m")}, Keep: true}, Waiter: 1})
				first := call
				ask(1, steps[0])
				ask(2, steps[1])
				apply(machine.Lost{Call: first, Why: "it was given up"})
				for call == first {
					next, ok := m.Next()
					if !ok {
						t.Fatal("no second attempt")
					}
					now = max(now, next)
					apply(machine.Ticked{})
				}
				second := call
				for n, step := range steps {
					if n == at {
						call = first
						ask(seq, late)
						call = second
					}
					ask(uint64(n+1), step)
				}
				state := map[string][]byte{}
				store(state, log)
				if a, b := number(state[record.State("s", "", field)]), number(state[record.State("s", "", other)]); a != 1 || b != 2 {
					t.Fatalf("%T %+v as question %d, before step %d: the state is %d and %d, want 1 and 2", late, late, seq, at, a, b)
				}
				if reply == nil || string(reply.Data) != "ok" {
					t.Fatalf("%T as question %d, before step %d: the answer is %v", late, seq, at, reply)
				}
			}
		}
	}
}
