package sweep

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What differs from run to run.
var (
	times  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	uuids  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	ours   = regexp.MustCompile(`[\w.-]+:(op\d+)`)
	theirs = regexp.MustCompile(`op\d+/[\w./-]+|request-\d+`)
)

// How languages differ.
var (
	fields  = regexp.MustCompile(`^[\w-]+/\S* \w+`)
	classes = regexp.MustCompile(`^error: (\S+ has failed: )?([A-Z]\w+: )?`)
)

// timeless takes times and the IDs of requests out of a text, and what is of its language.
func (s *Script) timeless(text string) string {
	if s.Python != nil {
		text = fields.ReplaceAllStringFunc(classes.ReplaceAllString(text, "error: "), strings.ToLower)
		text = strings.ReplaceAll(text, "'", `"`)
	}
	text = times.ReplaceAllString(text, "TIME")
	return theirs.ReplaceAllString(ours.ReplaceAllString(text, "$1"), "CHILD")
}

// chance finds what methods have drawn.
func (s *Script) chance() *regexp.Regexp {
	if s.drawn == nil {
		if s.drawn = uuids; s.Chance != "" {
			s.drawn = regexp.MustCompile(uuids.String() + "|" + s.Chance)
		}
	}
	return s.drawn
}

// mask makes a single text of different runs comparable.
func (s *Script) mask(text string) string {
	return s.chance().ReplaceAllString(s.timeless(text), "CHANCE")
}

// outcome makes the answers and the state of different runs comparable: they are the same
// if they differ in times, in IDs of requests, and in what was drawn by chance, but not
// if that is in other places. What was drawn gets a name that tells of all its places: the texts
// around it, with the names of others in them, which are found anew until no more of them
// are told from each other (the refinement of colors of Weisfeiler and Leman, 1968).
func (s *Script) outcome(answers, state []string) []string {
	lines := make([]string, 0, len(answers)+len(state))
	for i, a := range answers {
		lines = append(lines, fmt.Sprintf("answer %d: %s", i, s.timeless(a)))
	}
	for _, l := range state {
		lines = append(lines, s.timeless(l))
	}
	chance := s.chance()
	names := map[string]string{}
	for _, l := range lines {
		for _, drawn := range chance.FindAllString(l, -1) {
			names[drawn] = "CHANCE"
		}
	}
	for told := 0; ; {
		next, kinds := make(map[string]string, len(names)), map[string]bool{}
		for drawn := range names {
			var places []string
			for _, l := range lines {
				if strings.Contains(l, drawn) {
					places = append(places, chance.ReplaceAllStringFunc(l, func(other string) string {
						if other == drawn {
							return "THIS"
						}
						return names[other]
					}))
				}
			}
			slices.Sort(places)
			sum := sha256.Sum256([]byte(strings.Join(places, "\n")))
			next[drawn] = "CHANCE-" + hex.EncodeToString(sum[:8])
			kinds[next[drawn]] = true
		}
		if names = next; len(kinds) == told {
			break
		}
		told = len(kinds)
	}
	for i, l := range lines {
		lines[i] = chance.ReplaceAllStringFunc(l, func(drawn string) string { return names[drawn] })
	}
	slices.Sort(lines)
	return lines
}
