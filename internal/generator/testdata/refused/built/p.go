// Package p looks at the clock where it is a WebAssembly module.
package p

import "github.com/weft-run/weft/service"

// A is a service.
type A struct{ N service.Value[int64] }

// Look looks.
func (a *A) Look(ctx *service.Context) { a.N.Set(now()) }
