package sweep_test

import (
	"testing"

	"github.com/weft-run/weft/internal/service/sweep"
)

// waits are the requests that wait, and what that costs at most: what becomes certain at the same moment is appended together.
var waits = map[string]sweep.Cost{
	"caller.add":       {Appends: 4, Flushes: 1}, // its beginning, two calls that are awaited together, and its end
	"teller.moveLater": {Appends: 2, Flushes: 1},
	"shop.basket":      {Appends: 3, Flushes: 1}, // with what it sends
	"shop.count":       {Appends: 3, Flushes: 1},
	"shop.order":       {Appends: 7, Flushes: 2}, // it has a side effect, two calls at a time, and sends
}

// A request at rest costs one flush, in every application: whatever it calls, and also if it
// waits for what it has begun. Only what comes before a side effect is flushed apart. What
// does not wait is one append.
func TestCosts(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.Name, func(t *testing.T) { costs(t, s) })
	}
}

func costs(t *testing.T, s sweep.Script) {
	for _, c := range sweep.Costs(t, s) {
		want, ok := waits[c.Call.To.String()]
		if !ok {
			want = sweep.Cost{Appends: 1, Flushes: 1}
		}
		if c.Appends < 1 || c.Appends > want.Appends || c.Flushes != want.Flushes {
			t.Errorf("%v: %d appends and %d flushes, want at most %d, and %d", c.Call, c.Appends, c.Flushes, want.Appends, want.Flushes)
		}
	}
}
