// Package codec writes fields into bytes and reads them back. A type says its
// fields once, in code, for both directions:
//
//	func (p *point) code(c *codec.Coder) {
//		c.Int(&p.x)
//		c.String(&p.name)
//	}
//
//	c := codec.Writer(buf)       // append to buf
//	p.code(c)
//	buf = c.Rest()
//
//	c = codec.Reader(buf)
//	p.code(c)
//	rest, err := c.Rest(), c.Err()
//
// Integers are varints, strings and byte slices carry their length, lists their
// count.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is what reading fails with: the bytes are too few, or over a bound.
var ErrMalformed = errors.New("malformed frame")

// Coder writes fields into bytes, or reads them out of bytes.
type Coder struct {
	buf     []byte // writing: what is written; reading: what is left
	reading bool
	err     error
}

// Writer makes a Coder that appends to buf.
func Writer(buf []byte) *Coder { return &Coder{buf: buf} }

// Reader makes a Coder that reads buf.
func Reader(buf []byte) *Coder { return &Coder{buf: buf, reading: true} }

// Reading reports whether fields are read.
func (c *Coder) Reading() bool { return c.reading }

// Rest is what was written, or what is left to be read.
func (c *Coder) Rest() []byte { return c.buf }

// Err is what reading has failed with, an ErrMalformed.
func (c *Coder) Err() error { return c.err }

// Fail ends reading: what was read cannot be.
func (c *Coder) Fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	c.buf = nil
}

// Uint codes an unsigned integer.
func (c *Coder) Uint(v *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	x, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.Fail("integer")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

// Int codes an integer.
func (c *Coder) Int(v *int64) {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, *v)
		return
	}
	x, n := binary.Varint(c.buf)
	if n <= 0 {
		c.Fail("integer")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

// Byte codes a small integer.
func (c *Coder) Byte(v *uint8) {
	x := uint64(*v)
	c.Uint(&x)
	if x > 255 {
		c.Fail("small integer")
	}
	*v = uint8(x)
}

// Uint32 codes an unsigned integer of 32 bits.
func (c *Coder) Uint32(v *uint32) {
	x := uint64(*v)
	c.Uint(&x)
	if x > 1<<32-1 {
		c.Fail("32-bit integer")
	}
	*v = uint32(x)
}

// Bool codes a truth value.
func (c *Coder) Bool(v *bool) {
	var x uint8
	if *v {
		x = 1
	}
	c.Byte(&x)
	*v = x == 1
}

// String codes text.
func (c *Coder) String(v *string) {
	n := uint64(len(*v))
	c.Uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.Fail("string")
		return
	}
	*v, c.buf = string(c.buf[:n]), c.buf[n:]
}

// Bytes codes bytes; empty ones are read as nil.
func (c *Coder) Bytes(v *[]byte) {
	n := uint64(len(*v))
	c.Uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.Fail("bytes")
		return
	}
	*v = nil
	if n > 0 {
		*v = append([]byte(nil), c.buf[:n]...)
	}
	c.buf = c.buf[n:]
}

// List codes a slice of any element. A count larger than the bytes that are
// left is malformed, so a frame cannot make its reader allocate more than it
// carries.
func List[T any](c *Coder, v *[]T, element func(*Coder, *T)) {
	n := uint64(len(*v))
	c.Uint(&n)
	if c.reading {
		if n > uint64(len(c.buf)) {
			c.Fail("list")
			return
		}
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		element(c, &(*v)[i])
	}
}

// Strings codes a list of texts.
func Strings(c *Coder, v *[]string) {
	List(c, v, func(c *Coder, s *string) { c.String(s) })
}
