// Package p has methods that do what they may not, in other packages of the module.
package p

import (
	"encoding/json"
	"fmt"
	"maps"
	. "math/rand/v2"
	"reflect"
	"slices"
	"sort"
	_ "unsafe"

	when "github.com/weft-run/weft/internal/generator/testdata/refused/module/dates"
	"github.com/weft-run/weft/internal/generator/testdata/refused/module/pick"
	_ "github.com/weft-run/weft/internal/generator/testdata/refused/module/unused"
	weft "github.com/weft-run/weft/service"
)

// A is a service, of a package with another name.
type A struct {
	N weft.Value[int]
	T weft.Value[Tag]
}

// Calls calls a function that calls one of a third package.
func (a *A) Calls(ctx *weft.Context) string {
	f := when.Stamp // a value
	return f() + when.Name() + fmt.Sprint(IntN(3))
}

// Methods has methods of types that come from elsewhere.
func (a *A) Methods(ctx *weft.Context, c when.Clock) string {
	now := c.Hour
	var teller when.Teller = when.Watch{}
	return fmt.Sprint(now(), teller.Tell())
}

// Generic uses functions with type parameters.
func (a *A) Generic(ctx *weft.Context, m map[string]int) int {
	each := maps.Values[map[string]int]
	for v := range each(m) {
		return v
	}
	_ = slices.SortedFunc(maps.Keys(m), func(a, b string) int { return len(a) - len(b) })
	maps.DeleteFunc(m, func(_ string, v int) bool { return v > 0 }) // fine
	maps.DeleteFunc(m, func(_ string, v int) bool { a.N.Set(v); return v > 0 })
	return pick.First(m) + pick.Say(pick.Parrot{})
}

// Unasked has methods that nobody calls but the standard library.
func (a *A) Unasked(ctx *weft.Context, list []string) string {
	sort.Sort(pick.Shuffled(list))
	a.T.Set(Tag("x"))
	return fmt.Sprint(pick.Loud{})
}

// Tag has an encoding of its own.
type Tag string

// MarshalText is called by package json.
func (t Tag) MarshalText() ([]byte, error) { return json.Marshal(Int()) }

// UnmarshalText is, too.
func (t *Tag) UnmarshalText([]byte) error { return nil }

// Variables uses variables that others change.
func (a *A) Variables(ctx *weft.Context) int {
	defer func() { a.N = weft.Value[int]{} }()
	_, _, _, _ = pick.Count(), pick.Handed(), pick.Inner(), pick.Ref()
	return begun + when.Zone() + len(pick.Names)
}

var begun int

func init() { begun = len(fmt.Sprint(1)) }

// Hidden does it behind the compiler's back.
func (a *A) Hidden(ctx *weft.Context, m map[string]int) string {
	for _, k := range reflect.ValueOf(m).MapKeys() {
		return k.String()
	}
	return fmt.Sprintf("%p %d", m, ticks())
}

//go:linkname ticks runtime.nanotime
func ticks() int64

// Reads says that it only reads.
//
//weft:shared
func (a *A) Reads(ctx *weft.Context) { pick.Reset(&a.N) }
