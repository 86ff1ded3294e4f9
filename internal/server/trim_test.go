package server

import (
	"testing"
)

// resident is how much of the program is in this process's memory, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	parts, err := program()
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, m := range parts {
		if m.resident > int64(m.to-m.from) {
			t.Errorf("%d bytes of %d are resident", m.resident, m.to-m.from)
		}
		sum += m.resident
	}
	return sum
}

func TestDropProgram(t *testing.T) {
	before := resident(t)
	if before == 0 {
		t.Fatal("nothing of the program that runs is in memory")
	}
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d bytes of the program are in memory, %d before", after, before)
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]bool{"00400000-01010000": true, "ffffffffff600000-ffffffffff601000": true, "10-10": false, "20-10": false, "10": false, "x-20": false, "": false} {
		if _, _, ok := span(text); ok != want {
			t.Errorf("%q: %v, want %v", text, ok, want)
		}
	}
}
