// Package p has services that cannot be.
package p

import (
	"io"

	"github.com/weft-run/weft/service"
)

// A has fields that are not state.
type A struct {
	N     service.Value[int]
	cache map[string]int
	B
	C service.Value[chan int]
	D service.Map[string, func()]
	E service.List[struct{ hidden int }]
	F service.Value[map[float64]string]
	G service.Value[complex128]
}

// B is embedded.
type B struct{}

// Get is no method that can be called.
func (a *A) Get() int { return 0 }

// Many has too many results, and a result of no use.
func (a *A) Many(ctx *service.Context, n ...int) {}

// URL has the name of the next one, outside of Go.
func (a *A) URL(ctx *service.Context) {}

// Url is called as the one before.
func (a *A) Url(ctx *service.Context) {}

// Two has two results.
func (a *A) Two(ctx *service.Context) (int, int) { return 0, 0 }

// Types has types that are not to be had.
func (a *A) Types(ctx *service.Context, r io.Reader, f func()) (chan int, error) { return nil, nil }

// AClient is in the way.
type AClient struct{}

// G is generic.
//
//weft:service
type G[T any] struct{}

// I is no struct.
//
//weft:service
type I int

// A2 has a name that there is.
//
//weft:service a
type A2 struct{}

//weft:service
type small struct{}

// V1 has no version that there can be.
//
//weft:service
//weft:state 1
type V1 struct{}

// V2 has nothing that migrates.
//
//weft:service
//weft:state 2
type V2 struct{}

// V3 has something else.
//
//weft:service
//weft:state 3
type V3 struct{}

// Migrate takes no version.
func (V3) Migrate(ctx *service.Context) error { return nil }
