package record

import (
	"fmt"
	"hash/fnv"

	"github.com/weft-run/weft/internal/codec"
	"github.com/weft-run/weft/internal/service/wire"
)

const version = 2

// Call is a method with its arguments.
type Call struct {
	To   wire.Target
	Args [][]byte
}

func (v *Call) code(c *codec.Coder) {
	v.To.Fields(c)
	codec.List(c, &v.Args, func(c *codec.Coder, b *[]byte) { c.Bytes(b) })
}

// Hash is equal for equal calls, to find out a key that is used for two things.
func (v Call) Hash() uint64 {
	c := codec.Writer(nil)
	v.code(c)
	h := fnv.New64a()
	h.Write(c.Rest())
	return h.Sum64()
}

// Request is what the store has of a request that has not ended.
type Request struct {
	ID      string // not in the value: it is in the key
	Call    Call   // of the generation
	Hash    uint64 // of the first generation's call
	Version string // of the app that it began on
	Keep    bool   // its result is kept, for who asks again
	Parent  string // the request that may wait for it; "" for none
	Root    string // the request from outside that it goes back to; "" for itself
	Time    int64  // when it began, in nanoseconds since 1970: its age in the order of locks, no other's
	Due     int64  // not before this time; 0: at once
	// Deadline is when it is ended if it has not; 0: never.
	Deadline int64
	// Generation counts the times that it continued with other arguments.
	Generation uint64
	Chunks     uint64   // of its journal
	Undo       []Call   // compensations; the last one goes first
	Undoes     string   // the request that it is a compensation of; Undo is what follows then
	Parked     string   // why it is not tried any more; "" if it is
	Cuts       []uint64 // the questions from which it was restarted, in the order of that
}

func (r *Request) code(c *codec.Coder) {
	r.Call.code(c)
	c.Uint(&r.Hash)
	c.String(&r.Version)
	c.Bool(&r.Keep)
	c.String(&r.Parent)
	c.String(&r.Root)
	c.Int(&r.Time)
	c.Int(&r.Due)
	c.Int(&r.Deadline)
	c.Uint(&r.Generation)
	c.Uint(&r.Chunks)
	codec.List(c, &r.Undo, func(c *codec.Coder, v *Call) { v.code(c) })
	c.String(&r.Undoes)
	c.String(&r.Parked)
	codec.List(c, &r.Cuts, func(c *codec.Coder, n *uint64) { c.Uint(n) })
}

// Encode gives the value of a request.
func (r *Request) Encode() []byte { return encode(r.code) }

// DecodeRequest reads the value of a request.
func DecodeRequest(id string, data []byte) (Request, error) {
	r := Request{ID: id}
	err := decode("request "+id, data, r.code)
	return r, err
}

// Result is how a request has ended, or a promise.
type Result struct {
	Value wire.Value
	Hash  uint64 // of the call
	Until int64  // when it may be forgotten, in nanoseconds since 1970
	// Parent is the request that may wait for it: it is not forgotten before that has ended.
	Parent string
}

func (r *Result) code(c *codec.Coder) {
	r.Value.Fields(c)
	c.Uint(&r.Hash)
	c.Int(&r.Until)
	c.String(&r.Parent)
}

// Encode gives the value of a result.
func (r *Result) Encode() []byte { return encode(r.code) }

// DecodeResult reads the value of a result.
func DecodeResult(data []byte) (Result, error) {
	var r Result
	err := decode("result", data, r.code)
	return r, err
}

func encode(code func(*codec.Coder)) []byte {
	c := codec.Writer([]byte{version})
	code(c)
	return c.Rest()
}

func decode(what string, data []byte, code func(*codec.Coder)) error {
	if len(data) == 0 || data[0] != version {
		return fmt.Errorf("decode %s: %w: not a version that this weft knows", what, codec.ErrMalformed)
	}
	c := codec.Reader(data[1:])
	code(c)
	if err := c.Err(); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	if n := len(c.Rest()); n > 0 {
		return fmt.Errorf("decode %s: %w: %d bytes too many", what, codec.ErrMalformed, n)
	}
	return nil
}
