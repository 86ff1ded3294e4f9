package app

import (
	"fmt"
	"sort"
	"strings"
)

// didYouMean returns a hint that names the one of the known names that is
// closest to the given one, or, when none is close, all of them if they are
// few.
func didYouMean(given string, known []string) string {
	if near := nearest(given, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 || len(known) > 25 {
		return ""
	}
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	return "known are " + strings.Join(sorted, ", ")
}

// nearest returns the known name with the least edit distance to the given
// one, or "" when all are too far off to be what was meant. The first in
// alphabetical order wins a tie.
func nearest(given string, known []string) string {
	if len(given) > 64 {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(given)/3)
	for _, k := range known {
		d := editDistance(strings.ToLower(given), strings.ToLower(k))
		if d < len(given) && (d < bestDistance || d == bestDistance && best != "" && k < best) {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that make b out of a.
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	var previous []int
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		next := make([]int, len(t)+1)
		next[0] = i + 1
		for j := range t {
			cost := 1
			if s[i] == t[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				next[j+1] = min(next[j+1], previous[j-1]+1)
			}
		}
		previous, row = row, next
	}
	return row[len(t)]
}
