package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Role is what a confined process is for. All roles are confined in the same
// way; they differ in what their seccomp filter and rlimits leave open.
type Role string

// The roles of the host executable.
const (
	RoleRun     Role = "run"     // runs functions of one domain
	RoleCompile Role = "compile" // turns one module into machine code, executes nothing
	RoleExpr    Role = "expr"    // evaluates expressions
)

// Limits bound one process. A zero field is no limit of that kind.
type Limits struct {
	Memory   int64         // bytes of memory of the whole process, kept by the cgroup (page cache it brings in included)
	CPU      time.Duration // CPU time over the life of the process, kept by RLIMIT_CPU; rounded up to a second
	Cores    float64       // CPU time per wall time, kept by the cgroup's quota; 1.5 is one and a half cores
	Weight   int           // share of a contended CPU, 1 to 10000, default 100, kept by the cgroup
	Tiered   int           // Weight while groups are tiers, as Spawner.Share says; 0: no other one
	Pids     int           // threads, kept by the cgroup; without it by RLIMIT_NPROC in a user namespace
	Files    int           // open descriptors, kept by RLIMIT_NOFILE; default 1024
	FileSize int64         // largest file in bytes that it may write, kept by RLIMIT_FSIZE
	Space    int64         // address space in bytes, kept by RLIMIT_AS; refused for RoleRun, whose engine reserves hundreds of GiB
}

// SpawnOptions says what to start and how to confine it.
type SpawnOptions struct {
	Role    Role
	Control *os.File // the child's end of a SOCK_SEQPACKET pair: its descriptor 3. Spawn leaves the caller's copy open
	Stderr  *os.File // its descriptors 1 and 2; nil: discarded
	Limits  Limits   //
	Grants  []*Grant // folders it may use, at most 64; needed only where Isolation.Mount is false, and ignored elsewhere
	Env     []string // its whole environment, such as GOMAXPROCS=2; nothing is inherited
}

// ErrClosed is returned by Spawn after Close.
var ErrClosed = errors.New("spawner is closed")

// SpawnerOptions configures NewSpawner.
type SpawnerOptions struct {
	Exec *os.File // the host executable, from Executable or os.Open; stays the caller's
}

// Spawner starts confined processes. All of them are started by one operating
// system thread that lives as long as the Spawner, because the parent-death
// signal is tied to the thread and not to the process that started a child.
type Spawner struct {
	number    int // among the open ones of this process
	exec      *os.File
	root      bool
	iso       Isolation
	sharedNet bool // the thread is in an empty network namespace, which all hosts share
	degraded  []string
	cgroups   *cgroups
	null      *os.File

	calls chan func()   // run by the thread, in order
	quit  chan struct{} // closed to end the thread
	gone  chan struct{} // closed when the thread has ended

	mu        sync.Mutex
	closed    bool                  // guarded by mu
	last      int                   // number of the last process; guarded by mu
	running   map[*Process]struct{} // guarded by mu
	ownerMaps map[owner]*os.File    // guarded by mu
}

// NewSpawner finds out what the machine allows, creates the node's cgroup and
// sweeps those that dead nodes left behind. Close it.
func NewSpawner(ctx context.Context, opts SpawnerOptions) (*Spawner, error) {
	if opts.Exec == nil {
		return nil, errors.New("new spawner: no host executable")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	self, err := findCgroups()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("new spawner: %w", err)
	}
	exec, err := aside(opts.Exec)
	if err != nil {
		null.Close()
		return nil, err
	}
	number := spawners.enter()
	if number > 0 { // groups of another spawner of this process stand beside
		self.suffix = "-" + strconv.Itoa(number)
	}
	s := &Spawner{
		number:    number,
		exec:      exec,
		root:      os.Getuid() == 0,
		cgroups:   newCgroups(kernelFiles{}, self),
		null:      null,
		calls:     make(chan func()),
		quit:      make(chan struct{}),
		gone:      make(chan struct{}),
		running:   map[*Process]struct{}{},
		ownerMaps: map[owner]*os.File{},
	}
	go s.thread()
	if err := s.do(func() {
		s.iso, s.degraded = detectIsolation()
		if s.root && s.iso.Net && emptyNetwork() == nil {
			s.sharedNet = true
		}
	}); err != nil {
		return nil, err
	}
	for _, m := range s.cgroups.missing {
		s.degraded = append(s.degraded, "cgroup "+m)
	}
	return s, nil
}

// aside duplicates a descriptor to a number that no descriptor of a child takes:
// the child finds the executable by number after it has taken its own.
func aside(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 512)
	if errors.Is(err, unix.EINVAL) { // the limit of descriptors is lower; exe goes beyond those in use anyway
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("new spawner: duplicate the host executable: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// thread runs the calls on one operating system thread. It returns without
// unlocking it, which ends the thread: it is in a namespace of its own. The main
// thread is not used: it stands for the process in /proc/self, and never ends.
func (s *Spawner) thread() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go s.thread()
		s.do(func() {}) // until the other one runs
		runtime.UnlockOSThread()
		return
	}
	defer close(s.gone)
	for {
		select {
		case call := <-s.calls:
			call()
		case <-s.quit:
			return
		}
	}
}

// do runs f on the thread and waits for it.
func (s *Spawner) do(f func()) error {
	done := make(chan struct{})
	select {
	case s.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-s.gone:
		return ErrClosed
	}
}

// Isolation returns the walls that processes of this spawner get.
func (s *Spawner) Isolation() Isolation { return s.iso }

// Degraded lists in words what is weaker than weft wants, and why; it is empty
// on a machine that allows everything.
func (s *Spawner) Degraded() []string { return s.degraded }

// Spawn starts one process. It returns when the process has its limits and has
// been told to go on, which is before it is ready: readiness is its first
// message on Control.
func (s *Spawner) Spawn(ctx context.Context, opts SpawnOptions) (*Process, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("spawn %s host: %w", opts.Role, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := s.begin(opts.Limits, func(p *Process, e entry) error { return s.start(p, e, opts) })
	if err != nil {
		return nil, fmt.Errorf("spawn %s host: %w", opts.Role, err)
	}
	return p, nil
}

// entry is what a new process enters its group by, and what it is cloned with.
type entry struct {
	doors []*os.File // of groups of version 1; it writes to them itself
	attr  *syscall.SysProcAttr
	pidfd *int // set by the clone
}

// begin enters a new process in the books, makes its group, and has it started.
func (s *Spawner) begin(l Limits, start func(*Process, entry) error) (*Process, error) {
	p, name, err := s.enlist(l)
	if err != nil {
		return nil, err
	}
	if err := s.beginIn(p, name, start); err != nil {
		if p.pid == 0 { // nothing was started that could end
			close(p.done)
		}
		s.forget(p)
		return nil, err
	}
	return p, nil
}

// enlist enters a new process, and the name of its group, in the books.
func (s *Spawner) enlist(l Limits) (*Process, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, "", ErrClosed
	}
	s.last++
	p := &Process{spawner: s, limits: l, done: make(chan struct{})}
	s.running[p] = struct{}{}
	return p, strconv.Itoa(s.last), nil
}

func (s *Spawner) beginIn(p *Process, name string, start func(*Process, entry) error) (err error) {
	if p.group, err = s.cgroups.create(name); err != nil {
		return err
	}
	defer func() {
		if p.pid == 0 { // else its end closes the group
			err = errors.Join(err, p.group.close())
		}
	}()
	if err := p.group.begin(p.limits); err != nil {
		return err
	}
	doors, err := p.group.entrances()
	if err != nil {
		return err
	}
	defer closeAll(doors)
	e := entry{doors: doors, attr: s.iso.attributes(s.root), pidfd: new(int)}
	*e.pidfd = -1
	e.attr.Pdeathsig = syscall.SIGKILL
	e.attr.Setsid = true
	e.attr.PidFD = e.pidfd
	if p.group.dir != nil {
		e.attr.UseCgroupFD = true
		e.attr.CgroupFD = int(p.group.dir.Fd())
	}
	return start(p, e)
}

// output is where a process writes what nobody else takes.
func (s *Spawner) output(f *os.File) *os.File {
	if f == nil {
		return s.null
	}
	return f
}

func (o *SpawnOptions) validate() error {
	switch {
	case o.Role != RoleRun && o.Role != RoleCompile && o.Role != RoleExpr:
		return fmt.Errorf("unknown role %q", o.Role)
	case o.Control == nil:
		return errors.New("no control socket")
	case len(o.Grants) > 64:
		return fmt.Errorf("%d granted folders are too many", len(o.Grants))
	case o.Role == RoleRun && o.Limits.Space != 0:
		return errors.New("address space of a run host cannot be limited")
	}
	return nil
}

func (s *Spawner) start(p *Process, e entry, opts SpawnOptions) error {
	goRead, goWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer goWrite.Close()
	grants := opts.Grants
	if s.iso.Mount {
		grants = nil
	}
	if s.sharedNet {
		e.attr.Cloneflags &^= syscall.CLONE_NEWNET
	}
	stderr := s.output(opts.Stderr)
	files := []*os.File{goRead, stderr, stderr, opts.Control}
	for _, g := range grants {
		files = append(files, g.File)
	}
	files = append(files, e.doors...)
	pid, err := s.exe([]string{"weft-host", string(opts.Role)}, opts.Env, files, e.attr, nil)
	goRead.Close()
	if err != nil {
		return err
	}
	p.begin(pid, *e.pidfd)
	limits := opts.Limits
	if _, ok := s.cgroups.node["pids"]; ok {
		limits.Pids = 0 // the group keeps it, and unlike RLIMIT_NPROC it can be raised later
	}
	if _, err = goWrite.Write(enterConfig(s.iso, s.root, grants, len(e.doors), limits)); err != nil {
		_ = p.Kill()
		<-p.done
	}
	return err
}

// exe starts the host executable from the thread. The child arranges its
// descriptors before it executes /proc/self/fd/N, and uses numbers up to twice
// as many as there are above the highest; N must lie beyond all of them. below
// is the pid namespace that it is to be in, or nil.
func (s *Spawner) exe(argv, env []string, files []*os.File, sys *syscall.SysProcAttr, below *os.File) (pid int, err error) {
	attr := &syscall.ProcAttr{Env: env, Sys: sys}
	if env == nil {
		attr.Env = []string{} // nil would be the node's own
	}
	highest := len(files)
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
		highest = max(highest, int(f.Fd()))
	}
	program, err := unix.FcntlInt(s.exec.Fd(), unix.F_DUPFD_CLOEXEC, highest+2*len(files)+2)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	defer unix.Close(program)
	closed := s.do(func() {
		if below != nil {
			leave, failed := enterPIDs(below)
			if err = failed; err != nil {
				return
			}
			defer leave()
		}
		pid, _, err = syscall.StartProcess("/proc/self/fd/"+strconv.Itoa(program), argv, attr)
	})
	runtime.KeepAlive(files)
	if err := errors.Join(closed, err); err != nil {
		return 0, fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	return pid, nil
}

// forget removes an ended process from the books.
func (s *Spawner) forget(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, p)
}

// Close kills what still runs, waits for it, and removes the node's cgroup.
func (s *Spawner) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var left []*Process
	for p := range s.running {
		left = append(left, p)
	}
	s.mu.Unlock()
	for _, p := range left {
		_ = p.Kill()
	}
	var errs []error
	for _, p := range left {
		<-p.done
	}
	close(s.quit)
	<-s.gone
	for _, ns := range s.ownerMaps {
		errs = append(errs, ns.Close())
	}
	errs = append(errs, s.cgroups.close(), s.exec.Close(), s.null.Close())
	spawners.leave(s.number)
	return errors.Join(errs...)
}

// spawners numbers the open spawners of this process, from 0: each has a
// directory of cgroups of its own.
var spawners numbers

type numbers struct {
	mu   sync.Mutex
	used map[int]bool // guarded by mu
}

func (n *numbers) enter() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	number := 0
	for n.used[number] {
		number++
	}
	if n.used == nil {
		n.used = map[int]bool{}
	}
	n.used[number] = true
	return number
}

func (n *numbers) leave(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, number)
}
