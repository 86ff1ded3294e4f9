// Package p has another service where it is a WebAssembly module.
package p

import "github.com/weft-run/weft/service"

// A is a service.
type A struct{ N service.Value[int] }
