// Package p has methods with directives that make no sense.
package p

import "github.com/weft-run/weft/service"

// A is a service.
type A struct{ N service.Value[int] }

// Odd has a directive that there is not.
//
//weft:readonly
func (a *A) Odd(ctx *service.Context) {}

// Both has two.
//
//weft:shared
//weft:snapshot
func (a *A) Both(ctx *service.Context) {}
