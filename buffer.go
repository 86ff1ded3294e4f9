package weft

import (
	"sync"
	"time"
)

// Buffer is memory to fill and then publish. What [Alloc] returns is shared memory already, so publishing it copies
// nothing.
type Buffer struct {
	data []byte
	win  *window // nil below InlineSize
}

// Alloc returns a zeroed buffer of n bytes. Of buffers below 16 KiB, publishing makes a copy, which costs less than
// sharing them. The error is [ErrQuota] when the run may not hold as much data.
func Alloc(n int) (*Buffer, error) {
	if n < inlineSize {
		return &Buffer{data: words(n)}, nil
	}
	w, e := fresh(n)
	if e != 0 {
		return nil, failure("allocate", "buffer", e)
	}
	return &Buffer{data: w.bytes(n), win: w}, nil
}

// Bytes is the memory of the buffer.
func (b *Buffer) Bytes() []byte { return b.data }

// Truncate makes the buffer n bytes long, so that what is published is only as long as what was filled. It panics when
// n is negative or larger than the buffer.
func (b *Buffer) Truncate(n int) { b.data = b.data[:n] }

// Publish makes the contents of the buffer the value of a slot. They can be read afterwards, and are never seen to
// change by anybody: a later write to Bytes stays private to the function.
func (b *Buffer) Publish(slot string) error { return Put(slot, b.data) }

// Release gives the memory of the buffer up, published or not. Bytes must not be used any more.
func (b *Buffer) Release() error {
	w := b.win
	b.data, b.win = nil, nil
	return w.release()
}

// View is the value of a slot as the reader sees it.
type View struct {
	data []byte
	win  *window // nil below InlineSize
}

// Take reads a slot and consumes it: nobody else can take it afterwards.
func Take(slot string) (*View, error) { return read("take", slot, 0) }

// Borrow reads a slot and leaves it for others.
func Borrow(slot string) (*View, error) { return read("borrow", slot, 0) }

// Bytes is the value. Writing to it is allowed, and changes this view alone.
func (v *View) Bytes() []byte { return v.data }

// Publish makes the view the value of another slot. Nothing is copied when it was not written to.
func (v *View) Publish(slot string) error { return Put(slot, v.data) }

// Release gives the view up. Bytes must not be used any more.
func (v *View) Release() error {
	w := v.win
	v.data, v.win = nil, nil
	return w.release()
}

// Put publishes data as the value of a slot. It copies data, unless that is the whole or a beginning of a [Buffer] or
// a [View].
func Put(slot string, data []byte) error { return put(slot, 0, data) }

// Wait returns when the slot is published. A negative timeout means no limit other than the function's own. The error
// is [ErrTimeout], or [ErrDeadlock] when everybody who could publish it is waiting as well.
func Wait(slot string, timeout time.Duration) error {
	return failure("wait for", slot, hostWait(slot, int64(timeout)))
}

// Len is the size of the value of a slot in bytes.
func Len(slot string) (int64, error) {
	size, _, e := hostLen(slot)
	return int64(size), failure("look up", slot, e)
}

// put publishes data with the fingerprint of its type, 0 for none.
func put(slot string, typ uint64, data []byte) error {
	return failure("publish", slot, hostPut(slot, typ, pointer(data), len(data)))
}

// fresh returns a window of at least n bytes that shows a new buffer.
func fresh(n int) (*window, errno) {
	if d := connected(); d != nil {
		return d.alloc(n)
	}
	w := reserve(n, true)
	if e := hostAlloc(w.start(), w.size); e != 0 {
		w.recycle()
		return nil, e
	}
	w.show()
	return w, 0
}

// scratch holds memory for values that are small enough to be copied.
var scratch = sync.Pool{New: func() any { b := words(inlineSize); return &b }}

// read takes or borrows a slot whose type must be typ, 0 for any.
func read(operation, slot string, typ uint64) (*View, error) {
	if d := connected(); d != nil {
		data, w, e := d.read(slot, typ, operation == "take")
		if e != 0 {
			return nil, failure(operation, slot, e)
		}
		return &View{data: data, win: w}, nil
	}
	host := hostTake
	if operation == "borrow" {
		host = hostBorrow
	}
	// Most values are small and come with the first call. A longer one says its length, and from then on the memory may
	// grow for its window.
	small := scratch.Get().(*[]byte)
	defer scratch.Put(small)
	size, e := host(slot, typ, pointer(*small), len(*small))
	if e == 0 {
		data := words(size)
		copy(data, *small)
		return &View{data: data}, nil
	}
	if e != errnoOverflow {
		return nil, failure(operation, slot, e)
	}
	if size > maxSize {
		return nil, failure(operation, slot, errnoNoMemory)
	}
	w := reserve(size, false)
	n, e := host(slot, typ, w.start(), w.size)
	if e != 0 {
		w.recycle()
		return nil, failure(operation, slot, e)
	}
	w.show()
	return &View{data: w.bytes(n), win: w}, nil
}
