package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/backend"
	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/node"
)

// scheduled gives a server a scheduler.
func scheduled(t *testing.T, settings scheduler.Settings) func(*node.ServerConfig) {
	t.Helper()
	return func(c *node.ServerConfig) {
		s, err := scheduler.New(scheduler.Options{Settings: settings, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		c.CPU = s
	}
}

// current waits for a call of a function that is as wanted, and returns it.
func current(t *testing.T, s *node.Server, what string, want func(c backend.Current) bool) backend.Current {
	t.Helper()
	var found backend.Current
	if !eventually(func() bool {
		calls := s.CPU().Status().Calls
		i := slices.IndexFunc(calls, want)
		if i >= 0 {
			found = calls[i]
		}
		return i >= 0
	}) {
		t.Fatalf("no call %s: %+v", what, s.CPU().Status().Calls)
	}
	return found
}

const cpuApp = "functions: {short: {source: ACTOR}, long: {source: ACTOR}}\n"

// background invokes a function until it is told to stop waiting, and fails the test if
// that fails before.
func background(t *testing.T, s *node.Server, function, do string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if _, err := invoke(ctx, s, function, do); err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", do, err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return func() { cancel(); done.Wait() }
}

func TestLongCallsLoseTheirTier(t *testing.T) {
	for _, name := range []string{backend.Auto, backend.NameSched} {
		t.Run(name, func(t *testing.T) {
			settings := scheduler.Defaults(2)
			settings.Backend = name
			s := serve(t, t.TempDir(), scheduled(t, settings))
			deploy(t, s, cpuApp)
			mustInvoke(t, s, "short", "len x")
			stop := background(t, s, "long", "spin")
			current(t, s, "in batch", func(c backend.Current) bool {
				return strings.HasSuffix(c.Call.Function, "/long") && c.Watched && c.Tier == policy.Batch && c.Used > 0
			})
			// Short calls go on beside it, in a host of their own.
			for range 20 {
				mustInvoke(t, s, "short", "work 10")
			}
			view := s.CPU().Status()
			if view.View.Demotions == 0 || view.View.Arrivals < 22 {
				t.Errorf("view %+v", view.View)
			}
			i := slices.IndexFunc(view.Profiles, func(p scheduler.Learned) bool { return strings.HasSuffix(p.Function, "/short") })
			if i < 0 || view.Profiles[i].Calls < 20 || !view.Profiles[i].Known || view.Profiles[i].Mean <= 0 {
				t.Errorf("profiles %+v", view.Profiles)
			}
			stop()
			if !eventually(func() bool { return len(s.CPU().Status().Calls) == 0 }) {
				t.Errorf("calls are left: %+v", s.CPU().Status().Calls)
			}
		})
	}
}

// Known long calls get hosts of their own. There is one slot, so all but one wait, or are
// stopped when a shorter one comes, and all of them end.
func TestLongCallsTakeTurns(t *testing.T) {
	settings := scheduler.Defaults(2)
	settings.Options.Weft.Slots = 1
	s := serve(t, t.TempDir(), scheduled(t, settings))
	deploy(t, s, cpuApp)
	var done sync.WaitGroup
	for range 11 {
		mustInvoke(t, s, "long", "work 30000")
	}
	if p := s.CPU().Status().Profiles; len(p) == 0 || !p[0].Known || p[0].Rank < settings.Options.Weft.Short {
		t.Skipf("the work is too short on this machine: %+v", p)
	}
	for range 4 {
		done.Go(func() {
			if _, err := invoke(t.Context(), s, "long", "work 60000"); err != nil {
				t.Error(err)
			}
		})
	}
	current(t, s, "that waits", func(c backend.Current) bool { return !c.Begun || c.Stopped })
	done.Wait()
	if n := len(s.CPU().Status().Calls); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

func TestASleepingCallIsNoLongOne(t *testing.T) {
	s := serve(t, t.TempDir(), scheduled(t, scheduler.Defaults(2)))
	deploy(t, s, cpuApp)
	stop := background(t, s, "short", "sleep 60000")
	c := current(t, s, "that sleeps", func(c backend.Current) bool { return c.Watched && c.Asleep })
	if c.Tier != policy.Express {
		t.Errorf("it is in %v", c.Tier)
	}
	stop()
}

func TestThePolicyChangesWhileCallsRun(t *testing.T) {
	s := serve(t, t.TempDir(), scheduled(t, scheduler.Defaults(2)))
	deploy(t, s, cpuApp)
	background(t, s, "long", "spin")
	current(t, s, "in batch", func(c backend.Current) bool { return c.Tier == policy.Batch })
	for _, c := range []scheduler.Change{
		{Policy: policy.ALPS, Parameters: map[string]string{"theta": "40"}},
		{Policy: policy.SFS},
		{Policy: policy.None},
		{Policy: policy.Weft, Parameters: map[string]string{"weight.test": "3", "slots": "1"}},
		{Policy: policy.Weft, Backend: backend.NameSched},
	} {
		if err := s.CPU().Apply(c); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			mustInvoke(t, s, "short", "work 10")
		}
		if got := s.CPU().Settings().Policy; got != c.Policy {
			t.Errorf("the policy is %s after %+v", got, c)
		}
	}
	set := s.CPU().Settings()
	if set.Options.Weft.Slots != 1 || set.Options.ALPS.Theta != 40 || set.Options.Weft.Weights["test"] != 3 {
		t.Errorf("settings %+v", set.Options)
	}
	for _, bad := range []scheduler.Change{{Policy: "cfs"}, {Backend: "x"}, {Parameters: map[string]string{"theta": "hot"}}, {Parameters: map[string]string{"speed": "1"}}, {Parameters: map[string]string{"theta": "400"}}} {
		if err := s.CPU().Apply(bad); !errors.Is(err, scheduler.ErrSetting) && !errors.Is(err, policy.ErrParameter) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestProfilesOutliveAServer(t *testing.T) {
	dir := t.TempDir()
	settings := scheduler.Defaults(2)
	var first scheduler.Learned
	t.Run("before", func(t *testing.T) {
		s := serve(t, dir, scheduled(t, settings))
		deploy(t, s, cpuApp)
		for range 12 {
			mustInvoke(t, s, "short", "work 500")
		}
		first = s.CPU().Status().Profiles[0]
	})
	t.Run("after", func(t *testing.T) {
		s := serve(t, dir, scheduled(t, settings))
		all := s.CPU().Status().Profiles
		if len(all) != 1 || all[0].Function != first.Function || all[0].Calls != 12 || math.Abs(float64(all[0].Mean-first.Mean)) > float64(first.Mean)/100 {
			t.Fatalf("profiles %+v, want %+v", all, first)
		}
		old, _ := s.Apps.App("test")
		deploy(t, s, cpuApp+"# another version\nworkflows: {w: {steps: {a: {call: short}}}}\n")
		if err := s.Apps.DeleteVersion(t.Context(), "test", old.Active); err != nil {
			t.Fatal(err)
		}
		if !eventually(func() bool { return len(s.CPU().Status().Profiles) == 0 }) {
			t.Errorf("a version was deleted, and there is %+v", s.CPU().Status().Profiles)
		}
	})
}

// Runs, with steps at the same time that hand slots to one another, end as they do without
// a scheduler, whatever the policy.
func TestRunsUnderPolicies(t *testing.T) {
	for _, name := range policy.Names {
		t.Run(name, func(t *testing.T) {
			settings := scheduler.Defaults(2)
			settings.Policy = name
			settings.Options.Weft.Slots = 1
			settings.Options.Weft.UnknownBudget = time.Millisecond
			settings.Options.Weft.MinBudget = time.Millisecond
			s, err := scheduler.New(scheduler.Options{Settings: settings})
			if err != nil {
				t.Fatal(err)
			}
			n := newNode(t, func(c *node.Config) { c.CPU = s })
			a := steps(t, "a: {call: actor, foreach: 6, with: {do: \"work 5000; wait b/x 50000; borrow b/x\"}}",
				"b: {call: actor, with: {do: \"work 5000; put x 100000\"}}")
			for range 2 {
				r := run(t, n, a)
				if got := fmt.Sprint(r.Output); strings.Count(got, "borrow b/x: 100000 bytes") != 6 || strings.Contains(got, "errno 44") {
					t.Errorf("output %s", got)
				}
			}
		})
	}
}

// A node that is killed takes calls along that it has stopped, in whatever class, and the next
// one removes its groups.
func TestANodeIsKilledWithStoppedCalls(t *testing.T) {
	for _, name := range []string{backend.Auto, backend.NameSched, backend.NameFIFO} {
		t.Run(name, func(t *testing.T) {
			if b, _, err := backend.New(name, backend.Options{}); err != nil {
				t.Skip(err)
			} else if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			killWithStoppedCalls(t, name)
		})
	}
}

// killWithStoppedCalls kills a node with a backend that has stopped a call.
func killWithStoppedCalls(t *testing.T, name string) {
	newNode(t)
	actor(t)
	a := steps(t, "a: {call: actor, foreach: 3, concurrency: 3, with: {do: spin}}")
	cmd, _ := otherNode(t, a.Dir, t.TempDir(), func(c *exec.Cmd) { c.Env = append(c.Env, "WEFT_TEST_CPU="+name) })
	killed := false
	t.Cleanup(func() {
		if !killed {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	stopped := func(pid int) bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		return err == nil && (strings.Contains(string(status), "\nState:\tT") || strings.Contains(string(status), "\nState:\tt"))
	}
	var hosts []int
	if !eventually(func() bool {
		hosts = hostsOf(cmd.Process.Pid)
		return slices.ContainsFunc(hosts, stopped)
	}) {
		t.Fatalf("none of the hosts %v is stopped", hosts)
	}
	killed = true
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for _, pid := range hosts {
		if !eventually(func() bool { return unix.Kill(pid, 0) == unix.ESRCH || zombie(pid) }) {
			t.Errorf("host %d of a killed node lives on", pid)
		}
	}
	next, err := scheduler.New(scheduler.Options{Settings: scheduler.Defaults(2)}) // sweeps
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	other, err := node.New(t.Context(), node.Config{CacheDir: cache}) // the same
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if left := cgroupsOf(cmd.Process.Pid); len(left) > 0 {
		t.Errorf("cgroups of a killed node are left: %v", left)
	}
}

// What runs when the policy becomes none, or another one than none, has the weight of what
// is made from then on.
func TestWeightsFollowThePolicy(t *testing.T) {
	s := serve(t, t.TempDir(), scheduled(t, scheduler.Defaults(2)))
	if s.CPU().Status().Backend != backend.NameCgroup {
		t.Skip("tiers are no groups here")
	}
	deploy(t, s, cpuApp)
	mustInvoke(t, s, "short", "len x")
	weights := func() map[string]bool { // of the groups that have processes
		found := map[string]bool{}
		for _, dir := range cgroupsOf(os.Getpid()) {
			groups, _ := filepath.Glob(dir + "/[0-9]*")
			for _, group := range groups {
				if procs, _ := os.ReadFile(group + "/cgroup.procs"); len(procs) == 0 {
					continue
				}
				for _, file := range []string{"cpu.shares", "cpu.weight"} {
					if text, err := os.ReadFile(filepath.Join(group, file)); err == nil {
						found[strings.TrimSpace(string(text))] = true
					}
				}
			}
		}
		return found
	}
	express := weights()
	if len(express) == 0 || express["1024"] || express["100"] {
		t.Fatalf("weights %v under weft", express)
	}
	for range 2 {
		if err := s.CPU().Apply(scheduler.Change{Policy: policy.None}); err != nil {
			t.Fatal(err)
		}
		if normal := weights(); len(normal) != 1 || !normal["1024"] && !normal["100"] {
			t.Errorf("weights %v under none", normal)
		}
		mustInvoke(t, s, "short", "len x")
		if err := s.CPU().Apply(scheduler.Change{Policy: policy.Weft}); err != nil {
			t.Fatal(err)
		}
		if again := weights(); again["1024"] || again["100"] {
			t.Errorf("weights %v under weft again", again)
		}
		mustInvoke(t, s, "short", "len x")
	}
}
