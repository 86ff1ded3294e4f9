package backend

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
)

const (
	policyNormal = 0
	policyFIFO   = unix.SCHED_FIFO
	policyIdle   = unix.SCHED_IDLE

	// expressNice and normalNice are the niceness of the tiers where it may be lowered.
	// Each step is a quarter of weight.
	expressNice, normalNice = -10, 0
	// rankNice is how many steps a rank is: a half of weight.
	rankNice = 3
	niceMax  = 19

	// sliceMin and sliceMax are what the kernel makes of a slice (sched(7), from 6.12 on).
	sliceMin, sliceMax = 100 * time.Microsecond, 100 * time.Millisecond
)

// Sched makes tiers with sched_setattr(2) on every thread of a task: niceness for Express
// and Normal, SCHED_IDLE for Batch, which runs only on what others leave (its weight is 3,
// an ordinary thread's 1024) and costs no privilege. Threads and processes that a task
// makes inherit. Without CAP_SYS_NICE Express and Normal are one, and a demotion cannot be
// undone. SCHED_BATCH is not used: it does not change who goes first.
//
// Where the kernel groups sessions (sched_autogroup_enabled) niceness counts only inside a
// session, unless the task is in a cpu group. Then the niceness of the task's session is
// changed too, if that is not the node's.
type Sched struct {
	nice      int  // the lowest that may be set; 20: none may be lowered
	autogroup bool // sessions are groups
	session   int  // of this process
	ext       bool // threads get the class of package schedext and a niceness, which counts without a scheduler

	mu    sync.Mutex
	tasks map[*Task]struct{} // that were added and not removed; guarded by mu
	owed  map[int]int        // niceness of sessions that the kernel did not take yet, by process; guarded by mu
}

var _ Backend = (*Sched)(nil)

// NewSched makes it. It works everywhere.
func NewSched(Options) *Sched {
	session, _ := unix.Getsid(0)
	return &Sched{nice: lowestNice(), autogroup: autogrouped(), session: session, tasks: map[*Task]struct{}{}, owed: map[int]int{}}
}

// Name implements Backend.
func (*Sched) Name() string { return NameSched }

// Traits implements Backend.
func (s *Sched) Traits() Traits {
	tr := Traits{Tiers: 2, Undo: s.nice <= normalNice, Stops: true}
	if s.nice <= expressNice {
		tr.Tiers, tr.Ranks = 3, true
	}
	return tr
}

// attributes are those of a place: policy and niceness, and a slice where the policy has
// one.
func (s *Sched) attributes(p Place) (class uint32, nice int32, slice time.Duration) {
	if p.Slice > 0 {
		slice = min(max(p.Slice, sliceMin), sliceMax)
	}
	three := s.nice <= expressNice
	switch {
	case s.ext && p.Tier >= policy.Batch:
		return policyExt, niceMax, 0
	case s.ext && p.Tier == policy.Express:
		return policyExt, int32(min(expressNice+rankNice*p.Rank, -1)), 0
	case s.ext:
		return policyExt, int32(min(normalNice+rankNice*p.Rank, niceMax)), 0
	case p.Tier >= policy.Batch:
		return policyIdle, 0, 0
	case !three:
		return policyNormal, normalNice, slice
	case p.Tier == policy.Express:
		return policyNormal, int32(min(expressNice+rankNice*p.Rank, -1)), slice
	default:
		return policyNormal, int32(min(normalNice+rankNice*p.Rank, niceMax)), slice
	}
}

// Add implements Backend.
func (s *Sched) Add(t *Task, p Place) error {
	s.mu.Lock()
	s.tasks[t] = struct{}{}
	s.mu.Unlock()
	return s.Move(t, p)
}

// Move implements Backend.
func (s *Sched) Move(t *Task, p Place) error {
	s.settle()
	class, nice, slice := s.attributes(p)
	if was, n, sl := s.attributes(t.place); was == class && n == nice && sl == slice {
		t.place = p
		return nil
	}
	if t.attr == nil {
		a, err := unix.SchedGetAttr(t.id(), 0)
		if err != nil {
			return fmt.Errorf("move process %d: %w", t.o.PID, gone(err))
		}
		t.attr = a
	}
	if err := s.set(t, class, nice, slice); err != nil {
		return err
	}
	t.place = p
	s.setAutogroup(t, class, nice)
	return nil
}

// set gives every thread of a task its attributes.
func (s *Sched) set(t *Task, class uint32, nice int32, slice time.Duration) error {
	a := unix.SchedAttr{Policy: class, Nice: nice, Runtime: uint64(slice)}
	err := t.eachThread(func(tid int) error { return setAttr(tid, a) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrGone):
		return err
	case errors.Is(err, unix.EPERM) && class != policyIdle:
		return fmt.Errorf("move process %d: %w", t.o.PID, ErrOneWay)
	}
	return fmt.Errorf("move process %d: %w", t.o.PID, err)
}

// setAttr is sched_setattr(2). SCHED_RESET_ON_FORK, once set, is not given up by who may
// not: then it stays.
func setAttr(tid int, a unix.SchedAttr) error {
	a.Size = unix.SizeofSchedAttr
	err := unix.SchedSetAttr(tid, &a, 0)
	if errors.Is(err, unix.EPERM) {
		a.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
		err = unix.SchedSetAttr(tid, &a, 0)
	}
	return err
}

// setAutogroup gives the session of a task a niceness. A failure leaves the order among
// sessions as it was, which the probe tells of.
func (s *Sched) setAutogroup(t *Task, class uint32, nice int32) {
	if !s.autogroup || t.o.Thread > 0 || !ungrouped(t) {
		return
	}
	if session, err := unix.Getsid(t.o.PID); err != nil || session == s.session {
		return
	}
	if class == policyIdle {
		nice = niceMax
	}
	file := "/proc/" + strconv.Itoa(t.o.PID) + "/autogroup"
	if t.grouped == "" {
		text, err := os.ReadFile(file) // "/autogroup-123 nice 0"
		if err != nil {
			return
		}
		words := strings.Fields(string(text))
		if len(words) != 3 {
			return
		}
		t.grouped = words[2]
	}
	s.regroup(t.o.PID, int(nice))
}

// regroup writes the niceness of a session. The kernel takes ten such changes a second
// from who has no privileges; one that it refuses for that is made up for later.
func (s *Sched) regroup(pid, nice int) {
	err := writeFile("/proc/"+strconv.Itoa(pid)+"/autogroup", strconv.Itoa(nice))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, pid)
	if errors.Is(err, unix.EAGAIN) {
		s.owed[pid] = nice
	}
}

// settle makes up for one change.
func (s *Sched) settle() {
	s.mu.Lock()
	for pid, nice := range s.owed {
		s.mu.Unlock()
		s.regroup(pid, nice)
		return
	}
	s.mu.Unlock()
}

// ungrouped reports whether a task is in no cpu group but the first, where sessions are
// grouped.
func ungrouped(t *Task) bool {
	return t.o.Group == "" && cpuGroupOf(t.o.PID) == "/"
}

// Stop implements Backend.
func (*Sched) Stop(t *Task) error { return halt(t) }

// Continue implements Backend.
func (*Sched) Continue(t *Task) error { return resume(t) }

// Remove implements Backend.
func (s *Sched) Remove(t *Task) error {
	s.mu.Lock()
	_, known := s.tasks[t]
	delete(s.tasks, t)
	delete(s.owed, t.o.PID)
	s.mu.Unlock()
	s.settle()
	if !known {
		return nil
	}
	err := resume(t)
	if t.attr != nil && !errors.Is(err, ErrGone) {
		back := s.set(t, t.attr.Policy, t.attr.Nice, 0)
		if back == nil && t.grouped != "" {
			_ = writeFile("/proc/"+strconv.Itoa(t.o.PID)+"/autogroup", t.grouped)
		}
		if back == nil {
			t.attr, t.grouped, t.place = nil, "", Place{Tier: policy.Normal}
		}
		err = errors.Join(err, back)
	}
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Close implements Backend.
func (s *Sched) Close() error {
	s.mu.Lock()
	var tasks []*Task
	for t := range s.tasks {
		tasks = append(tasks, t)
	}
	s.mu.Unlock()
	return removeAll(s, tasks)
}

// removeAll removes tasks from a backend that closes. That some stay demoted is no
// failure: they end with their calls.
func removeAll(b Backend, tasks []*Task) error {
	var errs []error
	for _, t := range tasks {
		if err := b.Remove(t); err != nil && !errors.Is(err, ErrOneWay) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lowestNice is the lowest niceness that this user may give: -20 with CAP_SYS_NICE in the
// first user namespace, which only trying shows, else what RLIMIT_NICE allows
// (getrlimit(2)); 20 when none may be lowered.
func lowestNice() int {
	if tryAttr(unix.SchedAttr{Policy: policyNormal, Nice: -20}) == nil {
		return -20
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NICE, &l); err != nil {
		return 20
	}
	return 20 - int(min(l.Cur, 40))
}

// tryAttr gives a thread attributes, and ends it: without privileges there is no way back
// from some.
func tryAttr(a unix.SchedAttr) error {
	a.Size = unix.SizeofSchedAttr
	return onThread(func() error { return unix.SchedSetAttr(0, &a, 0) })
}

// onThread runs f on a thread that ends with it. The main thread never ends, so it is not
// used.
func onThread(f func() error) error {
	done := make(chan error)
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			started := make(chan struct{})
			go func() {
				close(started)
				run()
			}()
			<-started // on another thread, as this one is taken
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}
	go run()
	return <-done
}

// autogrouped reports whether the kernel groups threads by session.
func autogrouped() bool {
	var buf [8]byte
	n, err := readFile("/proc/sys/kernel/sched_autogroup_enabled", buf[:])
	return err == nil && n > 0 && buf[0] == '1'
}

// cpuGroupOf is the path of the group in which a process competes for the processor, in
// the hierarchy that has the cpu controller; "" when that is not known.
func cpuGroupOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	return cpuGroup(string(text))
}

// cpuGroup finds it in the text of /proc/PID/cgroup. Without a hierarchy of version 1
// it is that of version 2.
func cpuGroup(text string) string {
	unified := ""
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			unified = parts[2]
		}
		for _, c := range strings.Split(parts[1], ",") {
			if c == "cpu" {
				return parts[2]
			}
		}
	}
	return unified
}
