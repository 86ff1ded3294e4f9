package backend

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// Short calls that follow each other are not what the watch is for: it neither reads the
// kernel's counters for each of them nor is woken by each.
func TestShortCallsLeaveTheWatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, policy.Weft, 1)
		defer s.Close()
		reads := 0
		s.watch.o.Idle = func() time.Duration { reads++; return 0 }
		armed := func() (at time.Duration, asleep bool) {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.watch.armed, s.watch.asleep
		}
		for i := range 300 {
			call, _ := s.begin(i+1, "f")
			time.Sleep(ms / 2)
			call.End(ms/2, false)
			time.Sleep(ms / 2)
			if at, asleep := armed(); at == 0 || !asleep {
				t.Fatalf("after call %d it waits to be woken", i)
			}
		}
		if reads < 1 || reads > 3 {
			t.Errorf("%d readings of the load in 300 ms", reads)
		}
		if looks := s.Status().Stats.Looks; looks != 0 {
			t.Errorf("%d looks", looks)
		}
		time.Sleep(20 * ms)
		if at, _ := armed(); at != 0 {
			t.Errorf("without calls it gets up at %v", at)
		}
	})
}
