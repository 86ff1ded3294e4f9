package service

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// None is the result of a method that has none.
type None = struct{}

// Request is a method of an object with arguments: what a generated client makes, and
// [Call], [Go], [Send] and [Compensate] take. R is its result.
type Request[R any] struct {
	to   wire.Target
	args [][]byte
	err  error
}

// NewRequest makes a request. Generated clients call it.
func NewRequest[R any](service, object, method string, args ...any) Request[R] {
	r := Request[R]{to: wire.Target{Service: service, Object: object, Method: method}}
	for i, a := range args {
		data, err := encode(a)
		if err != nil {
			r.err = fmt.Errorf("call %v: argument %d: %w", r.to, i+1, err)
		}
		r.args = append(r.args, data)
	}
	return r
}

func (r Request[R]) String() string { return r.to.String() }

// Caller is a *Context, in a method, or a *Memory, outside.
type Caller interface {
	call(to wire.Target, args [][]byte) wire.Value
}

var _ = []Caller{(*Context)(nil), (*Memory)(nil)}

func (c *Context) call(to wire.Target, args [][]byte) wire.Value { return c.ask().invoke(to, args) }

// Call calls a method and waits for its result. The call is a part of the method
// that makes it: both happen, or none. The error is the method's, an *[Error].
func Call[R any](c Caller, r Request[R]) (R, error) {
	if r.err != nil {
		var none R
		return none, r.err
	}
	return decoded[R](c.call(r.to, r.args))
}

// must unwinds if a request cannot be encoded: there is no result to tell it with.
func (r Request[R]) must() {
	if r.err != nil {
		panic(refusal{r.err.Error()})
	}
}

// Go starts a method. It begins when the caller waits, at the latest when it has ended, and
// then happens whatever becomes of the caller. In a transaction it runs at once, as a part of it.
func Go[R any](ctx *Context, r Request[R]) Future[R] {
	r.must()
	return Future[R]{ctx, ctx.ask().launch(r.to, r.args)}
}

// Send has a method called that nobody waits for, once, after the caller has succeeded or
// waited.
func Send[R any](ctx *Context, r Request[R]) { SendAfter(ctx, 0, r) }

// SendAfter is Send, that much later.
func SendAfter[R any](ctx *Context, d time.Duration, r Request[R]) {
	r.must()
	ctx.ask().send(d, r.to, r.args)
}

// Compensate says what undoes the work of the request so far: it is called if the
// request fails later, or is cancelled. The latest one goes first, and each is tried
// until it succeeds.
func Compensate[R any](ctx *Context, r Request[R]) {
	r.must()
	ctx.ask().compensate(r.to, r.args)
}

// Continue ends the method and begins it anew, with other arguments and without its journal: for methods that go
// on for long. It does not return. r is the same method of the same object; a method that was called by another one cannot continue.
//
//	return service.Continue(ctx, CounterAt(ctx.Object()).Loop(n+1))
func Continue[R any](ctx *Context, r Request[R]) (R, error) {
	r.must()
	e := ctx.ask()
	if r.to != ctx.to {
		panic(refusal{fmt.Sprintf("%v continues as %v: a method continues as itself", ctx.to, r.to)})
	}
	e.resume(r.args)
	panic("unreachable")
}

// Future is a result that comes later.
type Future[R any] struct {
	ctx    *Context
	handle uint64
}

// Waiter is a Future of any type, for [Any].
type Waiter interface {
	waits() uint64
}

func (f Future[R]) waits() uint64 { return f.handle }

// Wait waits for the result.
func (f Future[R]) Wait() (R, error) {
	return decoded[R](f.ctx.ask().await(false, []uint64{f.handle})[0])
}

// All waits for all results. The error is that of the first one in their order that has failed; the
// others are there.
func All[R any](ctx *Context, futures ...Future[R]) ([]R, error) {
	if len(futures) == 0 {
		return nil, nil
	}
	handles := make([]uint64, len(futures))
	for i, f := range futures {
		handles[i] = f.handle
	}
	results := make([]R, len(futures))
	var first error
	for i, v := range ctx.ask().await(false, handles) {
		r, err := decoded[R](v)
		if results[i] = r; err != nil && first == nil {
			first = err
		}
	}
	return results, first
}

// Any waits until one of several results is there, and returns the index of the first
// such. Its Wait does not wait any more.
func Any(ctx *Context, futures ...Waiter) int {
	handles := make([]uint64, len(futures))
	for i, f := range futures {
		handles[i] = f.waits()
	}
	values := ctx.ask().await(true, handles)
	return slices.IndexFunc(values, func(v wire.Value) bool { return v.Code != wire.Pending })
}

// After makes a future that is there after a while.
func After(ctx *Context, d time.Duration) Future[None] { return Future[None]{ctx, ctx.ask().timer(d)} }

// Promise makes a future of what somebody outside will say, under a name of the request: [Memory.Resolve],
// or the API of the node. It can have been said before.
func Promise[T any](ctx *Context, name string) Future[T] {
	return Future[T]{ctx, ctx.ask().promise(name)}
}
