package wasi

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	clockRealtime  = 0
	clockMonotonic = 1
	clockProcess   = 2
	clockThread    = 3
)

// epoch is what the machine's monotonic clock counts from in guests.
var epoch = time.Now()

// now reads a clock.
func (s *System) now(clock uint32) (uint64, Errno) {
	switch clock {
	case clockRealtime:
		if f := s.cfg.Clocks.Realtime; f != nil {
			return uint64(f()), Success
		}
		return uint64(time.Now().UnixNano()), Success
	case clockMonotonic:
		if f := s.cfg.Clocks.Monotonic; f != nil {
			return uint64(f()), Success
		}
		return uint64(time.Since(epoch)) + 1, Success
	case clockProcess, clockThread:
		return s.cpuTime()
	}
	return 0, Einval
}

// cpuTime is the processor time of the calling thread, which runs the guest. A
// resident guest may change threads between calls; its clock never goes back.
func (s *System) cpuTime() (uint64, Errno) {
	var t int64
	if f := s.cfg.Clocks.CPU; f != nil {
		t = f()
	} else {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			return 0, toErrno(err)
		}
		t = ts.Nano()
	}
	s.lastCPU = max(s.lastCPU, t)
	return uint64(s.lastCPU), Success
}

func clockTimeGet(s *System, mem []byte, a []uint64) Errno {
	t, e := s.now(uint32(a[0]))
	if e != Success {
		return e
	}
	return putU64(mem, uint32(a[2]), t)
}

// clockResGet reports a nanosecond for every clock: what their values are
// counted in, and no coarser than the kernel's high-resolution timers.
func clockResGet(_ *System, mem []byte, a []uint64) Errno {
	if uint32(a[0]) > clockThread {
		return Einval
	}
	return putU64(mem, uint32(a[1]), 1)
}
