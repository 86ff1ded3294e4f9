package telemetry

import (
	"cmp"
	"slices"
	"strconv"
)

// row is one line of a picture: everything that belongs to a step or an item of a foreach.
type row struct {
	label string
	step  string
	index int
	whole Span   // the step's span, or the hull of the others when there is none
	calls []Span // attempts
	marks []Span // modules, puts and takes
}

// failed reports whether the row's last attempt, or the step itself, failed.
func (r row) failed() bool {
	if r.whole.Attr("error") != "" {
		return true
	}
	return len(r.calls) > 0 && r.calls[len(r.calls)-1].Attr("error") != ""
}

// rows sorts the spans of a trace into rows: steps by their first start, items by index.
func rows(t *Trace) []row {
	type key struct {
		step  string
		index int
	}
	byKey := map[key]*row{}
	first := map[string]int{} // order of appearance of steps
	var keys []key
	for _, s := range t.Spans {
		if s.Kind == KindRun || s.Kind == KindHost || s.Step == "" {
			continue
		}
		k := key{s.Step, s.Index}
		r := byKey[k]
		if r == nil {
			r = &row{label: path(k.step, k.index), step: k.step, index: k.index, whole: Span{Kind: KindStep, Step: k.step, Index: k.index, Start: s.Start, End: s.End}}
			byKey[k] = r
			keys = append(keys, k)
			if first[k.step] == 0 {
				first[k.step] = len(first) + 1
			}
		}
		switch s.Kind {
		case KindStep:
			r.whole = s
		case KindAttempt:
			r.calls = append(r.calls, s)
		default:
			r.marks = append(r.marks, s)
		}
		r.whole.Start, r.whole.End = min(r.whole.Start, s.Start), max(r.whole.End, s.End)
	}
	slices.SortStableFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(first[a.step], first[b.step]), cmp.Compare(a.index, b.index))
	})
	out := make([]row, len(keys))
	for i, k := range keys {
		out[i] = *byKey[k]
	}
	return out
}

// hosts numbers the hosts of a trace in order of appearance.
func hosts(t *Trace) ([]string, map[string]int) {
	var names []string
	number := map[string]int{}
	for _, s := range t.Spans {
		if _, ok := number[s.Host]; !ok && s.Host != "" {
			number[s.Host] = len(names)
			names = append(names, s.Host)
		}
	}
	return names, number
}

// describe says in one line per fact what a span is, for tooltips.
func describe(s Span) string {
	text := string(s.Kind)
	if s.Name != "" {
		text += " " + s.Name
	}
	if p := s.Path(); p != "" {
		text += " · " + p
	}
	if s.Attempt > 1 {
		text += " · attempt " + strconv.Itoa(s.Attempt)
	}
	text += "\n" + FormatDuration(s.Start) + " + " + FormatDuration(s.Duration())
	if s.Host != "" {
		text += " · " + s.Host
	}
	for _, a := range s.Attrs {
		text += "\n" + a.Key + ": " + a.Value
	}
	return text
}
