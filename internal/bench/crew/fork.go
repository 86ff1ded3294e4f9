package crew

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/work"
)

// The server's descriptors: its own end, then those of the workers.
const (
	controlFD = 3
	workersFD = 4
)

// Serve is the main function of a server; args are what follows Role. It returns the exit
// status when the program that started it has closed its end or is gone.
//
// Forking without exec copies the calling thread alone (fork(2)), with all locks of the
// runtime as the others have left them. What a worker does therefore needs nothing of the
// runtime that another thread could hold or would have to do:
//
//   - GOMAXPROCS=1 and nothing but this goroutine can run, so no other thread holds a lock
//     of the scheduler or of the heap while this one runs;
//   - it makes system calls directly, not as the runtime would, which hands the processor
//     to another thread meanwhile;
//   - its work does not allocate (package work), nothing is collected (GOGC=off), and no
//     thread is there that would preempt it;
//   - what the monitor has marked for preemption before the fork is settled by Gosched.
func Serve(args []string) int {
	if err := serve(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench crew:", err)
		return 1
	}
	return 0
}

func serve(args []string) error {
	if len(args) != 1 {
		return errors.New("how many workers?")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > MaxWorkers {
		return fmt.Errorf("%q workers: want 1 to %d", args[0], MaxWorkers)
	}
	if runtime.GOMAXPROCS(0) != 1 {
		return errors.New("a crew forks with GOMAXPROCS=1 only")
	}
	bench := work.NewBench()
	self := os.Getpid()
	pids := make([]uintptr, 0, n)
	defer func() {
		for _, pid := range pids {
			_ = unix.Kill(int(pid), unix.SIGKILL)
		}
		for _, pid := range pids {
			_, _ = unix.Wait4(int(pid), nil, 0, nil)
		}
	}()
	for i := range n {
		runtime.Gosched()
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("fork: %w", errno)
		}
		if pid == 0 {
			labour(bench, workersFD+i, workersFD+n, self)
		}
		pids = append(pids, pid)
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(pid))
		if !transfer(unix.SYS_WRITE, controlFD, b[:]) {
			return errors.New("nobody listens")
		}
	}
	for i := range n {
		_ = unix.Close(workersFD + i)
	}
	var b [1]byte
	transfer(unix.SYS_READ, controlFD, b[:]) // until the other end is closed
	return nil
}

// labour is the life of a worker: fd is its socket, and those up to end belong to others.
// It never returns.
func labour(bench *work.Bench, fd, end, server int) {
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	if parent, _, _ := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); int(parent) != server {
		leave(0) // it died before that was set
	}
	for other := controlFD; other < end; other++ {
		if other != fd {
			unix.RawSyscall(unix.SYS_CLOSE, uintptr(other), 0, 0)
		}
	}
	for k := range work.Kernels { // its pages are its own from here on
		bench.Run(k, work.Problems, 0)
	}
	var job [8 * jobWords]byte
	var done [8 * doneWords]byte
	for transfer(unix.SYS_READ, fd, job[:]) {
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(job[8*i:]) }
		kernel, units, before, pause := work.Kernel(word(0)), word(1), min(word(2), word(1)), int64(word(3))
		cpu := processTime()
		yields, losses := switches()
		sum := bench.Run(kernel, before, 0)
		if pause > 0 {
			sleep(pause)
		}
		sum += bench.Run(kernel, units-before, before)
		y, l := switches()
		for i, v := range [doneWords]uint64{sum, uint64(processTime() - cpu), y - yields, l - losses} {
			binary.LittleEndian.PutUint64(done[8*i:], v)
		}
		if !transfer(unix.SYS_WRITE, fd, done[:]) {
			break
		}
	}
	leave(0)
}

// leave ends a worker at once: nothing of the runtime's is to happen any more.
func leave(status uintptr) {
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	}
}

// transfer reads or writes all of b, and reports whether that worked.
func transfer(call uintptr, fd int, b []byte) bool {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// processTime is the CPU time of this process.
func processTime() int64 {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_PROCESS_CPUTIME_ID, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// switches are the context switches of this process so far.
func switches() (yields, losses uint64) {
	var u unix.Rusage
	unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_SELF, uintptr(unsafe.Pointer(&u)), 0)
	return uint64(u.Nvcsw), uint64(u.Nivcsw)
}

// sleep pauses for so many nanoseconds, however often it is interrupted.
func sleep(ns int64) {
	ts := unix.NsecToTimespec(ns)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), uintptr(unsafe.Pointer(&ts)), 0)
		if errno != unix.EINTR {
			return
		}
	}
}
