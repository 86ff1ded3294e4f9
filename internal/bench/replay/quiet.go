package replay

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Noise is what else a machine did during a run, as parts of what all its cores can do.
type Noise struct {
	Foreign float64 // CPU time of other processes and of the kernel
	Stolen  float64 // that the hypervisor gave to others
}

// The greatest noise of a run that counts. The kernel's own work is one or two hundredths.
const (
	foreignMost = 0.05
	stolenMost  = 0.02
)

// Disturbed reports whether the run should not count.
func (n Noise) Disturbed() bool { return n.Foreign > foreignMost || n.Stolen > stolenMost }

// String is the noise in words.
func (n Noise) String() string {
	return fmt.Sprintf("%.1f %% foreign, %.1f %% stolen", 100*n.Foreign, 100*n.Stolen)
}

// Watch looks at a machine from a moment on.
type Watch struct {
	from  reading
	cores int
}

// NewWatch begins to look at this machine.
func NewWatch() (Watch, error) {
	r, err := read()
	return Watch{r, runtime.NumCPU()}, err
}

// Noise is what the machine has done since, besides this process and others that belong to it, which have used so much
// CPU time.
func (w Watch) Noise(others time.Duration) (Noise, error) {
	now, err := read()
	if err != nil {
		return Noise{}, err
	}
	return noise(w.from, now, w.cores, others), nil
}

// reading is the state of the counters at a moment.
type reading struct {
	at           time.Time
	idle, stolen time.Duration // summed over cores
	own          time.Duration // CPU time of this process
}

// read reads the first line of /proc/stat (proc_stat(5)): the times of all cores together
// in hundredths of a second. Idle is the fifth field and includes waiting for disks, the
// sixth; stolen time is the ninth.
func read() (reading, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return reading{}, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	r, err := parse(line)
	r.at, r.own = time.Now(), ownTime()
	return r, err
}

func parse(line []byte) (reading, error) {
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return reading{}, fmt.Errorf("read /proc/stat: %d fields", len(fields))
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return time.Duration(n) * 10 * time.Millisecond
	}
	return reading{idle: ticks(4) + ticks(5), stolen: ticks(8)}, nil
}

// noise is what happened between two readings, of which calls took so much.
func noise(from, to reading, cores int, calls time.Duration) Noise {
	all := to.at.Sub(from.at) * time.Duration(cores)
	stolen := to.stolen - from.stolen
	foreign := all - (to.idle - from.idle) - stolen - calls - (to.own - from.own)
	return Noise{Foreign: max(float64(foreign)/float64(all), 0), Stolen: float64(stolen) / float64(all)}
}

// ownTime is the CPU time of this process.
func ownTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err) // every kernel has this clock
	}
	return time.Duration(ts.Nano())
}
