package weft

import (
	"bytes"
	"unsafe"
)

// The imports of module weft. A string is passed as its address and its length.

//go:wasmimport weft put
//go:noescape
func importPut(slot string, typ uint64, data unsafe.Pointer, n uint32) uint32

//go:wasmimport weft take
//go:noescape
func importTake(slot string, typ uint64, data unsafe.Pointer, n uint32, length unsafe.Pointer) uint32

//go:wasmimport weft borrow
//go:noescape
func importBorrow(slot string, typ uint64, data unsafe.Pointer, n uint32, length unsafe.Pointer) uint32

//go:wasmimport weft wait
//go:noescape
func importWait(slot string, timeout int64) uint32

//go:wasmimport weft len
//go:noescape
func importLen(slot string, length, typ unsafe.Pointer) uint32

//go:wasmimport weft alloc
//go:noescape
func importAlloc(data unsafe.Pointer, n uint32) uint32

//go:wasmimport weft release
//go:noescape
func importRelease(data unsafe.Pointer) uint32

//go:wasmimport weft dial
//go:noescape
func importDial(host string, port uint32, descriptor unsafe.Pointer) uint32

//go:wasmimport weft listen
//go:noescape
func importListen(port uint32, descriptor unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 environ_sizes_get
//go:noescape
func importEnvironSizesGet(count, size unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 environ_get
//go:noescape
func importEnvironGet(variables, text unsafe.Pointer) uint32

// hostEnv is a variable of the environment of this call. Package os knows only that of a resident function's first call.
func hostEnv(name string) string {
	var count, size uint32
	if importEnvironSizesGet(unsafe.Pointer(&count), unsafe.Pointer(&size)) != 0 || size == 0 {
		return ""
	}
	variables := make([]uint32, count)
	text := make([]byte, size)
	if importEnvironGet(unsafe.Pointer(unsafe.SliceData(variables)), unsafe.Pointer(unsafe.SliceData(text))) != 0 {
		return ""
	}
	for variable := range bytes.SplitSeq(text, []byte{0}) {
		if key, value, ok := bytes.Cut(variable, []byte{'='}); ok && string(key) == name {
			return string(value)
		}
	}
	return ""
}

func hostPut(slot string, typ uint64, data unsafe.Pointer, n int) errno {
	return errno(importPut(slot, typ, data, uint32(n)))
}

func hostTake(slot string, typ uint64, data unsafe.Pointer, n int) (int, errno) {
	var length uint32
	e := importTake(slot, typ, data, uint32(n), unsafe.Pointer(&length))
	return int(length), errno(e)
}

func hostBorrow(slot string, typ uint64, data unsafe.Pointer, n int) (int, errno) {
	var length uint32
	e := importBorrow(slot, typ, data, uint32(n), unsafe.Pointer(&length))
	return int(length), errno(e)
}

func hostWait(slot string, timeout int64) errno { return errno(importWait(slot, timeout)) }

func hostLen(slot string) (size, typ uint64, e errno) {
	e = errno(importLen(slot, unsafe.Pointer(&size), unsafe.Pointer(&typ)))
	return size, typ, e
}

func hostAlloc(data unsafe.Pointer, n int) errno { return errno(importAlloc(data, uint32(n))) }

func hostRelease(data unsafe.Pointer) errno { return errno(importRelease(data)) }

func hostDial(host string, port uint16) (int32, errno) {
	var descriptor int32
	e := importDial(host, uint32(port), unsafe.Pointer(&descriptor))
	return descriptor, errno(e)
}

func hostListen(port uint16) (int32, errno) {
	var descriptor int32
	e := importListen(uint32(port), unsafe.Pointer(&descriptor))
	return descriptor, errno(e)
}
