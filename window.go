package weft

import (
	"math"
	"runtime/debug"
	"sync"
	"unsafe"
)

const (
	pageSize   = 64 << 10 // of WebAssembly
	hugePage   = 2 << 20  // from half of it on windows are whole huge pages of the host
	inlineSize = 16 << 10 // below this size a value is copied: that is cheaper than mapping it
	maxSize    = math.MaxUint32 - 2*pageSize
)

// A window is a range of whole WebAssembly pages in which the host can show a buffer.
//
// The pages come from Go's allocator, since nobody else may grow the memory of a Go program. The allocation has no
// pointers, so that the collector never looks inside; it is reachable from the table below for as long as the host
// shows something in it, so that the collector never gives it to anybody else; and it is larger than the window by one
// page, so that no other Go object shares a page with the window. Once released the pages are ordinary memory that
// reads as zero, which is how Go's allocator left them: nothing in Go's heap can tell that they were a window.
//
// In a native function a window is a mapping of a buffer's memory file instead, outside of Go's heap.
type window struct {
	memory []byte  // what Go's allocator gave, or the mapping
	offset uintptr // of the window in it
	size   int     // of the window, whole pages
	mapped *mapped // what is mapped; nil in Go's heap
}

// windows is the table of all windows of the program.
//
// Released windows are kept for the next value of about the same size: allocating a large slice again would have Go
// write zeros over all of it, which makes every page of it resident.
var windows = struct {
	sync.Mutex
	shown map[uintptr]*window // by address, those in which the host shows something
	free  []*window           // oldest first
	total int64               // bytes of all of them
	limit int64               // GOMEMLIMIT at the start; math.MaxInt64 when there is none, 0 when not asked yet
}{shown: map[uintptr]*window{}}

const (
	maxFree      = 8
	maxFreeBytes = 128 << 20
)

// reserve returns a window of at least n bytes that nothing is shown in. Windows do not count against the memory of the
// function: the host lets it grow by the length of a slot that was asked for, and otherwise (grow) it is told.
func reserve(n int, grow bool) *window {
	unit := pageSize
	if n >= hugePage/2 {
		unit = hugePage // so large that the host can use huge pages
	}
	size := (n + unit - 1) &^ (unit - 1)
	windows.Lock()
	defer windows.Unlock()
	best := -1
	for i, w := range windows.free {
		if w.size >= size && w.size <= 2*size && (best < 0 || w.size < windows.free[best].size) {
			best = i
		}
	}
	if best >= 0 {
		w := windows.free[best]
		windows.free = append(windows.free[:best], windows.free[best+1:]...)
		return w
	}
	account(int64(size))
	if grow {
		hostAlloc(nil, size) // over the quota, the real allocation says so
	}
	memory := make([]byte, size+unit)
	misaligned := uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % uintptr(unit)
	return &window{memory: memory, offset: (uintptr(unit) - misaligned) % uintptr(unit), size: size}
}

// account adds size to the bytes of all windows. Views do not count against the memory of a function, so the limit at
// which Go collects garbage harder moves with them. The caller holds the lock.
func account(size int64) {
	if windows.limit == 0 {
		windows.limit = debug.SetMemoryLimit(-1)
	}
	windows.total += size
	if windows.limit < math.MaxInt64 {
		debug.SetMemoryLimit(windows.limit + windows.total)
	}
}

// start is the address of the window.
func (w *window) start() unsafe.Pointer { return unsafe.Pointer(&w.memory[w.offset]) }

// bytes is the first n bytes of the window.
func (w *window) bytes(n int) []byte {
	return w.memory[w.offset : w.offset+uintptr(n) : w.offset+uintptr(n)]
}

// show notes that the host shows something in the window from now on.
func (w *window) show() {
	windows.Lock()
	defer windows.Unlock()
	windows.shown[uintptr(w.start())] = w
}

// release makes the window ordinary zero memory again. A nil window and one released before are left alone.
func (w *window) release() error {
	if w == nil || windowAt(w.start()) != w {
		return nil
	}
	if w.mapped != nil {
		windows.Lock()
		delete(windows.shown, uintptr(w.start()))
		windows.Unlock()
		w.mapped.release(w)
		return nil
	}
	switch e := hostRelease(w.start()); e {
	case 0:
	case errnoInval: // nothing is shown there: the value was copied
		clear(w.bytes(w.size))
	default:
		return failure("release", "view", e)
	}
	windows.Lock()
	delete(windows.shown, uintptr(w.start()))
	windows.Unlock()
	w.recycle()
	return nil
}

// recycle keeps a window in which nothing is shown for the next value, in place of the oldest ones.
func (w *window) recycle() {
	windows.Lock()
	defer windows.Unlock()
	windows.free = append(windows.free, w)
	kept := 0
	for _, f := range windows.free {
		kept += f.size
	}
	for len(windows.free) > maxFree || kept > maxFreeBytes {
		oldest := windows.free[0]
		windows.free = append(windows.free[:0], windows.free[1:]...)
		kept -= oldest.size
		account(-int64(oldest.size))
	}
}

// windowAt is the window that begins with the first byte of data, nil when there is none.
func windowAt(data unsafe.Pointer) *window {
	windows.Lock()
	defer windows.Unlock()
	return windows.shown[uintptr(data)]
}

// releaseAll releases every window that something is shown in.
func releaseAll() {
	windows.Lock()
	shown := make([]*window, 0, len(windows.shown))
	for _, w := range windows.shown {
		shown = append(shown, w)
	}
	windows.Unlock()
	for _, w := range shown {
		w.release() // the host ends a call whose windows it cannot release
	}
}

// words returns n zero bytes that are aligned as any element type wants.
func words(n int) []byte {
	if n == 0 {
		return nil
	}
	w := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), n)
}

// pointer is the address of data, or of something else where data is empty.
func pointer(data []byte) unsafe.Pointer {
	if len(data) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(unsafe.SliceData(data))
}

var nothing uint64
