package sweep

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// fault is what goes wrong in a run. Messages, frames of instances, and locks that are
// got are counted from 1; 0 is none.
type fault struct {
	late     int  // this message comes after all others that can come
	dead     bool // and after whoever waits for it has given up
	twice    int  // this frame of an instance comes twice
	again    bool // the second time when all is over
	kill     int  // the instance dies instead of sending this frame
	conflict int  // this lock is taken for a conflict
}

// network hands messages over, one at a time, and in an order of its own; messages
// of one channel stay in theirs.
type network struct {
	fault fault
	rng   *rand.Rand    // the driver's
	comes chan struct{} // a message waits

	mu      sync.Mutex
	waiting []*message // guarded by mu, as all below
	open    bool       // all go through at once
	frames  int        // of instances
	locks   int
	later   []func() // frames that come again

	messages int      // handed over; the driver's
	held     *message // the driver's
}

type message struct {
	channel string
	through chan struct{}
}

// pass waits until a message may go on, and reports whether it does: not if quit is
// closed before.
func (n *network) pass(channel string, quit <-chan struct{}) bool {
	m := &message{channel, make(chan struct{})}
	n.mu.Lock()
	if n.open {
		n.mu.Unlock()
		return true
	}
	n.waiting = append(n.waiting, m)
	n.mu.Unlock()
	select {
	case n.comes <- struct{}{}:
	default:
	}
	select {
	case <-m.through:
		return true
	case <-quit:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.waiting = slices.DeleteFunc(n.waiting, func(o *message) bool { return o == m })
		return false
	}
}

// step hands a message over, sometimes several. slow tells that it was the one that
// is late, and that nothing else could come before it.
func (n *network) step(slow func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop()
	moved := false
	for {
		i := n.choose()
		if i < 0 {
			break
		}
		m := n.waiting[i]
		if n.messages+1 == n.fault.late && n.held == nil {
			n.held = m
			n.messages++
			continue
		}
		n.waiting = slices.Delete(n.waiting, i, i+1)
		close(m.through)
		moved = true
		n.messages++
		if n.rng.IntN(4) > 0 {
			return true
		}
	}
	if !moved && n.held != nil {
		if m := n.held; n.fault.dead {
			n.fault.dead = false
			n.mu.Unlock()
			slow()
			n.mu.Lock()
		} else {
			n.held = nil
			n.waiting = slices.DeleteFunc(n.waiting, func(o *message) bool { return o == m })
			close(m.through)
		}
		return true
	}
	return moved
}

// drop forgets that a message is held that does not come any more.
func (n *network) drop() {
	if n.held != nil && !slices.Contains(n.waiting, n.held) {
		n.held = nil
	}
}

// choose finds a message that may go on: the first one of its channel.
func (n *network) choose() int {
	var first []int
	seen := map[string]bool{}
	for i, m := range n.waiting {
		if !seen[m.channel] && (n.held == nil || m.channel != n.held.channel) {
			first = append(first, i)
		}
		seen[m.channel] = true
	}
	if len(first) == 0 {
		return -1
	}
	if n.rng.IntN(3) == 0 {
		return first[0]
	}
	return first[n.rng.IntN(len(first))]
}

// let has all that waits, and all that comes, go through at once.
func (n *network) let() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = true
	for _, m := range n.waiting {
		close(m.through)
	}
	n.waiting = nil
}

// conflict counts locks that are got.
func (n *network) conflict() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.locks++
	return n.locks == n.fault.conflict
}

// frame counts a frame of an instance, and says what becomes of it: how often it comes
// now, 0 if the instance dies.
func (n *network) frame(again func()) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frames++
	switch {
	case n.frames == n.fault.kill:
		return 0
	case n.frames != n.fault.twice:
		return 1
	case n.fault.again:
		n.later = append(n.later, again)
		return 1
	}
	return 2
}

// repeat has the frames come again that come again later.
func (n *network) repeat() {
	n.mu.Lock()
	later := n.later
	n.later = nil
	n.mu.Unlock()
	for _, f := range later {
		f()
	}
}
