package wasi

import (
	"io"

	"golang.org/x/sys/unix"
)

// Terminal is a host descriptor as a standard stream: a terminal, a pipe or a
// file that the caller was started with. Its open file may be shared with other
// processes, so nothing is set on it: a guest's NONBLOCK is kept by polling
// first. The caller keeps and closes the descriptor.
type Terminal struct{ FD int }

// Read reads from the descriptor.
func (t Terminal) Read(p []byte) (int, error) {
	n, err := unix.Read(t.FD, p)
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// Write writes to the descriptor.
func (t Terminal) Write(p []byte) (int, error) {
	n, err := unix.Write(t.FD, p)
	return max(n, 0), err
}

// Buffer is an output in memory that takes up to Limit bytes; beyond them a
// write is FBIG.
type Buffer struct {
	Limit    int  // 0: none may be written
	Exceeded bool // a write went beyond Limit
	bytes    []byte
}

// Write appends p, or as much of it as fits.
func (b *Buffer) Write(p []byte) (int, error) {
	n := min(len(p), b.Limit-len(b.bytes))
	if n < len(p) {
		b.Exceeded = true
	}
	b.bytes = append(b.bytes, p[:n]...)
	if n == 0 && len(p) > 0 {
		return 0, Efbig
	}
	return n, nil
}

// Bytes returns what was written.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { b.bytes, b.Exceeded = b.bytes[:0], false }

// input returns the object of descriptor 0.
func (s *System) input(r io.Reader) object {
	if t, ok := r.(Terminal); ok {
		return newTerminal(t.FD)
	}
	s.stdin = memoryInput{r}
	return &s.stdin
}

// out returns the object of descriptor 1 or 2, which is slot 0 or 1.
func (s *System) out(slot int, w io.Writer) object {
	if t, ok := w.(Terminal); ok {
		return newTerminal(t.FD)
	}
	s.output[slot] = memoryOutput{w}
	return &s.output[slot]
}

// memoryInput is a standard input that never blocks.
type memoryInput struct{ r io.Reader }

var _ stream = (*memoryInput)(nil)

func (m *memoryInput) filetype() Filetype { return TypeUnknown }

func (m *memoryInput) stat(st *Filestat) Errno {
	*st = Filestat{Type: TypeUnknown}
	return Success
}

func (m *memoryInput) close() Errno { return Success }
func (m *memoryInput) pollFD() int  { return -1 }

func (m *memoryInput) readv(_ *System, bufs [][]byte, _ bool) (int, Errno) {
	if m.r == nil {
		return 0, Success
	}
	total := 0
	for _, b := range bufs {
		n, err := m.r.Read(b)
		total += n
		if err != nil && err != io.EOF && total == 0 {
			return 0, toErrno(err)
		}
		if err != nil || n < len(b) {
			break
		}
	}
	return total, Success
}

func (m *memoryInput) writev(*System, [][]byte, bool) (int, Errno) { return 0, Ebadf }

// memoryOutput is a standard output that never blocks.
type memoryOutput struct{ w io.Writer }

var _ stream = (*memoryOutput)(nil)

func (m *memoryOutput) filetype() Filetype { return TypeUnknown }

func (m *memoryOutput) stat(st *Filestat) Errno {
	*st = Filestat{Type: TypeUnknown}
	return Success
}

func (m *memoryOutput) close() Errno { return Success }
func (m *memoryOutput) pollFD() int  { return -1 }

func (m *memoryOutput) readv(*System, [][]byte, bool) (int, Errno) { return 0, Ebadf }

func (m *memoryOutput) writev(_ *System, bufs [][]byte, _ bool) (int, Errno) {
	total := 0
	for _, b := range bufs {
		if m.w == nil {
			total += len(b)
			continue
		}
		n, err := m.w.Write(b)
		total += n
		if err != nil && total == 0 {
			return 0, toErrno(err)
		}
		if err != nil || n < len(b) {
			break
		}
	}
	return total, Success
}

// terminal is the object of a [Terminal].
type terminal struct {
	fd   int
	kind Filetype
}

var (
	_ stream = (*terminal)(nil)
	_ seeker = (*terminal)(nil)
)

func newTerminal(fd int) *terminal {
	t := &terminal{fd: fd}
	var st Filestat
	if t.stat(&st) == Success {
		t.kind = st.Type
	}
	return t
}

func (t *terminal) filetype() Filetype      { return t.kind }
func (t *terminal) stat(st *Filestat) Errno { return statFD(t.fd, st) }
func (t *terminal) close() Errno            { return Success }
func (t *terminal) seekable() bool          { return t.kind == TypeRegular }

func (t *terminal) pollFD() int {
	if t.seekable() {
		return -1
	}
	return t.fd
}

func (t *terminal) readv(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	if !t.seekable() {
		if e := s.wait(t.fd, unix.POLLIN, nonblock); e != Success {
			return 0, e
		}
	}
	return s.vec.readv(t.fd, bufs)
}

func (t *terminal) writev(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	if !t.seekable() {
		if e := s.wait(t.fd, unix.POLLOUT, nonblock); e != Success {
			return 0, e
		}
	}
	return s.vec.writev(t.fd, bufs)
}

// seek moves the position that the open file shares with whoever else has it,
// as a redirected standard stream should.
func (t *terminal) seek(offset int64, whence uint32) (uint64, Errno) {
	if !t.seekable() {
		return 0, Espipe
	}
	n, err := unix.Seek(t.fd, offset, int(whence))
	return uint64(n), toErrno(err)
}

// pipe is a FIFO or device that the guest opened; the kernel never blocks on
// it (O_NONBLOCK), waiting is done here.
type pipe struct {
	fd   int
	kind Filetype
}

var _ stream = (*pipe)(nil)

func (p *pipe) filetype() Filetype      { return p.kind }
func (p *pipe) stat(st *Filestat) Errno { return statFD(p.fd, st) }
func (p *pipe) close() Errno            { return toErrno(unix.Close(p.fd)) }
func (p *pipe) pollFD() int             { return p.fd }

func (p *pipe) readv(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	return s.untilReady(p.fd, unix.POLLIN, nonblock, func() (int, Errno) { return s.vec.readv(p.fd, bufs) })
}

func (p *pipe) writev(s *System, bufs [][]byte, nonblock bool) (int, Errno) {
	return s.untilReady(p.fd, unix.POLLOUT, nonblock, func() (int, Errno) { return s.vec.writev(p.fd, bufs) })
}

// untilReady makes a call on a descriptor that does not block, and when there
// is nothing to do yet, waits and makes it again, unless the guest asked not to.
func (s *System) untilReady(fd int, events int16, nonblock bool, call func() (int, Errno)) (int, Errno) {
	for {
		n, e := call()
		if e != Eagain || nonblock {
			return n, e
		}
		if e := s.wait(fd, events, false); e != Success {
			return 0, e
		}
	}
}
