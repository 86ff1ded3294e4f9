package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

const (
	cpuPeriod    = 100_000 // µs over which a CPU quota is kept
	normalWeight = 100     // of cgroup version 2
	normalShares = 1024    // the same weight in version 1
)

// control is one value in one control file.
type control struct {
	controller, file, value string
	optional                bool // the kernel may be built without the file
}

// controls translates limits. Zero means unlimited, and is written too, so that
// a limit can be lifted.
func controls(version int, l Limits) []control {
	number := func(n int64, none string) string {
		if n <= 0 {
			return none
		}
		return strconv.FormatInt(n, 10)
	}
	weight := min(max(l.Weight, 1), 10_000)
	if l.Weight == 0 {
		weight = normalWeight
	}
	quota := int64(l.Cores * cpuPeriod)
	if version == 2 {
		swap := "max"
		if l.Memory > 0 {
			swap = "0"
		}
		return []control{
			{"memory", "memory.max", number(l.Memory, "max"), false},
			{"memory", "memory.swap.max", swap, true},
			{"memory", "memory.oom.group", "1", true},
			{"pids", "pids.max", number(int64(l.Pids), "max"), false},
			{"cpu", "cpu.weight", strconv.Itoa(weight), false},
			{"cpu", "cpu.max", number(quota, "max") + " " + strconv.Itoa(cpuPeriod), true},
		}
	}
	return []control{
		{"memory", "memory.limit_in_bytes", number(l.Memory, "-1"), false},
		{"memory", "memory.memsw.limit_in_bytes", number(l.Memory, "-1"), true},
		{"pids", "pids.max", number(int64(l.Pids), "max"), false},
		{"cpu", "cpu.shares", strconv.Itoa(max(2, weight*normalShares/normalWeight)), false},
		{"cpu", "cpu.cfs_quota_us", number(quota, "-1"), true},
	}
}

// begin sets the limits of a new group, whose weight follows Spawner.Share from then on.
func (g *group) begin(l Limits) error {
	if err := g.limit(nil, l); err != nil || l.Tiered == 0 {
		return err
	}
	c := g.of
	c.weighing.Lock()
	defer c.weighing.Unlock()
	c.follow[g] = l
	if !c.tiered {
		return nil
	}
	return g.weigh(l.Tiered)
}

// weigh sets the weight of a group alone.
func (g *group) weigh(weight int) error {
	for _, c := range controls(g.of.version, Limits{Weight: weight}) {
		if c.controller == "cpu" && !c.optional {
			return g.write(c)
		}
	}
	return nil
}

// limit sets the limits of a group. Only what differs from before is written:
// each write costs a few microseconds, and some cost a grace period.
func (g *group) limit(before *Limits, l Limits) error {
	var old []control
	if before != nil {
		old = controls(g.of.version, *before)
	}
	for i, c := range controls(g.of.version, l) {
		if old != nil && old[i] == c {
			continue
		}
		if before == nil && g.unlimited(c) {
			continue
		}
		if err := g.write(c); err != nil {
			return err
		}
	}
	return nil
}

// unlimited reports whether a new group has the value already.
func (g *group) unlimited(c control) bool {
	for _, none := range controls(g.of.version, Limits{}) {
		if none == c {
			return c.file != "memory.oom.group"
		}
	}
	return false
}

func (g *group) write(c control) error {
	file := g.file(c.controller, c.file)
	if file == "" {
		return nil
	}
	err := g.of.files.Write(file, c.value)
	if err != nil && c.file == "memory.limit_in_bytes" {
		// Memory may not exceed memory and swap together: when raised, the
		// second has to go first.
		_ = g.of.files.Write(g.file("memory", "memory.memsw.limit_in_bytes"), c.value)
		err = g.of.files.Write(file, c.value)
	}
	if err != nil && !(c.optional && errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("limit cgroup: %w", err)
	}
	return nil
}

// outOfMemory returns how many processes of the group the kernel has killed
// because the group was out of memory.
func (g *group) outOfMemory() int64 {
	file := "memory.events"
	if g.of.version == 1 {
		file = "memory.oom_control"
	}
	text, err := g.of.files.Read(g.file("memory", file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// peak returns the most memory that the group has held, in bytes.
func (g *group) peak() int64 { return g.memory("memory.max_usage_in_bytes", "memory.peak") }

// held is the memory that the group has now, in bytes; 0 where nobody counts.
func (g *group) held() int64 { return g.memory("memory.usage_in_bytes", "memory.current") }

// memory reads a figure, which has a name in each version.
func (g *group) memory(v1, v2 string) int64 {
	file := v2
	if g.of.version == 1 {
		file = v1
	}
	text, err := g.of.files.Read(g.file("memory", file))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
