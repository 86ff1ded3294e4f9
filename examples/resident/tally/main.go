// Command tally stays in memory between the calls of a run, and adds up what they bring.
package main

import "github.com/weft-run/weft"

type tally struct {
	Calls int `json:"call"`
	Item  int `json:"item"`
	Sum   int `json:"sum"`
}

var all tally

func init() {
	weft.Resident(func(n int) (tally, error) {
		all.Calls++
		all.Item = n
		all.Sum += n
		return all, nil
	})
}

// call is what the sandbox calls.
//
//lint:ignore U1000 the sandbox does
//go:wasmexport weft_handle
func call() int32 { return weft.Call() }

func main() {}
