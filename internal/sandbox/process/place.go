package process

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Place is where a call runs that has a process of its own.
type Place struct {
	PID            int    // its first process
	Init           int    // the parent of what it has orphaned; 0: that is in Group
	Group, Freezer string // as of sandbox.Process.CPU
	Tiered         int    // sandbox.Limits.Tiered of Group
}

// Place finds the call. False says that it is not to be found: it has not entered its
// group yet, it has ended, or a worker serves it. Where groups do not share out the
// processor the warden is asked, and the call is found some time later.
func (p *Process) Place() (Place, bool) {
	select {
	case <-p.done: // and its group is gone
		return Place{}, false
	default:
	}
	if p.worker != nil || p.group == nil {
		return Place{}, false
	}
	place := Place{Tiered: p.group.tiered}
	if place.Group, place.Freezer = p.group.CPU(); place.Group == "" {
		return p.ask()
	}
	pids := p.group.Processes()
	for _, pid := range pids {
		// The first process was forked from outside, and is listed before what it has
		// orphaned.
		if parent, ok := parentOf(pid); ok && !slices.Contains(pids, parent) {
			place.PID = pid
			return place, true
		}
	}
	return Place{}, false
}

// whereabouts are what the warden has said of a call.
type whereabouts struct {
	mu     sync.Mutex
	asked  bool // guarded by mu
	closed bool // guarded by mu
	fd     int  // a descriptor of the first process, which keeps its number from meaning another one; 0: none; guarded by mu
	place  Place
}

// ask finds the call by its warden.
func (p *Process) ask() (Place, bool) {
	x := &p.at
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
	case x.fd > 0:
		return x.place, running(x.fd)
	case !x.asked:
		x.asked = true
		m := message{kind: msgFind, id: p.id}
		p.server.pool.work.Go(func() { p.server.conn.send(m.append) }) // else the server has ended, and the call with it
	default:
		x.asked = false // it was not there yet
	}
	return Place{}, false
}

// found notes where a call is: descriptors of its first process and of its shell, which are
// the server's from now on.
func (s *server) found(id uint64, fds []int) {
	s.mu.Lock()
	p := s.calls[id]
	s.mu.Unlock()
	if p == nil || len(fds) != 2 {
		closeFDs(fds)
		return
	}
	x := &p.at
	x.mu.Lock()
	defer x.mu.Unlock()
	place := Place{PID: pidOf(fds[0]), Init: pidOf(fds[1])}
	unix.Close(fds[1])
	if x.closed || x.fd > 0 || place.PID <= 0 || place.Init <= 0 {
		unix.Close(fds[0])
		return
	}
	x.fd, x.place = fds[0], place
}

func (x *whereabouts) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fd > 0 {
		unix.Close(x.fd)
	}
	x.fd, x.closed = 0, true
}

// running reports whether the process of a descriptor has not ended.
func running(pidfd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return err == nil && n == 0
		}
	}
}

// pidOf is the process of a descriptor, as this process sees it: the line "Pid" of
// /proc/self/fdinfo (pidfd_open(2)); 0 when it cannot be told, -1 when the process has
// ended.
func pidOf(pidfd int) int {
	text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(number))
			return pid
		}
	}
	return 0
}

// parentOf reads the fourth field of proc_pid_stat(5): the name before it is in
// parentheses, and may contain anything.
func parentOf(pid int) (parent int, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}
