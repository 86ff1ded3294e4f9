package domain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
)

// Body is a value from outside in memory, such as the body of a request: large
// ones in a memory file. Close it.
type Body struct {
	Size   int64
	holder buffer.Holder
}

// Body reads r to its end, at most max bytes. size is how much that is, -1 where
// it is not known. More than max is buffer.ErrTooLarge.
func (p *Pool) Body(r io.Reader, size, max int64) (*Body, error) {
	h, n, err := p.fill(r, size, max)
	if err != nil {
		return nil, err
	}
	return &Body{Size: n, holder: h}, nil
}

// Inline returns the bytes, if they are few; nil otherwise.
func (b *Body) Inline() []byte {
	if in, ok := b.holder.(*buffer.Inline); ok {
		return in.Bytes
	}
	return nil
}

// Reader reads the bytes from their start.
func (b *Body) Reader() io.Reader { return reader(b.holder, b.Size) }

// Close frees the memory, once nobody reads it any more.
func (b *Body) Close() {
	drop(b.holder)
	b.holder = &buffer.Inline{}
}

// inlineMax is up to how many bytes a value from outside is kept in ordinary
// memory and travels inside messages.
const inlineMax = 16 << 10

// fill reads r to its end into a holder that belongs to no table yet.
func (p *Pool) fill(r io.Reader, size, most int64) (buffer.Holder, int64, error) {
	tooLarge := func(n int64) error {
		return &buffer.Error{Op: "fill", Slot: "buffer", Kind: buffer.ErrTooLarge, Detail: fmt.Sprintf("it has %d bytes or more, at most %d are allowed", n, most)}
	}
	if size > most {
		return nil, 0, tooLarge(size)
	}
	room := min(inlineMax, most) + 1
	if size >= 0 {
		room = min(room, size+1)
	}
	first := make([]byte, room)
	n, err := io.ReadFull(r, first)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &buffer.Inline{Bytes: first[:n:n]}, int64(n), nil
	case err != nil:
		return nil, 0, fmt.Errorf("fill buffer: %w", err)
	case int64(n) > most:
		return nil, 0, tooLarge(int64(n))
	}
	s, err := p.supply.Get(max(size, 1<<20))
	if err != nil {
		return nil, 0, err
	}
	at := int64(n)
	if _, err = s.WriteAt(first, 0); err != nil {
		s.Release()
		return nil, 0, err
	}
	piece := make([]byte, 64<<10)
	for {
		n, rerr := io.ReadFull(r, piece)
		if at+int64(n) > most {
			err = tooLarge(at + int64(n))
		} else if at+int64(n) > s.Capacity() {
			s, err = p.larger(s, at, at+int64(n))
		}
		if err == nil && n > 0 {
			_, err = s.WriteAt(piece[:n], at)
			at += int64(n)
		}
		end := errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF)
		if err == nil && rerr != nil && !end {
			err = fmt.Errorf("fill buffer: %w", rerr)
		}
		if err == nil && end {
			err = s.Seal()
		}
		switch {
		case err != nil:
			s.Release()
			return nil, 0, err
		case end:
			return s, at, nil
		}
	}
}

// larger moves the first n bytes of a segment to one of twice the size, which
// has room for need. On an error the segment is as it was.
func (p *Pool) larger(s *buffer.Segment, n, need int64) (*buffer.Segment, error) {
	if need > buffer.MaxSize {
		return s, &buffer.Error{Op: "fill", Slot: "buffer", Kind: buffer.ErrTooLarge, Detail: "a buffer has at most 4 GiB: split the value"}
	}
	next, err := p.supply.Get(min(max(2*s.Capacity(), need), buffer.MaxSize))
	if err != nil {
		return s, err
	}
	if _, err := io.Copy(io.NewOffsetWriter(next, 0), s.Reader(n)); err != nil {
		next.Release()
		return s, err
	}
	s.Release()
	return next, nil
}

// secretFile puts bytes into a memory file that can neither be written nor
// changed in length, and returns a descriptor that can only read.
func secretFile(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("secret", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	w := os.NewFile(uintptr(fd), "secret")
	defer w.Close()
	if err := w.Chmod(0o444); err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("fill memory file: %w", err)
	}
	const seals = unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal memory file: %w", err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(w.Fd())))
}
