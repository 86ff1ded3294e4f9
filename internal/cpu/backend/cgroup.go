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

// weights are those of the tiers, by version: Express twenty times Normal, which is that
// of any group, and Batch a tenth.
//
// Batch is not cpu.idle, nor has it the least weight there is. The kernel divides a group's
// share among the cores by the load that the group has on each. If Batch weighed next to
// nothing beside Express, a core on which only long calls run would get next to nothing of
// the node's share while another core runs short ones, and any other program of the machine
// would take that core. Beside a weight 200 times as great, nothing is gained by less.
var weights = map[int]struct {
	file   string
	of     [3]int
	normal int // that of one ordinary process
	least  int
	most   int
}{
	1: {"cpu.shares", [3]int{20_480, 1024, 102}, 1024, 2, 262_144},
	2: {"cpu.weight", [3]int{2000, 100, 10}, 100, 1, 10_000},
}

// Weight is the weight of a tier's group, in the unit of the cgroup version, 1 or 2. A
// group that is made with it is born in its tier.
func Weight(version int, tier policy.Tier) int { return weights[version].of[min(tier, policy.Batch)] }

// Cgroup makes tiers with the cpu controller, version 1 or 2. The node goes into the top
// tier's group, so that what decides is never behind what it decides on.
//
// A task with a group of its own stays there, and the group gets the tier's weight: one
// write, whatever the number of threads. One without goes into a group that all of its
// tier share. That is moved by a goroutine, because it makes the kernel wait for all cores
// under load; a task that is forked in Dir of its tier need not be.
type Cgroup struct {
	tree    groups
	version int
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
func (*Cgroup) Traits() Traits {
	return Traits{Tiers: 3, Groups: true, Undo: true, Ranks: true, Stops: true}
}

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
	weight := c.weight(p)
	if weight == c.weight(t.place) {
		return nil
	}
	file := t.o.Group + "/" + weights[c.version].file
	if t.original == "" {
		text, err := c.tree.Read(file)
		if err != nil {
			return err
		}
		t.original = text
	}
	return c.tree.Write(file, strconv.Itoa(weight))
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

// restore writes the weight that a task's group had.
func (c *Cgroup) restore(t *Task) error {
	if t.original == "" {
		return nil
	}
	value := t.original
	t.original = ""
	err := c.tree.Write(t.o.Group+"/"+weights[c.version].file, value)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
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
		for _, p := range processes(pid, 0, "") {
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
