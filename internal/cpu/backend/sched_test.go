package backend

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

func TestSchedAttributes(t *testing.T) {
	const ms = time.Millisecond
	type attributes struct {
		class uint32
		nice  int32
		slice time.Duration
	}
	for _, c := range []struct {
		nice  int
		place Place
		want  attributes
	}{
		{-20, Place{Tier: policy.Express}, attributes{policyNormal, -10, 0}},
		{-20, Place{Tier: policy.Normal}, attributes{policyNormal, 0, 0}},
		{-20, Place{Tier: policy.Batch}, attributes{policyIdle, 0, 0}},
		{-20, Place{Tier: policy.Express, Rank: 9}, attributes{policyNormal, -1, 0}},
		{-20, Place{Tier: policy.Normal, Rank: 2, Slice: 20 * ms}, attributes{policyNormal, 6, 20 * ms}},
		{-20, Place{Tier: policy.Normal, Rank: 100, Slice: time.Second}, attributes{policyNormal, 19, 100 * ms}},
		{-20, Place{Tier: policy.Normal, Slice: 1}, attributes{policyNormal, 0, 100 * time.Microsecond}},
		{0, Place{Tier: policy.Express}, attributes{policyNormal, 0, 0}},
		{20, Place{Tier: policy.Express}, attributes{policyNormal, 0, 0}},
		{20, Place{Tier: policy.Normal, Rank: 3}, attributes{policyNormal, 0, 0}},
		{20, Place{Tier: policy.Batch}, attributes{policyIdle, 0, 0}},
	} {
		s := &Sched{nice: c.nice}
		class, nice, slice := s.attributes(c.place)
		if got := (attributes{class, nice, slice}); got != c.want {
			t.Errorf("niceness from %d, %+v: %+v, want %+v", c.nice, c.place, got, c.want)
		}
	}
	for nice, want := range map[int]Traits{
		-20: {Tiers: 3, Undo: true, Ranks: true, Stops: true},
		0:   {Tiers: 2, Undo: true, Stops: true},
		20:  {Tiers: 2, Stops: true},
	} {
		if got := (&Sched{nice: nice}).Traits(); got != want {
			t.Errorf("niceness from %d: %+v", nice, got)
		}
	}
}

func TestCPUGroup(t *testing.T) {
	for text, want := range map[string]string{
		"2:cpuacct:/\n1:cpu:/a/b\n0::/c\n": "/a/b",
		"4:cpu,cpuacct:/d\n0::/c\n":        "/d",
		"0::/c:e\n":                        "/c:e",
		"":                                 "",
	} {
		if got := cpuGroup(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSchedDemotesEveryThread(t *testing.T) {
	pid := launch(t, act(t, "threads"))
	task := attach(t, TaskOptions{PID: pid})
	s := NewSched(Options{})
	until(t, "it has threads", func() bool { return len(threads(pid)) > 4 })
	if err := s.Add(task, Place{Tier: policy.Batch}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // and those that it makes meanwhile
	for _, tid := range threads(pid) {
		if a, err := unix.SchedGetAttr(tid, 0); err == nil && a.Policy != policyIdle {
			t.Errorf("thread %d of %d has class %d", tid, pid, a.Policy)
		}
	}
	if !s.Traits().Undo {
		t.Skip("without CAP_SYS_NICE demotions are not undone")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(pid) {
		if a, err := unix.SchedGetAttr(tid, 0); err == nil && a.Policy != policyNormal {
			t.Errorf("thread %d still has class %d", tid, a.Policy)
		}
	}
	if err := s.Remove(task); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestSchedTiers(t *testing.T) {
	s := NewSched(Options{})
	if !s.Traits().Undo {
		t.Skip("without CAP_SYS_NICE a task has one tier for good")
	}
	a, b := script(t, spinner), script(t, spinner)
	pin(t, a)
	pin(t, b)
	first, second := attach(t, TaskOptions{PID: a}), attach(t, TaskOptions{PID: b})
	move := s.Add
	place := func(ta, tb policy.Tier) {
		t.Helper()
		if err := move(first, Place{Tier: ta}); err != nil {
			t.Fatal(err)
		}
		if err := move(second, Place{Tier: tb}); err != nil {
			t.Fatal(err)
		}
		move = s.Move
	}
	place(policy.Normal, policy.Batch)
	ahead(t, "normal before batch", first, second)
	place(policy.Batch, policy.Express)
	ahead(t, "express before batch", second, first)
	if s.Traits().Tiers == 3 {
		place(policy.Express, policy.Normal)
		ahead(t, "express before normal", first, second)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{a, b} {
		if class, nice := classOf(t, pid); class != policyNormal || nice != 0 {
			t.Errorf("%d has class %d, niceness %d", pid, class, nice)
		}
		if s.autogroup {
			if text, err := os.ReadFile("/proc/" + itoa(pid) + "/autogroup"); err == nil && !endsWith(text, " nice 0\n") {
				t.Errorf("%d: %s", pid, text)
			}
		}
	}
}

func TestSchedOfAnOrdinaryUser(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	if os.Getuid() == 0 {
		// The test binary is in a folder that only root may enter.
		dir, err := os.MkdirTemp("/tmp", "weft-ordinary-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, "/proc/self/exe", filepath.Join(dir, "test"))
		cmd = exec.Command(filepath.Join(dir, "test"))
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(65534)}
		cmd.Dir = "/"
	} else if lowestNice() < 20 {
		t.Skip("this user may raise priorities")
	}
	cmd.Env = append(os.Environ(), actEnv+"=ordinary")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%s%v", out, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
