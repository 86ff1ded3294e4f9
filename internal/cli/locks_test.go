package cli

import (
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
)

func TestWaitsFor(t *testing.T) {
	to := func(method string) wire.Target {
		return wire.Target{App: "shop", Service: "bank", Object: "a", Method: method}
	}
	list := []wire.Lock{
		{Place: "a", Request: "R1", Target: to("one"), Mode: "exclusive"},
		{Place: "a", Request: "R2", Target: to("two"), Mode: "exclusive", Waiting: true, For: []string{"R1"}},
		{Place: "a", Request: "R3", Target: to("three"), Mode: "exclusive", Waiting: true, For: []string{"R1", "R2"}},
		{Place: "b", Request: "R2", Target: to("two"), Mode: "shared"},
		{Place: "b", Request: "R4", Target: to("four"), Mode: "exclusive", Waiting: true, For: []string{"R2"}},
		{Place: "c", Request: "R5", Target: to("five"), Mode: "shared"},
	}
	want := `R1  shop/bank/a.one
├─ R2  shop/bank/a.two  waits for a
│  └─ R4  shop/bank/a.four  waits for b
└─ R3  shop/bank/a.three  waits for a, behind 1 more`
	if got := strings.Join(waitsFor(list), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	list = append(list, wire.Lock{Place: "d", Request: "R2", Target: to("two"), Mode: "shared", Waiting: true, For: []string{"R4"}}) // as of a later page
	if got, want := strings.Join(waitsFor(list), "\n"), strings.Replace(want, "waits for b", "waits for b\n│     └─ R2  shop/bank/a.two  waits for d", 1); got != want {
		t.Errorf("a circle: got\n%s\nwant\n%s", got, want)
	}
	if got := waitsFor(list[5:6]); got != nil {
		t.Errorf("where nobody waits: %q", got)
	}
}
