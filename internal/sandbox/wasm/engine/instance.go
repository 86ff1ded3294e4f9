package engine

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"
)

// Instance is one instantiated module: a linear memory, globals and a stack of
// its own. It is used by one goroutine at a time.
type Instance struct {
	// Owner is the caller's, handed back to HostFunc by way of the Instance.
	Owner any

	engine *Engine
	slot   int
	c      *C.weft_instance
}

// Trap is how WebAssembly code ended that could not go on.
type Trap struct {
	// Reason is the engine's, such as "wasm `unreachable` instruction executed".
	Reason string
	// Frames are the functions on the stack, innermost first.
	Frames []Frame
}

// Frame is one function on the stack of a Trap.
type Frame struct {
	// Offset is the position in the module file, in bytes.
	Offset uint64
	// Function is its name from the name section; "<wasm function 12>" without.
	Function string
}

func (t *Trap) Error() string {
	if len(t.Frames) == 0 {
		return t.Reason
	}
	return t.Reason + " in " + t.Frames[0].Function
}

// parseTrap reads the engine's report: a line a frame ("0: 0x1cd - module!name")
// and, after "Caused by:", the reason.
func parseTrap(report string) *Trap {
	t := &Trap{Reason: report}
	stack, cause, found := strings.Cut(report, "Caused by:")
	if found {
		t.Reason = strings.TrimPrefix(strings.TrimSpace(cause), "wasm trap: ")
	}
	for line := range strings.Lines(stack) {
		_, rest, ok := strings.Cut(line, ": ")
		at, name, ok2 := strings.Cut(strings.TrimSpace(rest), " - ")
		offset, err := strconv.ParseUint(strings.TrimPrefix(at, "0x"), 16, 64)
		if !ok || !ok2 || err != nil {
			continue
		}
		if _, function, ok := strings.Cut(name, "!"); ok {
			name = function
		}
		t.Frames = append(t.Frames, Frame{Offset: offset, Function: name})
	}
	return t
}

// Instantiate makes an instance whose linear memory may grow to limit bytes.
// A module's start function, if it has one, runs here and may trap.
func (m *Module) Instantiate(limit int64, owner any) (*Instance, error) {
	e := m.engine
	e.mu.Lock()
	if len(e.free) == 0 {
		e.mu.Unlock()
		return nil, ErrBusy
	}
	slot := e.free[len(e.free)-1]
	e.free = e.free[:len(e.free)-1]
	e.mu.Unlock()
	i := &Instance{Owner: owner, engine: e, slot: slot, c: (*C.weft_instance)(C.calloc(1, C.sizeof_weft_instance))}
	i.c.handle = C.uintptr_t(slot)
	e.slots[slot].Store(i)
	if err := take(C.weft_instantiate(e.engine, m.pre, C.int64_t(limit), i.c)); err != nil {
		i.release()
		return nil, fmt.Errorf("instantiate module: %w", err)
	}
	return i, nil
}

// Limit sets how far the linear memory may grow from now on, in bytes.
func (i *Instance) Limit(bytes int64) {
	C.wasmtime_store_limiter(i.c.store, C.int64_t(bytes), -1, 1, 2, 1)
}

// Exports reports whether the module exports a function of that name.
func (i *Instance) Exports(name string) bool {
	n, l := cstring(name)
	defer C.free(unsafe.Pointer(n))
	return bool(C.weft_exports(i.c, n, l))
}

// Call runs an exported function without parameters and with at most one i32
// result. It returns ErrExit when a host function ended the instance, a *Trap
// when the code trapped, ErrNoExport when there is no such function, ErrType
// when it has another type.
func (i *Instance) Call(name string) (int32, error) {
	n, l := cstring(name)
	defer C.free(unsafe.Pointer(n))
	var result C.int32_t
	var msg *C.char
	switch C.weft_call(i.c, n, l, &result, &msg) {
	case C.WEFT_OK:
		return int32(result), nil
	case C.WEFT_EXIT:
		return 0, ErrExit
	case C.WEFT_TRAP:
		return 0, parseTrap(take(msg).Error())
	case C.WEFT_TYPE:
		return 0, fmt.Errorf("call %s: %w", name, ErrType)
	default:
		return 0, fmt.Errorf("call %s: %w", name, ErrNoExport)
	}
}

// Memory is the linear memory as it is now; nil when the module exports none.
func (i *Instance) Memory() []byte {
	var size C.size_t
	p := C.weft_memory(i.c, &size)
	if p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(p), int(size))
}

// Close drops the instance. Whoever mapped something into its memory replaces
// that by anonymous memory before: the slot is used again.
func (i *Instance) Close() {
	C.weft_instance_delete(i.c)
	i.release()
}

func (i *Instance) release() {
	C.free(unsafe.Pointer(i.c))
	i.c = nil
	e := i.engine
	e.slots[i.slot].Store(nil)
	e.mu.Lock()
	e.free = append(e.free, i.slot)
	e.mu.Unlock()
}

//export weftHostCall
func weftHostCall(handle, index C.uintptr_t, memory *C.uint8_t, size C.size_t, args *C.uint64_t, n C.size_t) C.int {
	e := engines.all[index>>16].Load()
	i := e.slots[handle].Load()
	var mem []byte
	if memory != nil {
		mem = unsafe.Slice((*byte)(memory), int(size))
	}
	if e.host(i, int(index&0xffff), mem, unsafe.Slice((*uint64)(args), 16)[:n:16]) {
		return 0
	}
	return 1
}
