package yamlfile

import (
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/flow"
)

// DidYouMean returns a hint that names the one of the known names that is
// closest to the given one, or, when none is close, all of them if they are
// few.
func DidYouMean(given string, known []string) string {
	sorted := slices.Clone(known)
	slices.Sort(sorted)
	if near := Nearest(given, sorted); near != "" || len(sorted) == 0 || len(sorted) > 25 {
		return near
	}
	return "known are " + strings.Join(sorted, ", ")
}

// Nearest returns the hint of flow.Nearest for names that a person may have
// mistyped: not for long ones, which are slow to compare.
func Nearest(given string, known []string) string {
	if len(given) > 64 {
		return ""
	}
	return flow.Nearest(given, slices.Clone(known))
}
