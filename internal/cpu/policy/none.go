package policy

import "time"

// none starts every call at once and leaves the rest to the kernel.
type none struct {
	desk
	calls map[ID]*slip
}

var _ Strategy = (*none)(nil)

// Name implements Strategy.
func (*none) Name() string { return None }

// Next implements Strategy.
func (*none) Next() time.Duration { return 0 }

// Step implements Strategy.
func (n *none) Step(now time.Duration, e Event) []Command {
	n.out = n.out[:0]
	switch e := e.(type) {
	case Arrived:
		if n.calls == nil {
			n.calls = map[ID]*slip{}
		}
		if _, ok := n.calls[e.Call.ID]; ok {
			return nil
		}
		s := n.admit(now, e.Call)
		n.calls[e.Call.ID] = &s
		n.do(now, &s, Command{Op: Start, Tier: Normal})
	case Slept:
		if s, ok := n.calls[e.ID]; ok {
			s.asleep = true
		}
	case Woke:
		if s, ok := n.calls[e.ID]; ok {
			s.asleep = false
		}
	case Deadline:
		if s, ok := n.calls[e.ID]; ok {
			s.call.Deadline = e.At
		}
	case Ended:
		if s, ok := n.calls[e.ID]; ok {
			delete(n.calls, e.ID)
			n.end(now, s, e)
		}
	}
	return n.out
}

// View implements Strategy.
func (n *none) View() View {
	v := n.summary(None)
	for _, s := range n.calls {
		v.count(s, false)
	}
	return v
}
