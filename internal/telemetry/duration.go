package telemetry

import (
	"math"
	"strconv"
	"time"
)

// FormatDuration writes d with three significant digits and the unit that suits it: "0", "740 ns", "12.3 µs",
// "4.56 ms", "1.23 s", "2m05s".
func FormatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + FormatDuration(-d)
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return strconv.Itoa(int(d)) + " ns"
	case d < 999500*time.Nanosecond:
		return digits(float64(d)/1e3) + " µs"
	case d < 999500*time.Microsecond:
		return digits(float64(d)/1e6) + " ms"
	case d < 100*time.Second:
		return digits(float64(d)/1e9) + " s"
	default:
		return d.Round(time.Second).String()
	}
}

// digits writes v, which is at least 0.9995, with three significant digits.
func digits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

// axis chooses round positions for at most n marks from 0 to end, and their labels in one unit.
func axis(end time.Duration, n int) (at []time.Duration, labels []string) {
	step := roundStep(end, n)
	unit, name := time.Nanosecond, "ns"
	switch {
	case step >= 500*time.Millisecond:
		unit, name = time.Second, "s"
	case step >= 500*time.Microsecond:
		unit, name = time.Millisecond, "ms"
	case step >= 500*time.Nanosecond:
		unit, name = time.Microsecond, "µs"
	}
	for d := time.Duration(0); d <= end; d += step {
		at = append(at, d)
		label := strconv.FormatFloat(float64(d)/float64(unit), 'f', -1, 64)
		if d > 0 {
			label += " " + name
		}
		labels = append(labels, label)
	}
	return at, labels
}

// roundStep is the smallest of 1, 2 and 5 times a power of ten that divides end into at most n parts.
func roundStep(end time.Duration, n int) time.Duration {
	raw := float64(max(end, 1)) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(max(raw, 1))))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= raw {
			return time.Duration(m * power)
		}
	}
	return time.Duration(10 * power)
}
