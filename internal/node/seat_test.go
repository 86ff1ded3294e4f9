package node

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/sandbox/process"
)

// Whoever is built first, a function hears of all others of its layer, and waits for none
// that has left.
func TestSeats(t *testing.T) {
	for range 200 {
		const n = 4
		seats := new(families).seats(n + 2)
		var built [n + 1]process.Function
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				defer seats[i].leave()
				seats[i].meet(&built[i], "layer", "app", []string{"json", fmt.Sprint("own", i)})
			})
		}
		wg.Go(func() { seats[n].meet(&built[n], "another layer", "app", []string{"json"}) })
		wg.Go(seats[n+1].leave)
		wg.Wait()
		for i, f := range built {
			want := process.Function{Family: "app", Common: []string{"json"}}
			if i == n {
				want = process.Function{}
			}
			if !reflect.DeepEqual(f, want) {
				t.Fatalf("function %d has family %q and %q in common, want %q and %q", i, f.Family, f.Common, want.Family, want.Common)
			}
		}
	}
}
