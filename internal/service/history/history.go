// Package history looks for what cannot be in what clients have seen of transactions.
//
//	for _, a := range history.Check(transactions) {
//		t.Error(a)
//	}
//
// Transactions append values to lists, and read lists. No value is appended twice, so
// a list that was read tells who has written it, in which order, and what the reader
// has not seen yet. That gives edges between transactions:
//
//	ww  the next value of a list is another one's
//	wr  one has read what another one has appended last
//	rw  one has not read what another one has appended next
//	rt  one had ended before another one began
//
// In a history that is strictly serializable they have no cycle. What a cycle is made of says what has
// gone wrong, in the words of Adya (Weak Consistency: A Generalized Theory and
// Optimistic Implementations for Distributed Transactions, 1999). The method is that
// of Elle (Kingsbury and Alvaro, Elle: Inferring Isolation Anomalies from Experimental
// Observations, VLDB 2020).
package history

import (
	"fmt"
	"slices"
	"strings"
)

// Op is an append, or a read, of a list.
type Op struct {
	List  string
	Value int   // that is appended; 0: it is a read
	Read  []int // what was read
}

// Transaction is what a client has had done, and when, in any unit.
type Transaction struct {
	Begin, End int64
	Aborted    bool // nothing of it has happened; Ops are what it has tried
	Ops        []Op
}

func (t Transaction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%d,%d]", t.Begin, t.End)
	if t.Aborted {
		b.WriteString(" aborted")
	}
	for _, o := range t.Ops {
		if o.Value != 0 {
			fmt.Fprintf(&b, " %s+%d", o.List, o.Value)
		} else {
			fmt.Fprintf(&b, " %s=%v", o.List, o.Read)
		}
	}
	return b.String()
}

// Kind is the name of an anomaly.
type Kind string

// The anomalies.
const (
	Duplicate  Kind = "duplicate"   // a value was appended more often than once
	Phantom    Kind = "phantom"     // a value was read that nobody has appended
	Torn       Kind = "torn"        // two reads of a list are not one the beginning of the other
	Internal   Kind = "internal"    // a transaction does not see what it has done itself, or sees a list change
	LostUpdate Kind = "lost-update" // two transactions have read the same of a list and then appended to it
	G0         Kind = "G0"          // a cycle of ww
	G1a        Kind = "G1a"         // a read of what was aborted
	G1b        Kind = "G1b"         // a read of what a transaction had not finished
	G1c        Kind = "G1c"         // a cycle of ww and wr
	GSingle    Kind = "G-single"    // a cycle with one rw
	G2         Kind = "G2"          // a cycle with more of them
)

// RealTime is the same kind of anomaly for a cycle that needs edges of time.
func (k Kind) RealTime() Kind { return k + "-realtime" }

// Anomaly is something that cannot be.
type Anomaly struct {
	Kind         Kind
	Transactions []int // of a cycle in its order, or that are concerned
	Text         string
}

func (a Anomaly) String() string { return fmt.Sprintf("%s: %s", a.Kind, a.Text) }

// list is what is known of a list.
type list struct {
	name    string
	longest []int // that was read
	unseen  []int // values of transactions that have happened, which nobody has read
}

// checker looks at a history.
type checker struct {
	all    []Transaction
	writer map[string]map[int]int // transaction, by list and value
	lists  map[string]*list
	found  []Anomaly
}

// Check lists what cannot be in a history: nothing, if it is strictly serializable as far as one can see.
// Of the cycles it lists one for each edge at most.
func Check(all []Transaction) []Anomaly {
	c := &checker{all: all, writer: map[string]map[int]int{}, lists: map[string]*list{}}
	c.writers()
	c.reads()
	c.updates()
	c.cycles()
	return c.found
}

func (c *checker) add(k Kind, text string, transactions ...int) {
	for _, t := range transactions {
		text += fmt.Sprintf("\n  %d: %v", t, c.all[t])
	}
	c.found = append(c.found, Anomaly{k, transactions, text})
}

func (c *checker) list(name string) *list {
	l := c.lists[name]
	if l == nil {
		l = &list{name: name}
		c.lists[name], c.writer[name] = l, map[int]int{}
	}
	return l
}

// writers finds who has appended what.
func (c *checker) writers() {
	for i, t := range c.all {
		for _, o := range t.Ops {
			c.list(o.List)
			if o.Value == 0 {
				continue
			}
			if w, twice := c.writer[o.List][o.Value]; twice {
				c.add(Duplicate, fmt.Sprintf("two transactions append %d to %s", o.Value, o.List), w, i)
			}
			c.writer[o.List][o.Value] = i
		}
	}
}

// reads looks at each read by itself, and finds the longest of each list.
func (c *checker) reads() {
	for i, t := range c.all {
		own := map[string][]int{}  // what it has appended
		seen := map[string][]int{} // what it has read, with what it has appended since
		for _, o := range t.Ops {
			if o.Value != 0 {
				own[o.List] = append(own[o.List], o.Value)
				if s, ok := seen[o.List]; ok {
					seen[o.List] = append(slices.Clone(s), o.Value)
				}
				continue
			}
			if t.Aborted && o.Read == nil {
				continue
			}
			s, again := seen[o.List]
			if again && !slices.Equal(s, o.Read) || !again && !slices.Equal(tail(o.Read, len(own[o.List])), own[o.List]) {
				c.add(Internal, fmt.Sprintf("a read of %s is not what the transaction has made of it", o.List), i)
			}
			seen[o.List] = o.Read
			c.read(i, o)
		}
	}
	for _, l := range c.lists {
		for v, w := range c.writer[l.name] {
			if !c.all[w].Aborted && !slices.Contains(l.longest, v) {
				l.unseen = append(l.unseen, v)
			}
		}
		slices.Sort(l.unseen)
	}
}

func tail(list []int, n int) []int { return list[max(0, len(list)-n):] }

// read looks at one read.
func (c *checker) read(i int, o Op) {
	l := c.lists[o.List]
	for n, v := range o.Read {
		w, ok := c.writer[o.List][v]
		switch {
		case slices.Contains(o.Read[:n], v):
			c.add(Duplicate, fmt.Sprintf("%s has %d twice", o.List, v), i)
		case !ok:
			c.add(Phantom, fmt.Sprintf("%s has %d", o.List, v), i)
		case c.all[w].Aborted && w != i:
			c.add(G1a, fmt.Sprintf("%s has %d of an aborted transaction", o.List, v), i, w)
		}
	}
	if n := len(o.Read); n > 0 {
		v := o.Read[n-1]
		if w, ok := c.writer[o.List][v]; ok && w != i && v != c.last(w, o.List) {
			c.add(G1b, fmt.Sprintf("%s was read at %d, before the transaction was over", o.List, v), i, w)
		}
	}
	if c.all[i].Aborted {
		return
	}
	short, long := l.longest, o.Read
	if len(short) > len(long) {
		short, long = long, short
	}
	if !slices.Equal(short, long[:len(short)]) {
		c.add(Torn, fmt.Sprintf("%s was read as %v and as %v", o.List, short, long), i)
		return
	}
	l.longest = long
}

// last is the last value that a transaction has appended to a list.
func (c *checker) last(t int, list string) int {
	for _, o := range slices.Backward(c.all[t].Ops) {
		if o.List == list && o.Value != 0 {
			return o.Value
		}
	}
	return 0
}

// updates looks for transactions that have read the same and appended to it.
func (c *checker) updates() {
	type version struct {
		list string
		size int
	}
	by := map[version]int{}
	for i, t := range c.all {
		if t.Aborted {
			continue
		}
		done := map[string]bool{}
		for n, o := range t.Ops {
			appends := func(later Op) bool { return later.List == o.List && later.Value != 0 }
			if done[o.List] || o.Value != 0 {
				done[o.List] = true
				continue
			}
			done[o.List] = true
			if !slices.ContainsFunc(t.Ops[n:], appends) {
				continue
			}
			v := version{o.List, len(o.Read)}
			if first, other := by[v]; other {
				c.add(LostUpdate, fmt.Sprintf("two have read %s as %v and appended to it", o.List, o.Read), first, i)
			}
			by[v] = i
		}
	}
}
