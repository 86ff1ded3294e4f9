package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
)

// A test binary with this variable is a node that starts calls, says so, and
// then does nothing until it is killed.
func init() {
	if os.Getenv("WEFT_TEST_NODE") == "" {
		return
	}
	exe, err := os.Open("/proc/self/exe")
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	fail(err)
	s, err := sandbox.NewSpawner(context.Background(), sandbox.SpawnerOptions{Exec: exe})
	fail(err)
	p, err := New(Options{Spawner: s})
	fail(err)
	started := make(chan struct{})
	for _, f := range []*Function{
		{Name: "n", Version: "1", Runtime: Native, Program: "/bin/sh", Args: []string{"-c", "setsid sleep 984 & echo x >&2; sleep 984"}},
		{Name: "p", Version: "1", Runtime: Python, Dir: os.Getenv("WEFT_TEST_NODE"), Module: "main"},
	} {
		_, err := p.Start(context.Background(), Call{Function: f, Log: func(string) { started <- struct{}{} }})
		fail(err)
		<-started
	}
	fmt.Println("started")
	select {}
}

// Whatever the scheduler has done to a call, nothing of it outlives a node that is killed.
func TestEverythingDiesWithTheNode(t *testing.T) {
	newPool(t, Options{}) // skips where there can be none
	needPython(t)
	dir := folder(t)
	write(t, filepath.Join(dir, "main.py"), "import sys, subprocess\ndef handler(e, c):\n    q = subprocess.Popen(['sleep', '984'])\n    print('x')\n    q.wait()\n")
	class := func(a unix.SchedAttr) func(pid int) error {
		a.Size, a.Flags = unix.SizeofSchedAttr, unix.SCHED_FLAG_RESET_ON_FORK
		return func(pid int) error { return unix.SchedSetAttr(pid, &a, 0) }
	}
	for _, test := range []struct {
		name string
		do   func(pid int) error // to a process of a call
	}{
		{"running", func(int) error { return nil }},
		{"stopped", func(pid int) error { return unix.Kill(pid, unix.SIGSTOP) }},
		{"frozen", freeze},
		{"idle", class(unix.SchedAttr{Policy: unix.SCHED_IDLE})},
		{"idle and stopped", func(pid int) error {
			return errors.Join(class(unix.SchedAttr{Policy: unix.SCHED_IDLE})(pid), unix.Kill(pid, unix.SIGSTOP))
		}},
		{"fifo", class(unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1})},
	} {
		t.Run(test.name, func(t *testing.T) { diesWithTheNode(t, dir, test.do) })
	}
}

// freeze stops the group of a process.
func freeze(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			file := filepath.Join(top, name, "cgroup.freeze")
			if _, err := os.Stat(file); ok && err == nil && strings.Contains(name, "/weft-") {
				return os.WriteFile(file, []byte("1"), 0)
			}
		}
	}
	return errors.ErrUnsupported
}

// diesWithTheNode does something to the processes of calls, and kills their node.
func diesWithTheNode(t *testing.T, dir string, do func(pid int) error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "WEFT_TEST_NODE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill := func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	defer kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	calls := processes(t, "sleep\x00984")
	if len(calls) == 0 {
		t.Error("nothing runs")
	}
	for _, pid := range calls {
		if err := do(pid); errors.Is(err, unix.EPERM) || errors.Is(err, errors.ErrUnsupported) {
			t.Skipf("not possible here: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	kill()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n := len(processes(t, "sleep\x00984"))
		if n == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d processes outlive their node", n)
		}
	}
	newPool(t, Options{}) // sweeps what the dead node has left
	for _, pattern := range []string{"/sys/fs/cgroup/weft-%d-*", "/sys/fs/cgroup/*/weft-%d-*"} {
		if left, _ := filepath.Glob(fmt.Sprintf(pattern, cmd.Process.Pid)); len(left) > 0 {
			t.Errorf("cgroups of the dead node are left: %q", left)
		}
	}
}

func TestNothingLeaks(t *testing.T) {
	p := newPool(t, Options{})
	native := shellFunction(t, "cat")
	py := pythonFunction(t, "def handler(event, context):\n    return event\n")
	m := newMemory(t, 0)
	round := func(n int) {
		for i := range n {
			for _, f := range []*Function{native, py} {
				if r := run(t, p, Call{Function: f, Input: []byte("1"), Slots: m.attempt(fmt.Sprint(i))}); r.Failure != nil {
					t.Fatal(r.Failure)
				}
			}
		}
	}
	count := func() (fds, goroutines, groups, mounts int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/weft-%d-*/*/", "/sys/fs/cgroup/*/weft-%d-*/*/"} {
			names, _ := filepath.Glob(fmt.Sprintf(pattern, os.Getpid()))
			groups += len(names)
		}
		table, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			if source, _, _ := strings.Cut(line, " "); source == "weft" || source == "tmp" || source == "proc" { // those of wardens; tests of other packages have others
				mounts++
			}
		}
		return len(entries), runtime.NumGoroutine(), groups, mounts
	}
	round(3)
	settle(p)
	fds, goroutines, groups, mounts := count()
	round(20)
	settle(p)
	fds2, goroutines2, groups2, mounts2 := count()
	if fds2 > fds+3 || goroutines2 > goroutines+3 || groups2 > groups+3 || mounts2 != mounts {
		t.Errorf("descriptors %d then %d, goroutines %d then %d, groups %d then %d, mounts %d then %d",
			fds, fds2, goroutines, goroutines2, groups, groups2, mounts, mounts2)
	}
}

// settle waits until every fork server has its spares and nothing else to do.
func settle(p *Pool) {
	for range 200 {
		p.mu.Lock()
		busy := false
		for _, s := range p.servers {
			s.mu.Lock()
			busy = busy || len(s.calls) > 0 || s.making > 0 || len(s.spares) < p.o.Spare
			s.mu.Unlock()
		}
		p.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
