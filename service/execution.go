package service

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// execution is an execution of a method for a node: the instance's side of package
// wire. It remembers what the method has read, until the node says that this may
// not be so any more, and keeps what it writes until the next question.
type execution struct {
	start  *wire.Start
	node   asker
	seq    uint64
	time   int64
	values map[wire.Key]wire.Value
	given  map[wire.Key]int // index of Start's value
	used   uint64
	writes []wire.Write // that the node does not know yet
	size   int          // bytes of them
	within int          // transactions
	doomed bool         // one within another has come to nothing, so the other one will
	over   bool
	epochs int // that the node has said that what was read may not be so any more
}

var _ engine = (*execution)(nil)

// asker sends a message to the node, and returns the answer, nil where there is none.
type asker interface {
	ask(wire.Message) *wire.Answer
	end(error) // of the instance
}

// sizeMax is how much is written before the node is told, in bytes: a frame has a
// bound.
const sizeMax = 1 << 20

// execute runs a method. What it returns is the execution's last message, nil if the
// node has aborted it.
func execute(all services, s *wire.Start, node asker) (last wire.Message) {
	if s.To.Method == wire.FitMethod {
		return &wire.Return{Question: wire.Question{Call: s.Call, Seq: 1}, Value: all.fits(s)}
	}
	x := &execution{start: s, node: node, time: s.Now, values: map[wire.Key]wire.Value{}, given: map[wire.Key]int{}}
	for i, k := range s.Values {
		x.values[k.Key], x.given[k.Key] = k.Value, i
	}
	ctx := &Context{engine: x, to: s.To, request: s.Request, attempt: int(s.Attempt), mode: all.mode(s.To)}
	defer func() {
		p := recover()
		ctx.engine = nil
		switch p := p.(type) {
		case nil:
		case aborted:
		case continued:
			last = &wire.Continue{Question: x.question(), Args: p.args} // with what was written on the way out
		case refusal:
			last = x.end(wire.Value{Code: wire.Failed, Text: p.text})
		case incompatible:
			last = x.end(wire.Value{Code: wire.Refused, Text: p.text})
		default:
			fmt.Fprintf(os.Stderr, "%v: panic: %v\n%s", s.To, p, debug.Stack())
			last = x.end(wire.Value{Code: wire.Panicked, Text: fmt.Sprint(p)})
		}
		if x.over {
			last = nil // even if the method has recovered
		}
	}()
	method, _ := all.method(s.To)
	result, err := method(ctx, s.Args)
	return x.end(valueOf(result, err))
}

// errContinue is of a method that continues in a transaction.
var errContinue = refusal{"a method does not continue in the middle of a transaction"}

// continued unwinds a method that begins anew.
type continued struct{ args [][]byte }

// end is the last message. What a method that fails has written comes to nothing.
func (x *execution) end(v wire.Value) *wire.Return {
	if v.Code != wire.OK {
		x.drop()
	}
	return &wire.Return{Question: x.question(), Value: v, Used: x.used}
}

func (x *execution) drop() { x.writes, x.size = nil, 0 }

func (x *execution) question() wire.Question {
	x.seq++
	q := wire.Question{Call: x.start.Call, Seq: x.seq, Writes: x.writes}
	x.drop()
	return q
}

// put asks, and takes in the answer. A refusal unwinds: the transaction, where there
// is one, or the method.
func (x *execution) put(m wire.Message) *wire.Answer {
	a := x.tell(m)
	if a != nil && a.Value.Code == wire.Refused {
		panic(refusal{a.Value.Text})
	}
	return a
}

// tell is put that leaves refusals to the caller.
func (x *execution) tell(m wire.Message) *wire.Answer {
	if x.over {
		panic(aborted{})
	}
	a := x.node.ask(m)
	if a == nil {
		return nil
	}
	if a.Value.Code == wire.Aborted {
		x.over = true
		panic(aborted{})
	}
	x.time = a.Now
	if a.Fresh {
		x.forget()
	}
	return a
}

// forget drops what was read and written before.
func (x *execution) forget() {
	x.epochs++
	clear(x.values)
	clear(x.given)
}

func (x *execution) read(keys []wire.Key, update bool) []wire.Value {
	x.live()
	values := make([]wire.Value, len(keys))
	var missing []wire.Key
	var at []int
	for i, k := range keys {
		v, known := x.values[k]
		if !known {
			missing, at = append(missing, k), append(at, i)
			continue
		}
		if g, given := x.given[k]; given && g < 64 {
			x.used |= 1 << g
		}
		values[i] = v
	}
	if len(missing) == 0 {
		return values
	}
	for len(missing) > 0 {
		a := x.put(&wire.Read{Question: x.question(), Keys: missing, Update: update})
		if len(a.List) != len(missing) || a.List[0].Code == wire.Pending {
			panic(refusal{"the node has answered something else than was asked"})
		}
		n := 0
		for n < len(missing) && a.List[n].Code != wire.Pending { // the rest is too large for one answer
			x.values[missing[n]], values[at[n]] = a.List[n], a.List[n]
			n++
		}
		missing, at = missing[n:], at[n:]
	}
	return values
}

func (x *execution) write(w wire.Write) {
	x.live()
	delete(x.given, w.Key)
	v := wire.Value{Data: w.Value}
	if w.Deleted {
		v = wire.Value{Code: wire.Absent}
	}
	x.values[w.Key] = v
	x.writes = append(x.writes, w)
	if x.size += len(w.Key.Field) + len(w.Key.Entry) + len(w.Value); x.size > sizeMax {
		x.put(&wire.Read{Question: x.question()})
	}
}

func (x *execution) scan(field, after string, limit int) []wire.Value {
	a := x.put(&wire.Scan{Question: x.question(), Field: field, After: after, Limit: uint32(limit)})
	list := a.List
	for a.Value.Code == wire.Pending && len(a.List) > 0 { // the rest was too large for one answer
		last := list[len(list)-1].Text
		a = x.put(&wire.Scan{Question: x.question(), Field: field, After: last, Limit: uint32(limit - len(list))})
		list = append(list, a.List...)
	}
	return list
}

func (x *execution) invoke(to wire.Target, args [][]byte) wire.Value {
	a := x.tell(&wire.Invoke{Question: x.question(), To: to, Args: args})
	if a.Value.Code == wire.Refused && x.within > 0 {
		panic(refusal{a.Value.Text}) // nothing comes of the transaction: leave it
	}
	return a.Value
}

func (x *execution) handle(m wire.Message) (handle uint64) {
	x.put(m)
	return x.seq
}

func (x *execution) launch(to wire.Target, args [][]byte) (handle uint64) {
	x.live()
	return x.handle(&wire.Invoke{Question: x.question(), Mode: wire.Async, To: to, Args: args})
}

func (x *execution) send(delay time.Duration, to wire.Target, args [][]byte) {
	x.live()
	x.put(&wire.Invoke{Question: x.question(), Mode: wire.Send, To: to, Args: args, Delay: delay})
}

func (x *execution) timer(d time.Duration) (handle uint64) {
	x.live()
	return x.handle(&wire.Timer{Question: x.question(), Delay: d})
}

func (x *execution) promise(name string) (handle uint64) {
	x.live()
	return x.handle(&wire.Promise{Question: x.question(), Name: name})
}

func (x *execution) await(anyOf bool, handles []uint64) []wire.Value {
	a := x.put(&wire.Await{Question: x.question(), Handles: handles, Any: anyOf})
	if len(a.List) != len(handles) {
		panic(refusal{"the node has answered something else than was asked"})
	}
	return a.List
}

func (x *execution) transact(part func() error) error {
	x.put(&wire.Transaction{Question: x.question(), Edge: wire.Begin})
	x.within++
	err := attempt(part)
	x.within--
	if err == nil {
		err = failure(x.tell(&wire.Transaction{Question: x.question(), Edge: wire.Commit}).Value)
	} else {
		x.drop()
		x.put(&wire.Transaction{Question: x.question(), Edge: wire.Abort})
	}
	if err != nil {
		x.forget()
	}
	x.doomed = err != nil && x.within > 0
	return err
}

// live unwinds what is in a transaction that comes to nothing; the node knows why.
func (x *execution) live() {
	if x.doomed {
		x.put(&wire.Read{Question: x.question()})
	}
}

// attempt runs a part of a transaction; what the node refuses in it is its error.
func attempt(part func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			err = &Error{Text: p.text, Refused: true}
		default:
			panic(p)
		}
	}()
	return part()
}

func (x *execution) run(name string, effect func(key string) wire.Value) wire.Value {
	a := x.put(&wire.Run{Question: x.question(), Name: name})
	if a.Value.Code == wire.Proceed {
		a = x.put(&wire.Ran{Call: x.start.Call, Seq: x.seq, Value: x.effect(a.Value.Text, effect)})
	}
	return a.Value
}

// effect does a side effect. The node waits for its result and for nothing else: one
// that panics ends the instance, and is tried again.
func (x *execution) effect(key string, effect func(key string) wire.Value) (v wire.Value) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			v = wire.Value{Code: wire.Failed, Text: p.text}
		default:
			fmt.Fprintf(os.Stderr, "%v: panic in a side effect: %v\n%s", x.start.To, p, debug.Stack())
			x.over = true
			x.node.end(fmt.Errorf("%v: panic in a side effect: %v", x.start.To, p))
			panic(aborted{})
		}
	}()
	return effect(key)
}

func (x *execution) compensate(to wire.Target, args [][]byte) {
	x.live()
	x.put(&wire.Compensate{Question: x.question(), To: to, Args: args})
}

func (x *execution) resume(args [][]byte) {
	if x.within > 0 {
		panic(errContinue)
	}
	panic(continued{args})
}

func (x *execution) now() int64   { return x.time }
func (x *execution) seed() uint64 { return x.start.Seed }
func (x *execution) epoch() int   { return x.epochs }
