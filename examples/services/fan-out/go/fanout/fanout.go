// Package fanout asks two services at the same time.
package fanout

import "github.com/weft-run/weft/service"

// Caller is what clients call.
//
//weft:service
type Caller struct{}

// Add gives n to both services, and returns what each of them has then.
func (Caller) Add(ctx *service.Context, n int) ([][]int, error) {
	first := service.Go(ctx, FirstAt("").Add(n))
	second := service.Go(ctx, SecondAt("").Add(n))
	return service.All(ctx, first, second)
}

// First has numbers.
type First struct {
	Numbers service.List[int]
}

// Add remembers n, and returns all numbers.
func (f *First) Add(ctx *service.Context, n int) []int {
	f.Numbers.Append(n)
	return f.Numbers.Slice()
}

// Second has numbers.
type Second struct {
	Numbers service.List[int]
}

// Add remembers n, and returns all numbers.
func (s *Second) Add(ctx *service.Context, n int) []int {
	s.Numbers.Append(n)
	return s.Numbers.Slice()
}
