// Package tree counts in two services at once: both or none.
package tree

import "github.com/weft-run/weft/service"

// Root is what clients call.
//
//weft:service
type Root struct{}

// Hit counts a hit of a key on the left and on the right, and returns how many there
// are on each side then: always as many.
func (Root) Hit(ctx *service.Context, key string) (hits []int, err error) {
	err = service.Tx(ctx, func() error {
		left := service.Go(ctx, LeftAt("").Hit(key))
		right := service.Go(ctx, RightAt("").Hit(key))
		hits, err = service.All(ctx, left, right)
		return err
	})
	return hits, err
}

// Left counts hits.
type Left struct {
	Hits service.Map[string, int]
}

// Hit counts one.
func (l *Left) Hit(ctx *service.Context, key string) int {
	return l.Hits.Update(key, func(n int) int { return n + 1 })
}

// Right counts hits.
type Right struct {
	Hits service.Map[string, int]
}

// Hit counts one.
func (r *Right) Hit(ctx *service.Context, key string) int {
	return r.Hits.Update(key, func(n int) int { return n + 1 })
}
