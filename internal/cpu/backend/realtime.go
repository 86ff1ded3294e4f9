package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox"
)

// realtimePeriod is over which the kernel counts real-time budgets, and the others are what
// the watchdog and the tasks get of each core in it, in µs (sched-rt-group.rst). They may be
// in one directory or in two, and the kernel keeps 5 % for itself.
const (
	realtimePeriod = 100_000
	realtimeWatch  = 25_000 // also for tasks in the node's own group
	realtimeTasks  = 60_000 // for those in groups of theirs
)

// realtime gives groups of version 1 a budget for the real-time class. A kernel with
// RT_GROUP_SCHED refuses the class in a group without one, and new groups have none; the
// budgets of the groups in a group add up to at most its own.
//
// A group keeps its budget until another one needs it. In a group without one the kernel
// does not forget what was used: it takes the budget off that once in a period, so a group
// that had one only while a call ran would soon be held up at each call.
type realtime struct {
	parents map[string]above // groups above that were given a budget
	spare   []spare          // groups that keep one though nobody uses it, the oldest first
}

// spare is a group with the process for which it was given its budget.
type spare struct {
	pid int
	dir string
}

// above is a group whose groups have budgets.
type above struct {
	before string // its own, before there were some
	parts  []int  // what it was given for which groups
}

// spareMost bounds how many groups keep a budget that they do not use.
const spareMost = 8

func newRealtime() *realtime { return &realtime{parents: map[string]above{}} }

const realtimeFile = "cpu.rt_runtime_us"

// grant gives the group of a process a budget in µs, which is of the part of the group above
// it. It returns the group, for release; "" when the process needed none.
func (r *realtime) grant(pid, budget, part int) (string, error) {
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
	if err := r.raise(path.Dir(dir), part); err != nil {
		return "", err
	}
	for {
		err = r.give(dir, budget)
		if err == nil || len(r.spare) == 0 {
			return dir, err
		}
		r.reclaim()
	}
}

// take returns the group of a process that has kept its budget, or "".
func (r *realtime) take(pid int) (dir string) {
	i := slices.IndexFunc(r.spare, func(s spare) bool { return s.pid == pid })
	if i >= 0 {
		dir = r.spare[i].dir
		r.spare = slices.Delete(r.spare, i, i+1)
	}
	return dir
}

// reclaim takes back the budget that was not used for longest.
func (r *realtime) reclaim() {
	r.revoke(r.spare[0].dir)
	r.spare = r.spare[1:]
}

// raise gives a group a budget for a part of its groups, unless it had one before.
func (r *realtime) raise(dir string, part int) error {
	known, ok := r.parents[dir]
	if slices.Contains(known.parts, part) {
		return nil
	}
	if !ok {
		text, err := os.ReadFile(dir + "/" + realtimeFile)
		if err != nil {
			return err
		}
		if known.before = strings.TrimSpace(string(text)); known.before != "0" {
			return nil
		}
	}
	total := part
	for _, other := range known.parts {
		total += other
	}
	if err := r.give(dir, total); err != nil {
		return err
	}
	known.parts = append(known.parts, part)
	r.parents[dir] = known
	return nil
}

// release tells that a process does not use the budget of its group.
func (r *realtime) release(pid int, dir string) {
	if dir == "" {
		return
	}
	if r.spare = append(r.spare, spare{pid, dir}); len(r.spare) > spareMost {
		r.reclaim()
	}
}

// give writes a period and a budget.
func (r *realtime) give(dir string, budget int) error {
	err := errors.Join(writeFile(dir+"/cpu.rt_period_us", strconv.Itoa(realtimePeriod)), writeFile(dir+"/"+realtimeFile, strconv.Itoa(budget)))
	if errors.Is(err, unix.EINVAL) { // all that the kernel says of a sum that is too great
		return fmt.Errorf("no real-time budget is left for %s: %s has none, or other groups in it have it all; raise its %s, or end the other node with the backend fifo: %w",
			dir, path.Dir(dir), realtimeFile, err)
	}
	return err
}

// tryBudgets finds out whether groups of calls could be given what the backend fifo gives
// them, on a group of its own.
func (r *realtime) tryBudgets() error {
	tree, err := sandbox.NewTree("cpu", "probe")
	if err != nil {
		return nil // calls have no groups that need a budget
	}
	defer tree.Close()
	defer r.close() // before the tree
	dir, err := tree.Make("fifo")
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir + "/" + realtimeFile); err != nil {
		return nil // nor any in this kernel, or version
	}
	if err := r.raise(tree.Dir(), realtimeWatch); err != nil {
		return err
	}
	return r.give(dir, realtimeWatch)
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
	for dir, had := range r.parents {
		groups, _ := os.ReadDir(dir)
		for _, g := range groups { // they had none before this one had
			if g.IsDir() {
				r.revoke(path.Join(dir, g.Name()))
			}
		}
		if err := writeFile(dir+"/"+realtimeFile, had.before); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
