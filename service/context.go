package service

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// Context is a method's run. It is given to the method, and is of no use after that, nor
// to other goroutines.
type Context struct {
	engine  engine
	to      wire.Target
	request string
	attempt int
	mode    mode
	rand    *rand.Rand
	effect  bool     // a side effect runs
	loops   []*loop  // over maps, that are under way
	edition *edition // nil: the code knows of no versions of the state

	bound func(name string, f Field) // is told of the fields of an object; nil: nobody is
}

// engine carries out what methods ask: for a node, or in memory. What it does not
// do unwinds the method, with a panic.
type engine interface {
	read(keys []wire.Key, update bool) []wire.Value
	write(wire.Write)
	scan(field, after string, limit int) []wire.Value
	invoke(to wire.Target, args [][]byte) wire.Value
	launch(to wire.Target, args [][]byte) (handle uint64)
	send(delay time.Duration, to wire.Target, args [][]byte)
	timer(time.Duration) (handle uint64)
	promise(name string) (handle uint64)
	await(anyOf bool, handles []uint64) []wire.Value
	transact(func() error) error
	run(name string, effect func(key string) wire.Value) wire.Value
	compensate(to wire.Target, args [][]byte)
	resume(args [][]byte) // unwinds
	now() int64
	seed() uint64
	epoch() int // another one when what was read may not be so any more
}

// ask is the engine, for all that a side effect may not do.
func (c *Context) ask() engine {
	switch {
	case c == nil || c.engine == nil:
		panic("service: used outside of a method: the state of an object belongs to the method that runs")
	case c.edition != nil && c.edition.busy:
		panic(incompatible{"Migrate reads and writes the state of its object, and does nothing else"})
	case c.effect:
		panic(refusal{"a side effect uses the service: what it needs is read before Run, and written after it"})
	}
	return c.engine
}

// Object is the name of the object whose method runs, "" where a service has one
// object only.
func (c *Context) Object() string { return c.to.Object }

// Request is the ID of the request that the method is part of, the same in every
// attempt. With it [Memory.Resolve] and the API find the promises of the request.
func (c *Context) Request() string { return c.request }

// Attempt counts the attempts of the request, from 1. Who decides upon it does not
// do the same again.
func (c *Context) Attempt() int { return c.attempt }

// Now is the time, at the method's beginning or at its latest question: the same
// again in every attempt.
func Now(ctx *Context) time.Time { return time.Unix(0, ctx.ask().now()) }

// Rand gives random numbers, the same ones in every attempt. They are no secrets.
func Rand(ctx *Context) *rand.Rand {
	if e := ctx.ask(); ctx.rand == nil {
		ctx.rand = rand.New(rand.NewPCG(e.seed(), 0))
	}
	return ctx.rand
}

// UUID is a random UUID (version 4), the same one in every attempt.
func UUID(ctx *Context) string {
	var b [16]byte
	r := Rand(ctx)
	binary.LittleEndian.PutUint64(b[:8], r.Uint64())
	binary.LittleEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Sleep waits, for days if need be; meanwhile there need be no instance. In a
// transaction it is refused.
func Sleep(ctx *Context, d time.Duration) {
	e := ctx.ask()
	e.await(false, []uint64{e.timer(d)})
}

// Run does a side effect: what others can see, or what is not the same each time. It
// is done at least once, under the same key in every attempt, and its first recorded result
// stands; so does its error. What the method has done before is on disk then. The effect may do all that
// the sandbox allows, but not use the service. In a transaction it is refused.
func Run[T any](ctx *Context, name string, effect func(key string) (T, error)) (T, error) {
	v := ctx.ask().run(name, func(key string) wire.Value {
		ctx.effect = true
		defer func() { ctx.effect = false }()
		result, err := effect(key)
		return valueOf(result, err)
	})
	return decoded[T](v)
}

// Tx runs a part of a method as a transaction. If it returns an error, what it has
// written, sent and called has come to nothing, in every service. So it does when
// something in it fails or is refused, whether the part looks at errors or not; then that is
// the error. In a transaction nothing waits: [Run], [Sleep] and promises are refused.
// Calls that are started run at once. One transaction within another is a part of
// that one: if it comes to nothing, so does the other.
func Tx(ctx *Context, part func() error) error { return ctx.ask().transact(part) }
