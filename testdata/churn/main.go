// Command churn allocates and collects heavily around live windows. Every byte of every window must stay what it is, and
// every released window must be ordinary memory again.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"

	"github.com/weft-run/weft"
)

type input struct {
	Role   string `json:"role"` // make or read
	Index  int    `json:"index"`
	Makers int    `json:"makers"`
	Rounds int    `json:"rounds"`
}

func main() {
	weft.Handle(func(in input) (int, error) {
		if in.Role == "make" {
			return in.Rounds, produce(in)
		}
		return in.Rounds, consume(in)
	})
}

// size is how many words maker i publishes in a round: from below a page to some megabytes.
func size(maker, round int) int {
	return 1 + rand.New(rand.NewPCG(uint64(maker), uint64(round))).IntN(1<<uint(8+round%12))
}

func word(maker, round, i int) uint64 {
	return uint64(maker+1)*0x9e3779b97f4a7c15 ^ uint64(round)<<32 ^ uint64(i)
}

func slot(round int) string { return fmt.Sprintf("round-%d", round) }

// churn makes garbage of all sizes, with pointers and without, keeps some of it, and collects.
func churn(keep *[]any, seed int) {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	m := map[int]*[]byte{}
	for i := range 300 {
		b := make([]byte, 1+r.IntN(1<<uint(r.IntN(17))))
		for j := 0; j < len(b); j += 512 {
			if b[j] != 0 {
				panic("new memory is not zero")
			}
			b[j] = 0xff
		}
		m[i] = &b
	}
	*keep = append(*keep, m[r.IntN(300)], fmt.Sprint(m[r.IntN(300)] == nil))
	if len(*keep) > 40 {
		*keep = (*keep)[20:]
	}
	if seed%4 == 0 {
		runtime.GC()
	}
}

func check(words []uint64, maker, round int, where string) error {
	if len(words) != size(maker, round) {
		return fmt.Errorf("%s: maker %d, round %d: %d words, want %d", where, maker, round, len(words), size(maker, round))
	}
	for i, w := range words {
		if w != word(maker, round, i) {
			return fmt.Errorf("%s: maker %d, round %d: word %d of %d is %#x", where, maker, round, i, len(words), w)
		}
	}
	return nil
}

func produce(in input) error {
	var keep []any
	var live [][]uint64
	for round := range in.Rounds {
		words, err := weft.AllocSlice[uint64](size(in.Index, round))
		if err != nil {
			return err
		}
		for i := range words {
			if words[i] != 0 {
				return fmt.Errorf("round %d: fresh word %d is %#x", round, i, words[i])
			}
			words[i] = word(in.Index, round, i)
		}
		churn(&keep, round)
		if err := weft.PutSlice(slot(round), words); err != nil {
			return err
		}
		churn(&keep, round+1)
		if err := check(words, in.Index, round, "after put"); err != nil {
			return err
		}
		live = append(live, words)
		if round%2 == 1 { // every other one stays until the end
			if err := weft.Release(live[len(live)-1]); err != nil {
				return err
			}
			live = live[:len(live)-1]
		}
	}
	for i, words := range live {
		if err := check(words, in.Index, 2*i, "at the end"); err != nil {
			return err
		}
	}
	runtime.KeepAlive(keep)
	return nil
}

func consume(in input) error {
	var keep []any
	for round := range in.Rounds {
		views := make([][]uint64, in.Makers)
		for maker := range views {
			words, err := weft.BorrowSlice[uint64](fmt.Sprintf("make[%d]/%s", maker, slot(round)))
			if err != nil {
				return err
			}
			views[maker] = words
			churn(&keep, round+maker)
		}
		for maker, words := range views {
			if err := check(words, maker, round, "borrowed"); err != nil {
				return err
			}
			for i := 0; i < len(words); i += 100 { // private to this view
				words[i] = 0
			}
		}
		churn(&keep, round)
		for maker, words := range views {
			again, err := weft.BorrowSlice[uint64](fmt.Sprintf("make[%d]/%s", maker, slot(round)))
			if err != nil {
				return err
			}
			if err := check(again, maker, round, "borrowed again"); err != nil {
				return err
			}
			if err := weft.Release(again); err != nil {
				return err
			}
			if len(words) > 0 && words[0] != 0 {
				return fmt.Errorf("round %d: what was written to a view is gone", round)
			}
			if err := weft.Release(words); err != nil {
				return err
			}
			churn(&keep, round)
		}
	}
	fmt.Fprintln(os.Stderr, "collections:", collections())
	runtime.KeepAlive(keep)
	return nil
}

func collections() uint32 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.NumGC
}
