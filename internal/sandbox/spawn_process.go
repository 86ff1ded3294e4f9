package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Reason classifies how a process ended.
type Reason string

// The reasons.
const (
	ReasonExit     Reason = "exit"      // it exited; Exit.Code has the status
	ReasonSignal   Reason = "signal"    // a signal ended it; Exit.Signal says which
	ReasonMemory   Reason = "memory"    // the kernel killed it because its cgroup was out of memory
	ReasonCPU      Reason = "cpu"       // RLIMIT_CPU
	ReasonFileSize Reason = "file-size" // RLIMIT_FSIZE
	ReasonSeccomp  Reason = "seccomp"   // it made a system call that no honest host makes
	ReasonConfine  Reason = "confine"   // it could not build its own confinement; its standard error says why
	ReasonKilled   Reason = "killed"    // Process.Kill
)

// Exit is how a process ended and what it used.
type Exit struct {
	Reason     Reason
	Code       int            // exit status, when it exited
	Signal     syscall.Signal // when a signal ended it
	UserTime   time.Duration
	SystemTime time.Duration
	MaxRSS     int64 // bytes
	PeakMemory int64 // bytes as the cgroup counted them; 0 when unknown
	Starved    int64 // processes of its cgroup that the kernel killed because the group was out of memory
	Err        error // what could not be cleaned up; nil: nothing is left
}

// Process is a confined process. Whoever holds it need not wait for it: it is
// reaped, and its cgroup removed, in any case.
type Process struct {
	spawner *Spawner
	group   *group
	pid     int  // set by begin
	asked   bool // it is not the first of a pid namespace: SIGTERM has it end what belongs to it; set before begin
	done    chan struct{}
	exit    Exit // written before done is closed

	mu     sync.Mutex
	pidfd  int    // -1: none; guarded by mu
	limits Limits // guarded by mu
	killed bool   // guarded by mu
	reaped bool   // guarded by mu: the pid may belong to another process by now
}

// begin makes p the process that was started, and sees to its end.
func (p *Process) begin(pid, pidfd int) {
	p.mu.Lock()
	p.pid, p.pidfd = pid, pidfd
	killed := p.killed
	p.mu.Unlock()
	go p.wait()
	if killed {
		_ = p.Kill()
	}
}

// PID returns its process id in the node's pid namespace.
func (p *Process) PID() int { return p.pid }

// CPU is the directory of its group in the hierarchy that shares out the processor, and
// Freezer the same where that has cgroup.freeze; "" where there is none.
func (p *Process) CPU() (group, freezer string) {
	if p.group == nil {
		return "", ""
	}
	return p.group.cpu()
}

// Kill ends it and everything in its pid namespace. It does not wait. Killing a
// process that has ended does nothing.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	p.killed = true
	if p.pid == 0 { // begin looks at killed
		return nil
	}
	var err error
	signal := unix.SIGKILL
	if p.asked {
		signal = unix.SIGTERM
	}
	if p.pidfd >= 0 {
		err = unix.PidfdSendSignal(p.pidfd, signal, nil, 0)
	} else {
		err = unix.Kill(p.pid, signal)
	}
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill host %d: %w", p.pid, err)
	}
	return nil
}

// Done is closed when the process has ended and its cgroup is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process. It may be called any number of times.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// wait reaps the process. The descriptor of a process becomes readable when it
// ends, so that waiting for many costs no threads.
func (p *Process) wait() {
	var status unix.WaitStatus
	var usage unix.Rusage
	reap := func(options int) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		pid, err := unix.Wait4(p.pid, &status, options, &usage)
		p.reaped = pid == p.pid || err == unix.ECHILD
		return p.reaped
	}
	defer p.watch(func() bool { return reap(unix.WNOHANG) })()
	for !p.reaped { // the poller does not know such descriptors
		var info unix.Siginfo
		_ = unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		reap(unix.WNOHANG)
	}
	p.exit = p.classify(status, usage)
	p.exit.Err = p.group.close()
	p.spawner.forget(p)
	close(p.done)
}

// watch calls try, and again when the process has ended, until it returns true
// or the end cannot be waited for in this way. The descriptor stays open, since
// Kill uses it, until the returned function is called.
func (p *Process) watch(try func() bool) (closed func()) {
	if p.pidfd < 0 || unix.SetNonblock(p.pidfd, true) != nil {
		return func() {}
	}
	f := os.NewFile(uintptr(p.pidfd), "pidfd")
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Read(func(uintptr) bool { return try() })
	}
	return func() { f.Close() }
}

func (p *Process) classify(status unix.WaitStatus, usage unix.Rusage) Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Exit{
		Reason:     ReasonExit,
		UserTime:   time.Duration(usage.Utime.Nano()),
		SystemTime: time.Duration(usage.Stime.Nano()),
		MaxRSS:     usage.Maxrss << 10,
		PeakMemory: p.group.peak(),
		Starved:    p.group.outOfMemory(),
	}
	if status.Exited() {
		e.Code = status.ExitStatus()
		if e.Code == enterExit {
			e.Reason = ReasonConfine
		}
		return e
	}
	e.Signal = status.Signal()
	limit := time.Duration(seconds(p.limits.CPU)) * time.Second
	switch {
	case e.Signal == unix.SIGSYS:
		e.Reason = ReasonSeccomp
	case e.Signal == unix.SIGXFSZ:
		e.Reason = ReasonFileSize
	case e.Signal == unix.SIGXCPU:
		e.Reason = ReasonCPU
	case e.Signal == unix.SIGKILL && e.Starved > 0:
		e.Reason = ReasonMemory
	case e.Signal == unix.SIGKILL && p.killed:
		e.Reason = ReasonKilled
	case e.Signal == unix.SIGKILL && limit > 0 && e.UserTime+e.SystemTime >= limit/2:
		// The kernel keeps the limit by counting timer ticks, which on a busy
		// machine runs well ahead of the exact time reported here.
		e.Reason = ReasonCPU
	default:
		e.Reason = ReasonSignal
	}
	return e
}

// SetLimits changes Memory, Cores, Weight and Pids of the running process, the
// limits that its cgroup keeps; the others stay as they were.
func (p *Process) SetLimits(l Limits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return fmt.Errorf("limit host %d: %w", p.pid, os.ErrProcessDone)
	}
	next := p.limits
	next.Memory, next.Cores, next.Weight, next.Pids = l.Memory, l.Cores, l.Weight, l.Pids
	if err := p.group.limit(&p.limits, next); err != nil {
		return err
	}
	p.limits = next
	return nil
}

// Held is the memory that the group of the process has now, in bytes: what it may not
// be limited to less than. 0 where no cgroup counts it, or when it has ended.
func (p *Process) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return 0
	}
	return p.group.held()
}

// MemoryUse is what a process occupies now, in bytes.
type MemoryUse struct {
	PSS int64 // its own pages, and its share of those that it shares
	RSS int64 // all pages it has mapped
}

// Memory reads what the process occupies now. It walks the page tables, which
// takes longer the more memory is mapped. Where the kernel keeps the node from
// looking that closely (an ordinary user without user namespaces), PSS is RSS.
func (p *Process) Memory() (MemoryUse, error) {
	proc := "/proc/" + strconv.Itoa(p.pid)
	text, err := os.ReadFile(proc + "/smaps_rollup")
	if errors.Is(err, os.ErrPermission) {
		return coarseMemory(proc + "/statm")
	}
	if err != nil {
		return MemoryUse{}, fmt.Errorf("measure host %d: %w", p.pid, err)
	}
	var m MemoryUse
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "Pss:":
			m.PSS = n << 10
		case "Rss:":
			m.RSS = n << 10
		}
	}
	return m, nil
}

// Resident is the resident set of a process in bytes. It is cheap, and counts the
// pages that processes share for each of them.
func Resident(pid int) (int64, error) {
	m, err := coarseMemory("/proc/" + strconv.Itoa(pid) + "/statm")
	return m.RSS, err
}

// coarseMemory reads the number of resident pages: the second field of statm.
func coarseMemory(statm string) (MemoryUse, error) {
	text, err := os.ReadFile(statm)
	if err != nil {
		return MemoryUse{}, fmt.Errorf("measure host: %w", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return MemoryUse{}, fmt.Errorf("measure host: %s: %w", statm, err)
	}
	bytes := resident * int64(os.Getpagesize())
	return MemoryUse{PSS: bytes, RSS: bytes}, nil
}
