package crew

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/work"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == Role {
		os.Exit(Serve(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// start starts a crew that is closed with the test.
func start(t testing.TB, workers int) *Crew {
	t.Helper()
	c, err := Start(workers, "/proc/self/exe", Role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEveryKernelOnEveryWorker(t *testing.T) {
	c := start(t, 5)
	var all sync.WaitGroup
	for i, w := range c.Workers {
		all.Go(func() {
			for k := range work.Kernels {
				j := Job{Kernel: k, Units: uint64(20 + i)}
				done, err := w.Do(j)
				if err != nil || done.Sum != j.Answer() || done.CPU <= 0 {
					t.Errorf("worker %d, %v: %+v, %v; want the sum %#x", i, k, done, err, j.Answer())
				}
			}
		})
	}
	all.Wait()
}

func TestPause(t *testing.T) {
	c := start(t, 1)
	j := Job{Kernel: work.Fib, Units: 9, Before: 4, Pause: 30 * time.Millisecond}
	began := time.Now()
	done, err := c.Workers[0].Do(j)
	if err != nil || done.Sum != j.Answer() {
		t.Fatalf("%+v, %v", done, err)
	}
	if took := time.Since(began); took < j.Pause || done.Yields == 0 {
		t.Errorf("it took %v with %d yields", took, done.Yields)
	}
}

// A worker is one process with one thread, and can be stopped and continued while it computes and while it sleeps.
func TestWorkersStop(t *testing.T) {
	c := start(t, 2)
	for i, j := range []Job{{Kernel: work.Float, Units: 2000}, {Kernel: work.Float, Units: 2, Before: 1, Pause: 100 * time.Millisecond}} {
		w := c.Workers[i]
		if tasks, err := os.ReadDir("/proc/" + itoa(w.PID) + "/task"); err != nil || len(tasks) != 1 {
			t.Errorf("%d threads, %v", len(tasks), err)
		}
		ended := make(chan Done)
		go func() {
			done, err := w.Do(j)
			if err != nil {
				t.Error(err)
			}
			ended <- done
		}()
		for range 10 {
			if err := unix.Kill(w.PID, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(w.PID, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if done := <-ended; done.Sum != j.Answer() {
			t.Errorf("%+v", done)
		}
	}
}

func TestCloseEndsWhatRunsOrIsStopped(t *testing.T) {
	c := start(t, 3)
	go c.Workers[0].Do(Job{Kernel: work.Fib, Units: 1 << 40}) // until the crew is closed
	if err := unix.Kill(c.Workers[1].PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range c.PIDs() {
		if unix.Kill(pid, 0) == nil {
			t.Errorf("process %d lives", pid)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for _, n := range []int{0, -1, MaxWorkers + 1} {
		if _, err := Start(n, "/proc/self/exe", Role); err == nil {
			t.Errorf("%d workers are started", n)
		}
	}
	if _, err := Start(1, "/nowhere/weft", Role); err == nil {
		t.Error("a program that there is not is started")
	}
	if _, err := Start(1, "/proc/self/exe", Role, "many"); err == nil {
		t.Error("arguments that make no sense are taken")
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
