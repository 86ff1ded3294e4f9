package trigger_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/trigger"
)

// Whatever call a process dies at, each time has exactly its one run in the end.
func TestDeath(t *testing.T) {
	for _, c := range []struct {
		name    string
		overlap trigger.Overlap
		missed  trigger.Missed
		down    time.Duration
	}{
		{"at once", trigger.OverlapSkip, trigger.MissedSkip, 0},
		{"at once, once", trigger.OverlapQueue, trigger.MissedOnce, 0},
		{"for long", trigger.OverlapAllow, trigger.MissedAll, 25 * time.Minute},
		{"for long, queued", trigger.OverlapQueue, trigger.MissedAll, 25 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			for call := 1; ; call++ {
				died := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(uint64(call))
					w.last = call
					jobs := []trigger.Job{job("a", "*/10 * * * *"), job("b", "*/15 * * * *")}
					for i := range jobs {
						jobs[i].Overlap, jobs[i].Missed = c.overlap, c.missed
					}
					p, err := w.boot(t, jobs...)
					for range 45 {
						if err != nil {
							break
						}
						time.Sleep(time.Minute)
						synctest.Wait()
						w.mu.Lock()
						dead := w.dead
						w.mu.Unlock()
						if dead {
							break
						}
					}
					if p != nil {
						err = p.end()
					}
					died = errors.Is(err, errDead) || w.dead
					w.revive()
					if call > 3 { // the jobs were durably there
						time.Sleep(c.down)
					}
					p = w.mustBoot(t, jobs...)
					until(t, "1:31")
					if err := p.end(); err != nil {
						t.Errorf("Run: %v", err)
					}
					got := strings.Split(w.runs(), ", ")
					want := []string{"a 00:10", "a 00:20", "a 00:30", "a 00:40", "a 00:50", "a 01:00", "a 01:10", "a 01:20", "a 01:30",
						"b 00:15", "b 00:30", "b 00:45", "b 01:00", "b 01:15", "b 01:30"}
					slices.Sort(got)
					if !slices.Equal(got, want) {
						t.Errorf("death at call %d: got  %v\nwant %v", call, got, want)
					}
				})
				if !died {
					if call < 20 {
						t.Errorf("only %d calls", call)
					}
					return
				}
			}
		})
	}
}
