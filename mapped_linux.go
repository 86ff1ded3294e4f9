package weft

import (
	"cmp"
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"
)

// mapped is the buffer behind a window of a native function: a memory file that the node made.
//
// While it is being filled the window is a shared mapping. Nobody may be able to write what has been published, so
// with that the window becomes a private mapping of the same pages, at the same place: what is written from then on
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
	memory := place(a.file, int(a.size), syscall.MAP_SHARED)
	if memory == nil {
		syscall.Close(a.file)
		return nil, errnoNoMemory
	}
	if a.typ != 0 {
		populate(memory[:n], a.file)
	}
	w := &window{memory: memory, size: len(memory), mapped: &mapped{control: c, segment: a.segment, file: a.file}}
	w.show()
	return w, 0
}

// mmap is mmap(2) from the beginning of a file. What package syscall has for that neither takes an address nor gives up
// a part of a mapping.
func mmap(addr uintptr, size, prot, flags, file int) (uintptr, syscall.Errno) {
	at, _, failed := syscall.Syscall6(syscall.SYS_MMAP, addr, uintptr(size), uintptr(prot), uintptr(flags), uintptr(file), 0)
	return at, failed
}

func munmap(addr uintptr, size int) {
	if size > 0 {
		syscall.Syscall(syscall.SYS_MUNMAP, addr, uintptr(size), 0)
	}
}

func unmap(memory []byte) {
	munmap(uintptr(unsafe.Pointer(unsafe.SliceData(memory))), len(memory))
}

// place maps a file; nil where the memory for that is not to be had. From 2 MiB on the address is one at which a page
// table can show it in huge pages.
func place(file, size, sharing int) []byte {
	const readWrite = syscall.PROT_READ | syscall.PROT_WRITE
	var at uintptr
	var failed syscall.Errno
	if size < hugePage {
		at, failed = mmap(0, size, readWrite, sharing, file)
	} else {
		page := syscall.Getpagesize()
		whole := (size + page - 1) / page * page
		var room uintptr
		if room, failed = mmap(0, whole+hugePage, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE, -1); failed != 0 {
			return nil
		}
		before := int(-room % hugePage)
		if at, failed = mmap(room+uintptr(before), size, readWrite, sharing|syscall.MAP_FIXED, file); failed != 0 {
			munmap(room, whole+hugePage)
			return nil
		}
		munmap(room, before)
		munmap(at+uintptr(whole), hugePage-before)
	}
	if failed != 0 {
		return nil
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), size) // not of Go's heap
}

// populate gives a new buffer its memory at once, in huge pages where the kernel can: taking a mapping of small ones down
// costs a hundred times as much, and that is most of publishing. Where it cannot, pages come as they are touched.
//
// madvise(2): MADV_COLLAPSE (Linux 6.1) makes huge pages of a memory file, and passes over blocks that are quite empty, so
// each is given one small page before. MADV_POPULATE_READ is of Linux 5.14.
func populate(memory []byte, file int) {
	const collapse, populateRead = 25, 22
	huge := len(memory) / hugePage * hugePage
	at := 0
	for at < huge {
		if n, err := syscall.Pwrite(file, []byte{0}, int64(at)); err != nil || n != 1 {
			break
		}
		at += hugePage
	}
	if huge > 0 && at == huge {
		syscall.Madvise(memory[:huge], collapse)
	}
	syscall.Madvise(memory, populateRead)
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
	memory := place(a.file, int(a.size), syscall.MAP_PRIVATE)
	if memory == nil {
		return nil, nil, errnoNoMemory
	}
	w := &window{memory: memory, size: len(memory), mapped: &mapped{control: c, segment: a.segment, file: -1}}
	w.show()
	return w.bytes(w.size), w, 0
}

// put publishes data: the beginning of a window by reference, anything else as a copy.
func (c *control) put(slot string, typ uint64, data []byte) errno {
	if w := windowAt(pointer(data)); w != nil && w.mapped != nil && len(data) >= inlineSize && len(data) <= w.size {
		if m := w.mapped; m.filling() || !written(w.memory) {
			var e errno
			_, refused := c.askAnd(packet{op: opPut, name: slot, size: uint64(len(data)), typ: typ, segment: m.segment}, func() { e = m.freeze(w) })
			return cmp.Or(refused, e)
		}
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

// filling reports whether the window is a shared mapping.
func (m *mapped) filling() bool {
	m.control.mapping.Lock()
	defer m.control.mapping.Unlock()
	return m.file >= 0
}

// freeze makes sure that nobody here can write to the segment through the window.
func (m *mapped) freeze(w *window) errno {
	m.control.mapping.Lock()
	defer m.control.mapping.Unlock()
	if m.file < 0 {
		return 0
	}
	// Linux, mmap(2): MAP_FIXED replaces the pages of a mapping in one step.
	if _, failed := mmap(uintptr(w.start()), w.size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_FIXED, m.file); failed != 0 {
		return errnoNoMemory
	}
	syscall.Close(m.file)
	m.file = -1
	return 0
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
	unmap(w.memory)
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
