package app

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// processor is the time of the processor that this process has had.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Files that are built to be slow end with a result in reasonable time: that of
// the processor, since the machine may be busy with other things. The bound is far
// above what they take.
func TestHostileFilesEndSoon(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	repeat := func(head string, n int, line func(i int) string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	const steps = "name: x\nworkflows:\n main:\n  steps:\n"
	for name, src := range map[string]string{
		"keys":        repeat("", 10_000, func(i int) string { return fmt.Sprintf("k%d: 1\n", i) }),
		"steps":       repeat(steps, 3_000, func(i int) string { return fmt.Sprintf("   s%d: {needs: [t%d]}\n", i, i) }),
		"chain":       repeat(steps, 3_000, func(i int) string { return fmt.Sprintf("   s%d: {needs: [s%d]}\n", i, i+1) }),
		"references":  repeat(steps, 3_000, func(i int) string { return fmt.Sprintf("   s%d: {with: \"${.t%d}\"}\n", i, i) }),
		"calls":       repeat(steps, 3_000, func(i int) string { return fmt.Sprintf("   s%d: {call: t%d}\n", i, i) }),
		"workflows":   repeat("name: x\nworkflows:\n", 1_000, func(i int) string { return fmt.Sprintf(" w%d: {steps: {a: {call: w%d}}}\n", i, i+1) }),
		"flow list":   "name: [" + strings.Repeat("1,", 200_000) + "]",
		"block list":  "name:\n" + strings.Repeat("- a\n", 100_000),
		"expressions": "name: x\nworkflows: {m: {steps: {a: {with: \"" + strings.Repeat("${1}", 50_000) + "\"}}}}",
		"nested jq":   "name: x\nworkflows: {m: {steps: {a: {with: \"${" + strings.Repeat("[", 8_000) + strings.Repeat("]", 8_000) + "}\"}}}}",
		"folded":      "name: \"" + strings.Repeat("x\n  ", 250_000) + "\"",
		"quotes":      "name: '" + strings.Repeat("''", 500_000) + "'",
		"comments":    strings.Repeat("# x\n", 100_000) + "name: x",
		"brackets":    strings.Repeat("]", 300_000),
		"colons":      strings.Repeat(": ", 500_000),
		"anchors":     repeat("name:\n", 3_000, func(i int) string { return fmt.Sprintf(" - &a%d *a%d\n", i, i) }),
	} {
		start := processor(t)
		_, err := Parse("weft.yaml", []byte(src))
		took := processor(t) - start
		t.Logf("%-11s %7d bytes: %v, error of %d bytes", name, len(src), took.Round(time.Millisecond), len(fmt.Sprint(err)))
		if took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
