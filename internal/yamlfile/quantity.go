package yamlfile

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration reads a duration such as 1.5s within bounds.
func (r *Reader) Duration(n *Node, low, high time.Duration) time.Duration {
	const example = "write a number with a unit: 100ms, 30s, 5m, 1h or 7d"
	want := fmt.Sprintf("a duration from %s to %s", WriteDuration(low), WriteDuration(high))
	if n.Kind == Number && n.Scalar == 0 && low == 0 {
		return 0
	}
	if n.Kind == Number {
		r.WrongKind(n, want, fmt.Sprintf("did you mean %vs?", n.Scalar))
		return low
	}
	if n.Kind != String {
		r.WrongKind(n, want, example)
		return low
	}
	d, err := ParseDuration(n.Scalar.(string))
	if err != nil {
		r.WrongKind(n, want, example)
		return low
	}
	if d < low || d > high {
		r.WrongKind(n, want, "")
		return low
	}
	return d
}

// days matches a number of days in a duration.
var days = regexp.MustCompile(`([0-9]+\.?[0-9]*|\.[0-9]+)d`)

// ParseDuration reads a duration as files write it: as
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
		return 0, fmt.Errorf("%q is not a duration; a duration is a number with a unit, such as 100ms, 30s, 5m, 1h or 7d", Shorten(s, 40))
	}
	return d, nil
}

// WriteDuration writes a duration without its zero parts: 1h, not 1h0m0s;
// from two days on in days.
func WriteDuration(d time.Duration) string {
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

// Size reads a size such as 256MiB or 1.5GiB within bounds, in bytes.
func (r *Reader) Size(n *Node, low, high int64) int64 {
	const example = "write a number with a unit: 64KiB, 256MiB or 1.5GiB"
	want := fmt.Sprintf("a size from %s to %s", WriteSize(low), WriteSize(high))
	if n.Kind == Number && n.Scalar == 0 && low == 0 {
		return 0
	}
	if n.Kind != String {
		r.WrongKind(n, want, example)
		return low
	}
	s := n.Scalar.(string)
	bytes, err := ParseSize(s)
	switch {
	case err != nil, !strings.HasSuffix(strings.TrimSpace(s), "B"): // a number alone may be meant in any unit
		r.WrongKind(n, want, example)
	case bytes < low || bytes > high:
		r.WrongKind(n, want, "")
	default:
		return bytes
	}
	return low
}

// ParseSize reads a number of bytes as files and the command line write
// it: "65536", "64KiB", "1.5GiB". What is larger than an int64 holds is the
// largest one.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTPkmgtpiIb ")
	amount, err := strconv.ParseFloat(digits, 64)
	unit, known := sizeUnits[strings.TrimSpace(s[len(digits):])]
	if err != nil || !known || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size; a size is a number with a unit, such as 64KiB, 256MiB or 1.5GiB", Shorten(s, 40))
	}
	if amount *= unit; amount >= math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return int64(amount), nil
}

// WriteSize writes a size in the largest unit that divides it.
func WriteSize(n int64) string {
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
