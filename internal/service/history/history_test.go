package history_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/service/history"
)

// parse reads a history, a transaction a line: BEGIN-END, perhaps "aborted", and
// operations: x+1 appends, x=1,2 has read.
func parse(t *testing.T, text string) []history.Transaction {
	t.Helper()
	var all []history.Transaction
	for line := range strings.Lines(strings.TrimSpace(text)) {
		var tx history.Transaction
		words := strings.Fields(line)
		if _, err := fmt.Sscanf(words[0], "%d-%d", &tx.Begin, &tx.End); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, w := range words[1:] {
			if w == "aborted" {
				tx.Aborted = true
				continue
			}
			if list, value, ok := strings.Cut(w, "+"); ok {
				n, err := strconv.Atoi(value)
				if err != nil {
					t.Fatal(err)
				}
				tx.Ops = append(tx.Ops, history.Op{List: list, Value: n})
				continue
			}
			list, values, _ := strings.Cut(w, "=")
			o := history.Op{List: list, Read: []int{}}
			for v := range strings.SplitSeq(values, ",") {
				if n, err := strconv.Atoi(v); err == nil {
					o.Read = append(o.Read, n)
				}
			}
			tx.Ops = append(tx.Ops, o)
		}
		all = append(all, tx)
	}
	return all
}

func kinds(found []history.Anomaly) []history.Kind {
	var list []history.Kind
	for _, a := range found {
		if !slices.Contains(list, a.Kind) {
			list = append(list, a.Kind)
		}
	}
	slices.Sort(list)
	return list
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, history string
		want          []history.Kind
	}{
		{"good", `
			1-2 x+1 y+1
			3-4 x=1 x+2 x=1,2 y=1
			3-9 y+3
			5-6 x=1,2 y=1
			10-11 x=1,2 y=1,3`, nil},
		{"good, at the same time in any order", `
			1-9 x=1 y=1 z+1
			1-9 x+1 y= y+1
			1-9 z=1 x+2
			10-11 x=1,2 z=1`, nil},
		{"two writers in two orders", `
			1-9 x+1 y+1
			1-9 x+2 y+2
			1-9 x=1,2
			1-9 y=2,1`, []history.Kind{history.G0}},
		{"a read of what was aborted", `
			1-2 aborted x+1
			3-4 x=1`, []history.Kind{history.G1a}},
		{"a read in between", `
			1-9 x+1 x+2
			1-9 x=1
			10-11 x=1,2`, []history.Kind{history.GSingle, history.G1b}},
		{"each has read of the other one", `
			1-9 x+1 y=2
			1-9 y+2 x=1`, []history.Kind{history.G1c}},
		{"half of a transaction is seen", `
			1-9 x+1 y+1
			1-9 x=1 y=
			10-11 x=1 y=1`, []history.Kind{history.GSingle}},
		{"a lost update", `
			1-9 x= x+1
			1-9 x= x+2
			10-11 x=1,2`, []history.Kind{history.GSingle, history.LostUpdate}},
		{"a lost update, overwritten", `
			1-2 x+1
			3-9 x=1 x+2
			3-9 x=1 x+3
			10-11 x=1,3`, []history.Kind{history.GSingle, history.LostUpdate}},
		{"write skew", `
			1-9 x= y+1
			1-9 y= x+1
			10-11 x=1 y=1`, []history.Kind{history.G2}},
		{"two readers see two orders", `
			1-9 x+1
			1-9 y+1
			1-9 x=1 y=
			1-9 x= y=1
			10-11 x=1 y=1`, []history.Kind{history.G2}},
		{"a write comes too late", `
			1-2 x+1
			3-4 x=`, []history.Kind{history.GSingle + "-realtime"}},
		{"writes against time", `
			1-2 x+1
			3-4 x+2
			5-6 x=2,1`, []history.Kind{history.G0 + "-realtime"}},
		{"a read from the future", `
			1-2 x=1
			3-4 x+1`, []history.Kind{history.G1c + "-realtime"}},
		{"a skew against time", `
			1-2 x=1 y=
			1-2 x+1
			3-4 z+1
			1-9 y+1 z=`, nil},
		{"two reads that are in the way of each other", `
			1-2 x+1 y+1
			3-4 z+1
			1-9 x+2 z=
			5-6 x=1 z=1
			10-11 x=1,2 z=1`, []history.Kind{history.G2}},
		{"skew, in time", `
			1-3 x= y+1
			1-3 y+2
			4-5 y=2 x+1
			10-11 x=1 y=2,1`, []history.Kind{history.G2}},
		{"skew by way of time", `
			1-9 x= y+1
			10-11 z+1
			1-12 y= z= x+1
			13-14 x=1 y=1`, []history.Kind{history.G2}},
		{"skew only by way of time", `
			1-2 x+1
			3-4 y=
			1-9 y+1
			1-9 x= y=1`, []history.Kind{history.G2.RealTime()}},
		{"not a beginning", `
			1-9 x+1
			1-9 x+2
			1-9 x=1,2
			1-9 x=2`, []history.Kind{history.GSingle, history.Torn}},
		{"twice", `
			1-2 x+1
			3-4 x=1,1`, []history.Kind{history.Duplicate}},
		{"of nobody", `1-2 x=7`, []history.Kind{history.Phantom}},
		{"not its own", `1-2 x+1 x=`, []history.Kind{history.Internal}},
		{"it changes", `
			1-9 x= x=1
			1-9 x+1`, []history.Kind{history.GSingle, history.Internal}},
		{"what is lost", `
			1-2 x+1 y+1
			3-4 y=1 x=`, []history.Kind{history.GSingle}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := history.Check(parse(t, test.history))
			if got := kinds(found); !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v: %v", got, test.want, found)
			}
		})
	}
}

// serial makes a history of transactions that happen one at a time, at a moment
// between their begin and end.
func serial(rng *rand.Rand, n int) []history.Transaction {
	lists := map[string][]int{}
	var all []history.Transaction
	for i := range n {
		tx := history.Transaction{Begin: int64(10*i) - rng.Int64N(80), End: int64(10*i) + rng.Int64N(80), Aborted: rng.IntN(10) == 0}
		state := map[string][]int{}
		for k, v := range lists {
			state[k] = slices.Clone(v)
		}
		for op := range 1 + rng.IntN(4) {
			l := string(rune('a' + rng.IntN(4)))
			if rng.IntN(2) == 0 {
				tx.Ops = append(tx.Ops, history.Op{List: l, Read: slices.Clone(state[l])})
				continue
			}
			v := 10*i + op + 1
			state[l] = append(state[l], v)
			tx.Ops = append(tx.Ops, history.Op{List: l, Value: v})
		}
		if !tx.Aborted {
			lists = state
		}
		all = append(all, tx)
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// What happens one at a time is never found to be wrong, and one read of a late
// transaction that is older than it can be always is.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		all := serial(rng, 120)
		if found := history.Check(all); len(found) > 0 {
			t.Fatalf("seed %d: %v", seed, found)
		}
		late := history.Transaction{Begin: 10_000, End: 10_001, Ops: []history.Op{{List: "a", Read: []int{}}}}
		if found := history.Check(append(all, late)); len(found) == 0 {
			t.Fatalf("seed %d: a read that is too old is not found", seed)
		}
	}
}
