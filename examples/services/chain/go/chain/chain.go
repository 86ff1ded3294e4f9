// Package chain hands a request on twice before it counts.
package chain

import "github.com/weft-run/weft/service"

// Caller1 is what clients call.
//
//weft:service
type Caller1 struct{}

// Hit counts a hit of a key, two services away, and returns how many there are then.
func (Caller1) Hit(ctx *service.Context, key string) (int, error) {
	return service.Call(ctx, Caller2At("").Hit(key))
}

// Caller2 stands in between.
//
//weft:service
type Caller2 struct{}

// Hit hands the hit on.
func (Caller2) Hit(ctx *service.Context, key string) (int, error) {
	return service.Call(ctx, BackendAt("").Hit(key))
}

// Backend counts the hits of each key.
type Backend struct {
	Hits service.Map[string, int]
}

// Hit counts one, and returns how many there are.
func (b *Backend) Hit(ctx *service.Context, key string) int {
	return b.Hits.Update(key, func(n int) int { return n + 1 })
}
