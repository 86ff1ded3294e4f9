package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is what decoding returns for a frame that no peer of this
// version sends: short, over a bound, or with bytes left over.
var ErrMalformed = errors.New("malformed frame")

// coder writes a message into a frame or reads one out of it: a message says
// its fields once, in code, for both directions. Integers are varints, strings
// and byte slices carry their length, lists their count.
type coder struct {
	buf     []byte // encoding: what is written; decoding: what is left
	reading bool
	err     error
}

func (c *coder) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	c.buf = nil
}

func (c *coder) uint(v *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	x, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.fail("integer")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

func (c *coder) int(v *int64) {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, *v)
		return
	}
	x, n := binary.Varint(c.buf)
	if n <= 0 {
		c.fail("integer")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

func (c *coder) byte(v *uint8) {
	x := uint64(*v)
	c.uint(&x)
	if x > 255 {
		c.fail("small integer")
	}
	*v = uint8(x)
}

func (c *coder) uint32(v *uint32) {
	x := uint64(*v)
	c.uint(&x)
	if x > 1<<32-1 {
		c.fail("32-bit integer")
	}
	*v = uint32(x)
}

func (c *coder) bool(v *bool) {
	var x uint8
	if *v {
		x = 1
	}
	c.byte(&x)
	*v = x == 1
}

func (c *coder) string(v *string) {
	n := uint64(len(*v))
	c.uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.fail("string")
		return
	}
	*v, c.buf = string(c.buf[:n]), c.buf[n:]
}

func (c *coder) bytes(v *[]byte) {
	n := uint64(len(*v))
	c.uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.fail("bytes")
		return
	}
	*v = nil
	if n > 0 {
		*v = append([]byte(nil), c.buf[:n]...)
	}
	c.buf = c.buf[n:]
}

// list codes a slice of any element. A count larger than the bytes that are
// left is malformed, so a frame cannot make its reader allocate more than it
// carries.
func list[T any](c *coder, v *[]T, element func(*coder, *T)) {
	n := uint64(len(*v))
	c.uint(&n)
	if c.reading {
		if n > uint64(len(c.buf)) {
			c.fail("list")
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

func strings(c *coder, v *[]string) {
	list(c, v, func(c *coder, s *string) { c.string(s) })
}
