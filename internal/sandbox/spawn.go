package sandbox

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
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
	Pids     int           // processes and threads, kept by the cgroup
	Files    int           // open descriptors, kept by RLIMIT_NOFILE; default 1024
	FileSize int64         // largest file in bytes that it may write, kept by RLIMIT_FSIZE
	Space    int64         // address space in bytes, kept by RLIMIT_AS; refused for RoleRun, whose engine reserves hundreds of GiB
}

// SpawnOptions says what to start and how to confine it.
type SpawnOptions struct {
	Role    Role
	Control *os.File   // the child's end of a SOCK_SEQPACKET pair: its descriptor 3. Spawn leaves the caller's copy open
	Stderr  *os.File   // its descriptors 1 and 2; nil: discarded
	Limits  Limits     //
	Grants  []*os.File // directories it may use; needed only where Isolation.Mount is false, and ignored elsewhere
	Env     []string   // its whole environment, such as GOMAXPROCS=2; nothing is inherited
}

// Isolation says which walls are put around a process. Spawner.Isolation
// returns what this machine and this user allow.
type Isolation struct {
	User   bool `json:"user"`   // user namespace of its own
	Mount  bool `json:"mount"`  // mount namespace with an empty read-only root
	PID    bool `json:"pid"`    // pid namespace: it sees no other process
	Net    bool `json:"net"`    // network namespace without any interface that is up
	IPC    bool `json:"ipc"`    // System V and POSIX message namespaces
	UTS    bool `json:"uts"`    // host name of its own
	Cgroup bool `json:"cgroup"` // cgroup namespace
	UID    int  `json:"uid"`    // host user id it runs under
	GID    int  `json:"gid"`    // host group id it runs under
}

// Reason classifies how a process ended.
type Reason string

// The reasons.
const (
	ReasonExit     Reason = "exit"      // it exited; Exit.Code has the status
	ReasonSignal   Reason = "signal"    // a signal ended it; Exit.Signal says which
	ReasonOOM      Reason = "memory"    // the kernel killed it because its cgroup was out of memory
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
}

// ErrClosed is returned by Spawn after Close.
var ErrClosed = errors.New("spawner is closed")

// SpawnerOptions configures NewSpawner.
type SpawnerOptions struct {
	Exec *os.File // the host executable, from Executable or os.Open
}

// NewSpawner finds out what the machine allows, creates the node's cgroup and
// sweeps those that dead nodes left behind.
func NewSpawner(ctx context.Context, opts SpawnerOptions) (*Spawner, error) {
	return nil, errors.ErrUnsupported
}

// Spawner starts confined processes. All of them are started by one operating
// system thread that lives as long as the Spawner, because the parent-death
// signal is tied to the thread and not to the process that started a child.
type Spawner struct{}

// Isolation returns the walls that processes of this spawner get.
func (s *Spawner) Isolation() Isolation { return Isolation{} }

// Degraded lists in words what is weaker than weft wants, and why; it is empty
// on a machine that allows everything.
func (s *Spawner) Degraded() []string { return nil }

// Spawn starts one process. It returns when the process has its limits and has
// been told to go on, which is before it is ready: readiness is its first
// message on Control.
func (s *Spawner) Spawn(ctx context.Context, opts SpawnOptions) (*Process, error) {
	return nil, errors.ErrUnsupported
}

// Close kills what still runs, waits for it, and removes the node's cgroup.
func (s *Spawner) Close() error { return nil }

// Process is a confined process.
type Process struct{}

// PID returns its process id in the node's pid namespace.
func (p *Process) PID() int { return 0 }

// Kill ends it and everything in its pid namespace. It does not wait.
func (p *Process) Kill() error { return nil }

// Done is closed when the process has ended and its cgroup is gone.
func (p *Process) Done() <-chan struct{} { return nil }

// Wait waits for the end of the process. It may be called any number of times.
func (p *Process) Wait() Exit { return Exit{} }

// SetLimits changes Memory, Cores, Weight, Pids, Files and FileSize of the
// running process; CPU and Space stay as they were.
func (p *Process) SetLimits(l Limits) error { return nil }

// MemoryUse is what a process occupies now, in bytes.
type MemoryUse struct {
	PSS int64 // its own pages, and its share of those that it shares
	RSS int64 // all pages it has mapped
}

// Memory reads what the process occupies now. It walks the page tables: about
// 0.1 ms for an idle host.
func (p *Process) Memory() (MemoryUse, error) { return MemoryUse{}, nil }

// Executable puts an executable image into a sealed memory file, so that the
// node can start it without a file on disk and nobody can change it.
func Executable(image []byte) (*os.File, error) { return nil, errors.ErrUnsupported }
