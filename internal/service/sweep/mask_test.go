package sweep

import (
	"slices"
	"testing"
)

// Outcomes are the same whatever was drawn, and whatever the time is, but not if what was
// drawn is somewhere else.
func TestOutcome(t *testing.T) {
	const a, b, c = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b", "00000000-0000-4000-8000-00000000000c"
	s := &Script{Chance: "s[0-9]{3}"}
	answers, state := []string{`"` + a + `"`, `"` + b + `"`}, []string{"post " + a + " by ann", "post " + b + " by bob", "at 2026-11-21T10:00:00Z", "link s100 s200", "s200 first"}
	for _, v := range []struct {
		name           string
		answers, state []string
		same           bool
	}{
		{"as it was", answers, state, true},
		{"another order of rows", answers, []string{state[4], state[2], state[1], state[3], state[0]}, true},
		{"other chance, another time", []string{`"` + c + `"`, `"` + a + `"`}, []string{"post " + a + " by bob", "post " + c + " by ann", "at 2027-01-01T00:00:00.5+01:00", "link s200 s100", "s100 first"}, true},
		{"answers in the other's place", []string{answers[1], answers[0]}, state, false},
		{"the same answer twice", []string{answers[0], answers[0]}, state, false},
		{"rows in the other's place", answers, []string{"post " + b + " by ann", "post " + a + " by bob", state[2], state[3], state[4]}, false},
		{"one that is nowhere else", []string{`"` + c + `"`, answers[1]}, state, false},
		{"two that are one", answers, []string{state[0], state[1], state[2], "link s100 s100", "s100 first"}, false},
		{"the other one first", answers, []string{state[0], state[1], state[2], state[3], "s100 first"}, false},
	} {
		if same := slices.Equal(s.outcome(answers, state), s.outcome(v.answers, v.state)); same != v.same {
			t.Errorf("%s: same is %v, want %v", v.name, same, v.same)
		}
	}
}
