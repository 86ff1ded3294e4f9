package work

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Rates are the CPU times of a unit of each kernel.
type Rates [Kernels]time.Duration

// Units is how many units of a kernel take d, at least 1.
func (r *Rates) Units(k Kernel, d time.Duration) uint64 {
	return uint64(max((d+r[k]/2)/max(r[k], 1), 1))
}

// passes is how often each kernel is measured.
const passes = 5

// Calibrate measures what a unit costs while so many threads compute at the same time: cores
// that share a physical one are slower then. Each kernel is measured five times for the
// given time, on each thread; its rate is the median. It takes about 45 times that.
func Calibrate(threads int, each time.Duration) *Rates {
	var mu sync.Mutex
	var found [Kernels][]time.Duration
	var all sync.WaitGroup
	for range max(threads, 1) {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b := NewBench()
			for pass := range passes + 1 {
				for k := range Kernels {
					cost := b.cost(k, each)
					if pass > 0 { // the first warms up
						mu.Lock()
						found[k] = append(found[k], cost)
						mu.Unlock()
					}
				}
			}
		})
	}
	all.Wait()
	var r Rates
	for k := range r {
		slices.Sort(found[k])
		r[k] = found[k][len(found[k])/2]
	}
	return &r
}

// cost is the CPU time of a unit, measured over at least the given time.
func (b *Bench) cost(k Kernel, over time.Duration) time.Duration {
	begin := threadTime()
	for n := uint64(0); ; {
		b.Run(k, Problems, n)
		n += Problems
		if used := threadTime() - begin; used >= over {
			return used / time.Duration(n)
		}
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err) // every kernel has this clock
	}
	return time.Duration(ts.Nano())
}
