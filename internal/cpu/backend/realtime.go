package backend

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// realtimePeriod is over which the kernel counts real-time budgets, and realtimeTotal what
// the tasks of a directory of this node get of each core in it, in µs (sched-rt-group.rst).
// There may be two such directories, the tiers' and that of the sandboxes, and the kernel
// keeps 5 % for itself.
const (
	realtimePeriod = 100_000
	realtimeTotal  = 45_000
)

// realtime gives groups of version 1 a budget for the real-time class. A kernel with
// RT_GROUP_SCHED refuses the class in a group without one, and new groups have none; the
// budgets of the groups in a group add up to at most its own.
type realtime struct {
	parents map[string]string // groups above that were given a budget, with what they had
}

func newRealtime() *realtime { return &realtime{parents: map[string]string{}} }

const realtimeFile = "cpu.rt_runtime_us"

// grant gives the group of a process a budget in µs, and the group above it one for all. It
// returns the group, for revoke; "" when the process needed none.
func (r *realtime) grant(pid, budget int) (string, error) {
	dir, err := cpuDir(pid)
	if err != nil {
		return "", err
	}
	runtime, err := os.ReadFile(dir + "/" + realtimeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // this kernel has no such budgets, or this is the first group
	}
	if err != nil || strings.TrimSpace(string(runtime)) != "0" {
		return "", err
	}
	above := path.Dir(dir)
	if _, ok := r.parents[above]; !ok {
		before, err := os.ReadFile(above + "/" + realtimeFile)
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(string(before)) == "0" {
			if err := r.give(above, realtimeTotal); err != nil {
				return "", err
			}
			r.parents[above] = "0"
		}
	}
	return dir, r.give(dir, budget)
}

// give writes a period and a budget.
func (r *realtime) give(dir string, budget int) error {
	return errors.Join(writeFile(dir+"/cpu.rt_period_us", strconv.Itoa(realtimePeriod)), writeFile(dir+"/"+realtimeFile, strconv.Itoa(budget)))
}

// revoke takes the budget of a group back. A group that is gone has given it back.
func (r *realtime) revoke(dir string) {
	if dir != "" {
		_ = writeFile(dir+"/"+realtimeFile, "0")
	}
}

// close takes back what groups above were given.
func (r *realtime) close() error {
	var errs []error
	for dir, before := range r.parents {
		groups, _ := os.ReadDir(dir)
		for _, g := range groups { // they had none before this one had
			if g.IsDir() {
				r.revoke(path.Join(dir, g.Name()))
			}
		}
		if err := writeFile(dir+"/"+realtimeFile, before); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// cpuDir is the directory of the group of version 1 in which a process competes for the
// processor.
func cpuDir(pid int) (string, error) {
	group := cpuGroupOf(pid)
	root, point := mountOf("cgroup", "cpu")
	if group == "" || point == "" {
		return "", ErrUnavailable
	}
	return path.Join(point, strings.TrimPrefix(group, root)), nil
}

// mountOf finds where a file system of a kind is mounted, with an option if that is not
// "", and which directory of it (proc_pid_mountinfo(5)). It returns "" when it is not.
func mountOf(kind, option string) (root, point string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, of := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(of) < 3 || of[0] != kind {
			continue
		}
		if option == "" || slices.Contains(strings.Split(of[2], ","), option) {
			return fields[3], fields[4]
		}
	}
	return "", ""
}
