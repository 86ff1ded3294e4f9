package service_test

import (
	"slices"
	"testing"
	"time"

	node "github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/store/memory"
)

// Methods that only read migrate the state that they come to first, and nothing else of
// what they do is written.
func TestMigrationByMethodsThatOnlyRead(t *testing.T) {
	for _, mode := range []machine.Mode{machine.Shared, machine.Snapshot} {
		t.Run(mode.String(), func(t *testing.T) {
			all := purses()
			if mode == machine.Shared {
				all["2"] = all["2"].Shared("get")
			} else {
				all["2"] = all["2"].Snapshot("get", "add")
			}
			s, err := node.Open(node.Options{Store: memory.New(memory.Options{}), Instances: all, Machine: machine.Options{
				Backoff: time.Millisecond,
				Mode: func(version string, t wire.Target) machine.Mode {
					if version == "2" && (t.Method == "get" || mode == machine.Snapshot) {
						return mode
					}
					return machine.Exclusive
				},
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ask(t, s, "1", "a", "add", "10")
			for range 2 {
				if got := ask(t, s, "2", "a", "get"); got != "1000" {
					t.Errorf("the balance is %s, want 1000", got)
				}
			}
			if got := stored(t, s, "a"); !slices.Contains(got, "Cents=1000") || slices.Contains(got, "Balance=10") || !slices.Contains(got, "Migrations[1]=1") {
				t.Errorf("the state is %q", got)
			}
			if mode != machine.Snapshot {
				return
			}
			ask(t, s, "1", "b", "add", "10")
			for _, object := range []string{"a", "b"} {
				if got := ask(t, s, "2", object, "add", "1"); got != "!failed: write Cents: purse/"+object+".add is declared snapshot, and does not write" {
					t.Errorf("a write in a snapshot: %s", got)
				}
			}
			if got := stored(t, s, "b"); !slices.Equal(got, []string{"Balance=10"}) {
				t.Errorf("the state is %q", got)
			}
		})
	}
}
