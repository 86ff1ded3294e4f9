// Package inner is behind another one.
package inner

import (
	"os"
	clock "time"
)

// Today is what the clock shows.
func Today() string { return clock.Now().String() }

// Hour is too.
func Hour() int { return clock.Now().Hour() }

// Base tells.
type Base struct{}

// Tell is promoted.
func (Base) Tell() string { return os.Getenv("TIME") }
