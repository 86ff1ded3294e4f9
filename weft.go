// Package weft is what the author of a function imports.
//
// A function is a program: it reads its input as JSON from standard input, writes its output as JSON to standard
// output, logs to standard error, and fails by a non-zero exit status. [Handle] does all of that around one Go func:
//
//	package main
//
//	import "github.com/weft-run/weft"
//
//	type order struct{ Item string; Count int }
//
//	func main() {
//		weft.Handle(func(o order) (string, error) {
//			return fmt.Sprintf("%d times %s", o.Count, o.Item), nil
//		})
//	}
//
// Large data does not go through JSON. It is published under the name of a slot and read by reference: the pages that
// the producer filled appear in the memory of the reader, whatever the size.
//
//	buf, err := weft.Alloc(64 << 20)      // in the producer
//	fill(buf.Bytes())
//	err = buf.Publish("table")
//
//	view, err := weft.Take("build/table") // in a later step
//	use(view.Bytes())
//	err = view.Release()
//
// # Slots
//
// A slot is named [A-Za-z0-9_.-], at most 128 characters. What step "build" publishes as "table" is "build/table", and
// "build[3]/table" when it comes from item 3 of a foreach. A name that begins with a slash, "/table", belongs to the
// whole run. A reader names the slot in full, or just "table" where only one such slot is published. A slot is
// published once and never changes. [Take] consumes it, [Borrow] leaves it for others. What a step publishes can be
// read by other steps when that step has succeeded; what a failed attempt published or took is undone.
//
// # Views
//
// [View.Bytes], [TakeSlice] and their like return memory that shows a buffer. Writing to it is allowed and is seen by
// nobody else. It stays valid until it is released or the call ends, whichever is first; a slice of it must not be
// used after that. The garbage collector does not release views, because it cannot see what they hold.
//
// # Resident functions
//
// A function may stay in memory between the calls of a run: see [Resident]. A native one may, also with [Handle].
//
// # Native functions
//
// The same source built for Linux is a native function. It finds the variable WEFT_FD in its environment and asks the
// node for buffers over that socket; views are then mappings outside of Go's heap, and using one after its release is a
// fault of the program. There are no connections: [Dial] and [Listen] return [ErrNotGranted].
//
// # Testing
//
// Outside of a sandbox (any GOOS but wasip1, and no WEFT_FD) the same API works over a table of slots in the memory of
// the process, so that the code of a function can be tested with plain go test.
package weft

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Handle runs f once as the whole of a program: it decodes the input, calls f and writes what f returns as the output.
// When the input cannot be decoded or f returns an error, the error goes to standard error and the program exits with
// status 1. An empty input leaves In at its zero value.
//
// As a resident native function the program serves one call after another, and what it keeps in variables is there at
// the next one.
func Handle[In, Out any](f func(in In) (Out, error)) {
	serveCalls(func() error { return once(f) })
	if err := once(f); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Input decodes the input of the function, the JSON on standard input, into a T. An empty input gives the zero value.
// It can be read once.
func Input[T any]() (T, error) {
	var v T
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return v, fmt.Errorf("read input: %w", err)
	}
	if len(text) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("decode input: %w", err)
	}
	return v, nil
}

// Output writes v as JSON to standard output, as the output of the function. It may be called once.
func Output(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	if _, err := os.Stdout.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// Resident makes f the handler of a function that stays in memory between the calls of one run: what it keeps in
// variables is there at the next call, and a call costs microseconds instead of the start of a program. Every call
// has an input, an output and a log of its own. An instance serves one call at a time and is never shared between runs.
//
// The sandbox looks for the export weft_handle, which only package main can make:
//
//	func init() { weft.Resident(handle) }
//
//	//go:wasmexport weft_handle
//	func call() int32 { return weft.Call() }
//
//	func main() {}
//
// As a native function the same program serves its one call, or as a resident one all of its calls, in Resident, and
// ends there; so package main should have nothing to initialize after that. A resident native function is not of one
// run but of a version of the app: what it keeps is seen by later calls of other runs.
func Resident[In, Out any](f func(in In) (Out, error)) {
	resident = func() error { return once(f) }
	serveCalls(resident)
	if connected() != nil {
		os.Exit(int(Call()))
	}
}

// Call serves one call of the handler that [Resident] was given and returns its exit status: 0, or 1 when the handler
// failed, with the error on standard error. Views and buffers that the handler did not release are released.
func Call() int32 {
	defer releaseAll()
	if resident == nil {
		fmt.Fprintln(os.Stderr, "weft.Call: weft.Resident was not called")
		return 1
	}
	if err := resident(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// resident is the handler of a resident function, set once by Resident before the first call.
var resident func() error

// once does one call of f.
func once[In, Out any](f func(In) (Out, error)) error {
	in, err := Input[In]()
	if err != nil {
		return err
	}
	out, err := f(in)
	if err != nil {
		return err
	}
	return Output(out)
}
