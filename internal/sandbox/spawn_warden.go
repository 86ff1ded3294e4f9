package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// WardenOptions says what a warden is started with: the process that keeps the
// namespaces of one version of a function whose calls are processes. It is the
// host executable under another name, and confines itself by its configuration;
// see internal/sandbox/process.
type WardenOptions struct {
	Config  *os.File   // a memory file, its descriptor 0
	Control *os.File   // its end of a SOCK_SEQPACKET pair, descriptor 3. The caller's copies of all of these stay open
	Stderr  *os.File   // descriptors 1 and 2; nil: discarded
	Mounts  []*os.File // detached mounts that Config refers to, in its order
	Below   *os.File   // a pid namespace to start it in, root's nodes only; nil: one of its own
	Limits  Limits     // of its cgroup: Memory, Cores, Weight and Pids; the others are for Config to say
}

// wardenCapabilities are what a warden of an ordinary user needs until it has
// made the user namespace that it works in.
var wardenCapabilities = append([]uintptr{unix.CAP_SYS_CHROOT}, enterCapabilities...)

// CanConfine says whether wardens can be started here: nil, or what is missing.
func (s *Spawner) CanConfine() error {
	if s.iso.User && s.iso.Mount && s.iso.PID && s.iso.IPC && s.iso.UTS && s.iso.Net {
		return nil
	}
	return fmt.Errorf("functions that are processes need namespaces of every kind, and this machine does not give them to user %d: %v; "+
		"weft doctor says how to have them", os.Getuid(), s.degraded)
}

// SpawnWarden starts a warden. It returns when the process runs, before it is
// ready; Process.Wait says how it ended.
func (s *Spawner) SpawnWarden(ctx context.Context, opts WardenOptions) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.CanConfine(); err != nil {
		return nil, err
	}
	p, err := s.begin(opts.Limits, func(p *Process, e entry) error { return s.startWarden(p, e, opts) })
	if err != nil {
		return nil, fmt.Errorf("spawn warden: %w", err)
	}
	return p, nil
}

func (s *Spawner) startWarden(p *Process, e entry, opts WardenOptions) error {
	e.attr.Cloneflags &^= syscall.CLONE_NEWNET // it makes its own
	if !s.root {
		e.attr.AmbientCaps = wardenCapabilities
	}
	if opts.Below != nil {
		e.attr.Cloneflags &^= syscall.CLONE_NEWPID
		e.attr.Pdeathsig = 0 // its parent has no number there, which looks as if it had ended; the warden asks for the signal itself
		p.asked = true
		if p.group.dir != nil { // for what enters later
			door, err := (&Group{group: p.group}).Entrances()
			if err != nil {
				return err
			}
			defer closeAll(door)
			e.doors = door
		}
	}
	stderr := s.output(opts.Stderr)
	files := []*os.File{opts.Config, stderr, stderr, opts.Control}
	files = append(append(files, e.doors...), opts.Mounts...)
	pid, err := s.exe([]string{"weft-warden", strconv.Itoa(len(e.doors))}, nil, files, e.attr, opts.Below)
	if err != nil {
		return err
	}
	p.begin(pid, *e.pidfd)
	return nil
}

// Group is a cgroup of the node for processes that it does not start itself.
type Group struct {
	group *group
}

// NewGroup makes a group with the limits that a group can keep. Where the
// machine has no cgroups it limits nothing, and says 0 of everything.
func (s *Spawner) NewGroup(l Limits) (*Group, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	s.last++
	name := strconv.Itoa(s.last)
	s.mu.Unlock()
	g, err := s.cgroups.create(name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(g.begin(l), s.giveAway(g)); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return &Group{group: g}, nil
}

// giveAway lets the workload's user be born in a group of version 2: the kernel
// asks for the right to write to the list of processes of that group, and of
// the lowest one above both it and the parent's.
func (s *Spawner) giveAway(g *group) error {
	if g.dir == nil || !s.root {
		return nil
	}
	for _, dir := range []string{g.of.dirs()[0], g.dir.Name()} {
		if err := os.Chown(dir+"/cgroup.procs", s.iso.UID, s.iso.GID); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
	}
	return nil
}

// Limited reports whether the group keeps limits of memory and of processes.
func (g *Group) Limited() (memory, pids bool) {
	return g.group.file("memory", "") != "", g.group.file("pids", "") != ""
}

// Dir is the directory of a group of version 2, for CLONE_INTO_CGROUP; nil
// elsewhere. It belongs to the group.
func (g *Group) Dir() *os.File { return g.group.dir }

// Entrances opens the files to which a process writes "0" to enter the group;
// the caller closes them. With version 2 that takes the kernel 10 ms and more,
// unless another process has just done the same.
func (g *Group) Entrances() ([]*os.File, error) {
	if g.group.dir == nil {
		return g.group.entrances()
	}
	f, err := os.OpenFile(g.group.dir.Name()+"/cgroup.procs", os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("enter cgroup: %w", err)
	}
	return []*os.File{f}, nil
}

// OutOfMemory is how many of its processes the kernel killed because the group
// was out of memory.
func (g *Group) OutOfMemory() int64 { return g.group.outOfMemory() }

// Peak is the most memory that the group has held, in bytes.
func (g *Group) Peak() int64 { return g.group.peak() }

// Close removes the group, which must be empty by now.
func (g *Group) Close() error { return g.group.close() }

// OpenCode opens a folder or a file of code for sandboxes that are processes,
// like OpenDir: it cannot be written, and unlike data it may be executed.
func (s *Spawner) OpenCode(path string) (*Grant, error) {
	dir, err := openPlain(path, unix.O_PATH)
	if err != nil {
		return nil, fmt.Errorf("open code %s: %w", path, err)
	}
	defer dir.Close()
	if !s.root {
		return nil, fmt.Errorf("open code %s: only for a node of root", path)
	}
	g, err := s.cloneAsRoot(path, dir, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open code %s: %w", path, err)
	}
	return g, nil
}

// Isolated says who processes run as: the walls, and whether the node is root.
func (s *Spawner) Isolated() (iso Isolation, root bool) { return s.iso, s.root }

// enterPIDs has what the thread starts be in a pid namespace below its own, until
// leave is called.
func enterPIDs(below *os.File) (leave func(), err error) {
	own, err := os.Open("/proc/thread-self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("enter pid namespace: %w", err)
	}
	if err := unix.Setns(int(below.Fd()), unix.CLONE_NEWPID); err != nil {
		own.Close()
		return nil, fmt.Errorf("enter pid namespace: %w", err)
	}
	return func() {
		defer own.Close()
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWPID); err != nil {
			panic(fmt.Sprintf("leave pid namespace: %v", err)) // what is started next would be in that of a workload
		}
	}, nil
}
