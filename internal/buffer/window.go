package buffer

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A window is a range of a sandbox's linear memory that shows a segment. The functions here replace the mapping of
// such a range, in place; the addresses are those of memory that the caller mapped and that Go does not manage.
//
// Relied on, from mmap(2): MAP_FIXED replaces what was mapped, in one step as other threads see it. MAP_PRIVATE of a
// file shares its pages until a page is written, and then copies that page. From memfd_create(2) and fcntl(2):
// F_SEAL_WRITE is refused while a shared mapping exists that could be written, whatever its present protection; so a
// published range has to be mapped anew, mprotect is not enough. From madvise(2): MADV_POPULATE_READ (Linux 5.14)
// maps pages without touching their content; MADV_COLLAPSE (Linux 6.1) gathers the small pages of a memfd in a huge
// one, also where shmem_enabled is "never".
//
// After any error of these functions the range may be unmapped: end the sandbox that it belongs to.

// HugePage is what the kernel can map by one entry of the second-lowest page table, in bytes, where both the address
// and the offset in the segment are multiples of it. An allocation of at least this much that is aligned to it is
// produced, published and taken at a fraction of the cost.
const HugePage = 2 << 20

const readWrite = unix.PROT_READ | unix.PROT_WRITE

// MapWritable places the first length bytes of s at addr, shared and writable: the producer's window. There must be
// one producer, and the segment must not be sealed. Populate makes all of the range resident now, in huge pages where
// the address is a multiple of 2 MiB: several times cheaper than touching it later; leave it out only where little
// of the range will be used.
func MapWritable(addr uintptr, s *Segment, length int64, populate bool) error {
	const op = "map writable"
	if err := checkWindow(op, addr, s, length); err != nil {
		return err
	}
	if s.sealed.Load() {
		return &Error{Op: op, Slot: segmentName(s.id), Kind: ErrSeal, Detail: "it is published and can only be viewed"}
	}
	s.grown(length)
	if err := mapFixed(addr, length, unix.MAP_SHARED, s.fd); err != nil {
		return windowError(op, s, err)
	}
	if !populate {
		return nil
	}
	if err := makeResident(addr, s, length); err != nil {
		return windowError(op, s, err)
	}
	return nil
}

// MapView places the first length bytes of s at addr as a private view: a reader's window. It costs about a
// microsecond whatever the length. What the reader writes goes to pages of its own (see Dirtied). Populate maps all
// pages at once; the kernel maps sixteen around each touched one anyway, so this gains nothing for whoever reads from
// front to back.
func MapView(addr uintptr, s *Segment, length int64, populate bool) error {
	const op = "map view"
	if err := checkWindow(op, addr, s, length); err != nil {
		return err
	}
	// Not MAP_POPULATE: for a private writable mapping it copies every page.
	if err := mapFixed(addr, length, unix.MAP_PRIVATE|unix.MAP_NORESERVE, s.fd); err != nil {
		return windowError(op, s, err)
	}
	if populate {
		if err := advise(addr, length, unix.MADV_POPULATE_READ); err != nil && !errors.Is(err, unix.EINVAL) {
			return windowError(op, s, err)
		}
	}
	return nil
}

// Freeze turns the writable window at addr into a private view of the same bytes: the producer can still read them,
// and nobody can change them through this window any more. After it the segment can be sealed.
func Freeze(addr uintptr, s *Segment, length int64) error {
	const op = "freeze"
	if err := checkWindow(op, addr, s, length); err != nil {
		return err
	}
	if err := mapFixed(addr, length, unix.MAP_PRIVATE|unix.MAP_NORESERVE, s.fd); err != nil {
		return windowError(op, s, err)
	}
	return nil
}

// Clear makes the range ordinary memory again, zero and not resident. Every window has to be cleared before its
// memory serves another sandbox: a window that stays shows the next one what this one was given.
func Clear(addr uintptr, length int64) error {
	if err := checkRange("clear", addr, length); err != nil {
		return err
	}
	err := mapFixed(addr, length, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, -1)
	if err != nil {
		return &Error{Op: "clear", Slot: fmt.Sprintf("window %#x", addr), Kind: ErrSpace, Err: err}
	}
	return nil
}

func checkRange(op string, addr uintptr, length int64) error {
	if addr == 0 || addr%Granule != 0 || length <= 0 || length%Granule != 0 {
		return &Error{Op: op, Slot: fmt.Sprintf("window %#x", addr), Kind: ErrRange,
			Detail: fmt.Sprintf("address and length (%d) must be multiples of %d", length, Granule)}
	}
	return nil
}

func checkWindow(op string, addr uintptr, s *Segment, length int64) error {
	if err := checkRange(op, addr, length); err != nil {
		return err
	}
	if length > s.capacity {
		return s.rangeError(op, 0, length)
	}
	return nil
}

func windowError(op string, s *Segment, err error) error {
	kind := ErrSpace
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		kind = ErrSeal
	}
	return &Error{Op: op, Slot: segmentName(s.id), Kind: kind, Err: err}
}

// mapFixed is mmap(2) with MAP_FIXED at offset 0. The address stays an integer: it never belongs to Go's heap.
func mapFixed(addr uintptr, length int64, flags int, fd int) error {
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, addr, uintptr(length), readWrite,
		uintptr(flags|unix.MAP_FIXED), uintptr(fd), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// advise is madvise(2), repeated while it is interrupted.
func advise(addr uintptr, length int64, advice int) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, addr, uintptr(length), uintptr(advice))
		switch errno {
		case 0:
			return nil
		case unix.EINTR, unix.EAGAIN:
			if advice == unix.MADV_COLLAPSE {
				return errno
			}
		default:
			return errno
		}
	}
}

// makeResident gives every page of the writable window at addr its memory. Blocks of 2 MiB that have none yet become
// huge pages: each is given one small page, because MADV_COLLAPSE passes over what is quite empty, and the collapse
// fills the rest with zeros. Where this kernel or this address cannot do that, small pages serve.
func makeResident(addr uintptr, s *Segment, length int64) error {
	resident := s.resident.Load()
	if resident < length && addr%HugePage == 0 {
		from := (resident + HugePage - 1) &^ (HugePage - 1)
		to := length &^ (HugePage - 1)
		if from < to {
			collapse(addr, s, from, to)
		}
	}
	// A read fault maps sixteen pages at once, and in a shared mapping of a memfd they are writable, so populating
	// for reading is the cheaper way also for a writer.
	if err := advise(addr, length, unix.MADV_POPULATE_READ); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return nil // before Linux 5.14: pages come as they are touched
		}
		return err
	}
	s.settled(length)
	return nil
}

// collapse tries to back [from, to) by huge pages. Failing is harmless.
func collapse(addr uintptr, s *Segment, from, to int64) {
	for off := from; off < to; off += HugePage {
		if unix.Fallocate(s.fd, 0, off, 1) != nil {
			return
		}
	}
	_ = advise(addr+uintptr(from), to-from, unix.MADV_COLLAPSE)
}

// scratch is a range of this process's memory in which the package itself maps segments, to zero or to warm them.
type scratch struct {
	memory []byte  // as mapped
	addr   uintptr // first multiple of HugePage in it
	bytes  []byte  // scratchSize bytes from addr
}

const scratchSize = 32 << 20

func newScratch() (*scratch, error) {
	m, err := unix.Mmap(-1, 0, scratchSize+HugePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve scratch memory: %w", err)
	}
	start := uintptr(unsafe.Pointer(&m[0]))
	skip := (HugePage - start%HugePage) % HugePage
	return &scratch{memory: m, addr: start + skip, bytes: m[skip : skip+scratchSize : skip+scratchSize]}, nil
}

// zeros is never written, so that its pages are all the kernel's one page of zeros.
var zeros [1 << 20]byte

// each maps the first n bytes of s, piece by piece, calls f with every piece, and leaves the scratch empty.
func (c *scratch) each(s *Segment, n int64, f func(addr uintptr, piece []byte, off int64) error) error {
	for off := int64(0); off < n; off += scratchSize {
		length := min(RoundUp(n-off), scratchSize)
		err := c.show(s, off, length)
		if err == nil {
			err = f(c.addr, c.bytes[:length], off)
		}
		_, _, errno := unix.Syscall6(unix.SYS_MMAP, c.addr, uintptr(length), unix.PROT_NONE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED, ^uintptr(0), 0)
		if err != nil {
			return err
		}
		if errno != 0 {
			return errno
		}
	}
	return nil
}

// show maps length bytes of s into the scratch, for this process only. Go forks without CLONE_VM where a child gets a
// user namespace: the child would have the mapping too, until it runs its program or is gone, and the segment could
// not be sealed for so long.
func (c *scratch) show(s *Segment, off, length int64) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, c.addr, uintptr(length), readWrite,
		unix.MAP_SHARED|unix.MAP_FIXED, uintptr(s.fd), uintptr(off))
	if errno != 0 {
		return errno
	}
	return advise(c.addr, length, unix.MADV_DONTFORK)
}

// zero writes zeros over what may have been written; pages stay resident. Up to a megabyte pwrite is the faster way,
// above it a mapping is, because clearing memory does not read it first.
func (c *scratch) zero(s *Segment) error {
	n := s.written.Load()
	if n <= int64(len(zeros)) {
		if _, err := s.WriteAt(zeros[:n], 0); err != nil {
			return err
		}
		s.settled(n)
		s.written.Store(0)
		return nil
	}
	err := c.each(s, n, func(addr uintptr, piece []byte, _ int64) error {
		_ = advise(addr, int64(len(piece)), unix.MADV_POPULATE_READ)
		clear(piece)
		return nil
	})
	if err == nil {
		s.settled(n)
		s.written.Store(0)
	}
	return err
}

// warm makes the whole of a fresh segment resident.
func (c *scratch) warm(s *Segment) error {
	err := c.each(s, s.capacity, func(addr uintptr, piece []byte, off int64) error {
		n := int64(len(piece))
		for b := int64(0); b+HugePage <= n; b += HugePage {
			if err := unix.Fallocate(s.fd, 0, off+b, 1); err != nil {
				return err
			}
		}
		if whole := n &^ (HugePage - 1); whole > 0 {
			_ = advise(addr, whole, unix.MADV_COLLAPSE)
		}
		return advise(addr, n, unix.MADV_POPULATE_READ)
	})
	if err == nil {
		s.settled(s.capacity)
	}
	return err
}

func (c *scratch) close() {
	if c.memory != nil {
		unix.Munmap(c.memory)
		c.memory = nil
	}
}
