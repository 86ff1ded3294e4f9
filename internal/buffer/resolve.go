package buffer

import (
	"fmt"
	"slices"
	"strings"
)

// find resolves a name for a reader and checks that it can be read as typ.
func (t *Table) find(op string, a Attempt, name string, typ uint64) (*slot, error) {
	if t.closed {
		return nil, &Error{Op: op, Slot: name, Kind: ErrClosed}
	}
	n, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	s, err := t.resolve(op, a, n)
	if err != nil {
		return nil, err
	}
	if typ != 0 && s.value.Type != 0 && typ != s.value.Type {
		return nil, &Error{Op: op, Slot: name, Kind: ErrType,
			Detail: fmt.Sprintf("%s was put as %016x and is read as %016x; build both sides with the same type",
				s.name, s.value.Type, typ)}
	}
	return s, nil
}

// resolve finds the slot that n means to attempt a, and fails unless it can be read now.
func (t *Table) resolve(op string, a Attempt, n Name) (*slot, error) {
	s := t.lookup(a, n)
	if s == nil && n.Scope == "" && !n.Wide {
		var err error
		if s, err = t.anywhere(op, a, n); err != nil {
			return nil, err
		}
	}
	switch {
	case s == nil:
		return nil, &Error{Op: op, Slot: n.String(), Kind: ErrNotFound, Detail: t.whyNot(a, n)}
	case s.state == gone:
		return nil, &Error{Op: op, Slot: n.String(), Kind: ErrNotFound,
			Detail: s.taker.Path + " has taken it; borrow where several steps read"}
	case s.state == taken && s.taker == a:
		return nil, &Error{Op: op, Slot: n.String(), Kind: ErrTaken, Detail: "by this attempt; borrow to read twice"}
	case s.state == taken:
		return nil, &Error{Op: op, Slot: n.String(), Kind: ErrTaken,
			Detail: "by " + s.taker.Path + ", which is running; borrow where several steps read"}
	}
	return s, nil
}

// lookup finds the slot of exactly this name. A scoped name is looked for in the workflow of a first, then in the
// ones around it.
func (t *Table) lookup(a Attempt, n Name) *slot {
	plain := n.Scope == "" && !n.Wide
	if plain {
		if a.Path == "" {
			return nil
		}
		n.Scope = a.Path
	}
	if p := t.attempts[a]; p != nil {
		if s := p.pending[n]; s != nil {
			return s
		}
	}
	if n.Scope != "" && !plain {
		for around := a.Path; ; {
			cut := strings.LastIndexByte(around, '/')
			if cut < 0 {
				break
			}
			around = around[:cut]
			inner := Name{Scope: around + "/" + n.Scope, Leaf: n.Leaf}
			if s := t.slots[inner]; s != nil {
				return s
			}
		}
	}
	return t.slots[n]
}

// anywhere finds the one slot with this last part, whoever published it.
func (t *Table) anywhere(op string, a Attempt, n Name) (*slot, error) {
	found := t.byLeaf[n.Leaf]
	if p := t.attempts[a]; p != nil {
		if own := p.pending[Name{Leaf: n.Leaf, Wide: true}]; own != nil {
			if len(found) == 0 {
				return own, nil
			}
			found = append(slices.Clip(found), own)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	names := make([]string, 0, 4)
	for _, s := range found[:min(len(found), 3)] {
		names = append(names, s.name.String())
	}
	if len(found) > 3 {
		names = append(names, "…")
	}
	return nil, &Error{Op: op, Slot: n.Leaf, Kind: ErrAmbiguous,
		Detail: fmt.Sprintf("%d slots (%s); name the step", len(found), strings.Join(names, ", "))}
}

// whyNot explains a name that is not published.
func (t *Table) whyNot(a Attempt, n Name) string {
	first := ""
	for other, p := range t.attempts {
		for _, s := range p.puts {
			same := s.name == n || n.Scope == "" && !n.Wide && s.name.Leaf == n.Leaf
			if other != a && same && (first == "" || other.Path < first) {
				first = other.Path
			}
		}
	}
	if first != "" {
		return first + " has put it and is still running: others see it when that step succeeds; need the step or wait for the slot"
	}
	return "put it in a step that this one needs, or wait for it"
}
