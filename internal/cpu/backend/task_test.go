package backend

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

func TestParseStat(t *testing.T) {
	long := strings.Repeat(" 0", 13) + " 3"
	for _, c := range []struct {
		line string
		want stat
		ok   bool
	}{
		{"42 (sh) R 7 42 42" + long + " 0 99 5 6", stat{'R', 7, 3, "99", 0}, true},
		{"42 (sh) R 7 42 42" + long + " 0 99" + strings.Repeat(" 0", 16) + " 1 0", stat{'R', 7, 3, "99", 1}, true},
		{"42 (a) b (c)) S 7 42 42" + long + " 0 99 5 6", stat{'S', 7, 3, "99", 0}, true},
		{"42 (sh) R 7 42", stat{}, false},
		{"42 sh R 7 42", stat{}, false},
		{"42 (sh) RR 7 42 42" + long + " 0 99", stat{}, false},
		{"42 (sh) R 7 42 42" + strings.Repeat(" 0", 13) + " y 0 99", stat{}, false},
		{"42 (sh) \x00 7 42 42" + long + " 0 99", stat{}, false},
		{"42 (sh) R x 42 42" + long + " 0 99", stat{}, false},
		{"", stat{}, false},
	} {
		got, err := parseStat([]byte(c.line))
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%q: %+v, %v", c.line, got, err)
		}
	}
	own, err := statOf(os.Getpid(), os.Getpid())
	if err != nil || own.parent != os.Getppid() || own.threads < 2 || own.start == "" {
		t.Errorf("own: %+v, %v", own, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (sh) R 7 42 42 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99 0"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if s, err := parseStat(line); err == nil && (s.state < 'A' || s.start == "") {
			t.Errorf("%q: %+v", line, s)
		}
	})
}

func TestTreeOfProcesses(t *testing.T) {
	pid := script(t, "sleep 60 & sh -c 'sleep 60 & wait' & wait")
	until(t, "four processes", func() bool { return len(processes(pid, 0, "")) == 4 })
	found := processes(pid, 0, "")
	if found[0] != pid {
		t.Errorf("first is %d, not %d", found[0], pid)
	}
	for _, child := range found[1:] {
		if s, err := statOf(child, child); err != nil || !slices.Contains(found, s.parent) {
			t.Errorf("%d: %+v, %v", child, s, err)
		}
	}
	if slow := childrenByParent(pid); len(slow) != 2 || !slices.Contains(found, slow[0]) {
		t.Errorf("by looking at all: %v of %v", slow, found)
	}
	group := t.TempDir()
	if err := os.WriteFile(group+"/cgroup.procs", fmt.Appendf(nil, "1234\n%d\n", pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := processes(pid, 0, group); !slices.Equal(got, []int{pid, 1234}) {
		t.Errorf("in the group: %v", got)
	}
}

func TestLook(t *testing.T) {
	t.Run("one that runs", func(t *testing.T) {
		task := attach(t, TaskOptions{PID: script(t, spinner)})
		var last time.Duration
		until(t, "10 ms of CPU time", func() bool {
			u, err := task.Look(true)
			if err != nil || u.State == Asleep || u.CPU < last {
				t.Fatalf("%+v after %v, %v", u, last, err)
			}
			last = u.CPU
			return last > 10*time.Millisecond
		})
	})
	t.Run("one that sleeps", func(t *testing.T) {
		task := attach(t, TaskOptions{PID: script(t, "exec sleep 60")})
		until(t, "it sleeps", func() bool { u, _ := task.Look(true); return u.State == Asleep })
		before := cpu(t, task)
		time.Sleep(5 * time.Millisecond)
		if after := cpu(t, task); after != before {
			t.Errorf("asleep it used %v", after-before)
		}
	})
	t.Run("one whose child runs", func(t *testing.T) {
		task := attach(t, TaskOptions{PID: script(t, "sh -c '"+spinner+"' & wait")})
		until(t, "10 ms of CPU time", func() bool { return cpu(t, task) > 10*time.Millisecond })
		if u, err := task.Look(true); err != nil || u.State == Asleep {
			t.Errorf("%+v, %v", u, err)
		}
	})
	t.Run("several threads", func(t *testing.T) {
		task := attach(t, TaskOptions{PID: launch(t, act(t, "threads"))})
		until(t, "more than one that can run", func() bool {
			time.Sleep(treeEvery)
			u, err := task.Look(true)
			if err != nil {
				t.Fatal(err)
			}
			return u.Threads > 1
		})
	})
	t.Run("what a child used is kept", func(t *testing.T) {
		pid := script(t, "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' & wait; exec sleep 60")
		task := attach(t, TaskOptions{PID: pid})
		var last time.Duration
		until(t, "the child has ended", func() bool {
			now := cpu(t, task)
			if now < last {
				t.Fatalf("%v after %v", now, last)
			}
			last = now
			return now > 0 && len(processes(pid, 0, "")) == 1 && stateOf(pid) == 'S' && len(task.gauge.procs) == 1
		})
		if own, _ := clockOf(pid); last <= own {
			t.Errorf("%v in all, %v without the child", last, own)
		}
	})
	t.Run("one that has another call", func(t *testing.T) {
		express := policy.Express
		task := attach(t, TaskOptions{PID: script(t, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 60"), Born: &express})
		until(t, "it has run and sleeps", func() bool { u, _ := task.Look(true); return u.State == Asleep && u.CPU > time.Millisecond })
		task.place = Place{Tier: policy.Batch}
		if err := task.Renew(); err != nil || task.Place() != (Place{Tier: policy.Express}) {
			t.Errorf("in %+v, %v", task.Place(), err)
		}
		if used := cpu(t, task); used != 0 {
			t.Errorf("the call before used %v of this one's", used)
		}
	})
	t.Run("one that has ended", func(t *testing.T) {
		pid := script(t, "exec sleep 60")
		task := attach(t, TaskOptions{PID: pid})
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		until(t, "it has ended", func() bool { return !task.alive() })
		if err := halt(task); !errors.Is(err, ErrGone) {
			t.Errorf("stop: %v", err)
		}
		if err := task.Renew(); err != nil && !errors.Is(err, ErrGone) { // until somebody waits for it, it has a clock
			t.Errorf("renew: %v", err)
		}
		if _, err := Attach(TaskOptions{PID: 1 << 22}); !errors.Is(err, ErrGone) {
			t.Errorf("attach to nobody: %v", err)
		}
	})
}

func TestStopBySignals(t *testing.T) {
	pid := script(t, "sh -c '"+spinner+"' & "+spinner)
	task := attach(t, TaskOptions{PID: pid, Freezer: t.TempDir()}) // which has no cgroup.freeze
	until(t, "both run", func() bool { cpu(t, task); return len(task.gauge.procs) == 2 })
	if err := halt(task); err != nil {
		t.Fatal(err)
	}
	all := processes(pid, 0, "")
	for _, p := range all {
		until(t, "it stops", func() bool { return stateOf(p) == 'T' })
	}
	until(t, "it uses nothing any more", func() bool { // its last slice may be counted late
		before := cpu(t, task)
		time.Sleep(10 * time.Millisecond)
		return cpu(t, task) == before
	})
	if err := errors.Join(resume(task), resume(task)); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		until(t, "it goes on", func() bool { return stateOf(p) == 'R' })
	}
	if err := halt(task); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "a stopped one can be killed", func() bool { return !task.alive() })
	for _, p := range all[1:] {
		_ = unix.Kill(p, unix.SIGKILL)
	}
}

func TestStopByFreezing(t *testing.T) {
	_, point := mountOf("cgroup2", "")
	if point == "" {
		t.Skip("cgroup version 2 is not mounted")
	}
	dir := fmt.Sprintf("%s/weft-test-%d", point, os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no group can be made: %v", err)
	}
	pid := script(t, spinner)
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		until(t, "the group is empty", func() bool { return unix.Rmdir(dir) == nil })
	})
	if err := writeFile(dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
		t.Skipf("no process can be moved: %v", err)
	}
	task := attach(t, TaskOptions{PID: pid, Freezer: dir})
	frozen := func() bool {
		text, _ := os.ReadFile(dir + "/cgroup.events")
		return strings.Contains(string(text), "frozen 1")
	}
	if err := halt(task); err != nil {
		t.Fatal(err)
	}
	until(t, "it is frozen", frozen)
	if task.stopped != nil {
		t.Error("it was sent a signal too")
	}
	if err := resume(task); err != nil {
		t.Fatal(err)
	}
	until(t, "it goes on", func() bool { return !frozen() })
	if err := halt(task); err != nil {
		t.Fatal(err)
	}
	until(t, "it is frozen again", frozen)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "a frozen one can be killed", func() bool { return !task.alive() })
}
