package backend

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// actEnv makes the test binary do something else than test.
const actEnv = "WEFT_BACKEND_TEST_ACT"

func TestMain(m *testing.M) {
	switch os.Getenv(actEnv) {
	case "":
		os.Exit(m.Run())
	case "threads": // three that spin, and more from time to time
		time.AfterFunc(30*time.Second, func() { os.Exit(1) })
		for range 3 {
			go spin()
		}
		for {
			time.Sleep(5 * time.Millisecond)
			go func() {
				runtime.LockOSThread()
				time.Sleep(time.Millisecond)
			}()
		}
	case "node": // one that is killed while it has tiers
		c, err := NewCgroup(Options{})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(c.tree.Dir())
		select {}
	case "scheduler": // one that is killed while it has a scheduler in the kernel
		if err := beScheduler(os.Args[1]); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	case "ordinary":
		if err := beOrdinary(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
}

func spin() {
	for n := 0; ; n++ {
		if n < 0 {
			return
		}
	}
}

// script starts a shell script in a session of its own, which ends with the test.
func script(t testing.TB, text string) int {
	t.Helper()
	return launch(t, exec.Command("sh", "-c", "ulimit -t 60; "+text))
}

// act starts the test binary as something else.
func act(t testing.TB, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actEnv+"="+what)
	return cmd
}

func launch(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() {
		for _, p := range processes(pid, 0, "") {
			_ = unix.Kill(p, unix.SIGKILL)
		}
		_ = cmd.Wait()
	})
	return pid
}

const spinner = "while :; do :; done"

// firstCore is the first core that this process may use.
func firstCore() (one unix.CPUSet, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return one, err
	}
	for i := range 1024 {
		if may.IsSet(i) {
			one.Set(i)
			break
		}
	}
	return one, nil
}

// pin keeps a process on the first core that this one may use, so that two of them compete.
func pin(t testing.TB, pid int) {
	t.Helper()
	one, err := firstCore()
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads(pid) {
		if err := unix.SchedSetaffinity(tid, &one); err != nil {
			t.Fatal(err)
		}
	}
}

// attach makes a task that is closed with the test.
func attach(t testing.TB, o TaskOptions) *Task {
	t.Helper()
	task, err := Attach(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { task.Close() })
	return task
}

// until waits for something that the kernel or another goroutine does soon.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// cpu is what a task has used.
func cpu(t testing.TB, task *Task) time.Duration {
	t.Helper()
	u, err := task.Look(true)
	if err != nil {
		t.Fatal(err)
	}
	return u.CPU
}

// ahead runs two tasks on one core and wants the first to get more than twice as much of it
// as the second, for two windows on end: the kernel may settle old debts before that.
func ahead(t testing.TB, what string, first, second *Task) {
	t.Helper()
	row := 0
	for range 30 {
		a0, b0 := cpu(t, first), cpu(t, second)
		var a, b time.Duration
		until(t, "the tasks run", func() bool {
			a, b = cpu(t, first)-a0, cpu(t, second)-b0
			return a+b > 50*time.Millisecond
		})
		if row++; a < 2*b {
			row = 0
			t.Logf("%s: %v and %v", what, a, b)
		}
		if row == 2 {
			return
		}
	}
	t.Errorf("%s: the first is never ahead", what)
}

// classOf is the scheduling class and niceness of a thread.
func classOf(t testing.TB, tid int) (uint32, int32) {
	t.Helper()
	a, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Policy, a.Nice
}

// stateOf is the state of a process.
func stateOf(pid int) byte {
	s, err := statOf(pid, pid)
	if err != nil {
		return 0
	}
	return s.state
}

// beOrdinary is what a user without privileges sees of sched.
func beOrdinary() error {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s := NewSched(Options{})
	if tr := s.Traits(); tr.Undo || tr.Tiers != 2 {
		return fmt.Errorf("traits %+v", tr)
	}
	task, err := Attach(TaskOptions{PID: cmd.Process.Pid})
	if err != nil {
		return err
	}
	defer task.Close()
	if err := s.Add(task, Place{Tier: policy.Express}); err != nil {
		return err
	}
	if err := s.Move(task, Place{Tier: policy.Batch}); err != nil {
		return err
	}
	if err := s.Move(task, Place{Tier: policy.Express}); !errors.Is(err, ErrOneWay) {
		return fmt.Errorf("raised: %v", err)
	}
	if task.Place().Tier != policy.Batch {
		return errors.New("the task forgot where it is")
	}
	if err := s.Stop(task); err != nil {
		return err
	}
	if err := s.Remove(task); !errors.Is(err, ErrOneWay) {
		return fmt.Errorf("removed: %v", err)
	}
	if _, err := NewFIFO(s, Options{Cores: 2}); !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("fifo: %v", err)
	}
	fmt.Println("ok")
	return nil
}

// line reads one line of what a command says.
func line(t testing.TB, cmd *exec.Cmd) (read func() string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		text, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return text[:len(text)-1]
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func endsWith(text []byte, end string) bool { return strings.HasSuffix(string(text), end) }

// credential is an ordinary user.
func credential(id uint32) *syscall.Credential { return &syscall.Credential{Uid: id, Gid: id} }
