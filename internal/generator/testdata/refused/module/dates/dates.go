// Package dates looks at the clock.
package dates

import "github.com/weft-run/weft/internal/generator/testdata/refused/module/dates/inner"

// Stamp calls another package.
func Stamp() string { return inner.Today() }

// Name is fine.
func Name() string { return "name" }

// Never is called by nobody.
func Never() { go inner.Today() }

var zone = 1

// SetZone is called by main, say.
func SetZone(z int) { zone = z }

// Zone uses what others change.
func Zone() int { return zone }

// Clock has a method.
type Clock struct{ N int }

// Hour is used as a value.
func (c Clock) Hour() int { return inner.Hour() }

// Teller is what a Watch is.
type Teller interface{ Tell() string }

// Watch embeds what tells.
type Watch struct{ inner.Base }

// Idle has the method, and nobody has one.
type Idle struct{}

// Tell is not meant.
func (Idle) Tell() string { go Never(); return "" }
