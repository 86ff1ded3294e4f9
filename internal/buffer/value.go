package buffer

import (
	"cmp"
	"strings"
)

// Holder is what holds the bytes of a value: *Segment, *Inline, *File, or what the caller adds. It must be
// comparable, so a pointer: a holder under two names is counted and charged once.
type Holder interface {
	Size() int64 // bytes that a run is charged for holding it; must not change
}

// Inline holds a small value in ordinary memory.
type Inline struct{ Bytes []byte }

var _ Holder = (*Inline)(nil)

// Size is the number of bytes.
func (i *Inline) Size() int64 { return int64(len(i.Bytes)) }

// Value is what a slot holds.
type Value struct {
	Holder Holder
	Len    int64  // bytes
	Type   uint64 // fingerprint; 0 is untyped and matches every reader
}

// Attempt is one try of one call of a run. Path is the step, with the index of a foreach: "split", "map[2]"; inside a
// sub-workflow the path of the calling step goes before: "outer/map[2]".
type Attempt struct {
	Path   string
	Number int // 1, 2, …
}

// Slot is the full name under which the attempt's Put of name ("x" or "/x") is found by others.
func (a Attempt) Slot(name string) (Name, error) {
	n, err := ParseName(name)
	if err != nil {
		return Name{}, err
	}
	if n.Scope != "" {
		return Name{}, nameError(name, "a step publishes its own slots as x, run-wide ones as /x")
	}
	if !n.Wide {
		n.Scope = a.Path
	}
	return n, nil
}

func compareAttempts(a, b Attempt) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Number, b.Number))
}
