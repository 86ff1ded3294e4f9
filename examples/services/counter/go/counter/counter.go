// Package counter counts.
package counter

import (
	"errors"

	"github.com/weft-run/weft/service"
)

// Counter is a number that grows; each object is one.
type Counter struct {
	Count service.Value[int]
}

// ErrNegative is for who counts down.
var ErrNegative = errors.New("a counter does not count down")

// Add adds n, and returns how many there are then.
func (c *Counter) Add(ctx *service.Context, n int) (int, error) {
	if n < 0 {
		return 0, ErrNegative
	}
	return c.Count.Update(func(count int) int { return count + n }), nil
}

// Get returns how many there are.
func (c *Counter) Get(ctx *service.Context) int { return c.Count.Get() }
