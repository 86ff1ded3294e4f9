// Package build turns the source of a function into a WebAssembly module.
//
// What a source is, its form says: a folder with Go files is a Go package, a
// folder with C files or a single .c file a C program, an .rs file a Rust
// program, and a .wasm file is taken as it is. Compilers are the ones that are
// installed; none is downloaded.
//
//	b := build.New(build.Config{CacheDir: dir})
//	m, err := b.Build(ctx, appDir, build.Source{Function: "count", Path: "./count"}, nil)
//
// Every module is inspected before it is handed out: it must be a core module
// that imports nothing but what a sandbox has, and exports what a sandbox
// calls (inspect.go).
//
// A build is remembered by a record of all files that it read (record.go). As
// long as these are unchanged no compiler is started. The modules are named by
// their digest and are never changed.
package build
