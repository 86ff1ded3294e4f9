package weft

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"
)

// mapped is the buffer behind a window of a native function: a memory file that the node made.
//
// While it is being filled the window is a shared mapping. Nobody may be able to write what has been published, so
// before that the window becomes a private mapping of the same pages, at the same place: what is written from then on
// is a copy of this process. Views are private mappings from the beginning. A private mapping that nobody has written
// to still shows the segment, and can be published again by its number.
type mapped struct {
	control *control
	segment uint64
	file    int // while it is being filled; then -1. Guarded by control.mapping
}

// alloc maps a new buffer.
func (c *control) alloc(n int) (*window, errno) {
	if w := c.reuse(n); w != nil {
		w.show()
		return w, 0
	}
	a, e := c.ask(packet{op: opNeed, size: uint64(n)})
	if e != 0 {
		return nil, e
	}
	if a.file < 0 {
		return nil, errnoIO
	}
	memory, err := syscall.Mmap(a.file, 0, int(a.size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		syscall.Close(a.file)
		return nil, errnoNoMemory
	}
	w := &window{memory: memory, size: len(memory), mapped: &mapped{control: c, segment: a.segment, file: a.file}}
	w.show()
	return w, 0
}

// reuse returns a buffer that was given up before it was published, empty.
func (c *control) reuse(n int) *window {
	c.mapping.Lock()
	defer c.mapping.Unlock()
	for i, w := range c.spare {
		if w.size >= n && w.size/2 <= max(n, pageSize) {
			c.spare = append(c.spare[:i], c.spare[i+1:]...)
			return w
		}
	}
	return nil
}

// read takes or borrows a slot. Small values come in the answer.
func (c *control) read(slot string, typ uint64, consume bool) ([]byte, *window, errno) {
	p := packet{op: opBorrow, name: slot, typ: typ}
	if consume {
		p.op = opTake
	}
	a, e := c.ask(p)
	if e != 0 {
		return nil, nil, e
	}
	if a.file < 0 {
		data := words(len(a.data)) // aligned for any type
		copy(data, a.data)
		return data, nil, 0
	}
	defer syscall.Close(a.file)
	if a.size == 0 {
		return nil, nil, 0
	}
	if a.size > maxSize {
		return nil, nil, errnoNoMemory
	}
	memory, err := syscall.Mmap(a.file, 0, int(a.size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, errnoNoMemory
	}
	w := &window{memory: memory, size: len(memory), mapped: &mapped{control: c, segment: a.segment, file: -1}}
	w.show()
	return w.bytes(w.size), w, 0
}

// put publishes data: the beginning of a window by reference, anything else as a copy.
func (c *control) put(slot string, typ uint64, data []byte) errno {
	if w := windowAt(pointer(data)); w != nil && w.mapped != nil && len(data) >= inlineSize && len(data) <= w.size && w.mapped.settle(w) {
		_, e := c.ask(packet{op: opPut, name: slot, size: uint64(len(data)), typ: typ, segment: w.mapped.segment})
		return e
	}
	if len(data) <= inlineMax {
		_, e := c.ask(packet{op: opPut, name: slot, size: uint64(len(data)), typ: typ, data: data})
		return e
	}
	a, e := c.ask(packet{op: opNeed, size: uint64(len(data))})
	if e != 0 {
		return e
	}
	if a.file < 0 {
		return errnoIO
	}
	defer syscall.Close(a.file)
	for done := 0; done < len(data); { // faster for fresh pages than filling a mapping
		n, err := syscall.Pwrite(a.file, data[done:], int64(done))
		switch {
		case err == syscall.EINTR:
		case err != nil || n == 0:
			return errnoNoSpace
		}
		done += max(n, 0)
	}
	_, e = c.ask(packet{op: opPut, name: slot, size: uint64(len(data)), typ: typ, segment: a.segment})
	return e
}

// settle makes sure that the window shows the segment and that nobody here can write to that; false when the window has
// been written to since.
func (m *mapped) settle(w *window) bool {
	m.control.mapping.Lock()
	defer m.control.mapping.Unlock()
	if m.file < 0 {
		return !written(w.memory)
	}
	// Linux, mmap(2): MAP_FIXED replaces the pages of a mapping in one step.
	_, _, failed := syscall.Syscall6(syscall.SYS_MMAP, uintptr(w.start()), uintptr(w.size), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_FIXED, uintptr(m.file), 0)
	if failed != 0 {
		return false
	}
	syscall.Close(m.file)
	m.file = -1
	return true
}

const (
	spareMax = 8 // buffers kept that were not published

	punchHole = 0x02 // FALLOC_FL_PUNCH_HOLE
	keepSize  = 0x01 // FALLOC_FL_KEEP_SIZE
)

// release gives the window up. One that was never published is kept, without memory, for the next buffer of about its
// size: the run is charged for it until the call ends.
func (m *mapped) release(w *window) {
	c := m.control
	c.mapping.Lock()
	defer c.mapping.Unlock()
	if m.file >= 0 && len(c.spare) < spareMax && syscall.Fallocate(m.file, punchHole|keepSize, 0, int64(w.size)) == nil {
		c.spare = append(c.spare, w)
		return
	}
	if m.file >= 0 {
		syscall.Close(m.file)
	}
	syscall.Munmap(w.memory)
}

// written reports whether pages of a private mapping are the process's own, or may be. Documentation/admin-guide/mm/
// pagemap.rst: a 64-bit entry a page; bit 63 present, 62 swapped, 61 a page of a file.
func written(memory []byte) bool {
	const present, swapped, file = 1 << 63, 1 << 62, 1 << 61
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return true
	}
	defer f.Close()
	page := syscall.Getpagesize()
	at := int64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))) / int64(page) * 8
	buf := make([]byte, 64<<10)
	for left := (len(memory) + page - 1) / page * 8; left > 0; {
		n, err := f.ReadAt(buf[:min(left, len(buf))], at)
		if err != nil {
			return true
		}
		for b := buf[:n]; len(b) > 0; b = b[8:] {
			if v := binary.NativeEndian.Uint64(b); v&(present|swapped) != 0 && v&file == 0 {
				return true
			}
		}
		at, left = at+int64(n), left-n
	}
	return false
}
