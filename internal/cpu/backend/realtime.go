package backend

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// realtimePeriod is over which the kernel counts real-time budgets, and realtimeTotal what
// all tasks together get of each core in it, in µs (sched-rt-group.rst).
const (
	realtimePeriod = 1_000_000
	realtimeTotal  = 900_000
)

// realtime gives groups of version 1 a budget for the real-time class. A kernel with
// RT_GROUP_SCHED refuses the class in a group without one, and new groups have none; the
// budgets of the groups in a group add up to at most its own.
type realtime struct {
	each    int               // µs for a group of one task
	parents map[string]string // groups above that were given a budget, with what they had
}

func newRealtime(places int) *realtime {
	return &realtime{each: realtimeTotal / places, parents: map[string]string{}}
}

const realtimeFile = "cpu.rt_runtime_us"

// grant gives the group of a process a budget, and the groups of this node above it. It
// returns the group, for revoke; "" when the process needed none.
func (r *realtime) grant(pid int) (string, error) {
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
			if err := writeFile(above+"/"+realtimeFile, strconv.Itoa(realtimeTotal)); err != nil {
				return "", err
			}
			r.parents[above] = "0"
		}
	}
	return dir, writeFile(dir+"/"+realtimeFile, strconv.Itoa(r.each))
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
		if err := writeFile(dir+"/"+realtimeFile, before); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// cpuDir is the directory of the group of version 1 in which a process competes for the
// processor. It is looked for where that hierarchy is mounted.
func cpuDir(pid int) (string, error) {
	group := cpuGroupOf(pid)
	if group == "" {
		return "", ErrUnavailable
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 || kind[0] != "cgroup" {
			continue
		}
		for _, option := range strings.Split(kind[2], ",") {
			if option == "cpu" {
				return path.Join(fields[4], strings.TrimPrefix(group, fields[3])), nil
			}
		}
	}
	return "", ErrUnavailable
}
