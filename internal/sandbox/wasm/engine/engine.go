// Package engine is the thin layer between Go and libwasmtime, the one place
// where weft's WebAssembly meets C. It uses of the library what the published
// Go wrapper leaves out: images mapped from disk, prepared instantiation, the
// pooling allocator, calls without type checks. It knows nothing of WASI: the
// caller binds a table of imports and gets every call with the linear memory
// as it is at that moment.
//
//	e, err := engine.New(engine.Options{Imports: imports, Host: dispatch})
//	m, err := e.LoadFile("/images/hello")
//	i, err := m.Instantiate(128 << 20, owner)
//	defer i.Close()
//	_, err = i.Call("_start")
//
// The declarations of the C API are in wasmtime_abi.h; linking goes through
// the wasmtime-go module, which ships the library.
package engine

/*
#cgo LDFLAGS: -Wl,--wrap=open64
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	_ "github.com/bytecodealliance/wasmtime-go/v44" // brings libwasmtime and its link flags
)

// Kind is the type of an import's parameter or result.
type Kind uint8

// The kinds that imports use, with wasmtime's numbers.
const (
	I32 Kind = 0
	I64 Kind = 1
)

// Import is one function that modules may import.
type Import struct {
	Module, Name    string
	Params, Results []Kind
}

// HostFunc serves import number index of an instance. args holds the
// parameters, and args[0] the result on return. mem is the linear memory now:
// it may have moved or grown at the next call and must not be kept. Returning
// false ends the instance: its Call returns ErrExit.
type HostFunc func(i *Instance, index int, mem []byte, args []uint64) bool

// Options configure an Engine.
type Options struct {
	// Imports are offered to every module, in an order that HostFunc knows.
	Imports []Import
	// Host serves them. It is called on the thread that runs the instance.
	Host HostFunc
	// Instances bounds the instances alive at a time. Default 256.
	Instances int
	// KeepResident is how much of a linear memory is zeroed by hand instead of
	// being returned to the kernel when its instance ends. Default 256 KiB.
	KeepResident int
	// Stack bounds the WebAssembly stack of a call. Default 1 MiB.
	Stack int
	// Compile makes an engine for Compile alone, without an instance pool.
	Compile bool
}

// Engine holds what all modules share. It lives as long as the process.
type Engine struct {
	engine *C.wasm_engine_t
	linker *C.wasmtime_linker_t
	host   HostFunc
	slots  []atomic.Pointer[Instance]

	mu   sync.Mutex
	free []int // slots without an instance; guarded by mu
}

// ErrExit is what Call returns when a host function ended the instance.
var ErrExit = errors.New("instance ended by its host")

// ErrNoExport is what Call returns for a function that the module lacks.
var ErrNoExport = errors.New("the module does not export that function")

// ErrType is what Call returns for a function of a type that it cannot call.
var ErrType = errors.New("it has parameters, or results other than one i32")

// ErrBusy is what Instantiate returns when Options.Instances are alive.
var ErrBusy = errors.New("instantiate module: all instance slots are in use")

// engines finds an Engine from a C callback: there is one a process in
// production, several in tests.
var engines struct {
	sync.Mutex
	all [16]atomic.Pointer[Engine]
	n   int
}

// New makes an engine. Creating it installs wasmtime's signal handlers.
func New(o Options) (*Engine, error) {
	if o.Instances == 0 {
		o.Instances = 256
	}
	if o.KeepResident == 0 {
		o.KeepResident = 256 << 10
	}
	if o.Stack == 0 {
		o.Stack = 1 << 20
	}
	e := &Engine{
		engine: C.weft_engine_new(C.uint32_t(o.Instances), C.size_t(o.KeepResident), C.size_t(o.Stack), C.bool(o.Compile)),
		host:   o.Host,
		slots:  make([]atomic.Pointer[Instance], o.Instances),
	}
	if e.engine == nil {
		return nil, errors.New("create engine: libwasmtime refused its configuration")
	}
	for i := o.Instances - 1; i >= 0; i-- {
		e.free = append(e.free, i)
	}
	engines.Lock()
	defer engines.Unlock()
	if engines.n == len(engines.all) {
		return nil, fmt.Errorf("create engine: more than %d in one process", len(engines.all))
	}
	number := engines.n
	engines.n++
	engines.all[number].Store(e)
	e.linker = C.wasmtime_linker_new(e.engine)
	for n, im := range o.Imports {
		if err := e.define(number<<16|n, im); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *Engine) define(index int, im Import) error {
	mod, modLen := cstring(im.Module)
	name, nameLen := cstring(im.Name)
	defer C.free(unsafe.Pointer(mod))
	defer C.free(unsafe.Pointer(name))
	msg := C.weft_define(e.linker, mod, modLen, name, nameLen,
		kinds(im.Params), C.size_t(len(im.Params)), kinds(im.Results), C.size_t(len(im.Results)), C.uintptr_t(index))
	if err := take(msg); err != nil {
		return fmt.Errorf("define import %s.%s: %w", im.Module, im.Name, err)
	}
	return nil
}

func kinds(k []Kind) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(k)) }

func cstring(s string) (*C.char, C.size_t) { return C.CString(s), C.size_t(len(s)) }

// take turns a message of the shim into an error and frees it.
func take(msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	return errors.New(C.GoString(msg))
}

// Compile makes the image of a module, to be given to LoadFile or LoadBytes of
// an engine of the same version, settings and CPU.
func (e *Engine) Compile(wasm []byte) ([]byte, error) {
	if len(wasm) == 0 {
		return nil, errors.New("compile module: it is empty")
	}
	var image C.wasm_byte_vec_t
	if err := take(C.weft_compile(e.engine, (*C.uint8_t)(unsafe.Pointer(&wasm[0])), C.size_t(len(wasm)), &image)); err != nil {
		return nil, fmt.Errorf("compile module: %w", err)
	}
	defer C.wasm_byte_vec_delete(&image)
	return C.GoBytes(unsafe.Pointer(image.data), C.int(image.size)), nil
}

// Module is a loaded image, ready to be instantiated any number of times.
type Module struct {
	engine *Engine
	module *C.wasmtime_module_t
	pre    *C.wasmtime_instance_pre_t
}

// LoadFile maps an image from a file. Images are native code: they must come
// from Compile, by way of a cache that the sandbox cannot write.
func (e *Engine) LoadFile(path string) (*Module, error) {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	m := &Module{engine: e}
	if err := take(C.weft_load_file(e.engine, p, &m.module)); err != nil {
		return nil, fmt.Errorf("load image: %w", err)
	}
	return m.prepare()
}

// LoadFD is LoadFile from a descriptor, which stays the caller's.
func (e *Engine) LoadFD(fd int) (*Module, error) {
	m := &Module{engine: e}
	if err := take(C.weft_load_fd(e.engine, C.int(fd), &m.module)); err != nil {
		return nil, fmt.Errorf("load image: %w", err)
	}
	return m.prepare()
}

// LoadBytes is LoadFile from memory, which costs a copy of the image.
func (e *Engine) LoadBytes(image []byte) (*Module, error) {
	if len(image) == 0 {
		return nil, errors.New("load image: it is empty")
	}
	m := &Module{engine: e}
	if err := take(C.weft_load_bytes(e.engine, (*C.uint8_t)(unsafe.Pointer(&image[0])), C.size_t(len(image)), &m.module)); err != nil {
		return nil, fmt.Errorf("load image: %w", err)
	}
	return m.prepare()
}

func (m *Module) prepare() (*Module, error) {
	if err := take(C.weft_prepare(m.engine.linker, m.module, &m.pre)); err != nil {
		C.wasmtime_module_delete(m.module)
		return nil, fmt.Errorf("link module: %w", err)
	}
	return m, nil
}

// Close frees the module. Its instances must be closed before.
func (m *Module) Close() {
	C.wasmtime_instance_pre_delete(m.pre)
	C.wasmtime_module_delete(m.module)
	m.pre, m.module = nil, nil
}
