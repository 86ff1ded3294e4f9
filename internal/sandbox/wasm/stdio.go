package wasm

import (
	"bytes"
	"fmt"
	"io"
	"math"

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
	if c.start.Long > 0 && len(fds) > 0 {
		return io.NewSectionReader(descriptor(fds[0]), 0, c.start.Long), nil
	}
	if c.start.Stdin == "" {
		return bytes.NewReader(c.start.Input), nil
	}
	_, v, err := c.obtain(c.start.Stdin, 0, math.MaxInt64, false)
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
	err   error // why a part of the output is missing
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
			o.err = err
			return 0, errnoOf(err)
		}
	}
	if _, err := o.large.WriteAt(p, o.n); err != nil {
		o.err = err
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

// finish hands the output over to Done. A long one, and one of bytes, is
// published as slot "stdout" of the step.
func (o *capture) finish(done *wire.Done) error {
	var v buffer.Value
	var err error
	switch {
	case o.over:
		err = fmt.Errorf("standard output is longer than %d bytes; raise max_output, or put a buffer", o.call.fn.MaxOutput)
	case o.err != nil:
		err = fmt.Errorf("standard output is incomplete after %d bytes: %w", o.n, o.err)
	case o.large != nil:
		v = buffer.Value{Holder: o.large, Len: o.n}
	case o.call.fn.Output == wire.OutputBytes:
		v = buffer.Value{Holder: &buffer.Inline{}}
	default:
		done.Output = o.small
		return nil
	}
	if err == nil && o.call.start.Single && o.large != nil {
		o.large.OnRelease(o.call.discard) // the node reads it when the call is gone
	}
	if err == nil {
		o.call.mu.Lock()
		err = o.call.table.Put(o.call.attempt, "stdout", v)
		o.call.mu.Unlock()
	}
	switch {
	case err == nil && o.large == nil:
		o.call.puts = append(o.call.puts, wire.Put{Name: "stdout", Value: wireValue(v)})
	case err == nil:
		done.Spilled, o.large = wireValue(v), nil
	}
	return err
}

// abandon gives up an output that was not handed over.
func (o *capture) abandon() {
	if o.large != nil {
		o.large.Release()
		o.large = nil
	}
}

// publishOverflow sends ahead the puts and takes that do not fit into Done, and
// shortens what is for people to read: a Done that is too long for a frame would
// never arrive.
func (c *call) publishOverflow(done *wire.Done) {
	const room = 32 << 10 // beside the output and all that is bounded below
	ahead := &wire.Published{Call: c.start.Call}
	size := 0
	add := func(n int) {
		if size += n + 64; size > room {
			c.host.conn.Send(ahead)
			ahead, size = &wire.Published{Call: c.start.Call}, n+64
		}
	}
	for _, p := range done.Puts {
		add(len(p.Value.Inline) + len(p.Name) + len(p.Value.File))
		ahead.Puts = append(ahead.Puts, p)
	}
	for _, name := range done.Takes {
		add(len(name))
		ahead.Takes = append(ahead.Takes, name)
	}
	done.Puts, done.Takes = ahead.Puts, ahead.Takes
	done.Message = shorten(done.Message, 4<<10)
	for i := range done.Frames {
		done.Frames[i].Function = shorten(done.Frames[i].Function, 256)
	}
	for i := range done.Moved {
		done.Moved[i].Name = shorten(done.Moved[i].Name, 128)
	}
}

// maxMoved bounds the hand-overs that a call reports for the trace.
const maxMoved = 200

// maxSlots bounds the slots that a call may publish, and those that it may take:
// the smallest use memory of host and node that no quota counts.
const maxSlots = 1 << 16

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil)) + "…"
}

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
