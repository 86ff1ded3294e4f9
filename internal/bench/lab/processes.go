package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of the CPU times in /proc/PID/stat: USER_HZ, 100 per second on Linux whatever the kernel's own tick (proc(5)).
const clockTick = 10 * time.Millisecond

// process is what /proc/PID/stat says.
type process struct {
	pid, parent int
	cpu         time.Duration // user and system time, with that of the children it has waited for
}

// readProcess reads /proc/PID/stat. The fields after the last parenthesis are numbered from 3 in proc(5): state, ppid 4, utime 14, stime 15,
// cutime 16, cstime 17.
func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return process{}, fmt.Errorf("read process %d: %d fields in stat", pid, len(fields))
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return n
	}
	ticks := number(14) + number(15) + number(16) + number(17)
	return process{pid: pid, parent: int(number(4)), cpu: time.Duration(ticks) * clockTick}, nil
}

// descendants returns all processes that stem from pid, without pid itself.
func descendants(pid int) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(n)
		if err != nil {
			continue // it ended between the two looks
		}
		children[p.parent] = append(children[p.parent], p)
	}
	found := children[pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found, nil
}

// PSS is the proportional set size of a process in bytes: its private pages, and of each shared page its share. The rollup is the kernel's own
// sum over all mappings (Documentation/ABI/testing/procfs-smaps_rollup). A process that has ended has none.
func PSS(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if size, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(size), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory of process %d: its smaps_rollup has no line Pss", pid)
}

// Footprint is the memory of a process and all that stem from it, as PSS.
func Footprint(pid int) (int64, error) {
	sum, err := PSS(pid)
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	all, err := descendants(pid)
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		n, err := PSS(p.pid)
		if err != nil {
			return 0, fmt.Errorf("memory of process %d (root may read that of all processes): %w", p.pid, err)
		}
		sum += n
	}
	return sum, nil
}

// ProcessorTime is the CPU time that a process and all that stem from it have used: its own, that of the children it has waited for, and
// that of those that live.
func ProcessorTime(pid int) (time.Duration, error) {
	root, err := readProcess(pid)
	if err != nil {
		return 0, err
	}
	all, err := descendants(pid)
	if err != nil {
		return 0, err
	}
	sum := root.cpu
	for _, p := range all {
		sum += p.cpu
	}
	return sum, nil
}

// ProcessorTimes is the processor time that this process has used, and that another and all that stem from it have.
func ProcessorTimes(pid int) (own, theirs time.Duration, err error) {
	self, err := readProcess(os.Getpid())
	if err != nil {
		return 0, 0, err
	}
	theirs, err = ProcessorTime(pid)
	return self.cpu, theirs, err
}

// Usage is what a piece of work used.
type Usage struct {
	CPU   time.Duration // user and system
	Peak  int64         // of the memory samples, in bytes
	Mean  int64         // in bytes
	taken int           // memory samples
}

// sampleEvery is the pause between two samples of the memory. One sample costs a walk over the page tables of every process.
const sampleEvery = 100 * time.Millisecond

// Observe does work and watches what this process and its descendants use meanwhile. Memory that was in use before counts; it is what runs on
// the machine while the work does.
func Observe(ctx context.Context, work func(context.Context) error) (Usage, error) {
	self := os.Getpid()
	before, err := ProcessorTime(self)
	if err != nil {
		return Usage{}, err
	}
	var (
		u       Usage
		sum     int64
		failed  error
		watcher sync.WaitGroup
	)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watcher.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			n, err := Footprint(self)
			if err != nil {
				failed = err
				return
			}
			u.Peak = max(u.Peak, n)
			u.taken++
			sum += n
			select {
			case <-watching.Done():
				return
			case <-tick.C:
			}
		}
	})
	err = work(ctx)
	stop()
	watcher.Wait()
	if err := errors.Join(err, failed); err != nil {
		return Usage{}, err
	}
	after, err := ProcessorTime(self)
	if err != nil {
		return Usage{}, err
	}
	u.CPU = after - before
	u.Mean = sum / int64(u.taken)
	return u, nil
}
