package backend

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

// TaskOptions say what a task is.
type TaskOptions struct {
	// PID is the process, as this process sees it.
	PID int
	// Init is the first process of a pid namespace in which is nothing but the task: what is
	// below it is the task's, whose parents have ended. It is not part of the task, and 0
	// when there is none.
	Init int
	// Group is the directory of a cgroup in the hierarchy of the cpu controller that
	// holds the task and nothing else; "" when it has none of its own.
	Group string
	// Freezer is the directory of such a group in version 2, which has cgroup.freeze; "":
	// none. With version 2 it is often the same as Group.
	Freezer string
	// Born says that the task is in this tier already: it was forked in the tier's group,
	// its group was made with the tier's weight, or its parent had the tier's niceness.
	// Nil: it is as any process.
	Born *policy.Tier
	// Thread is the one thread of the process that the task is; 0: it is all of the process.
	// Base is the CPU time that the thread had used when the task began.
	Thread int
	Base   time.Duration
	// Crew holds what the task's process runs beside it; nil: nothing. A task that is a
	// thread has one, and so has one that shares all threads with others.
	Crew *Crew
}

// Task is a process with its threads and all that it starts. Its methods, and those of
// backends with it, are for one goroutine at a time.
type Task struct {
	o     TaskOptions
	pidfd int

	gauge   gauge
	place   Place
	stopped []int
	frozen  bool

	// What sched keeps.
	attr    *unix.SchedAttr // before it was first changed; nil: it was not
	grouped string          // niceness of its autogroup before that was changed; "": it was not
	// What cgroup keeps.
	original string // weight of Group before it was first written; "": it was not
	at       string // tier group that it is in, or will be soon
}

// Attach makes a task of a process. Close it. The error is ErrGone when there is no such
// process.
func Attach(o TaskOptions) (*Task, error) {
	fd, err := unix.PidfdOpen(o.PID, 0)
	if err != nil {
		return nil, fmt.Errorf("attach to process %d: %w", o.PID, gone(err))
	}
	t := &Task{o: o, pidfd: fd}
	if o.Thread > 0 {
		t.place = t.birth()
		err = t.openThread()
	} else {
		err = t.Renew()
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("attach to process %d, thread %d: %w", o.PID, o.Thread, err)
	}
	return t, nil
}

// Renew makes the task ready for another call in the same process, which counts from now on: one
// system call instead of the four that Close and Attach need. Backends must have removed it. The
// error is ErrGone when the process has ended. A task that is a thread, or has a crew, is not
// for a second call.
func (t *Task) Renew() error {
	t.place = t.birth()
	if err := t.gauge.init(t.o.PID); err != nil {
		return fmt.Errorf("measure process %d: %w", t.o.PID, err)
	}
	return nil
}

// birth is where the task is before a backend puts it anywhere.
func (t *Task) birth() Place {
	if t.o.Born != nil {
		return Place{Tier: *t.o.Born}
	}
	return Place{Tier: policy.Normal}
}

// PID is the process.
func (t *Task) PID() int { return t.o.PID }

// id is what the kernel schedules first of the task.
func (t *Task) id() int { return cmp.Or(t.o.Thread, t.o.PID) }

// Place is where a backend has put the task.
func (t *Task) Place() Place { return t.place }

// Close gives the descriptors back. It does not touch the process. A backend must have
// removed the task.
func (t *Task) Close() error {
	if t.pidfd < 0 {
		return nil
	}
	t.gauge.root.close()
	err := unix.Close(t.pidfd)
	t.pidfd = -1
	return err
}

// alive reports whether the process has not ended. As long as it has not been waited
// for, its pid is not used again.
func (t *Task) alive() bool {
	if t.pidfd < 0 {
		return false
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.pidfd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n == 0
		}
	}
}

// gone turns the kernel's words for a process that is not there into ErrGone.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	return err
}

// processes lists the task's processes, itself first. With a group of its own they are
// what is in there, else its descendants: one whose parent has ended inside a pid
// namespace is below the namespace's first process, and lost where that is not known.
func (t *Task) processes() []int { return processes(t.o.PID, t.o.Init, t.o.Group) }

// processes lists those of a group, or a process, what is below it, and what is below init.
func processes(pid, init int, group string) []int {
	if group != "" {
		var buf [4096]byte
		if n, err := readFile(group+"/cgroup.procs", buf[:]); err == nil && n < len(buf) {
			out := numbers(buf[:n])
			if i := slices.Index(out, pid); i >= 0 {
				out[0], out[i] = out[i], out[0]
				return out
			}
		} else if err == nil { // more than fit
			if text, err := os.ReadFile(group + "/cgroup.procs"); err == nil {
				if out := numbers(text); slices.Contains(out, pid) {
					i := slices.Index(out, pid)
					out[0], out[i] = out[i], out[0]
					return out
				}
			}
		}
	}
	out := []int{pid}
	if init > 0 {
		out = append(out, children(init)...)
	}
	for i := 0; i < len(out) && len(out) < processesMax; i++ {
		for _, child := range children(out[i]) {
			if !slices.Contains(out, child) {
				out = append(out, child)
			}
		}
	}
	return out
}

// processesMax bounds the tree that is walked. Sandboxes have far lower limits.
const processesMax = 4096

// children lists the children of a process: those of each of its threads, which is what
// /proc/PID/task/TID/children has (proc_pid_task(5)).
func children(pid int) []int {
	var out []int
	var buf [4096]byte
	for _, tid := range threads(pid) {
		n, err := readFile(taskFile(pid, tid, "children"), buf[:])
		if errors.Is(err, unix.ENOENT) && tid == pid {
			if unix.Access("/proc/self/task/"+strconv.Itoa(os.Getpid())+"/children", unix.F_OK) != nil {
				return childrenByParent(pid) // the kernel is built without the file
			}
		}
		if err == nil {
			out = append(out, numbers(buf[:n])...)
		}
	}
	return out
}

// childrenByParent looks at every process of the machine.
func childrenByParent(pid int) []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := statOf(child, child); err == nil && s.parent == pid {
			out = append(out, child)
		}
	}
	return out
}

// threads lists the threads of a process. Most have one, which costs one call to find
// out: a directory has a link for each directory in it.
func threads(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil
	}
	if st.Nlink == 3 {
		return []int{pid}
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	out := make([]int, 0, len(names))
	for _, name := range names {
		if tid, err := strconv.Atoi(name); err == nil {
			out = append(out, tid)
		}
	}
	return out
}

// eachThread calls visit for every thread of the task, until there are none that it has
// not seen: one that is made meanwhile may be the child of one that was not yet visited.
// Threads that end are skipped; any other error ends the walk.
func (t *Task) eachThread(visit func(tid int) error) error {
	if t.o.Thread > 0 {
		if !t.alive() {
			return ErrGone
		}
		return gone(visit(t.o.Thread))
	}
	return t.sweep(func(pid int) []int { return threads(pid) }, visit)
}

// eachProcess is the same for processes.
func (t *Task) eachProcess(visit func(pid int) error) error {
	return t.sweep(func(pid int) []int { return []int{pid} }, visit)
}

// sweepRounds bounds how often the tree is listed anew. A task that forks faster than
// this is bounded by its limit of processes.
const sweepRounds = 16

func (t *Task) sweep(of func(pid int) []int, visit func(id int) error) error {
	if !t.alive() {
		return ErrGone
	}
	if err := visit(t.o.PID); err != nil { // what it makes from now on inherits
		return gone(err)
	}
	seen := map[int]bool{t.o.PID: true}
	for range sweepRounds {
		fresh := false
		for _, pid := range t.processes() {
			for _, id := range of(pid) {
				if seen[id] {
					continue
				}
				seen[id], fresh = true, true
				if err := visit(id); err != nil && !errors.Is(err, unix.ESRCH) {
					return err
				}
			}
		}
		if !fresh {
			break
		}
	}
	return nil
}

// stat is a part of /proc/PID/task/TID/stat.
type stat struct {
	state   byte // R runs or would like to; S and D sleep; T is stopped; Z has ended
	parent  int
	threads int // of its process
	start   string
	core    int // on which it ran last
}

// statOf reads that of a thread.
func statOf(pid, tid int) (stat, error) {
	var buf [1024]byte
	n, err := readFile(taskFile(pid, tid, "stat"), buf[:])
	if err != nil {
		return stat{}, err
	}
	return parseStat(buf[:n])
}

// parseStat takes a line of proc_pid_stat(5) apart. The second field is the name in
// parentheses, and may contain anything.
func parseStat(line []byte) (stat, error) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, errors.New("read stat: no name in it")
	}
	fields := strings.Fields(string(line[end+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read stat: %d fields", len(fields)+2)
	}
	if state := fields[0]; len(state) != 1 || !unicode.IsLetter(rune(state[0])) {
		return stat{}, fmt.Errorf("read stat: state %q", state)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("read stat: %w", err)
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil {
		return stat{}, fmt.Errorf("read stat: %w", err)
	}
	s := stat{state: fields[0][0], parent: parent, threads: threads, start: fields[19]}
	if len(fields) > 36 {
		s.core, _ = strconv.Atoi(fields[36])
	}
	return s, nil
}

// clockOf reads the CPU time of a process with all its threads, also of those that have
// ended. The clock of process p is ~p<<3 | 2 (include/linux/posix-timers_types.h), and
// anybody may read it.
func clockOf(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(uint32(^pid)<<3|2), &ts); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return 0, ErrGone
		}
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}

// taskFile is the path of a file of a thread.
func taskFile(pid, tid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/" + name
}

// readFile reads a small file of the kernel's at once. It does without package os, whose
// descriptors are prepared for polling, because it is called often.
func readFile(path string, buf []byte) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// numbers are those in a text, separated by white space.
func numbers(text []byte) []int {
	var out []int
	for _, word := range bytes.Fields(text) {
		if n, err := strconv.Atoi(string(word)); err == nil {
			out = append(out, n)
		}
	}
	return out
}
