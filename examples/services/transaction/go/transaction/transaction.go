// Package transaction changes three services, or none.
package transaction

import (
	"errors"

	"github.com/weft-run/weft/service"
)

// Reasons for which a transaction comes to nothing.
var (
	ErrOwn    = errors.New("the caller has changed its mind")
	ErrSecond = errors.New("the second service refuses")
)

// Frontend has numbers, and asks First and Second to have the same ones.
type Frontend struct {
	Numbers service.List[int]
}

// Compose has all three remember n, and returns what each of them has then: First, Frontend, Second.
func (f *Frontend) Compose(ctx *service.Context, n int) ([][]int, error) {
	err := service.Tx(ctx, func() error {
		if _, err := service.Call(ctx, FirstAt("").Add(n)); err != nil {
			return err
		}
		f.Numbers.Append(n)
		_, err := service.Call(ctx, SecondAt("").Add(n))
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.read(ctx)
}

// Abort begins as Compose does, and then fails: the caller itself where n is 10 or less, else
// Second. It returns what all three have: nobody has n.
func (f *Frontend) Abort(ctx *service.Context, n int) ([][]int, error) {
	err := service.Tx(ctx, func() error {
		if _, err := service.Call(ctx, FirstAt("").Add(n)); err != nil {
			return err
		}
		f.Numbers.Append(n)
		if n <= 10 {
			return ErrOwn
		}
		_, err := service.Call(ctx, SecondAt("").Refuse(n))
		return err
	})
	if !errors.Is(err, ErrOwn) && !errors.Is(err, ErrSecond) {
		return nil, err
	}
	return f.read(ctx)
}

// Read returns what First, Frontend and Second have.
func (f *Frontend) Read(ctx *service.Context) ([][]int, error) { return f.read(ctx) }

func (f *Frontend) read(ctx *service.Context) ([][]int, error) {
	first, err := service.Call(ctx, FirstAt("").Read())
	if err != nil {
		return nil, err
	}
	second, err := service.Call(ctx, SecondAt("").Read())
	return [][]int{first, f.Numbers.Slice(), second}, err
}

// First has numbers.
type First struct {
	Numbers service.List[int]
}

// Add remembers n.
func (f *First) Add(ctx *service.Context, n int) { f.Numbers.Append(n) }

// Read returns all numbers.
func (f *First) Read(ctx *service.Context) []int { return f.Numbers.Slice() }

// Second has numbers, and a mind of its own.
type Second struct {
	Numbers service.List[int]
}

// Add remembers n.
func (s *Second) Add(ctx *service.Context, n int) { s.Numbers.Append(n) }

// Refuse fails behind what it has done.
func (s *Second) Refuse(ctx *service.Context, n int) error {
	s.Numbers.Append(n)
	return ErrSecond
}

// Read returns all numbers.
func (s *Second) Read(ctx *service.Context) []int { return s.Numbers.Slice() }
