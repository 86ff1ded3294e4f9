package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/python"
	"github.com/weft-run/weft/internal/sandbox"
)

// server is the fork server of one version of a function: its warden, and what
// the warden keeps.
type server struct {
	pool  *Pool
	f     *Function
	limit Limits // of f, with defaults
	used  time.Time

	ready   chan struct{} // closed when conn can be used, or failed is set
	started chan struct{} // closed when process is set, or there will be none
	conn    *socket
	process *sandbox.Process
	parent  *parent // that it is the server of; nil: it is a function's
	above   *parent // that its own process is forked from, or may be; nil: none; set before started is closed

	mu        sync.Mutex
	failed    error               // guarded by mu until ready is closed
	ending    bool                // guarded by mu
	last      uint64              // number of the last call; guarded by mu
	calls     map[uint64]*Process // that run; guarded by mu
	spares    []*prepared         // guarded by mu
	retired   bool                // it ends with its last call; guarded by mu
	gone      bool                // finish has been here; guarded by mu
	discarded []*prepared         // spares that are being ended; guarded by mu
	making    int                 // spares that are being made; guarded by mu
	group     *weighed            // for the next call, or nil; guarded by mu
	said      []byte              // the end of what the server printed; guarded by mu
	broken    string              // why the warden says that it cannot serve; guarded by mu
	status    unix.WaitStatus     // of the server's process, as far as the warden knows; guarded by mu
	isReady   bool                // guarded by mu
	workers   []*worker           // guarded by mu
	hiring    sync.Mutex          // held while a worker is looked for or started
	seats     chan struct{}       // one for each call that workers may serve at a time
	leaving   chan struct{}       // closed by end
	ended     sync.Once           // the closing of leaving
	doors     *doorway            // nil: its calls connect to nothing. Of the goroutine that listens to the warden
}

// prepared is a call's process before it has anything to do.
type prepared struct {
	id    uint64
	group *weighed
}

// weighed is the group of a call.
type weighed struct {
	*sandbox.Group
	tiered int // sandbox.Limits.Tiered
}

func newServer(p *Pool, f *Function) *server {
	s := &server{pool: p, f: f, limit: f.Limits, ready: make(chan struct{}), started: make(chan struct{}), leaving: make(chan struct{}), calls: map[uint64]*Process{}}
	s.limit.EnsureDefaults()
	if f.Resident != ResidentNone {
		copied := *f
		if copied.Workers == 0 {
			copied.Workers = 4
		}
		if copied.Concurrency == 0 {
			copied.Concurrency = 100
		}
		s.f = &copied
		s.seats = make(chan struct{}, copied.Workers*copied.room())
	}
	return s
}

// failure says why the server is not there; ready is closed.
func (s *server) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// idle reports whether it has nothing to do; an idle one may be ended.
func (s *server) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unused()
}

// unused is idle for who holds s.mu.
func (s *server) unused() bool {
	for _, w := range s.workers {
		if len(w.calls) > 0 {
			return false
		}
	}
	return s.isReady && len(s.calls) <= len(s.workers) // a worker is one of them
}

// refused is the failure of a function that cannot be served.
func (s *server) refused(permanent bool, format string, args ...any) error {
	return &flow.Failure{Kind: KindRefused, Message: fmt.Sprintf("function %s: ", s.f.Name) + fmt.Sprintf(format, args...), Permanent: permanent}
}

// live starts the server, listens to it, and sees to its end.
func (s *server) live() {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit.Import)
	defer cancel()
	if err := s.start(ctx); err != nil {
		close(s.started)
		s.pool.forget(s)
		s.mu.Lock()
		s.failed = err
		s.mu.Unlock()
		close(s.ready)
		if s.isParent() {
			s.parent.finished()
		}
		return
	}
	close(s.started)
	late := time.AfterFunc(s.limit.Import, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.isReady {
			s.broken = fmt.Sprintf("it was not ready within %v: what the module does when it is imported takes too long", s.limit.Import)
			s.process.Kill()
		}
	})
	if len(s.f.Dial) > 0 {
		s.doors = newDoorway(s)
		defer s.doors.close()
	}
	s.listen()
	late.Stop()
	s.process.Kill()
	exit := s.process.Wait()
	s.conn.close()
	s.pool.forget(s)
	s.finish(exit)
	if s.above != nil {
		s.above.leave()
	}
	if s.isParent() {
		s.parent.finished()
	}
	if err := s.failure(); err != nil && s.isParent() { // nobody else says so: its members go on without it
		s.pool.o.Log(s.f.Name, "weft: functions import everything themselves: "+err.Error())
	}
}

// start starts the warden, below a parent if there is one.
func (s *server) start(ctx context.Context) error {
	if s.above = s.findParent(); s.above != nil {
		if err := s.startBelow(ctx); err == nil {
			return nil
		}
		s.above.leave() // it has just ended, for instance
		s.above = nil
	}
	return s.startBelow(ctx)
}

// startBelow starts the warden, below s.above if that is not nil.
func (s *server) startBelow(ctx context.Context) error {
	f := *s.f
	f.Limits = s.limit
	var py *python.Interpreter
	if f.Runtime == Python && f.Root == "" {
		var err error
		if py, err = s.pool.interpreter(ctx, s.pool.o.Python); err != nil {
			return s.refused(false, "%v", err)
		}
	} else if f.Runtime == Python {
		py = &python.Interpreter{}
	}
	var flags uint32
	var user, pids *os.File
	switch {
	case s.isParent():
		flags = flagParent
	case s.above != nil:
		flags, pids = flagAdopt, s.above.pids
		fd, err := unix.FcntlInt(s.above.user.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return s.refused(false, "%v", err)
		}
		user = os.NewFile(uintptr(fd), "user namespace")
	}
	c, err := newConfig(s.pool.spawner, &f, py, s.pool.limited, flags, user)
	if err != nil {
		return s.refused(false, "%v", err)
	}
	defer c.close()
	text, err := memoryFile("warden", c.encode())
	if err != nil {
		return s.refused(false, "%v", err)
	}
	defer text.Close()
	conn, theirs, err := newPair(messageSize + textMax)
	if err != nil {
		return s.refused(false, "%v", err)
	}
	defer theirs.Close()
	read, write, err := os.Pipe()
	if err != nil {
		conn.close()
		return s.refused(false, "%v", err)
	}
	defer write.Close()
	process, err := s.pool.spawner.SpawnWarden(ctx, sandbox.WardenOptions{
		Config: text, Control: theirs, Stderr: write, Mounts: c.mounts, Below: pids,
		Limits: s.limits(),
	})
	if err != nil {
		conn.close()
		read.Close()
		return s.refused(false, "%v", err)
	}
	s.conn, s.process = conn, process
	s.pool.work.Go(func() { s.hear(read) })
	return nil
}

const wardenMemory = 64 << 20 // of the warden and the shells

// limits are those of the warden's group, which the server is in.
func (s *server) limits() sandbox.Limits {
	return sandbox.Limits{Memory: s.limit.Memory + wardenMemory, Pids: 4*callsMax + s.limit.Pids, Tiered: min(s.pool.o.Tiered, ServerWeight)}
}

// hear passes on what the server prints.
func (s *server) hear(r *os.File) {
	defer r.Close()
	lines := bufio.NewReaderSize(r, 4096)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			s.mu.Lock()
			s.said = append(s.said, line...)
			if extra := len(s.said) - 4096; extra > 0 {
				s.said = s.said[extra:]
			}
			s.mu.Unlock()
			s.pool.o.Log(s.f.Name, strings.TrimRight(string(line), "\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// listen carries out the warden's messages until it ends.
func (s *server) listen() {
	for {
		b, fds, err := s.conn.receive()
		if err != nil {
			return
		}
		m, err := parseMessage(b)
		switch { // only these have descriptors beside them
		case err == nil && m.kind == msgOrphan:
			s.adopt(m, fds)
			continue
		case err == nil && m.kind == msgDoor && s.doors != nil:
			if err = s.doors.listen(m.a, fds); err == nil {
				continue
			}
		case err == nil && m.kind == msgFound:
			s.found(m.id, fds)
			continue
		case err == nil && m.kind == msgReady && s.isParent():
			err = s.parent.settle(m, fds)
		default:
			closeFDs(fds)
		}
		if err != nil {
			return
		}
		switch m.kind {
		case msgReady:
			s.mu.Lock()
			was := s.isReady
			s.isReady = true
			s.mu.Unlock()
			if was {
				return
			}
			if m.a&readyNoProc != 0 {
				s.pool.degrade("/proc in calls: this machine lets nobody mount it in a new pid namespace (a container that hides parts of its own)")
			}
			if m.a&readyNoLandlock != 0 {
				s.pool.degrade("Landlock: not in this kernel; namespaces and the system call filter are the walls")
			}
			close(s.ready)
			s.mu.Lock()
			unused := s.retired && len(s.calls) == 0
			s.mu.Unlock()
			if unused {
				s.end()
			}
			if !s.isParent() {
				s.stock()
			}
		case msgFailed:
			s.mu.Lock()
			first := s.broken == ""
			if first {
				s.broken, s.status = string(m.text), unix.WaitStatus(m.a)
			}
			members := s.isParent() && s.isReady // which stay, and its warden
			s.mu.Unlock()
			if string(m.text) == "server ended" && !members {
				return
			}
			if members && first {
				s.parent.report("has ended")
			}
		case msgAlone:
			s.above.giveUp()
		case msgEnded:
			s.over(m)
		default:
			return
		}
	}
}

// over hands the end of a call to whoever waits for it.
func (s *server) over(m message) {
	s.mu.Lock()
	p := s.calls[m.id]
	delete(s.calls, m.id)
	var spare *prepared
	for _, list := range []*[]*prepared{&s.spares, &s.discarded} {
		if i := slices.IndexFunc(*list, func(x *prepared) bool { return x.id == m.id }); i >= 0 {
			spare = (*list)[i]
			*list = slices.Delete(*list, i, i+1)
		}
	}
	last := s.retired && s.unused()
	s.mu.Unlock()
	if p != nil {
		s.pool.work.Go(func() { p.finish(m) }) // reading its cgroup takes its time
	}
	if last {
		s.end()
	}
	if spare != nil {
		spare.group.Close()
	}
}

// finish ends what hangs on a server that is gone.
func (s *server) finish(exit sandbox.Exit) {
	s.mu.Lock()
	why := s.broken
	switch {
	case exit.Starved > 0:
		why = fmt.Sprintf("its fork server was out of memory: importing it takes more than the %d MiB that it may have", s.limit.Memory>>20)
	case why != "" && why != "server ended":
	case exit.Reason == sandbox.ReasonExit && exit.Code == wardenExit || why == "server ended":
		why = "its fork server could not be set up, or ended"
		if s.status.Signaled() {
			why = "its fork server was ended by the signal " + unix.SignalName(s.status.Signal())
		}
		if said := last(string(s.said), 500); said != "" {
			why += ": " + said
		}
	default:
		why = fmt.Sprintf("its fork server ended (%s)", exit.Reason)
	}
	ready := s.isReady
	s.ending, s.isReady, s.gone = true, false, true
	var lost []*Process
	for _, p := range s.calls {
		lost = append(lost, p)
	}
	clear(s.calls)
	spares := append(s.spares, s.discarded...)
	s.spares, s.discarded = nil, nil
	if s.group != nil {
		spares = append(spares, &prepared{group: s.group})
		s.group = nil
	}
	if !ready {
		s.failed = s.refused(s.broken != "" && s.broken != "server ended", "%s", why)
	}
	s.mu.Unlock()
	for _, x := range spares {
		x.group.Close()
	}
	for _, p := range lost {
		p.lose(why)
	}
	if !ready {
		close(s.ready)
	}
}

// retire ends the server when its calls have ended.
func (s *server) retire() {
	s.mu.Lock()
	s.retired = true
	last := s.unused()
	s.mu.Unlock()
	if last {
		s.end()
	}
}

// end ends the server and all of its calls. It does not wait: workers that have
// nothing to do are given the time to stop.
func (s *server) end() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.ended.Do(func() { close(s.leaving) })
	<-s.started
	if s.process == nil {
		return
	}
	stopping := s.dismiss(0, time.Now())
	if len(stopping) == 0 {
		s.process.Kill()
		return
	}
	s.pool.work.Go(func() {
		late := time.After(stopTime)
		for _, w := range stopping {
			select {
			case <-w.host.done:
			case <-late:
			}
		}
		s.process.Kill()
	})
}

// errEnding is what prepare returns when the server is about to be gone.
var errEnding = errors.New("its fork server is ending")

// prepare has the warden make the process of a call, in a group of its own.
func (s *server) prepare() (*prepared, error) {
	s.mu.Lock()
	group := s.group
	s.group = nil
	s.mu.Unlock()
	if group == nil {
		var err error
		if group, err = s.newGroup(); err != nil {
			return nil, err
		}
	}
	var err error
	m := message{kind: msgPrepare}
	var files, opened []*os.File
	if dir := group.Dir(); dir != nil && s.f.Runtime == Native {
		m.a, files = prepareInto, []*os.File{dir}
	} else if opened, err = group.Entrances(); err == nil {
		m.a, files = uint32(len(opened)), opened
	}
	s.mu.Lock()
	s.last++
	m.id = s.last
	ending := s.ending
	s.mu.Unlock()
	switch {
	case err != nil:
	case ending:
		err = errEnding
	default:
		err = s.conn.send(m.append, files...)
	}
	for _, f := range opened {
		f.Close()
	}
	if err != nil {
		group.Close()
		return nil, err
	}
	return &prepared{id: m.id, group: group}, nil
}

func (s *server) newGroup() (*weighed, error) {
	l := sandbox.Limits{Memory: s.limit.Memory, Cores: s.limit.Cores, Weight: s.limit.Weight, Pids: s.limit.Pids}
	switch {
	case l.Weight > 0:
	case s.f.Resident != ResidentNone:
		l.Tiered = min(s.pool.o.Tiered, ServerWeight)
	default:
		l.Tiered = s.pool.o.Tiered
	}
	group, err := s.pool.spawner.NewGroup(l)
	if err != nil {
		return nil, err
	}
	return &weighed{Group: group, tiered: l.Tiered}, nil
}

// take returns a process to give a call to: a spare one, or a new one.
func (s *server) take() (*prepared, error) {
	s.mu.Lock()
	if n := len(s.spares); n > 0 {
		x := s.spares[0]
		s.spares = s.spares[1:]
		s.mu.Unlock()
		return x, nil
	}
	s.mu.Unlock()
	return s.prepare()
}

// stock makes spares until there are enough, and the group of the call after.
func (s *server) stock() {
	for s.stock1() {
	}
	s.mu.Lock()
	needed := s.group == nil && !s.ending
	s.mu.Unlock()
	if !needed {
		return
	}
	group, err := s.newGroup()
	if err != nil {
		return // who needs one will say so
	}
	s.mu.Lock()
	if s.group == nil && !s.ending {
		s.group, group = group, nil
	}
	s.mu.Unlock()
	if group != nil {
		group.Close()
	}
}

// stock1 makes one spare, and reports whether another one may be missing.
func (s *server) stock1() bool {
	s.mu.Lock()
	enough := s.ending || len(s.spares)+s.making >= s.pool.o.Spare || len(s.calls)+len(s.spares)+s.making > callsMax/2
	if !enough {
		s.making++
	}
	s.mu.Unlock()
	if enough {
		return false
	}
	x, err := s.prepare()
	s.mu.Lock()
	s.making--
	wanted := err == nil && !s.ending
	if wanted {
		s.spares = append(s.spares, x)
	}
	s.mu.Unlock()
	if err == nil && !wanted {
		s.toss(x)
	}
	return wanted
}

// toss ends a process that gets no call. Its group is closed when the warden
// says that it is gone, or when the warden is.
func (s *server) toss(x *prepared) {
	s.mu.Lock()
	gone := s.gone
	if !gone {
		s.discarded = append(s.discarded, x)
	}
	s.mu.Unlock()
	if gone {
		x.group.Close()
		return
	}
	s.conn.send((&message{kind: msgSignal, id: x.id, a: uint32(unix.SIGKILL)}).append) // else the server is ending, and it too
}

// discard ends the spares.
func (s *server) discard() {
	s.mu.Lock()
	spares := s.spares
	s.spares = nil
	s.mu.Unlock()
	for _, x := range spares {
		s.toss(x)
	}
}
