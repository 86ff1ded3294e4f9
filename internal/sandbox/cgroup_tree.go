package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Tree is a directory of the node in the hierarchy of one controller, with
// groups that many processes share. It is named as the node's other
// directories are, so the next node removes it, with what still runs in it,
// when this one has died.
type Tree struct {
	of         *cgroups
	controller string
	number     int    // in trees
	home       string // where the node's process was when the tree was made; "" when that is not known
}

// NewTree makes the node's directory of controller; suffix, which must not be
// empty, tells it from others of this process. The error says why the
// controller cannot be used. Close it.
func NewTree(controller, suffix string) (*Tree, error) {
	self, err := findCgroups()
	if err != nil {
		return nil, err
	}
	self.suffix = "-" + suffix
	number := trees.enter()
	if number > 0 {
		self.suffix += "-" + strconv.Itoa(number)
	}
	t, err := newTree(kernelFiles{}, self, controller)
	if err != nil {
		trees.leave(number)
		return nil, err
	}
	t.number = number
	return t, nil
}

// trees numbers the open trees of this process, from 0: no two have one directory.
var trees numbers

// newTree makes a tree of files.
func newTree(files cgroupFiles, self cgroupSelf, controller string) (*Tree, error) {
	home, ok := self.v1[controller]
	if ok {
		self.v1, self.v2 = map[string]string{controller: home}, nil
	} else {
		self.v1, home = nil, self.own
	}
	c := newCgroups(files, self)
	if _, ok := c.node[controller]; !ok {
		err := fmt.Errorf("cgroups of %s: %s", controller, strings.Join(c.missing, "; "))
		if len(c.missing) == 0 {
			err = fmt.Errorf("cgroups of %s: the hierarchy has other controllers only", controller)
		}
		return nil, errors.Join(err, c.close())
	}
	return &Tree{of: c, controller: controller, number: -1, home: home}, nil
}

// Version is the version of the hierarchy, 1 or 2.
func (t *Tree) Version() int { return t.of.version }

// Dir is the directory.
func (t *Tree) Dir() string { return t.of.node[t.controller] }

// Home is the group that the node's process was in when the tree was made; ""
// when that could not be found out.
func (t *Tree) Home() string { return t.home }

// Make makes a group and returns its directory.
func (t *Tree) Make(name string) (string, error) {
	dir := path.Join(t.Dir(), name)
	if err := t.of.files.Mkdir(dir); err != nil {
		return "", fmt.Errorf("create cgroup: %w", err)
	}
	return dir, nil
}

// Read returns the trimmed text of a control file.
func (t *Tree) Read(file string) (string, error) { return t.of.files.Read(file) }

// Write writes a control file, which must exist.
func (t *Tree) Write(file, value string) error { return t.of.files.Write(file, value) }

// Close removes the directory and the groups in it. None may have processes:
// what is left is an error, and is removed by the next node.
func (t *Tree) Close() error {
	var errs []error
	names, _ := t.of.files.Dirs(t.Dir())
	for _, name := range names {
		errs = append(errs, t.of.remove(path.Join(t.Dir(), name)))
	}
	err := errors.Join(append(errs, t.of.close())...)
	if t.number >= 0 {
		trees.leave(t.number)
		t.number = -1
	}
	return err
}

// Share gives all that the spawner has started a share of the processor beside what else
// runs on the machine: that of so many ordinary processes, at least 1. Tiered says that its
// groups are tiers: each that there is, or that is made from now on, has the weight of its
// Limits.Tiered, and otherwise that of its Limits.Weight. Where there are no groups it does
// nothing.
func (s *Spawner) Share(processes int, tiered bool) error {
	c := s.cgroups
	dir, ok := c.node["cpu"]
	if !ok {
		return nil
	}
	c.weighing.Lock()
	defer c.weighing.Unlock()
	c.tiered = tiered
	whole := &group{of: c, name: "."}
	errs := []error{whole.weigh(processes * normalWeight)}
	for g, l := range c.follow {
		weight := l.Weight
		if tiered {
			weight = l.Tiered
		}
		errs = append(errs, g.weigh(weight))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("share out the processor of %s: %w", dir, err)
	}
	return nil
}

// cpu is the directory of the group in the hierarchy that shares out the processor, and
// freezer the same where that has cgroup.freeze; "" where there is none.
func (g *group) cpu() (dir, freezer string) {
	dir = g.file("cpu", "")
	if g.of.version == 2 {
		freezer = dir
	}
	return dir, freezer
}

// CPU is where the group is, as Process.CPU says it of a process.
func (g *Group) CPU() (group, freezer string) { return g.group.cpu() }

// Processes lists what is in the group, by the process ids of the node's namespace. Where
// there are no groups it is empty.
func (g *Group) Processes() []int {
	dirs := g.group.of.dirs()
	if len(dirs) == 0 {
		return nil
	}
	text, err := g.group.of.files.Read(path.Join(dirs[0], g.group.name, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: of another namespace
			pids = append(pids, pid)
		}
	}
	return pids
}

// outside returns dir, or what is above the node's own directories when dir is in
// one of them: what the node makes must not be in a group that it goes into for a
// while.
func outside(dir, name string) string {
	for at := dir; at != "/" && at != "."; at = path.Dir(at) {
		if base := path.Base(at); base == name || strings.HasPrefix(base, name+"-") {
			return path.Dir(at)
		}
	}
	return dir
}
