// Command function uses all of the SDK, to see that it builds for the sandbox, as a command and as a resident function.
package main

import (
	"time"

	"github.com/weft-run/weft"
)

func init() { weft.Resident(work) }

// call is what the sandbox calls.
//
//lint:ignore U1000 the sandbox does
//go:wasmexport weft_handle
func call() int32 { return weft.Call() }

func main() { weft.Handle(work) }

func work(in struct{ N int }) (weft.Ref, error) {
	s, err := weft.AllocSlice[uint32](in.N)
	if err != nil {
		return weft.Ref{}, err
	}
	if err := weft.PutSlice("numbers", s); err != nil {
		return weft.Ref{}, err
	}
	if err := weft.Wait("numbers", time.Second); err != nil {
		return weft.Ref{}, err
	}
	if err := weft.Release(s); err != nil {
		return weft.Ref{}, err
	}
	l, err := weft.Listen(8080)
	if err != nil {
		return weft.Ref{}, err
	}
	if _, err := l.Accept(); err != nil {
		return weft.Ref{}, err
	}
	if _, err := weft.Dial("localhost", 80); err != nil {
		return weft.Ref{}, err
	}
	if err := weft.PutValue("n", in.N); err != nil {
		return weft.Ref{}, err
	}
	return weft.RefTo("numbers")
}
