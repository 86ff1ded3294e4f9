package sweep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/store/pebble"
)

// Cost is what a request has cost the store, with all that it has begun.
type Cost struct {
	Call             Call
	Appends, Flushes uint64
}

// Costs has a script's requests asked one after the other, each one when nothing is left of
// the one before: at rest.
func Costs(t *testing.T, s Script) (costs []Cost) {
	synctest.Test(t, func(t *testing.T) {
		db, err := pebble.Open("store", pebble.Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		node, err := service.Open(service.Options{
			Store: db, Instances: &instances{net: &network{open: true}, script: &s},
			Machine: machine.Options{Seed: 1, Retention: retention},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		for i, o := range s.ops() {
			before := db.Stats()
			r := s.written(o.call).request(i)
			if _, err := node.Invoke(context.Background(), r); err != nil {
				t.Fatalf("%v: %v", o.call, err)
			}
			for len(node.Requests()) > 0 {
				time.Sleep(time.Second)
			}
			synctest.Wait()
			after := db.Stats()
			costs = append(costs, Cost{o.call, after.Appends - before.Appends, after.Flushes - before.Flushes})
		}
	})
	return costs
}
