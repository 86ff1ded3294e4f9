package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/client"
)

// Sample is what a server takes at a moment.
type Sample struct {
	At          time.Duration // since the beginning
	Memory      int64         // bytes of proportional set size, of the server and of all its children
	Server      int64         // the same of the server alone
	Processes   int           // children
	Descriptors int           // of the server
	Goroutines  int
	Disk        int64 // bytes in the data folder
}

// sample measures a server.
func sample(ctx context.Context, n *Node, c *client.Client, at time.Duration) (Sample, error) {
	s := Sample{At: at}
	stats, err := c.Stats(ctx)
	if err != nil {
		return s, err
	}
	s.Server, s.Descriptors, s.Goroutines = stats.Process.Memory, stats.Process.Descriptors, stats.Process.Goroutines
	server := n.Pid()
	own, err := pss(server)
	if err != nil {
		return s, err
	}
	s.Memory = own
	for _, pid := range descendants(server) {
		if m, err := pss(pid); err == nil { // it may have ended
			s.Memory += m
			s.Processes++
		}
	}
	err = filepath.WalkDir(n.path("data"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it may be gone
		}
		if info, err := d.Info(); err == nil {
			s.Disk += info.Size()
		}
		return nil
	})
	return s, err
}

// pss is the proportional set size of a process, in bytes.
func pss(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == "Pss:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no proportional set size", pid)
}

// descendants are the children of a process, and theirs.
func descendants(pid int) []int {
	children := map[int][]int{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p.pid)
	}
	var all []int
	for next := children[pid]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, children[next[0]]...)
	}
	return all
}

// Trend is a straight line through a figure over time (least squares), and how
// far the figure strays from it.
type Trend struct {
	Mean   float64
	Growth float64 // from the first to the last of the times
	Spread float64 // standard deviation from the line
}

// trend fits a line to the second half of some samples.
func trend(samples []Sample, figure func(Sample) float64) Trend {
	half := samples[len(samples)/2:]
	n := float64(len(half))
	var t Trend
	if n == 0 {
		return t
	}
	var at float64
	for _, s := range half {
		at += s.At.Seconds() / n
		t.Mean += figure(s) / n
	}
	var along, across float64
	for _, s := range half {
		d := s.At.Seconds() - at
		along += d * d
		across += d * (figure(s) - t.Mean)
	}
	if along == 0 {
		return t
	}
	slope := across / along
	t.Growth = slope * (half[len(half)-1].At - half[0].At).Seconds()
	for _, s := range half {
		e := figure(s) - t.Mean - slope*(s.At.Seconds()-at)
		t.Spread += e * e / n
	}
	t.Spread = math.Sqrt(t.Spread)
	return t
}

// bound is how much a figure may grow over the second half of a soak: the larger
// one of a part of its mean and an amount.
type bound struct {
	name   string
	figure func(Sample) float64
	part   float64
	amount float64
	unit   float64 // that it is printed in
	// after is how long the soak has to be for the bound to mean something.
	after time.Duration
}

// warmUp is how long a soak has to be for growth to be more than a server that
// gets to work.
const warmUp = 30 * time.Second

// bounds are those of docs/chaos.md, which says why they are what they are.
var bounds = []bound{
	{"memory of the server, MiB", func(s Sample) float64 { return float64(s.Server) }, 0.10, 24 << 20, 1 << 20, warmUp},
	{"memory with children, MiB", func(s Sample) float64 { return float64(s.Memory) }, 0.10, 48 << 20, 1 << 20, warmUp},
	{"child processes", func(s Sample) float64 { return float64(s.Processes) }, 0.25, 4, 1, warmUp},
	{"descriptors", func(s Sample) float64 { return float64(s.Descriptors) }, 0.25, 40, 1, warmUp},
	{"goroutines", func(s Sample) float64 { return float64(s.Goroutines) }, 0.25, 40, 1, warmUp},
	{"disk, MiB", func(s Sample) float64 { return float64(s.Disk) }, 0.10, 64 << 20, 1 << 20, 4 * (soakRetention + soakExpiry)},
}

// check says what grows too much.
func (b bound) check(samples []Sample) (line string, err error) {
	t := trend(samples, b.figure)
	limit := max(b.part*t.Mean, b.amount)
	line = fmt.Sprintf("%-26s mean %8.1f, growth %+7.1f of at most %.1f, spread %.1f", b.name, t.Mean/b.unit, t.Growth/b.unit, limit/b.unit, t.Spread/b.unit)
	if length := samples[len(samples)-1].At; t.Growth > limit && length >= b.after {
		err = fmt.Errorf("%s grows by %.1f in the second half of %v, %.1f are allowed", b.name, t.Growth/b.unit, length.Round(time.Second), limit/b.unit)
	}
	return line, err
}
