package node_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// The smallest assembler that makes functions by hand: tests of the node's core
// need no compiler.

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func vector(items ...[]byte) []byte {
	b := leb(len(items))
	for _, i := range items {
		b = append(b, i...)
	}
	return b
}

func name(s string) []byte { return append(leb(len(s)), s...) }

func section(id byte, content []byte) []byte {
	return append(append([]byte{id}, leb(len(content))...), content...)
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

var moduleHeader = []byte("\x00asm\x01\x00\x00\x00")

// Function types by number: () -> (), (i32 i32 i32 i32) -> i32, (i32) -> ().
var moduleTypes = section(1, vector([]byte{0x60, 0, 0}, []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f}, []byte{0x60, 1, 0x7f, 0}))

// moduleOf makes a command of the instructions of _start, with some locals of
// type i32. Function 0 is fd_write and 1 is proc_exit. At address 0 of memory is
// an io vector for output.
func moduleOf(output string, locals int, body ...byte) []byte {
	wasi := name("wasi_snapshot_preview1")
	declared := vector()
	if locals > 0 {
		declared = vector(append(leb(locals), 0x7f))
	}
	code := join(declared, body, []byte{0x0b})
	data := join(binary.LittleEndian.AppendUint32(nil, 16), binary.LittleEndian.AppendUint32(nil, uint32(len(output))), make([]byte, 8), []byte(output))
	return join(moduleHeader, moduleTypes,
		section(2, vector(join(wasi, name("fd_write"), []byte{0, 1}), join(wasi, name("proc_exit"), []byte{0, 2}))),
		section(3, vector(leb(0))),
		section(5, vector(join([]byte{0}, leb(1+len(data)>>16)))),
		section(7, vector(join(name("memory"), []byte{2, 0}), join(name("_start"), []byte{0, 2}))),
		section(10, vector(join(leb(len(code)), code))),
		section(11, vector(join([]byte{0, 0x41, 0, 0x0b}, leb(len(data)), data))),
	)
}

var (
	printIt   = []byte{0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a}                   // fd_write(1, 0, 1, 8); drop
	spinOn    = []byte{0x03, 0x40, 0x0c, 0, 0x0b}                                           // loop: br 0
	recurse   = []byte{0x10, 2}                                                             // call itself
	growOn    = []byte{0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0x00} // until memory.grow is -1; unreachable
	loadFar   = []byte{0x41, 0x80, 0x80, 0x80, 0x78, 0x28, 2, 0, 0x1a}                      // drop(load(0x80000000))
	divideBy0 = []byte{0x41, 1, 0x41, 0, 0x6d, 0x1a}
	exit5     = []byte{0x41, 5, 0x10, 1}
)

// bomb is a valid module of many functions with many locals and long bodies: it
// takes a compiler minutes.
func bomb(functions, length int) []byte {
	var types, bodies [][]byte
	var code []byte
	for i := range length { // local i = (local i+1 * local i+2) + i
		code = join(code, []byte{0x20}, leb((i+1)%500), []byte{0x20}, leb((i*7+2)%500), []byte{0x6c, 0x20}, leb((i*3)%500), []byte{0x6a, 0x21}, leb(i%500))
	}
	body := join(vector(append(leb(500), 0x7f)), code, []byte{0x0b})
	body = join(leb(len(body)), body)
	for range functions {
		types, bodies = append(types, leb(0)), append(bodies, body)
	}
	return join(moduleHeader, moduleTypes,
		section(3, vector(types...)),
		section(5, vector([]byte{0, 1})),
		section(7, vector(join(name("memory"), []byte{2, 0}), join(name("_start"), []byte{0, 0}))),
		section(10, vector(bodies...)),
	)
}

// moduleFile writes a module into a folder of the test.
func moduleFile(t *testing.T, b []byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "module-") // the name of a test may hold what YAML gives a meaning
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "f.wasm")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
