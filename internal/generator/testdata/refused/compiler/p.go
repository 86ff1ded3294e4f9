// Package p does not compile.
package p

import "github.com/weft-run/weft/service"

// A is a service.
type A struct{ N service.Value[int] }

// Get calls what there is not, and with the wrong type.
func (a *A) Get(ctx *service.Context) int {
	n, _ := service.Call(ctx, BAt("x").Get())
	a.N.Set("text")
	s, _ := service.Call(ctx, AAt("x").Get())
	var text string = s
	return n
}
