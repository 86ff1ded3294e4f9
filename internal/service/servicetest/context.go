// Package servicetest runs methods of services that are Go functions, in the memory
// of a test: the instance's side of the protocol (package wire) without a sandbox.
//
//	add := func(c *servicetest.Context) ([]byte, error) {
//		n, _ := c.Get(wire.Key{Field: "count"})
//		c.Put(wire.Key{Field: "count"}, append(n, 'x'))
//		return n, nil
//	}
package servicetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// Method is a method of a service.
type Method func(*Context) ([]byte, error)

// Context is what a method works with. It is used by the method's goroutine only.
type Context struct {
	start   *wire.Start
	ask     func(wire.Message) *wire.Answer
	seq     uint64
	now     int64
	writes  []wire.Write // that the node does not know yet
	values  map[wire.Key]wire.Value
	given   map[wire.Key]int // index of Start's value
	used    uint64
	within  int          // transactions
	message wire.Message // Continue, if the method ends with that
}

// Refused is an error of the node: it does not do what was asked for.
type Refused struct{ Text string }

func (e *Refused) Error() string { return e.Text }

// aborted unwinds a method whose execution is over.
type aborted struct{}

// Serve runs an execution. ask sends a message and returns the answer, or nil if it
// has none. What Serve returns is the execution's last message, or nil if the node
// has aborted it.
func Serve(s *wire.Start, method Method, ask func(wire.Message) *wire.Answer) (last wire.Message) {
	c := &Context{start: s, ask: ask, now: s.Now, values: map[wire.Key]wire.Value{}, given: map[wire.Key]int{}}
	for i, k := range s.Values {
		c.values[k.Key], c.given[k.Key] = k.Value, i
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case aborted:
			last = nil
		case *Refused:
			last = &wire.Return{Question: c.Question(), Value: wire.Value{Code: wire.Failed, Text: p.Text}}
		default:
			last = &wire.Return{Question: c.Question(), Value: wire.Value{Code: wire.Panicked, Text: fmt.Sprint(p)}}
		}
	}()
	data, err := method(c)
	if c.message != nil {
		return c.message
	}
	v := wire.Value{Data: data}
	if err != nil {
		v = wire.Value{Code: wire.Failed, Text: err.Error()}
	}
	return &wire.Return{Question: c.Question(), Value: v, Used: c.used}
}

// Question numbers the next question, and gives it what was written; methods that speak
// frames themselves send it.
func (c *Context) Question() wire.Question {
	c.seq++
	q := wire.Question{Call: c.start.Call, Seq: c.seq, Writes: c.writes}
	c.writes = nil
	return q
}

// put asks, and takes in the answer.
func (c *Context) put(m wire.Message) *wire.Answer {
	a := c.ask(m)
	if a == nil {
		return nil
	}
	if a.Value.Code == wire.Aborted {
		panic(aborted{})
	}
	if a.Value.Code == wire.Refused && c.within > 0 {
		panic(&Refused{a.Value.Text}) // nothing comes of the transaction: leave it
	}
	c.now = a.Now
	if a.Fresh {
		c.forget()
	}
	return a
}

// forget drops what was read and written before.
func (c *Context) forget() {
	clear(c.values)
	clear(c.given)
}

func outcome(v wire.Value) ([]byte, error) {
	switch v.Code {
	case wire.OK:
		return v.Data, nil
	case wire.Refused:
		return nil, &Refused{v.Text}
	}
	return nil, errors.New(v.Text)
}

// Request is the request that the execution belongs to.
func (c *Context) Request() string { return c.start.Request }

// Attempt counts the attempts of the request.
func (c *Context) Attempt() int { return int(c.start.Attempt) }

// Object is the object whose method runs.
func (c *Context) Object() string { return c.start.To.Object }

// Arg is an argument, nil if there are fewer.
func (c *Context) Arg(i int) []byte {
	if i >= len(c.start.Args) {
		return nil
	}
	return c.start.Args[i]
}

// Now is the time, the same again when the method is replayed.
func (c *Context) Now() time.Time { return time.Unix(0, c.now) }

// Get reads a value; nil is none. What the node refuses ends the
// transaction, or the method.
func (c *Context) Get(k wire.Key) []byte { return c.read(k, false) }

// Claim is Get of a value that will be written.
func (c *Context) Claim(k wire.Key) []byte { return c.read(k, true) }

func (c *Context) read(k wire.Key, update bool) []byte {
	v, known := c.values[k]
	if i, given := c.given[k]; given && i < 64 {
		c.used |= 1 << i
	}
	if !known {
		a := c.put(&wire.Read{Question: c.Question(), Keys: []wire.Key{k}, Update: update})
		if a.Value.Code != wire.OK {
			panic(&Refused{a.Value.Text})
		}
		v = a.List[0]
		c.values[k] = v
	}
	if v.Code == wire.Absent {
		return nil
	}
	return append([]byte{}, v.Data...)
}

// Put writes a value.
func (c *Context) Put(k wire.Key, data []byte) {
	delete(c.given, k)
	c.values[k] = wire.Value{Data: data}
	c.writes = append(c.writes, wire.Write{Key: k, Value: data})
}

// Delete removes a value.
func (c *Context) Delete(k wire.Key) {
	delete(c.given, k)
	c.values[k] = wire.Value{Code: wire.Absent}
	c.writes = append(c.writes, wire.Write{Key: k, Deleted: true})
}

// Scan reads entries of a map; Text of each one is its key. What is too large for one answer
// is several.
func (c *Context) Scan(field, after string, limit int) (list []wire.Value) {
	for {
		a := c.put(&wire.Scan{Question: c.Question(), Field: field, After: after, Limit: uint32(limit - len(list))})
		if a.Value.Code != wire.OK && a.Value.Code != wire.Pending {
			panic(&Refused{a.Value.Text})
		}
		list = append(list, a.List...)
		if a.Value.Code == wire.OK || len(a.List) == 0 {
			return list
		}
		after = list[len(list)-1].Text
	}
}

// Call calls a method and waits for its result.
func (c *Context) Call(to wire.Target, args ...[]byte) ([]byte, error) {
	return outcome(c.put(&wire.Invoke{Question: c.Question(), To: to, Args: args}).Value)
}

// Go starts a method, for Await.
func (c *Context) Go(to wire.Target, args ...[]byte) (handle uint64) {
	c.put(&wire.Invoke{Question: c.Question(), Mode: wire.Async, To: to, Args: args})
	return c.seq
}

// Send calls a method that nobody waits for, after a delay.
func (c *Context) Send(delay time.Duration, to wire.Target, args ...[]byte) {
	c.put(&wire.Invoke{Question: c.Question(), Mode: wire.Send, To: to, Args: args, Delay: delay})
}

// Timer makes a handle that is there after a while.
func (c *Context) Timer(d time.Duration) (handle uint64) {
	c.put(&wire.Timer{Question: c.Question(), Delay: d})
	return c.seq
}

// Promise makes a handle of what somebody outside will say.
func (c *Context) Promise(name string) (handle uint64) {
	c.put(&wire.Promise{Question: c.Question(), Name: name})
	return c.seq
}

// Await waits for all handles.
func (c *Context) Await(handles ...uint64) ([]wire.Value, error) {
	a := c.put(&wire.Await{Question: c.Question(), Handles: handles})
	if _, err := outcome(a.Value); err != nil {
		return nil, err
	}
	return a.List, nil
}

// Sleep waits for a while.
func (c *Context) Sleep(d time.Duration) error {
	_, err := c.Await(c.Timer(d))
	return err
}

// Run does a side effect, of which the first recorded result stands. The key is the
// same in every attempt.
func (c *Context) Run(name string, effect func(key string) ([]byte, error)) ([]byte, error) {
	a := c.put(&wire.Run{Question: c.Question(), Name: name})
	if a.Value.Code == wire.Proceed {
		ran := &wire.Ran{Call: c.start.Call, Seq: c.seq}
		data, err := effect(a.Value.Text)
		if ran.Value.Data = data; err != nil {
			ran.Value = wire.Value{Code: wire.Failed, Text: err.Error()}
		}
		a = c.put(ran)
	}
	return outcome(a.Value)
}

// Begin begins a transaction by hand; Tx does that and ends it.
func (c *Context) Begin() { c.put(&wire.Transaction{Question: c.Question()}) }

// Tx runs a part of the method as a transaction: if it returns an error, what it has
// written, sent and called has come to nothing.
func (c *Context) Tx(part func() error) error {
	c.Begin()
	c.within++
	err := c.part(part)
	c.within--
	if err != nil {
		c.put(&wire.Transaction{Question: c.Question(), Edge: wire.Abort})
		c.forget()
		return err
	}
	a := c.put(&wire.Transaction{Question: c.Question(), Edge: wire.Commit})
	if _, err := outcome(a.Value); err != nil {
		c.forget()
		return err
	}
	return nil
}

// part runs a transaction's part; what the node refuses in it is its error.
func (c *Context) part(part func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Refused:
			err = p
		default:
			panic(p)
		}
	}()
	return part()
}

// Compensate says what undoes the work of the request if it fails later.
func (c *Context) Compensate(to wire.Target, args ...[]byte) {
	c.put(&wire.Compensate{Question: c.Question(), To: to, Args: args})
}

// Continue has the method begin anew with other arguments when it returns.
func (c *Context) Continue(args ...[]byte) {
	c.message = &wire.Continue{Question: c.Question(), Args: args}
}
