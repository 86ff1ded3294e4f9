package domain

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/scheduler"
)

// scheduled is a scheduler that knows functions by the CPU time that their calls need, and
// gives long ones one slot.
func scheduled(t *testing.T, known map[string]time.Duration, slots int) *scheduler.Scheduler {
	t.Helper()
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = slots
	s, err := scheduler.New(scheduler.Options{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, needs := range known {
		teach(s, name, needs)
	}
	return s
}

// teach has a scheduler know what a function needs.
func teach(s *scheduler.Scheduler, name string, needs time.Duration) {
	for range 12 {
		s.Begin(scheduler.Demand{App: "a", Function: name}).End(needs, false)
	}
}

// scene is a run whose calls are scheduled.
type scene struct {
	*stage
	t *testing.T
	s *scheduler.Scheduler
}

// begin starts a call of a known function that does something.
func (c *scene) begin(function, do string) (id uint64) {
	c.t.Helper()
	c.last++
	cpu := c.s.Begin(scheduler.Demand{App: "a", Function: function})
	select {
	case <-cpu.Admitted():
	case <-time.After(time.Minute):
		c.t.Fatalf("%s is not admitted: %+v", function, c.s.Status().Calls)
	}
	path := fmt.Sprintf("s%d", c.last)
	c.d.Start(Call{ID: c.last, Function: c.f, Path: path, Step: path, Index: -1, Attempt: 1, CPU: cpu, Input: []byte(`{"do": "` + do + `"}`)})
	return c.last
}

// host is where a call runs, once it does.
func (c *scene) host(id uint64) (name string, pid int) {
	c.t.Helper()
	eventually(c.t, "the start of a call", func() bool {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		k := c.d.calls[id]
		if k == nil || k.host == nil {
			return false
		}
		name, pid = k.host.name, k.host.process.PID()
		return true
	})
	return name, pid
}

// stopped reports whether a process is, by signals or by its group.
func stopped(pid int, freezer string) bool {
	if events, err := os.ReadFile(freezer + "/cgroup.events"); err == nil && bytes.Contains(events, []byte("frozen 1")) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T")
}

// result is the end of a call.
func (c *scene) result(id uint64) Result {
	c.t.Helper()
	r := next(c.t, c.results)
	if r.Call != id || r.Failure != nil {
		c.t.Fatalf("%+v, want call %d", r, id)
	}
	return r
}

// A long call of a run has its host to itself, so it is stopped alone: neither the others
// of its run nor the short ones are, and no answer of its host is waited for.
func TestParallelLongCallsAreStoppedAlone(t *testing.T) {
	s := scheduled(t, map[string]time.Duration{"long": 10 * time.Second, "medium": time.Second, "short": time.Millisecond}, 1)
	if !s.Status().Traits.Stops {
		t.Skip("nothing can be stopped here")
	}
	p := newPool(t, func(o *PoolOptions) { o.CPU = s })
	c := &scene{stage: newStage(t, p), t: t, s: s}
	long := c.begin("long", "spin")
	first, pid := c.host(long)
	_, freezer := c.d.main.process.CPU()
	eventually(t, "that the long call is watched", func() bool { return s.Status().Calls[0].Watched })
	medium := c.begin("medium", "wait go 60000") // it has much less to do, and takes the slot
	second, _ := c.host(medium)
	eventually(t, "that it waits", func() bool {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		return c.d.calls[medium].waiting != ""
	})
	if first == second {
		t.Fatalf("both are in %s", first)
	}
	if stopped(pid, freezer) {
		t.Error("a call of a run in which another one waits for a slot is stopped")
	}
	short := c.begin("short", "put go 10")
	if r := c.result(short); r.Host == first {
		t.Errorf("a short call came into the host of the long one")
	}
	if _, err := c.d.Commit(short); err != nil {
		t.Fatal(err)
	}
	c.result(medium)
	other := c.begin("medium", "spin")
	third, _ := c.host(other)
	if third == first {
		t.Errorf("two long calls are in %s", first)
	}
	eventually(t, "that the long call is stopped", func() bool { return stopped(pid, freezer) })
	for range 5 {
		if r := c.result(c.begin("short", "len go")); r.Host == first {
			t.Error("a short call came into the host of the long one")
		}
		if !stopped(pid, freezer) {
			t.Error("short calls have the long one continued")
		}
	}
	c.d.Stop(other)
	eventually(t, "that the long call goes on", func() bool { return !stopped(pid, freezer) })
	c.d.Stop(long)
	eventually(t, "the end of all", func() bool { return len(s.Status().Calls) == 0 })
}

// Long calls of a run that begin together have a host each, which later ones have after them,
// and runs of the same version after that; there are not more of them than apartMax.
func TestParallelLongCallsHaveHosts(t *testing.T) {
	s := scheduled(t, nil, 2)
	if err := s.Apply(scheduler.Change{Backend: backend.NameNone, Parameters: map[string]string{"slots": "16"}}); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, func(o *PoolOptions) { o.CPU = s })
	c := &scene{stage: newStage(t, p), t: t, s: s}
	round := func(n int) (hosts map[string]int) {
		t.Helper()
		hosts = map[string]int{}
		function, slot := fmt.Sprintf("long%d", n), fmt.Sprintf("/go%d", n)
		teach(s, function, 10*time.Second) // those of the round before have only waited
		var ids []uint64
		for range n {
			ids = append(ids, c.begin(function, "wait "+slot+" 60000"))
		}
		for _, id := range ids {
			name, _ := c.host(id)
			hosts[name]++
		}
		if _, err := c.d.Put(slot, strings.NewReader("x"), 1, 1); err != nil {
			t.Fatal(err)
		}
		for range ids {
			r := next(t, c.results)
			if r.Failure != nil {
				t.Fatalf("%+v", r)
			}
			if _, err := c.d.Commit(r.Call); err != nil {
				t.Fatal(err)
			}
		}
		return hosts
	}
	first := round(3)
	if len(first) != 3 {
		t.Errorf("three long calls are in %v", first)
	}
	for name := range round(2) {
		if first[name] == 0 {
			t.Errorf("%s is new, and there were %v", name, first)
		}
	}
	if many := round(apartMax + 4); len(many) != apartMax+1 {
		t.Errorf("%d calls are in %d hosts: %v", apartMax+4, len(many), many)
	}
	c.d.Finish()
	eventually(t, "that the hosts come back", func() bool { return p.idling("v") == apartMax+1 })
}
