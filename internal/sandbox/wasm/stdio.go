package wasm

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wasm/wasi"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// input is what a call reads as standard input.
type input = io.Reader

// stdin opens the standard input of a call: its input, or the bytes of a slot,
// which the call borrows.
func (c *call) stdin(fds []int) (input, error) {
	if c.start.Long > 0 && len(fds) == 1 {
		return io.NewSectionReader(descriptor(fds[0]), 0, c.start.Long), nil
	}
	if c.start.Stdin == "" {
		return bytes.NewReader(c.start.Input), nil
	}
	full, v, err := c.find(c.start.Stdin, 0)
	if err == nil {
		v, err = c.get(full, 0, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open standard input: %w", err)
	}
	switch h := v.Holder.(type) {
	case *buffer.Segment:
		return h.Reader(v.Len), nil
	case *buffer.File:
		b := make([]byte, v.Len)
		if _, err := h.Load(b); err != nil {
			return nil, fmt.Errorf("open standard input: %w", err)
		}
		return bytes.NewReader(b), nil
	default:
		return bytes.NewReader(h.(*buffer.Inline).Bytes), nil
	}
}

// descriptor reads a memory file without owning it.
type descriptor int

func (d descriptor) ReadAt(p []byte, off int64) (int, error) {
	n, err := unix.Pread(int(d), p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return max(n, 0), err
}

// capture is standard output: in memory up to what fits beside Done, beyond
// that in a segment that doubles as it fills.
type capture struct {
	call  *call
	small []byte
	large *buffer.Segment
	n     int64
	over  bool
}

// Write keeps p, or refuses it when the output would be over its limit.
func (o *capture) Write(p []byte) (int, error) {
	n := o.n + int64(len(p))
	if n > o.call.fn.MaxOutput {
		o.over = true
		return 0, wasi.Efbig
	}
	if o.large == nil && n <= wire.InlineMax && o.call.fn.Output != wire.OutputBytes {
		o.small = append(o.small, p...)
		o.n = n
		return len(p), nil
	}
	if o.large == nil || n > o.large.Capacity() {
		if err := o.spill(n); err != nil {
			return 0, errnoOf(err)
		}
	}
	if _, err := o.large.WriteAt(p, o.n); err != nil {
		return 0, errnoOf(err)
	}
	o.n = n
	return len(p), nil
}

// spill moves the output to a segment with room for n bytes and as many more.
func (o *capture) spill(n int64) error {
	s, err := o.call.segment(min(max(2*n, 1<<20), buffer.MaxSize))
	if err != nil {
		return err
	}
	if o.large == nil {
		_, err = s.WriteAt(o.small, 0)
	} else {
		_, err = io.Copy(io.NewOffsetWriter(s, 0), o.large.Reader(o.n))
		o.large.Release()
	}
	o.large, o.small = s, nil
	return err
}

// finish hands the output over to Done. A long one is published as slot
// "stdout" of the step.
func (o *capture) finish(done *wire.Done) error {
	if o.over {
		if o.large != nil {
			o.large.Release()
		}
		return fmt.Errorf("standard output is longer than %d bytes; raise max_output, or put a buffer", o.call.fn.MaxOutput)
	}
	if o.large == nil {
		done.Output = o.small
		return nil
	}
	v := buffer.Value{Holder: o.large, Len: o.n}
	o.call.mu.Lock()
	err := o.call.table.Put(o.call.attempt, "stdout", v)
	o.call.mu.Unlock()
	if err != nil {
		o.large.Release()
		return err
	}
	done.Spilled = wireValue(v)
	return nil
}

// publishOverflow sends ahead the puts that do not fit into Done.
func (c *call) publishOverflow(done *wire.Done) {
	room := wire.FrameMax - wire.InlineMax - (16 << 10)
	size := len(done.Output)
	kept := done.Puts[:0:0]
	for _, p := range done.Puts {
		n := len(p.Value.Inline) + len(p.Name) + 64
		if size += n; size > room {
			c.host.conn.Send(&wire.Published{Call: c.start.Call, Puts: kept})
			kept, size = nil, n
		}
		kept = append(kept, p)
	}
	done.Puts = kept
	done.Moved = done.Moved[:min(len(done.Moved), maxMoved)]
}

// maxMoved bounds the hand-overs that a call reports for the trace.
const maxMoved = 200

// logger is standard error: it goes to the node as it is written, up to a
// bound.
type logger struct {
	call *call
	n    int
	full bool
}

// maxLog bounds what one call may write to standard error, in bytes.
const maxLog = 1 << 20

func (l *logger) Write(p []byte) (int, error) {
	n := len(p)
	if l.full {
		return n, nil
	}
	if l.n+len(p) > maxLog {
		l.full = true
		p = append(bytes.Clone(p[:maxLog-l.n]), "\n… more than 1 MiB of log: the rest is dropped\n"...)
	}
	l.n += len(p)
	for chunk := range chunks(p, wire.InlineMax) {
		if err := l.call.host.conn.Send(&wire.Log{Call: l.call.start.Call, Text: chunk}); err != nil {
			return 0, wasi.Eio
		}
	}
	return n, nil
}

func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			k := min(size, len(p))
			if !yield(p[:k]) {
				return
			}
			p = p[k:]
		}
	}
}
