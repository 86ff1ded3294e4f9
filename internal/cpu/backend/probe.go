package backend

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/schedext"
	"github.com/weft-run/weft/internal/sandbox"
)

// errPartly marks what works in part.
var errPartly = errors.New("in part")

// question is one row of the table, and how to find out about it.
type question struct {
	name, use, fallback, enable string
	try                         func() (detail string, err error)
}

// Probe finds out what this kernel gives to this user for scheduling calls, and what is
// used where it does not: the rows of `weft doctor` about the processor. It tries each
// thing on a thread or a group of its own, takes a few milliseconds and leaves nothing
// behind.
func Probe() []sandbox.Feature {
	const (
		asRoot   = "run weft as root, or delegate the cpu controller to its user"
		withNice = "give weft CAP_SYS_NICE"
	)
	questions := []question{
		{"processor tiers by cgroup", "short calls go before long ones, whatever their number of threads",
			"niceness and SCHED_IDLE of each thread", asRoot, tryCPUGroups},
		{"raising a priority", "a demoted process can be raised again; three tiers without groups",
			"two tiers without groups, and a process that was demoted ends with its call", withNice, tryNice},
		{"SCHED_IDLE", "long calls run only on what short ones leave", "", "", func() (string, error) {
			return "", tryAttr(unix.SchedAttr{Policy: policyIdle})
		}},
		{"slices of threads", "calls of one tier keep a core for the slice of the policy alps", "the kernel's own slice", "a kernel from 6.12 on", trySlice},
		{"cgroup.freeze", "long calls are stopped by one write, unseen by their parents", "SIGSTOP to every process of a call",
			"a cpu controller in cgroup version 2 alone (systemd.unified_cgroup_hierarchy=1), and " + asRoot, tryFreeze},
		{"order beyond sessions", "niceness counts among all calls", "the niceness of each call's session is changed too",
			"sysctl kernel.sched_autogroup_enabled=0", tryAutogroup},
		{"SCHED_FIFO", "short calls without any delay by others, if the backend fifo is asked for", "the tiers alone", withNice, tryFIFO},
		{"real-time budgets of groups", "a bound by the kernel on real-time calls of version 1", "RLIMIT_RTTIME and the watchdog alone",
			"a kernel with CONFIG_RT_GROUP_SCHED and groups of version 1, and run weft as root", tryRealtime},
		{"sched_ext", "one order of calls over all cores, in the kernel, if the backend schedext is asked for", "the tiers alone",
			"a kernel from 6.13 on with CONFIG_SCHED_CLASS_EXT and CONFIG_DEBUG_INFO_BTF, and run weft as root", trySchedExt},
	}
	var out []sandbox.Feature
	for _, q := range questions {
		out = append(out, q.ask())
	}
	return out
}

func (q question) ask() sandbox.Feature {
	detail, err := q.try()
	f := sandbox.Feature{Name: q.name, State: sandbox.StateOK, Detail: detail, Use: q.use}
	if err == nil {
		return f
	}
	f.State, f.Fallback, f.Enable = sandbox.StateMissing, q.fallback, q.enable
	if errors.Is(err, errPartly) {
		f.State = sandbox.StateDegraded
	}
	why := strings.TrimPrefix(err.Error(), errPartly.Error()+": ")
	if detail != "" {
		why = detail + "; " + why
	}
	f.Detail = strings.ReplaceAll(why, "\n", "; ")
	return f
}

func tryCPUGroups() (string, error) {
	tree, err := sandbox.NewTree("cpu", "probe")
	if err != nil {
		return "", err
	}
	defer tree.Close()
	dir, err := tree.Make("tier")
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("version %d, in %s", tree.Version(), path.Dir(tree.Dir()))
	return detail, tree.Write(dir+"/"+weights[tree.Version()].file, strconv.Itoa(weights[tree.Version()].least))
}

func tryNice() (string, error) {
	switch lowest := lowestNice(); {
	case lowest <= expressNice:
		return fmt.Sprintf("niceness from %d on", lowest), nil
	case lowest <= normalNice:
		return fmt.Sprintf("niceness from %d on", lowest), fmt.Errorf("%w: demotions can be undone, and there are two tiers without groups", errPartly)
	}
	return "", errors.New("niceness can only be added")
}

func trySlice() (string, error) {
	const want = 20 * time.Millisecond
	err := onThread(func() error {
		if err := setAttr(0, unix.SchedAttr{Policy: policyNormal, Runtime: uint64(want)}); err != nil {
			return err
		}
		got, err := unix.SchedGetAttr(0, 0)
		if err == nil && got.Runtime != uint64(want) {
			err = errors.New("the kernel keeps its own")
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v to %v", sliceMin, sliceMax), nil
}

func tryFreeze() (string, error) {
	tree, err := sandbox.NewTree("cpu", "probe")
	if err != nil {
		return "", err
	}
	defer tree.Close()
	if tree.Version() != 2 {
		return "", fmt.Errorf("calls have groups of version %d", tree.Version())
	}
	dir, err := tree.Make("frozen")
	if err != nil {
		return "", err
	}
	return "", tree.Write(dir+"/cgroup.freeze", "0")
}

func tryAutogroup() (string, error) {
	if !autogrouped() {
		return "sessions are not grouped", nil
	}
	if tree, err := sandbox.NewTree("cpu", "probe"); err == nil {
		tree.Close()
		return "sessions are grouped, but calls have groups of their own", nil
	}
	return "", fmt.Errorf("%w: the kernel groups sessions", errPartly)
}

func tryFIFO() (string, error) {
	detail := ""
	var buf [32]byte
	if n, err := readFile("/proc/sys/kernel/sched_rt_runtime_us", buf[:]); err == nil {
		detail = "of each second real-time threads may take " + strings.TrimSpace(string(buf[:n])) + " µs"
	}
	if runtime.NumCPU() < 2 {
		return detail, errors.New("not with one core")
	}
	return detail, errors.Join(tryAttr(unix.SchedAttr{Policy: policyFIFO, Priority: taskPriority}), newRealtime().tryBudgets())
}

func tryRealtime() (string, error) {
	dir, err := cpuDir(os.Getpid())
	if err != nil {
		return "", errors.New("no hierarchy of version 1 with the cpu controller")
	}
	var buf [32]byte
	n, err := readFile(dir+"/"+realtimeFile, buf[:])
	if err != nil {
		return "", errors.New("the kernel has none")
	}
	if err := unix.Access(dir+"/"+realtimeFile, unix.W_OK); err != nil {
		return "", fmt.Errorf("budgets of groups in %s cannot be given: %w", dir, err)
	}
	return fmt.Sprintf("%s µs in %s", strings.TrimSpace(string(buf[:n])), dir), newRealtime().tryBudgets()
}

func trySchedExt() (string, error) {
	state, err := schedext.State()
	if err != nil {
		return "", err
	}
	if state != "disabled" {
		return state, errors.New("the kernel has a scheduler of somebody else's")
	}
	if err := schedext.Try(); err != nil {
		return "", err
	}
	return "", nil
}
