package lock_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/weft-run/weft/internal/service/lock"
)

var every = flag.Bool("every", false, "explore every configuration, not a sample of them")

// step is what a transaction of an exploration asks for.
type step struct {
	key  byte
	mode lock.Mode
}

// state is a moment of an exploration: what each transaction has done in its
// present life, and the table. Transactions are in the order of their ages.
type state struct {
	table   *lock.Table
	owners  []*lock.Owner
	members []member
}

// member is what a transaction has come to.
type member struct {
	at      int // steps granted in this life
	waits   bool
	done    bool
	crashed bool
}

const crash = 100 // added to the number of a transaction: it ends without an effect, and begins anew

func begin(n int) *state {
	s := &state{table: lock.NewTable(), members: make([]member, n)}
	for i := range n {
		s.owners = append(s.owners, lock.NewOwner(int64(i)))
	}
	return s
}

func (s *state) clone() *state {
	c := &state{members: slices.Clone(s.members)}
	c.table, c.owners = s.table.Clone(s.owners)
	return c
}

// move lets a transaction take its next step, or end when it has none left.
func (s *state) move(t *testing.T, plans [][]step, who int) {
	if who >= crash {
		m := &s.members[who-crash]
		s.release(t, who-crash)
		m.at, m.waits, m.crashed = 0, false, true
		return
	}
	m := &s.members[who]
	if m.at == len(plans[who]) {
		m.done = true
		s.release(t, who)
		return
	}
	p := plans[who][m.at]
	switch s.table.Acquire(s.owners[who], string(rune(p.key)), p.mode) {
	case lock.Granted:
		m.at++
	case lock.Waiting:
		m.waits = true
	case lock.Dies:
		if who == 0 {
			t.Fatal("the oldest dies")
		}
		s.release(t, who)
		m.at = 0
	}
}

func (s *state) release(t *testing.T, who int) {
	for _, o := range s.table.Release(s.owners[who]) {
		m := &s.members[slices.Index(s.owners, o)]
		if !m.waits {
			t.Fatal("a transaction is granted what it does not wait for")
		}
		m.waits = false
		m.at++
	}
	if s.owners[who].Locks() != 0 {
		t.Fatalf("transaction %d has kept locks", who)
	}
}

// moves lists what can happen: steps, and crashes, one of each transaction.
func (s *state) moves(crashes bool) []int {
	var list []int
	for i, m := range s.members {
		if !m.done && !m.waits {
			list = append(list, i)
		}
		if crashes && !m.done && !m.crashed && (m.at > 0 || m.waits) {
			list = append(list, crash+i)
		}
	}
	return list
}

func (s *state) over() bool {
	return !slices.ContainsFunc(s.members, func(m member) bool { return !m.done })
}

// check holds a state against what locks are: who has a key exclusively has it
// alone, and no transactions wait for each other.
func (s *state) check(t *testing.T) {
	locks := s.table.Locks()
	for i, l := range locks {
		if i > 0 && !l.Waiting && l.Key == locks[i-1].Key && (l.Mode == lock.Exclusive || l.Mode != locks[i-1].Mode) {
			t.Fatalf("%s has the holders %v and %v", l.Key, locks[i-1], l)
		}
	}
	for i, m := range s.members {
		if !m.waits {
			continue
		}
		reached := s.table.Blockers(s.owners[i])
		for n := 0; n < len(reached); n++ {
			if reached[n] == s.owners[i] {
				t.Fatalf("transaction %d waits for itself: %v", i, locks)
			}
			for _, o := range s.table.Blockers(reached[n]) {
				if !slices.Contains(reached, o) {
					reached = append(reached, o)
				}
			}
		}
	}
}

// fingerprint is equal for states that go on in the same way.
func (s *state) fingerprint() string {
	b := make([]byte, 0, 64)
	flag := func(v bool, f byte) byte {
		if v {
			return f
		}
		return 0
	}
	for _, m := range s.members {
		b = append(b, byte(m.at)|flag(m.waits, 16)|flag(m.done, 32)|flag(m.crashed, 64))
	}
	for _, l := range s.table.Locks() {
		b = append(b, l.Key[0], byte(l.Mode)|flag(l.Waiting, 16)|byte(slices.Index(s.owners, l.Owner))<<5)
	}
	return string(b)
}

// explore visits every state that the transactions can get into, in whatever order
// they run, and returns how many there are. From each one an end can be reached
// without a crash, so that nobody waits for ever and no two keep killing each other.
func explore(t *testing.T, plans [][]step, crashes bool) int {
	first := begin(len(plans))
	numbers := map[string]int{first.fingerprint(): 0}
	states := []*state{first}
	from := [][]int32{nil} // the states that lead to one by a step
	var ends []int32
	for n := 0; n < len(states); n++ {
		s := states[n]
		s.check(t)
		if s.over() {
			if left := s.table.Locks(); len(left) > 0 {
				t.Fatalf("locks are left: %v", left)
			}
			ends = append(ends, int32(n))
		}
		for _, who := range s.moves(crashes) {
			next := s.clone()
			next.move(t, plans, who)
			id := next.fingerprint()
			at, seen := numbers[id]
			if !seen {
				at = len(states)
				numbers[id] = at
				states, from = append(states, next), append(from, nil)
			}
			if who < crash {
				from[at] = append(from[at], int32(n))
			}
		}
		s.table, s.owners = nil, nil // what was visited is needed by its number only
	}
	ending := make([]bool, len(states))
	for len(ends) > 0 {
		n := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		if !ending[n] {
			ending[n] = true
			ends = append(ends, from[n]...)
		}
	}
	if n := slices.Index(ending, false); n >= 0 {
		t.Fatalf("%v never end after %+v", plans, states[n].members)
	}
	return len(states)
}

// All that transactions of some steps can do, upgrades and crashes included, ends,
// without a deadlock or a livelock. Configurations that differ in the names of
// their keys only are one; the first transaction is the oldest.
func TestEveryOrder(t *testing.T) {
	two, three := []lock.Mode{lock.Shared, lock.Exclusive}, []lock.Mode{lock.Shared, lock.Exclusive, lock.Scanning}
	for _, c := range []struct {
		transactions, steps, keys int
		modes                     []lock.Mode
		crashes                   bool
		sample                    int // one configuration of so many, without -every
	}{
		{2, 3, 3, two, true, 3},
		{3, 2, 3, two, true, 17},
		{3, 3, 2, two, true, 23},
		{4, 2, 2, two, false, 41},
		{2, 3, 2, three, true, 7},
		{3, 2, 2, three, true, 23},
	} {
		t.Run(fmt.Sprintf("%d of %d steps over %d keys, %d modes", c.transactions, c.steps, c.keys, len(c.modes)), func(t *testing.T) {
			sample := c.sample
			if *every {
				sample = 1
			}
			all, configurations, states := 0, 0, 0
			configure(plansOf(c.steps, c.keys, c.modes), c.transactions, func(config [][]step) {
				if all++; all%sample == 0 {
					configurations++
					states += explore(t, config, c.crashes)
				}
			})
			t.Logf("%d of %d configurations, %d states", configurations, all, states)
		})
	}
}

// plansOf lists what a transaction of n steps may ask for: every sequence in which
// no step asks for what is there already.
func plansOf(n, keys int, modes []lock.Mode) [][]step {
	plans := [][]step{nil}
	for range n {
		var longer [][]step
		for _, p := range plans {
			for k := range keys {
				for _, m := range modes {
					s := step{'a' + byte(k), m}
					if !slices.ContainsFunc(p, func(e step) bool { return e.key == s.key && (e.mode == s.mode || e.mode == lock.Exclusive) }) {
						longer = append(longer, append(slices.Clone(p), s))
					}
				}
			}
		}
		plans = longer
	}
	return plans
}

// configure calls visit with every choice of n plans whose keys are named in the
// order of their first use.
func configure(plans [][]step, n int, visit func([][]step)) {
	config := make([][]step, n)
	var choose func(i int, next byte)
	choose = func(i int, next byte) {
		if i == n {
			visit(config)
			return
		}
	plan:
		for _, p := range plans {
			named := next
			for _, s := range p {
				if s.key > named {
					continue plan
				}
				if s.key == named {
					named++
				}
			}
			config[i] = p
			choose(i+1, named)
		}
	}
	choose(0, 'a')
}
