package machine_test

import (
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
)

// What a request has begun ends for the reason that the request does.
func TestReasonOfACancellation(t *testing.T) {
	await := func(names ...string) servicetest.Method {
		return func(c *servicetest.Context) ([]byte, error) {
			handles := []uint64{c.Promise("never")}
			for _, name := range names {
				handles = append(handles, c.Go(to(name)))
			}
			_, err := c.Await(handles...)
			return nil, err
		}
	}
	w := newWorld(t, 1, machine.Options{Backoff: time.Nanosecond}, map[string]servicetest.Method{"s.parent": await("child"), "s.child": await("grandchild"), "s.grandchild": await()})
	w.client("parent", record.Call{To: to("parent")})
	w.until("all wait", func() bool {
		waiting := 0
		for _, r := range w.m.Requests() {
			if r.State == machine.Waiting {
				waiting++
			}
		}
		return waiting == 3
	})
	w.tell(func(waiter uint64) machine.Event {
		return machine.Cancelled{Request: "parent", Reason: "enough", Waiter: waiter}
	})
	w.until("the end", func() bool { return len(w.m.Requests()) == 0 })
	if len(w.ended) != 3 {
		t.Errorf("%d requests have ended, want 3", len(w.ended))
	}
	for _, e := range w.ended {
		if e.Outcome != "cancelled" || e.Why != "cancelled: enough" {
			t.Errorf("%s is %s: %s", e.ID, e.Outcome, e.Why)
		}
	}
}
