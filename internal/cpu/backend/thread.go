package backend

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// openThread opens the files of a task that is one thread. The clock of a thread can be
// read inside its process only, so its time is read from schedstat, which lags by up to a
// tick of the kernel.
func (t *Task) openThread() error {
	f := &t.gauge.root
	var err error
	if f.others, err = unix.Open(taskFile(t.o.PID, t.o.Thread, "schedstat"), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		f.stat, err = unix.Open(taskFile(t.o.PID, t.o.Thread, "stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		f.close()
		return gone(err)
	}
	t.gauge.looked = time.Now()
	return nil
}

// lookThread is Look for a task that is one thread.
func (t *Task) lookThread(deep bool) (Usage, error) {
	g := &t.gauge
	var buf [1024]byte
	n, err := unix.Pread(g.root.others, buf[:], 0)
	if err != nil {
		return Usage{CPU: g.total}, gone(err)
	}
	cpu, err := parseSchedstat(buf[:n])
	if err != nil {
		return Usage{CPU: g.total}, err
	}
	g.total = max(g.total, cpu-t.o.Base)
	now := time.Now()
	busy := (g.total-g.seen)*busyPart >= now.Sub(g.looked)
	u := Usage{CPU: g.total}
	if busy {
		u.State = Awake
	}
	if !deep {
		return u, nil
	}
	g.looked, g.seen = now, g.total
	if busy {
		return u, nil
	}
	if n, err = unix.Pread(g.root.stat, buf[:], 0); err != nil {
		return u, gone(err)
	}
	s, err := parseStat(buf[:n])
	if err != nil {
		return u, err
	}
	u.State = Asleep
	if s.state == 'R' {
		u.State, u.Threads = Awake, 1
	}
	return u, nil
}

// parseSchedstat takes the CPU time out of schedstat: nanoseconds, the first of three
// numbers (Documentation/scheduler/sched-stats.rst).
func parseSchedstat(text []byte) (time.Duration, error) {
	first, _, ok := bytes.Cut(text, []byte{' '})
	if !ok {
		return 0, errors.New("read schedstat: it has one field")
	}
	ns, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read schedstat: %w", err)
	}
	return time.Duration(ns), nil
}
