package buffer

import (
	"fmt"
	"slices"
	"strings"
)

// Wait is an attempt that waits for a slot.
type Wait struct {
	Attempt Attempt
	Name    string // as it resolves for the waiter: plain names stay plain
}

// Deadlock is the error of attempts that wait for what no running step can publish. It is an ErrDeadlock. The table
// knows who waits, its caller who runs: when every open attempt of a run is among Waiting, and no step can start or
// finish meanwhile, that is a deadlock.
type Deadlock struct{ Waits []Wait }

// Error names up to four of the waits.
func (d *Deadlock) Error() string {
	const most = 4
	var b strings.Builder
	b.WriteString("deadlock: ")
	for i, w := range d.Waits[:min(len(d.Waits), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s waits for %q", w.Attempt.Path, w.Name)
	}
	if more := len(d.Waits) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more wait", more)
	}
	if len(d.Waits) == 1 {
		b.WriteString("; no running step can publish it")
	} else {
		b.WriteString("; no running step can publish them")
	}
	return b.String()
}

// Is makes errors.Is(d, ErrDeadlock) true.
func (d *Deadlock) Is(target error) bool { return target == ErrDeadlock }

// Wait reports whether the attempt can read name now. If not, it is noted as waiting, for this name alone, until
// Commit, Import or Withdraw of another attempt returns it among those that can go on, or until Unwait or its end.
// One that can go on asks again: the slot it waited for may have been taken for good, which is ErrNotFound.
// A plain name is there as soon as one slot has it as last part.
func (t *Table) Wait(a Attempt, name string) (bool, error) {
	if t.closed {
		return false, &Error{Op: "wait for", Slot: name, Kind: ErrClosed}
	}
	n, err := ParseName(name)
	if err != nil {
		return false, err
	}
	t.Unwait(a)
	over, err := t.waitOver(a, n)
	if over || err != nil {
		return over, err
	}
	p := t.open(a)
	p.waits, p.waiting = n, true
	t.waiters[n.Leaf] = append(t.waiters[n.Leaf], a)
	return false, nil
}

// waitOver reports whether n is there for a; an error says that it never will be.
func (t *Table) waitOver(a Attempt, n Name) (bool, error) {
	s := t.lookup(a, n)
	if s == nil && n.Scope == "" && !n.Wide {
		if t.readableAnywhere(a, n) {
			return true, nil
		}
		return false, nil
	}
	switch {
	case s == nil, s.state == taken && s.taker != a:
		return false, nil
	case s.state == there:
		return true, nil
	}
	_, err := t.resolve("wait for", a, n)
	return false, err
}

// readableAnywhere reports whether some slot with this last part can be read.
func (t *Table) readableAnywhere(a Attempt, n Name) bool {
	readable := func(s *slot) bool { return s.state == there }
	if slices.ContainsFunc(t.byLeaf[n.Leaf], readable) {
		return true
	}
	if p := t.attempts[a]; p != nil {
		if s := p.pending[Name{Leaf: n.Leaf, Wide: true}]; s != nil {
			return readable(s)
		}
	}
	return false
}

// Unwait ends the wait of an attempt, if it has one.
func (t *Table) Unwait(a Attempt) {
	p := t.attempts[a]
	if p == nil || !p.waiting {
		return
	}
	leaf := p.waits.Leaf
	list := t.waiters[leaf]
	if i := slices.Index(list, a); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(t.waiters, leaf)
	} else {
		t.waiters[leaf] = list
	}
	p.waits, p.waiting = Name{}, false
}

// wake adds to ready the attempts whose wait for a slot with this last part is over, and ends their waits.
func (t *Table) wake(ready []Attempt, leaf string) []Attempt {
	list := t.waiters[leaf]
	for i := 0; i < len(list); {
		a := list[i]
		over, err := t.waitOver(a, t.attempts[a].waits)
		if !over && err == nil {
			i++
			continue
		}
		ready = append(ready, a)
		t.Unwait(a)
		list = t.waiters[leaf]
	}
	return ready
}

// Waiting lists who waits for what, by path.
func (t *Table) Waiting() []Wait {
	var waits []Wait
	for _, list := range t.waiters {
		for _, a := range list {
			waits = append(waits, Wait{Attempt: a, Name: t.attempts[a].waits.String()})
		}
	}
	slices.SortFunc(waits, func(x, y Wait) int { return compareAttempts(x.Attempt, y.Attempt) })
	return waits
}
