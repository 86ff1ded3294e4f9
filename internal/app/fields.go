package app

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits on how many things an app file may declare.
const (
	maxFunctions = 1_000
	maxWorkflows = 1_000
	maxSteps     = 10_000 // of one workflow
	maxListed    = 1_000  // entries of a list such as args, files or dial
)

// Names as they are allowed in app files.
var (
	appName      = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	functionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
)

// field is a key that an object of type T may have, and what reads its value
// into T. An object's fields in a table are all there is to know of its keys:
// unknown ones and the hints for them follow from it.
type field[T any] struct {
	name string
	read func(b *builder, n *node, t *T)
}

// names lists the keys of a table.
func names[T any](fields []field[T]) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

// readFields reads the mapping n, which messages call what, into t. It
// reports whether n is a mapping at all. A key without a value counts as
// absent.
func readFields[T any](b *builder, n *node, what string, fields []field[T], t *T) bool {
	if n.kind != mapping {
		b.errorf(n.at, "", "want a mapping with %s as %s; found %s", strings.Join(names(fields), ", "), what, n.describe())
		return false
	}
	for _, e := range n.entries {
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == e.name })
		switch {
		case i < 0:
			b.errorf(e.at, didYouMean(e.name, names(fields)), "unknown key %q in %s", shorten(e.name, 60), what)
		case e.value.kind == null && !slices.Contains(nullable, e.name):
			b.errorf(e.at, "give it a value or remove the key", "key %q has no value", e.name)
		default:
			outer := b.key
			b.key = e.name
			fields[i].read(b, e.value, t)
			b.key = outer
		}
	}
	return true
}

// nullable are the keys that take any JSON, null included.
var nullable = []string{"with", "value", "output"}

// wrongKind reports that n is not what is wanted.
func (b *builder) wrongKind(n *node, want, hint string) {
	what := ""
	if b.key != "" {
		what = b.key + ": "
	}
	b.errorf(n.at, hint, "%swant %s; found %s", what, want, n.describe())
}

// each calls fn for each entry of a mapping of at most limit names.
func (b *builder) each(n *node, what string, limit int, fn func(entry)) {
	if n.kind != mapping {
		b.wrongKind(n, "a mapping from names to "+what, "")
		return
	}
	for i, e := range n.entries {
		if i == limit {
			b.errorf(e.at, "split the app", "more than %d %s", limit, what)
			return
		}
		fn(e)
	}
}

// text reads a string that is not empty. Numbers and booleans are refused, as
// YAML would change how they are written.
func (b *builder) text(n *node, want string) string {
	if n.kind != text {
		hint := ""
		if (n.kind == number || n.kind == boolean) && strings.Contains(want, "string") {
			hint = "quote it to make it a string"
		}
		b.wrongKind(n, want, hint)
		return ""
	}
	s := n.scalar.(string)
	if s == "" {
		b.errorf(n.at, "", "%s: want %s; found an empty string", b.key, want)
	}
	return s
}

// pattern reads a string that matches re, which want describes.
func (b *builder) pattern(n *node, re *regexp.Regexp, want string) string {
	s := b.text(n, want)
	if s != "" && !re.MatchString(s) {
		b.errorf(n.at, "", "%s: want %s; found %q", b.key, want, shorten(s, 80))
	}
	return s
}

// choice reads one of a few words.
func (b *builder) choice(n *node, what string, words ...string) string {
	if n.kind != text {
		b.wrongKind(n, strings.Join(words, " or "), "")
		return ""
	}
	s := n.scalar.(string)
	if !slices.Contains(words, s) {
		b.errorf(n.at, nearest(s, words), "unknown %s %q: want %s", what, shorten(s, 60), strings.Join(words, " or "))
	}
	return s
}

// integer reads a whole number within bounds.
func (b *builder) integer(n *node, low, high int) int {
	want := fmt.Sprintf("a whole number from %d to %d", low, high)
	i, ok := n.scalar.(int)
	if f, is := n.scalar.(float64); is && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		i, ok = int(f), true
	}
	if n.kind != number || !ok || i < low || i > high {
		b.wrongKind(n, want, unquoteHint(n))
		return low
	}
	return i
}

// float reads a number within bounds.
func (b *builder) float(n *node, low, high float64) float64 {
	f, ok := n.scalar.(float64)
	if i, is := n.scalar.(int); is {
		f, ok = float64(i), true
	}
	if n.kind != number || !ok || f < low || f > high {
		b.wrongKind(n, fmt.Sprintf("a number from %g to %g", low, high), unquoteHint(n))
		return low
	}
	return f
}

func unquoteHint(n *node) string {
	if s, ok := n.scalar.(string); ok {
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return "remove the quotes"
		}
	}
	return ""
}

// duration reads a duration such as 1.5s within bounds.
func (b *builder) duration(n *node, low, high time.Duration) time.Duration {
	const example = "write a number with a unit: 100ms, 30s, 5m, 1h or 7d"
	want := fmt.Sprintf("a duration from %s to %s", plainDuration(low), plainDuration(high))
	if n.kind == number && n.scalar == 0 && low == 0 {
		return 0
	}
	if n.kind == number {
		b.wrongKind(n, want, fmt.Sprintf("did you mean %vs?", n.scalar))
		return low
	}
	if n.kind != text {
		b.wrongKind(n, want, example)
		return low
	}
	d, err := ParseDuration(n.scalar.(string))
	if err != nil {
		b.wrongKind(n, want, example)
		return low
	}
	if d < low || d > high {
		b.wrongKind(n, want, "")
		return low
	}
	return d
}

// days matches a number of days in a duration.
var days = regexp.MustCompile(`([0-9]+\.?[0-9]*|\.[0-9]+)d`)

// ParseDuration reads a duration as app files write it: as
// [time.ParseDuration] does, and with d for days of 24 hours. What is longer
// than a Duration holds is an error.
func ParseDuration(s string) (time.Duration, error) {
	in := days.ReplaceAllStringFunc(s, func(part string) string {
		n, err := strconv.ParseFloat(strings.TrimSuffix(part, "d"), 64)
		if err != nil {
			return part
		}
		return strconv.FormatFloat(n*24, 'f', -1, 64) + "h"
	})
	d, err := time.ParseDuration(in)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; a duration is a number with a unit, such as 100ms, 30s, 5m, 1h or 7d", shorten(s, 40))
	}
	return d, nil
}

// plainDuration writes a duration without its zero parts: 1h, not 1h0m0s;
// from two days on in days.
func plainDuration(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are the units of sizes, by their number of bytes.
var sizeUnits = map[string]float64{
	"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
}

// size reads a size such as 256MiB or 1.5GiB within bounds, in bytes.
func (b *builder) size(n *node, low, high int64) int64 {
	const example = "write a number with a unit: 64KiB, 256MiB or 1.5GiB"
	want := fmt.Sprintf("a size from %s to %s", plainSize(low), plainSize(high))
	if n.kind != text {
		b.wrongKind(n, want, example)
		return low
	}
	s := n.scalar.(string)
	bytes, err := ParseSize(s)
	switch {
	case err != nil, !strings.HasSuffix(strings.TrimSpace(s), "B"): // a number alone may be meant in any unit
		b.wrongKind(n, want, example)
	case bytes < low || bytes > high:
		b.wrongKind(n, want, "")
	default:
		return bytes
	}
	return low
}

// ParseSize reads a number of bytes as app files and the command line write
// it: "65536", "64KiB", "1.5GiB". What is larger than an int64 holds is the
// largest one.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTPkmgtpiIb ")
	amount, err := strconv.ParseFloat(digits, 64)
	unit, known := sizeUnits[strings.TrimSpace(s[len(digits):])]
	if err != nil || !known || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size; a size is a number with a unit, such as 64KiB, 256MiB or 1.5GiB", shorten(s, 40))
	}
	if amount *= unit; amount >= math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return int64(amount), nil
}

// plainSize writes a size in the largest unit that divides it.
func plainSize(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// list calls fn for each item of a list of at most maxListed.
func (b *builder) list(n *node, want string, fn func(*node)) {
	if n.kind != list {
		hint := ""
		if n.kind == text {
			hint = fmt.Sprintf("write [%s]", shorten(n.scalar.(string), 40))
		}
		b.wrongKind(n, want, hint)
		return
	}
	for i, item := range n.items {
		if i == maxListed {
			b.errorf(item.at, "", "list has more than %d entries", maxListed)
			return
		}
		fn(item)
	}
}
