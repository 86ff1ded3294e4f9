package engine

import (
	"math/rand/v2"
	"time"
)

// Real is the world as it is.
var Real World = real{}

type real struct{}

func (real) Now() time.Time { return time.Now() }

func (real) Go(f func()) { go f() }

func (real) Random() uint64 { return rand.Uint64() }

func (real) After(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}
