// Package sweep takes an application that was written with an SDK through
// everything that can go wrong, one thing at a time, and compares what its clients
// have seen with what plain memory does.
//
//	sweep.Run(t, sweep.Script{
//		Services: bank.Services(),
//		Before:   []sweep.Call{sweep.Do("account", "ann", "put", 10)},
//		Clients:  [][]sweep.Call{{sweep.Do("account", "ann", "take", 7)}, {sweep.Do("account", "ann", "take", 4)}},
//	}, sweep.Options{Every: true})
//
// Clients call at the same time, and send each request twice, and again when all is
// over, under the same idempotency key. The node is that of package service over the
// store of a real one, in one bubble of testing/synctest with the clients and the
// instances. Those of an application in Python are processes, which take part in it
// frame by frame; what they do is compared with the same application in Go. All that they say to each other, and that the disk has been flushed,
// goes through a network that hands over one message at a time. What is swept:
//
//   - a crash before and after each append, and before each operation of the disk, so
//     also before and after each flush: what was not flushed is lost, or a part of
//     it; the next life goes on with what is left, and clients repeat themselves
//   - each message comes later than all others that can; or so late that what waits
//     for it is taken for dead
//   - each message of an instance comes twice, the second time at once, or much later
//   - an instance dies with each of its messages
//   - a lock that is got is taken for a conflict, each in its turn; some of them with
//     each of the crashes as well
//
// In the end no request, lock, or row of a request is left but results, all answers
// to a request are the same, and there is an order of the segments, one at a time and
// without failures, in which memory gives all these answers and ends in this state, but for
// times and what was drawn by chance: that has to be in the same places. A
// request that was sent after another one had been answered comes after it in that
// order.
package sweep

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/service"
)

// Call is a call of a method.
type Call struct {
	To   wire.Target
	Args []json.RawMessage
}

// Do is a call with arguments that JSON can encode.
func Do(svc, object, method string, args ...any) Call {
	c := Call{To: wire.Target{Service: svc, Object: object, Method: method}}
	for _, a := range args {
		data, err := json.Marshal(a)
		if err != nil {
			panic(fmt.Sprintf("sweep: argument of %v: %v", c.To, err))
		}
		c.Args = append(c.Args, data)
	}
	return c
}

func (c Call) String() string { return fmt.Sprintf("%v %s", c.To, c.Args) }

// request is the call, as op i of a script.
func (c Call) request(i int) node.Request {
	r := node.Request{To: c.To, Key: fmt.Sprint("op", i)}
	for _, a := range c.Args {
		r.Args = append(r.Args, a)
	}
	return r
}

// Script is what clients ask of an application.
type Script struct {
	Name     string
	Services []service.Service
	Before   []Call   // one after the other, before all others
	Clients  [][]Call // each client's one after the other, the clients at the same time
	// Python executes the methods instead of Services, which memory has in either case: both are the
	// same application. Fields are compared whatever their case, and errors without
	// their classes and without who has failed. Default: Services do.
	Python *Python
	// InPython is how a call is written there. Default: as it is.
	InPython func(Call) Call
	// Chance is a regular expression for what methods draw besides UUIDs. What it finds, and UUIDs, may
	// be others in each run, but are the same wherever they were. Default: nothing.
	Chance string

	drawn *regexp.Regexp // what methods have drawn; nil: not compiled yet
}

// Options say how much is swept.
type Options struct {
	Every bool // all of it; default: a sample
}

// written is a call in the language that executes it.
func (s *Script) written(c Call) Call {
	if s.InPython == nil || s.Python == nil {
		return c
	}
	return s.InPython(c)
}

// op is a request of a script, and what has become of it.
type op struct {
	call     Call
	client   int
	asked    int // when it was sent first: a number of an event; 0: not yet
	answered int // when it was answered first
	answer   string
}

// ops are the requests of a script, first those of Before, then client by client.
func (s *Script) ops() []op {
	var list []op
	for _, c := range s.Before {
		list = append(list, op{call: c, client: -1})
	}
	for i, calls := range s.Clients {
		for _, c := range calls {
			list = append(list, op{call: c, client: i})
		}
	}
	return list
}

// has reports whether the application has a method.
func (s *Script) has(t wire.Target) bool {
	return slices.ContainsFunc(s.Services, func(v service.Service) bool {
		return v.Name() == t.Service && slices.Contains(v.Methods(), t.Method)
	})
}
