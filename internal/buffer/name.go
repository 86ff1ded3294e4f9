package buffer

import (
	"fmt"
	"strings"
)

// Name is the parsed name of a slot. Of the four forms
//
//	x              plain: where it is put, the slot of one's own step; where it is read, the one slot called so
//	/x             run-wide
//	STEP/x         of a step
//	STEP[2]/x      of one index of a foreach
//
// STEP may have the step of an enclosing workflow before it: OUTER/STEP[2]/x.
type Name struct {
	Scope string // path of the publishing step; empty when plain or Wide
	Leaf  string // last part
	Wide  bool   // run-wide
}

const (
	maxPart = 128  // bytes of one part of a name
	maxName = 1024 // bytes of a whole name
)

// ParseName reads any of the forms of Name. Parts are 1 to 128 of A-Z a-z 0-9 _ . -; what is wrong is an ErrName.
func ParseName(s string) (Name, error) {
	if len(s) > maxName {
		return Name{}, nameError(s[:40]+"…", fmt.Sprintf("%d bytes, at most %d", len(s), maxName))
	}
	cut := strings.LastIndexByte(s, '/')
	n := Name{Leaf: s[cut+1:], Wide: cut == 0}
	if cut > 0 {
		n.Scope = s[:cut]
	}
	if !isPart(n.Leaf) {
		return Name{}, nameError(s, "the last part must be 1 to 128 of A-Z a-z 0-9 _ . -")
	}
	for rest, more := n.Scope, cut > 0; more; {
		var step string
		step, rest, more = strings.Cut(rest, "/")
		if !isStep(step) {
			return Name{}, nameError(s, "write x, /x, STEP/x or STEP[INDEX]/x")
		}
	}
	return n, nil
}

func nameError(s, detail string) error {
	return &Error{Op: "name", Slot: fmt.Sprintf("%q", s), Kind: ErrName, Detail: detail}
}

// String is the inverse of ParseName.
func (n Name) String() string {
	switch {
	case n.Wide:
		return "/" + n.Leaf
	case n.Scope != "":
		return n.Scope + "/" + n.Leaf
	default:
		return n.Leaf
	}
}

// isPart reports whether s can be the last part of a name or a step without index.
func isPart(s string) bool {
	if len(s) == 0 || len(s) > maxPart {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// isStep reports whether s is a step: a part and perhaps an index without leading zeros.
func isStep(s string) bool {
	if open := strings.IndexByte(s, '['); open >= 0 {
		index := s[open+1:]
		if len(index) < 2 || len(index) > 10 || index[len(index)-1] != ']' {
			return false
		}
		index = index[:len(index)-1]
		if index[0] == '0' && len(index) > 1 {
			return false
		}
		for i := 0; i < len(index); i++ {
			if index[i] < '0' || index[i] > '9' {
				return false
			}
		}
		s = s[:open]
	}
	return isPart(s)
}
