package buffer

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Granule is the unit of sizes, addresses and offsets: the page of WebAssembly.
const Granule = 64 << 10

// MaxSize is the largest segment: linear memory less one granule.
const MaxSize = 4<<30 - Granule

// Class rounds n up to the size of a segment that holds n bytes: whole granules, powers of two and three steps
// between each, so at most a quarter is wasted. It is Granule for n <= 0 and 0 for n > MaxSize.
func Class(n int64) int64 {
	if n > MaxSize {
		return 0
	}
	g := uint64(max(n, 1)+Granule-1) / Granule
	if g > 8 {
		step := uint64(1) << (bits.Len64(g-1) - 3)
		g = (g + step - 1) &^ (step - 1)
	}
	return min(int64(g)*Granule, MaxSize)
}

// RoundUp rounds n up to whole granules.
func RoundUp(n int64) int64 { return (n + Granule - 1) &^ (Granule - 1) }

// Segment is one memfd of fixed size. It is made by the node, filled by one producer, then only read. It is counted:
// the last Release gives it to its owner (the callback of OnRelease) or, without one, closes it.
type Segment struct {
	id       uint64
	fd       int
	capacity int64
	sealed   atomic.Bool
	refs     atomic.Int32
	written  atomic.Int64 // no byte from here on was ever writable since the segment was last zero
	resident atomic.Int64 // all bytes before this have memory
	owner    atomic.Pointer[func(*Segment)]
}

var (
	_ io.ReaderAt = (*Segment)(nil)
	_ io.WriterAt = (*Segment)(nil)
	_ Holder      = (*Segment)(nil)
)

const fixedSize = unix.F_SEAL_GROW | unix.F_SEAL_SHRINK

// Create makes a segment of capacity bytes, which must be a Class. It has one reference. Its pages are zero and do
// not exist until they are touched; its size can never change, and it can never be executed where the kernel has
// MFD_NOEXEC_SEAL (Linux 6.3).
func Create(id uint64, capacity int64) (*Segment, error) {
	if capacity <= 0 || capacity != Class(capacity) {
		return nil, &Error{Op: "create", Slot: segmentName(id), Kind: ErrRange,
			Detail: fmt.Sprintf("%d bytes is not a size class", capacity)}
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("weft-buffer", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("weft-buffer", flags)
	}
	if err == nil {
		if err = unix.Ftruncate(fd, capacity); err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, fixedSize)
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, &Error{Op: "create", Slot: segmentName(id), Kind: ErrSpace, Err: err}
	}
	return newSegment(id, fd, capacity, false), nil
}

// Adopt makes a segment of a received descriptor, which it owns from then on, also when it fails (it is then
// closed). The descriptor must be a memfd of exactly capacity bytes that nobody can shrink: mapped memory whose file
// shrinks kills the process that touches it.
func Adopt(fd int, id uint64, capacity int64) (*Segment, error) {
	sealed, err := inspect(fd, capacity)
	if err != nil {
		unix.Close(fd)
		return nil, &Error{Op: "adopt", Slot: segmentName(id), Kind: ErrSegment, Err: err}
	}
	s := newSegment(id, fd, capacity, sealed)
	if sealed {
		s.written.Store(capacity)
	}
	return s, nil
}

// inspect says whether fd may be mapped as a segment of capacity bytes, and whether it is sealed against writing.
func inspect(fd int, capacity int64) (sealed bool, err error) {
	if capacity <= 0 || capacity > MaxSize || capacity%Granule != 0 {
		return false, fmt.Errorf("announced size %d is not a size of segments", capacity)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return false, fmt.Errorf("descriptor is not a memfd: %w", err)
	}
	if seals&fixedSize != fixedSize {
		return false, errors.New("memfd is not sealed against growing and shrinking")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("stat: %w", err)
	}
	if st.Size != capacity {
		return false, fmt.Errorf("memfd has %d bytes, %d were announced", st.Size, capacity)
	}
	return seals&unix.F_SEAL_WRITE != 0, nil
}

func newSegment(id uint64, fd int, capacity int64, sealed bool) *Segment {
	s := &Segment{id: id, fd: fd, capacity: capacity}
	s.sealed.Store(sealed)
	s.refs.Store(1)
	return s
}

func tooLarge(op string, n int64) error {
	return &Error{Op: op, Slot: "segment", Kind: ErrTooLarge,
		Detail: fmt.Sprintf("%d bytes, a buffer has at most %d; split the value", n, int64(MaxSize))}
}

func segmentName(id uint64) string { return fmt.Sprintf("segment %d", id) }

// ID is the number that the node gave the segment; node and hosts speak of it by this.
func (s *Segment) ID() uint64 { return s.id }

// FD is the descriptor. It is the segment's: do not close it, and do not keep it beyond a reference.
func (s *Segment) FD() int { return s.fd }

// Capacity is the size in bytes; what a value uses of it is in its Value.
func (s *Segment) Capacity() int64 { return s.capacity }

// Size is what a run is charged for holding the segment: its capacity.
func (s *Segment) Size() int64 { return s.capacity }

// Seal forbids every further write, for ever and for everybody. It fails with ErrSeal while a shared writable
// mapping exists anywhere (Freeze or Clear ends one), which is what makes a sealed segment safe to read for those
// who do not trust its producer.
func (s *Segment) Seal() error {
	if s.sealed.Load() {
		return nil
	}
	for {
		_, err := unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
		switch {
		case err == nil:
			s.sealed.Store(true)
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EBUSY):
			return &Error{Op: "seal", Slot: segmentName(s.id), Kind: ErrSeal, Err: err,
				Detail: "it is still mapped writable: its producer must publish it or let it go first"}
		default:
			return &Error{Op: "seal", Slot: segmentName(s.id), Kind: ErrSeal, Err: err}
		}
	}
}

// Sealed reports whether Seal succeeded here or, for an adopted segment, before it came.
func (s *Segment) Sealed() bool { return s.sealed.Load() }

// OnRelease names the owner: f is called, once each time, when the last reference goes. Nil means close.
func (s *Segment) OnRelease(f func(*Segment)) {
	if f == nil {
		s.owner.Store(nil)
		return
	}
	s.owner.Store(&f)
}

// Retain adds a reference and returns s.
func (s *Segment) Retain() *Segment {
	if s.refs.Add(1) <= 1 {
		panic("buffer: Retain of a segment that nobody holds")
	}
	return s
}

// Release gives up a reference.
func (s *Segment) Release() {
	switch n := s.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("buffer: Release of a segment that nobody holds")
	default:
		if f := s.owner.Load(); f != nil {
			(*f)(s)
			return
		}
		s.Close()
	}
}

// Close ends the segment on this side, whatever its references: it is for the owner, to whom OnRelease gave it. Its
// pages live as long as another process holds or maps it.
func (s *Segment) Close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// grown notes that the first n bytes may have been written.
func (s *Segment) grown(n int64) { raise(&s.written, n) }

// settled notes that the first n bytes have memory.
func (s *Segment) settled(n int64) { raise(&s.resident, n) }

func raise(v *atomic.Int64, n int64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// ReadAt reads without mapping, by pread.
func (s *Segment) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, s.rangeError("read", off, int64(len(p)))
	}
	done := 0
	for done < len(p) {
		n, err := unix.Pread(s.fd, p[done:], off+int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("read %s: %w", segmentName(s.id), err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// WriteAt writes without mapping, by pwrite: for fresh pages more than twice as fast as filling a mapping.
func (s *Segment) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.capacity || int64(len(p)) > s.capacity-off {
		return 0, s.rangeError("write", off, int64(len(p)))
	}
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(s.fd, p[done:], off+int64(done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			kind := ErrSpace
			if errors.Is(err, unix.EPERM) {
				kind = ErrSeal
			}
			return done, &Error{Op: "write", Slot: segmentName(s.id), Kind: kind, Err: err}
		}
		done += n
		s.grown(off + int64(done))
	}
	return done, nil
}

func (s *Segment) rangeError(op string, off, n int64) error {
	return &Error{Op: op, Slot: segmentName(s.id), Kind: ErrRange,
		Detail: fmt.Sprintf("%d bytes at offset %d do not fit in %d", n, off, s.capacity)}
}

// Reader reads the first n bytes, from their start. It can be handed to io.Copy and to several goroutines' ReadAt.
func (s *Segment) Reader(n int64) *io.SectionReader {
	return io.NewSectionReader(s, 0, min(n, s.capacity))
}

// Fill writes what r gives, from the start of the segment to the end of r, and returns how much that was. More than
// the capacity is ErrTooSmall.
func (s *Segment) Fill(r io.Reader) (int64, error) {
	p := make([]byte, min(256<<10, s.capacity))
	var off int64
	for {
		n, err := io.ReadFull(r, p)
		if n > 0 {
			if int64(n) > s.capacity-off {
				return off, TooSmall("fill", segmentName(s.id), off+int64(n), s.capacity)
			}
			if _, werr := s.WriteAt(p[:n], off); werr != nil {
				return off, werr
			}
			off += int64(n)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return off, nil
		default:
			return off, fmt.Errorf("fill %s: %w", segmentName(s.id), err)
		}
	}
}
