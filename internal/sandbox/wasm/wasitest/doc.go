// Package wasitest runs real WebAssembly programs on package wasi: C programs
// of its own, one for each part of the interface, the tests of Go's standard
// library, and the programs that other runtimes test themselves with.
//
// The programs run in the test process, on the engine that functions run on.
// With WEFT set to the path of a weft binary, the C programs run once more, by
// weft exec, in the sandbox as users have it.
package wasitest
