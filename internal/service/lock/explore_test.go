package lock_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/weft-run/weft/internal/service/lock"
)

// step is what a transaction of an exploration asks for.
type step struct {
	key  string
	mode lock.Mode
}

// state is a moment of an exploration: what each transaction has done in its
// present life, and the table. It is made again from its schedule, since a table
// cannot be copied.
type state struct {
	table  *lock.Table
	owners []*lock.Owner
	at     []int // steps granted in this life
	waits  []bool
	done   []bool
	deaths []int
}

const (
	crash = 100 // added to the number of a transaction: it ends without an effect, and begins anew
	lives = 2   // of a transaction that crashes once
)

func begin(n int) *state {
	s := &state{table: lock.NewTable(), owners: make([]*lock.Owner, n), at: make([]int, n), waits: make([]bool, n), done: make([]bool, n), deaths: make([]int, n)}
	for i := range n {
		s.owners[i] = lock.NewOwner(lock.Age{Time: int64(i)})
	}
	return s
}

// move lets a transaction take its next step, or end when it has none left.
func (s *state) move(t *testing.T, plans [][]step, who int) {
	if who >= crash {
		who -= crash
		s.release(t, plans, who)
		s.at[who], s.waits[who] = 0, false
		s.deaths[who]++
		return
	}
	if s.at[who] == len(plans[who]) {
		s.done[who] = true
		s.release(t, plans, who)
		return
	}
	p := plans[who][s.at[who]]
	switch s.table.Acquire(s.owners[who], p.key, p.mode) {
	case lock.Granted:
		s.at[who]++
	case lock.Waiting:
		s.waits[who] = true
	case lock.Dies:
		if who == 0 {
			t.Fatalf("the oldest dies")
		}
		s.release(t, plans, who)
		s.at[who] = 0
	}
}

func (s *state) release(t *testing.T, plans [][]step, who int) {
	for _, o := range s.table.Release(s.owners[who]) {
		i := slices.Index(s.owners, o)
		if !s.waits[i] {
			t.Fatalf("transaction %d is granted what it does not wait for", i)
		}
		s.waits[i] = false
		s.at[i]++
	}
	if s.owners[who].Locks() != 0 {
		t.Fatalf("transaction %d has kept locks", who)
	}
}

// moves lists what can happen.
func (s *state) moves(crashes bool) []int {
	var list []int
	for i := range s.owners {
		if !s.done[i] && !s.waits[i] {
			list = append(list, i)
		}
		if crashes && !s.done[i] && s.deaths[i] < lives-1 && (s.at[i] > 0 || s.waits[i]) {
			list = append(list, crash+i)
		}
	}
	return list
}

// check holds a state against what locks are: who has a key exclusively has it
// alone, and no transactions wait for each other.
func (s *state) check(t *testing.T) {
	holders := map[string][]lock.Lock{}
	for _, l := range s.table.Locks() {
		if !l.Waiting {
			holders[l.Key] = append(holders[l.Key], l)
		}
	}
	for key, list := range holders {
		if len(list) > 1 && slices.ContainsFunc(list, func(l lock.Lock) bool { return l.Mode == lock.Exclusive }) {
			t.Fatalf("%s has the holders %v", key, list)
		}
	}
	for i := range s.owners { // who is reached from i by waiting
		seen := map[*lock.Owner]bool{}
		next := s.table.Blockers(s.owners[i])
		for len(next) > 0 {
			o := next[0]
			next = next[1:]
			if o == s.owners[i] {
				t.Fatalf("transaction %d waits for itself: %v", i, s.table.Locks())
			}
			if !seen[o] {
				seen[o] = true
				next = append(next, s.table.Blockers(o)...)
			}
		}
	}
}

// fingerprint is equal for states that go on in the same way.
func (s *state) fingerprint() string {
	var b []byte
	for i, o := range s.owners {
		waits, _ := o.Waits()
		b = append(b, byte(s.at[i]), byte(s.deaths[i]), byte(len(waits)))
		if s.done[i] {
			b = append(b, 1)
		}
		b = append(b, waits...)
	}
	for _, l := range s.table.Locks() {
		b = append(b, l.Key...)
		b = append(b, byte(l.Mode), byte(slices.Index(s.owners, l.Owner)))
		if l.Waiting {
			b = append(b, 'w')
		}
	}
	return string(binary.AppendUvarint(b, uint64(len(b))))
}

// explore visits every state that the transactions can get into, in whatever
// order they run, and returns how many there are. Each one that is not over must
// have a way on.
func explore(t *testing.T, plans [][]step, crashes bool) int {
	seen := map[string]bool{}
	ends := 0
	var visit func(schedule []int)
	visit = func(schedule []int) {
		s := begin(len(plans))
		for _, m := range schedule {
			s.move(t, plans, m)
		}
		id := s.fingerprint()
		if seen[id] {
			return
		}
		seen[id] = true
		s.check(t)
		if !slices.Contains(s.done, false) {
			ends++
			if left := s.table.Locks(); len(left) > 0 {
				t.Fatalf("locks are left: %v", left)
			}
			return
		}
		moves := s.moves(crashes)
		if !slices.ContainsFunc(moves, func(m int) bool { return m < crash }) {
			t.Fatalf("nobody can go on after %v of %v: %v", schedule, plans, s.table.Locks())
		}
		for _, m := range moves {
			visit(append(slices.Clone(schedule), m))
		}
	}
	visit(nil)
	if ends == 0 {
		t.Fatalf("%v never end", plans)
	}
	return len(seen)
}

// All that three transactions of two steps, or two of three, over as many keys can
// do, upgrades and crashes included, ends without a deadlock.
func TestEveryOrder(t *testing.T) {
	for _, c := range []struct {
		transactions, steps, keys int
		crashes                   bool
	}{
		{2, 3, 3, true},
		{3, 2, 3, true},
		{3, 3, 2, false},
	} {
		t.Run(fmt.Sprintf("%d of %d steps over %d keys", c.transactions, c.steps, c.keys), func(t *testing.T) {
			var all []step
			for k := range c.keys {
				for _, m := range []lock.Mode{lock.Shared, lock.Exclusive} {
					all = append(all, step{string(rune('a' + k)), m})
				}
			}
			var plans [][]step
			for _, p := range sequences(all, c.steps) {
				if !repeats(p) {
					plans = append(plans, p)
				}
			}
			configurations, states := 0, 0
			every := 1
			if testing.Short() || c.transactions*c.steps > 6 {
				every = 97
			}
			for i, chosen := range choices(len(plans), c.transactions) {
				if i%every != 0 {
					continue
				}
				config := make([][]step, len(chosen))
				for i, p := range chosen {
					config[i] = plans[p]
				}
				states += explore(t, config, c.crashes)
				configurations++
			}
			t.Logf("%d configurations, %d states", configurations, states)
		})
	}
}

// sequences lists all sequences of n steps.
func sequences(steps []step, n int) [][]step {
	if n == 0 {
		return [][]step{nil}
	}
	var list [][]step
	for _, rest := range sequences(steps, n-1) {
		for _, s := range steps {
			list = append(list, append(slices.Clone(rest), s))
		}
	}
	return list
}

// repeats reports whether a plan asks for what it has: that changes nothing.
func repeats(p []step) bool {
	for i, s := range p {
		if slices.ContainsFunc(p[:i], func(e step) bool { return e.key == s.key && e.mode >= s.mode }) {
			return true
		}
	}
	return false
}

// choices lists all ways to give each of n a number below most.
func choices(most, n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var list [][]int
	for _, rest := range choices(most, n-1) {
		for i := range most {
			list = append(list, append(slices.Clone(rest), i))
		}
	}
	return list
}
