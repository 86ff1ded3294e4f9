package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/sandbox"
)

// groups is a directory of this node in the hierarchy of the cpu controller.
type groups interface {
	Version() int // 1 or 2
	Dir() string
	Home() string // where the node's process was
	Make(name string) (dir string, err error)
	Read(file string) (string, error)
	Write(file, value string) error
	Close() error
}

var _ groups = (*sandbox.Tree)(nil)

// weights are those of the tiers, by version: two decades between Express and Normal,
// and the least there is for Batch where the kernel has no cpu.idle.
var weights = map[int]struct {
	file   string
	of     [3]int
	normal int // that of one ordinary process
	least  int
	most   int
}{
	1: {"cpu.shares", [3]int{102_400, 1024, 2}, 1024, 2, 262_144},
	2: {"cpu.weight", [3]int{10_000, 100, 1}, 100, 1, 10_000},
}

// Weight is the weight of a tier's group, in the unit of the cgroup version, 1 or 2. A
// group that is made with it, and Batch with cpu.idle, is born in its tier.
func Weight(version int, tier policy.Tier) int { return weights[version].of[min(tier, policy.Batch)] }

// Cgroup makes tiers with the cpu controller, version 1 or 2. The node goes into the top
// tier's group, so that what decides is never behind what it decides on.
//
// A task with a group of its own stays there, and the group gets the tier's weight: two
// writes, whatever the number of threads. One without goes into a group that all of its
// tier share. That is moved by a goroutine, because it makes the kernel wait for all cores
// under load; a task that is forked in Dir of its tier need not be.
type Cgroup struct {
	tree    groups
	version int
	idle    bool // the kernel has cpu.idle
	dirs    [3]string
	node    bool // the node's process is in the top group
	mover   mover

	mu    sync.Mutex
	tasks map[*Task]struct{} // guarded by mu
}

var _ Backend = (*Cgroup)(nil)

// NewCgroup makes the tiers. The error wraps ErrUnavailable where no group can be made.
func NewCgroup(o Options) (*Cgroup, error) {
	tree, err := sandbox.NewTree("cpu", "tiers")
	if err != nil {
		return nil, fmt.Errorf("make CPU backend cgroup: %w: %w", ErrUnavailable, err)
	}
	return newCgroup(tree, o)
}

// newCgroup makes the tiers in a directory, which it closes.
func newCgroup(tree groups, o Options) (*Cgroup, error) {
	o.EnsureDefaults()
	c := &Cgroup{tree: tree, version: tree.Version(), tasks: map[*Task]struct{}{}}
	c.mover.start(tree)
	if err := c.build(o); err != nil {
		return nil, errors.Join(fmt.Errorf("make CPU backend cgroup: %w: %w", ErrUnavailable, err), c.Close())
	}
	return c, nil
}

func (c *Cgroup) build(o Options) error {
	w := weights[c.version]
	share := min(max(int(math.Round(o.Share*float64(w.normal))), w.least), w.most)
	if err := c.tree.Write(c.tree.Dir()+"/"+w.file, strconv.Itoa(share)); err != nil {
		return err
	}
	for tier := policy.Express; tier <= policy.Batch; tier++ {
		dir, err := c.tree.Make(tier.String())
		if err != nil {
			return err
		}
		c.dirs[tier] = dir
		if tier == policy.Batch {
			if err := c.tree.Write(dir+"/cpu.idle", "1"); err == nil {
				c.idle = true
				continue
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := c.tree.Write(dir+"/"+w.file, strconv.Itoa(w.of[tier])); err != nil {
			return err
		}
	}
	if o.NodeStays || c.tree.Home() == "" {
		return nil
	}
	if err := c.tree.Write(c.dirs[policy.Express]+"/cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return fmt.Errorf("move the node: %w", err)
	}
	c.node = true
	return nil
}

// Dir is the group of a tier. A process enters it without cost when it is made: by
// CLONE_INTO_CGROUP in version 2, by writing "0" to its tasks in version 1.
func (c *Cgroup) Dir(tier policy.Tier) string { return c.dirs[min(tier, policy.Batch)] }

// Version is the version of the hierarchy, 1 or 2.
func (c *Cgroup) Version() int { return c.version }

// Name implements Backend.
func (*Cgroup) Name() string { return NameCgroup }

// Traits implements Backend. Ranks are for tasks with groups of their own.
func (*Cgroup) Traits() Traits { return Traits{Tiers: 3, Undo: true, Ranks: true, Stops: true} }

// Add implements Backend.
func (c *Cgroup) Add(t *Task, p Place) error {
	c.mu.Lock()
	c.tasks[t] = struct{}{}
	c.mu.Unlock()
	if t.o.Group != "" {
		return c.Move(t, p)
	}
	if t.o.Born != nil {
		t.at = c.Dir(*t.o.Born)
	}
	if t.at == c.Dir(p.Tier) {
		t.place = p
		return nil
	}
	return c.Move(t, p)
}

// Move implements Backend.
func (c *Cgroup) Move(t *Task, p Place) error {
	if t.o.Group == "" {
		if dir := c.Dir(p.Tier); t.at != dir {
			if err := c.mover.move(t, dir); err != nil {
				return err
			}
			t.at = dir
		}
		t.place = p
		return nil
	}
	if err := c.weigh(t, p); err != nil {
		if !t.alive() { // and its group may be gone
			return ErrGone
		}
		return fmt.Errorf("move process %d: %w", t.o.PID, err)
	}
	t.place = p
	return nil
}

// weight is that of a group of a task: half of the tier's for each rank.
func (c *Cgroup) weight(p Place) int {
	w := weights[c.version]
	return max(Weight(c.version, p.Tier)>>min(max(p.Rank, 0), 30), w.least)
}

// weigh gives the group of a task the weight of a place.
func (c *Cgroup) weigh(t *Task, p Place) error {
	before, after := c.idle && t.place.Tier >= policy.Batch, c.idle && p.Tier >= policy.Batch
	weight := c.weight(p)
	if before == after && (after || weight == c.weight(t.place)) {
		return nil
	}
	file := weights[c.version].file
	if err := c.remember(t, file); err != nil {
		return err
	}
	if before != after {
		if err := c.remember(t, "cpu.idle"); err != nil {
			return err
		}
	}
	if after {
		return c.tree.Write(t.o.Group+"/cpu.idle", "1") // takes the weight along
	}
	if before {
		if err := c.tree.Write(t.o.Group+"/cpu.idle", "0"); err != nil {
			return err
		}
	}
	return c.tree.Write(t.o.Group+"/"+file, strconv.Itoa(weight))
}

// remember reads a control file of a task's group before it is first written.
func (c *Cgroup) remember(t *Task, file string) error {
	if _, ok := t.original[file]; ok {
		return nil
	}
	text, err := c.tree.Read(t.o.Group + "/" + file)
	if err != nil {
		return err
	}
	if t.original == nil {
		t.original = map[string]string{}
	}
	t.original[file] = text
	return nil
}

// Stop implements Backend.
func (*Cgroup) Stop(t *Task) error { return halt(t) }

// Continue implements Backend.
func (*Cgroup) Continue(t *Task) error { return resume(t) }

// Remove implements Backend. A task that shares its tier's group goes to where the node
// came from.
func (c *Cgroup) Remove(t *Task) error {
	c.mu.Lock()
	_, known := c.tasks[t]
	delete(c.tasks, t)
	c.mu.Unlock()
	if !known {
		return nil
	}
	if err := resume(t); errors.Is(err, ErrGone) {
		c.mover.drop(t.o.PID)
		return nil
	} else if err != nil {
		return err
	}
	if t.o.Group == "" {
		if home := c.tree.Home(); t.at != "" && home != "" {
			t.at = ""
			if err := c.mover.move(t, home); !errors.Is(err, ErrGone) {
				return err
			}
		}
		return nil
	}
	return c.restore(t)
}

// restore writes what the control files of a task's group had.
func (c *Cgroup) restore(t *Task) error {
	var errs []error
	file := weights[c.version].file
	for _, f := range []string{"cpu.idle", file} { // a group that is idle takes no weight
		value, ok := t.original[f]
		if !ok || f == file && t.original["cpu.idle"] == "1" {
			continue
		}
		if err := c.tree.Write(t.o.Group+"/"+f, value); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	t.original = nil
	return errors.Join(errs...)
}

// Close implements Backend: tasks go where the node came from, and so does the node.
func (c *Cgroup) Close() error {
	c.mu.Lock()
	var tasks []*Task
	for t := range c.tasks {
		tasks = append(tasks, t)
	}
	c.mu.Unlock()
	err := removeAll(c, tasks)
	c.mover.close()
	if c.node {
		c.node = false
		err = errors.Join(err, c.tree.Write(c.tree.Home()+"/cgroup.procs", strconv.Itoa(os.Getpid())))
	}
	return errors.Join(err, c.tree.Close())
}

// mover moves processes between groups, in a goroutine of its own. Of several moves of one
// process that wait, the last one counts.
type mover struct {
	tree groups
	wake chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	waiting map[int]move // by pid; guarded by mu
	closing bool         // guarded by mu
}

// move is where a process is to go. Its start time tells it from the next one with its
// number.
type move struct {
	start, dir string
}

func (m *mover) start(tree groups) {
	m.tree, m.wake, m.waiting = tree, make(chan struct{}, 1), map[int]move{}
	m.done.Go(m.run)
}

// move asks for a task to be moved.
func (m *mover) move(t *Task, dir string) error {
	s, err := statOf(t.o.PID, t.o.PID)
	if err != nil || !t.alive() {
		return ErrGone
	}
	m.mu.Lock()
	m.waiting[t.o.PID] = move{s.start, dir}
	m.mu.Unlock()
	m.poke()
	return nil
}

// drop forgets a process that has ended.
func (m *mover) drop(pid int) {
	m.mu.Lock()
	delete(m.waiting, pid)
	m.mu.Unlock()
}

func (m *mover) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// close waits until all that was asked for is done.
func (m *mover) close() {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.poke()
	m.done.Wait()
}

func (m *mover) run() {
	for range m.wake {
		for {
			pid, to, closing := m.next()
			if pid == 0 {
				if closing {
					return
				}
				break
			}
			m.do(pid, to)
		}
	}
}

// next takes one of those that wait.
func (m *mover) next() (pid int, to move, closing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for pid, to := range m.waiting {
		delete(m.waiting, pid)
		return pid, to, m.closing
	}
	return 0, move{}, m.closing
}

// do moves a process and its descendants; children of one that was moved are born in the
// new group. One that has ended is no error, and nothing else can be helped.
func (m *mover) do(pid int, to move) {
	if s, err := statOf(pid, pid); err != nil || s.start != to.start {
		return
	}
	seen := map[int]bool{}
	for range sweepRounds {
		fresh := false
		for _, p := range processes(pid, "") {
			if !seen[p] {
				seen[p], fresh = true, true
				_ = m.tree.Write(to.dir+"/cgroup.procs", strconv.Itoa(p))
			}
		}
		if !fresh {
			return
		}
	}
}
